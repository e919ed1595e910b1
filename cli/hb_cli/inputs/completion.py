"""What a shell offers when Tab is pressed: commands, options, and the names in the home.

Invariants:
    A completion never fails aloud: if nothing can be read, nothing is offered.
    No home is made or changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002  Typer reads the annotations below when it runs

if TYPE_CHECKING:
    from hb_cli.context import Session

COMPLETE_VARIABLE = "_HB_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_WAIT_S = 0.5
"""How long Tab waits for others who use the home, in seconds."""


def answer(command: Any, session: Session) -> int:
    """Print the candidates that a shell's completion script asks for in the environment. Return the exit code."""
    from typer._completion_classes import completion_init
    from typer.completion import shell_complete

    completion_init()
    instruction = session.environ[COMPLETE_VARIABLE]
    return int(shell_complete(command, {"obj": session}, "hb", COMPLETE_VARIABLE, instruction))


def script(shell: str) -> str:
    """Return the script that makes `shell` (one of SHELLS) complete `hb`."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="hb", complete_var=COMPLETE_VARIABLE, shell=shell)


def processes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names and process IDs of the home that begin with `incomplete`."""
    from hb_cli import context

    try:
        session = context.session_of(ctx)
        session.lock_timeout_s = _WAIT_S
        return context.existing_home(session).beginning_with(incomplete)
    except Exception:  # a Tab must never answer with a traceback
        return []


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the home's keys that begin with `incomplete`."""
    from hb_cli import context

    try:
        names = context.existing_home(context.session_of(ctx)).key_names()
    except Exception:  # a Tab must never answer with a traceback
        return []
    return [name for name in names if name.startswith(incomplete)]
