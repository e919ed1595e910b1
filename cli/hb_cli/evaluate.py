"""One piece of code, evaluated by a process: a signed message with the action `Eval`, computed, and what came of it.

What `hb eval` and `hb repl` have in common. Must hold no AO logic beyond that message's form.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import Interrupted, Refused
from hb_cli import arguments, output, results
from hb_cli.views import fields as views

if TYPE_CHECKING:
    from hb.environment import Environment
    from hb.node import Node, Scheduled
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb_cli.context import Session

ACTION = "Eval"


class Evaluated(NamedTuple):
    """The slot that the code has, and what computing it gave."""

    scheduled: Scheduled
    results: Message
    state: Message

    @property
    def failed(self) -> bool:
        """Whether the outcome is an error."""
        return results.failed(self.results)


def evaluate(
    node: Node,
    process: str,
    code: bytes,
    *,
    signer: Key,
    environment: Environment,
    anchor: str | None = None,
    tags: Message | None = None,
) -> Evaluated:
    """Sends `code` to a process and computes it.

    Raises:
        Refused: it is no message that can be sent; nothing was.
        Interrupted: the user stopped the compute; the message has its slot, which the hint names.
    """
    from hb.node import build_message

    message = build_message(ACTION, data=arguments.binary(code), anchor=anchor, tags=tags)
    try:
        [scheduled] = node.send(process, [message], signer=signer, environment=environment)
    except Refused as error:
        # There is one message: its place among the messages is nothing to tell.
        raise type(error)(error.message.removeprefix("message 1: "), hint=error.hint) from error
    try:
        record = node.state(scheduled.process, scheduled.slot).record
    except Interrupted as error:
        hint = f"the message keeps its slot, {scheduled.slot}: whatever computes this process next computes it first"
        raise Interrupted(error.message, hint=hint) from error
    return Evaluated(scheduled, record.results, record.state)


def show(session: Session, evaluated: Evaluated) -> None:
    """Prints what the program printed and then what it answered; what went wrong goes to stderr."""
    if session.json:
        fields = views.scheduled_fields(evaluated.scheduled)
        output.json_line({**fields, "results": evaluated.results, "state": evaluated.state})
        return
    for text in (results.printed(evaluated.results), "" if evaluated.failed else _answer(evaluated.results)):
        if text:
            output.program_text(text, session.environ)
    if evaluated.failed:
        _show_error(evaluated)


def _answer(found: Message) -> str:
    return results.text_of(results.answer(found))


def _show_error(evaluated: Evaluated) -> None:
    slot, found = evaluated.scheduled.slot, evaluated.results
    if output.is_terminal(sys.stderr):
        from hb_cli.views import render

        output.console(sys.stderr).print(render.error_panel(slot, found))
        return
    error = output.plain(results.text_of(found.get("error")), keep="\n\t").strip("\n")
    output.say(f"hb: slot {slot} ended in an error ({results.text_of(found.get('kind'))}): {error}")
