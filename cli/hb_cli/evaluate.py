"""Have a process evaluate a piece of code: send it as a signed message with the action `Eval`, and compute its slot.

This is what `hb eval` and `hb repl` share.

Invariants:
    No AO logic, except the form of that message.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import Interrupted, Refused
from hb_cli.inputs import arguments
from hb_cli.terminal import output
from hb_cli.views import fields as views
from hb_cli.views import results

if TYPE_CHECKING:
    import hb
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb_cli.context import Session

ACTION = "Eval"


class Evaluated(NamedTuple):
    """The message with the code, and what computing its slot gave."""

    sent: hb.Sent
    result: hb.Result


def evaluate(
    process: hb.Process,
    code: bytes,
    *,
    signer: Key,
    timestamp_ms: int | None = None,
    block_height: int = 0,
    anchor: str | None = None,
    tags: Message | None = None,
) -> Evaluated:
    """Send `code` to a process, and compute its slot.

    Raises:
        Refused: it cannot be sent as a message; nothing was sent.
        Interrupted: computing was stopped; the message keeps its slot, which the hint names.
    """
    from hb.protocol.request import build_message

    message = build_message(ACTION, data=arguments.binary(code), anchor=anchor, tags=tags)
    try:
        [sent] = process.send_all([message], signer=signer, timestamp_ms=timestamp_ms, block_height=block_height)
    except Refused as error:
        # There is one message: its number is of no use.
        raise type(error)(error.reason, hint=error.hint) from error
    try:
        return Evaluated(sent, process.result(sent.slot))
    except Interrupted as error:
        hint = f"the message keeps its slot, {sent.slot}: whatever computes this process next computes it first"
        raise Interrupted(error.message, hint=hint) from error


def show(session: Session, evaluated: Evaluated) -> None:
    """Print what the program printed, then what it answered. An error goes to stderr."""
    sent, result = evaluated
    if session.json:
        output.json_line({**views.sent_fields(sent), "results": result.raw, "state": result.state})
        return
    for text in (results.printed(result.raw), results.text_of(result.answer) if result.ok else ""):
        if text:
            output.program_text(text, session.environ)
    if not result.ok:
        _show_error(sent.slot, result.raw)


def _show_error(slot: int, found: Message) -> None:
    if output.is_terminal(sys.stderr):
        from hb_cli.views import render

        output.console(sys.stderr).print(render.error_panel(slot, found))
        return
    error = output.plain(results.text_of(found.get("error")), keep="\n\t").strip("\n")
    output.say(f"hb: slot {slot} ended in an error ({results.text_of(found.get('kind'))}): {error}")
