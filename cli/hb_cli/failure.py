"""Print what went wrong on stderr: an `hb: error:` line and, if there is something to do, a `hint:` line.

With --json it is one JSON object instead.

Invariants:
    Nothing here raises.
    No traceback is shown unless HB_DEBUG asks for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hb.errors import HbError, IntegrityError
from hb_cli import exits
from hb_cli.terminal import output

if TYPE_CHECKING:
    from hb_cli.context import Session

_BUG_HINT = "run it again with HB_DEBUG=1 and report what it prints, with the output of `hb --version`"


def report(error: BaseException, session: Session, arguments: list[str]) -> int:
    """Print `error` on stderr and return its exit code.

    If the command line was not parsed yet, `arguments` show whether --json was meant.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exits.FAILED
    if session.environ.get("HB_DEBUG"):
        import traceback

        output.say("".join(traceback.format_exception(error)).rstrip())
    code, kind = exits.of(error)
    code = session.signals.exit_code(code)
    message, hint = _sentences(error, code)
    _tell(session, code=code, kind=kind, message=message, hint=hint, more=_whereabouts(error), as_json=session.json)
    return code


def report_usage(error: Exception, session: Session, arguments: list[str]) -> int:
    """Print why a command line could not be parsed; `error` is Typer's exception. Return exit code 2."""
    as_json = session.json or _asks_for_json(arguments)
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        output.say(str(error).rstrip())
        return exits.USAGE
    show = getattr(error, "format_message", error.__str__)
    message = str(show()).replace("\0", "").strip().rstrip(".")
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx is not None else "hb"
    hint = f"`{command} --help` shows how it is used"
    if type(error).__name__ == "NoSuchOption":
        hint += "; what begins with - but is no option goes after --"
    _tell(session, code=exits.USAGE, kind="usage", message=message, hint=hint, more={}, as_json=as_json)
    return exits.USAGE


def _asks_for_json(arguments: list[str]) -> bool:
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in words


def _sentences(error: BaseException, code: int) -> tuple[str, str | None]:
    if isinstance(error, HbError):
        return error.message, error.hint
    if code in (exits.INTERRUPTED, exits.TERMINATED):
        return "interrupted" if code == exits.INTERRUPTED else "terminated", None
    if isinstance(error, MemoryError):
        return "out of memory", None
    first_line = (str(error).splitlines() or [""])[0]
    return f"this is a bug in hb: {type(error).__name__}: {first_line}", _BUG_HINT


def _whereabouts(error: BaseException) -> dict[str, object]:
    if not isinstance(error, IntegrityError):
        return {}
    named = {"process": error.process, "slot": error.slot, "expected": error.expected, "got": error.got}
    return {name: value for name, value in named.items() if value is not None}


def _tell(
    session: Session,
    *,
    code: int,
    kind: str,
    message: str,
    hint: str | None,
    more: dict[str, object],
    as_json: bool,
) -> None:
    if as_json:
        import json

        told = {"error": message, "kind": kind, "exit": code, **({"hint": hint} if hint else {}), **more}
        output.say(json.dumps(told, default=str, sort_keys=True))
        return
    red, dim, off = (
        ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if output.has_colour(sys.stderr, session.environ) else ("",) * 3
    )
    output.say(f"hb: {red}error:{off} {output.printable(message)}")
    if hint:
        output.say(f"{dim}hint:{off} {output.printable(hint)}")
