"""What a shell offers when Tab is pressed: commands, options, and the names in the home.

A completion never fails aloud: where nothing can be known, nothing is offered. Must never create or change a home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002  Typer reads the annotations below when it runs

if TYPE_CHECKING:
    from hb_cli.context import Session

COMPLETE_VARIABLE = "_HB_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_WAIT_S = 0.5


def answer(command: Any, session: Session) -> int:
    """Prints the candidates that a shell's completion script asks for in the environment; returns the exit code."""
    from typer._completion_classes import completion_init
    from typer.completion import shell_complete

    completion_init()
    instruction = session.environ[COMPLETE_VARIABLE]
    return int(shell_complete(command, {"obj": session}, "hb", COMPLETE_VARIABLE, instruction))


def script(shell: str) -> str:
    """The script that makes `shell` (one of SHELLS) complete `hb`."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="hb", complete_var=COMPLETE_VARIABLE, shell=shell)


def processes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names and process IDs of the home that begin with `incomplete`."""
    from hb_cli import context

    try:
        session = context.session_of(ctx)
        session.lock_timeout_s = _WAIT_S
        found = context.existing_home(session).process_views()
        names = [name for process in found for name in process.names]
        candidates = names + [process.process for process in found]
    except Exception:  # a Tab must never answer with a traceback
        return []
    return [name for name in candidates if name.startswith(incomplete)]


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the home's keys that begin with `incomplete`."""
    from hb_cli import context

    try:
        names = context.existing_home(context.session_of(ctx)).key_names()
    except Exception:  # a Tab must never answer with a traceback
        return []
    return [name for name in names if name.startswith(incomplete)]
