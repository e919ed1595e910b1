"""Try a message at a slot of the past: what would the process answer?

The message takes no slot. The state is rebuilt in memory and dropped afterwards.

Invariants:
    Nothing is scheduled or written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.compute.standing import try_at
from hb.history import references
from hb.history import views as history
from hb.protocol import request as requests
from hb.protocol.commitment import message_id, sign
from hb.protocol.coverage import COMMITMENTS_KEY
from hb.protocol.message import Message, dumps
from hb.records import lineage, names, schedules
from hb.schedule import intake, scheduler

if TYPE_CHECKING:
    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.protocol.assignment import Assignment
    from hb.protocol.commitment import Key


class Answer(NamedTuple):
    """What a process would answer: the results, and the public keys that it would then have.

    `slot` is the slot at whose state it was asked. `message` is the ID of the message, which no schedule has.
    """

    process: str
    slot: int
    message: str
    results: Message
    state: Message


def call(
    context: Context,
    process: str,
    reference: str | int,
    message: Message,
    *,
    environment: Environment,
    limit_bytes: int,
    signer: Key | None = None,
    sender: str | None = None,
) -> Answer:
    """Return what `process` would answer to the unsigned `message` at the state of a slot.

    The message is signed by `signer`, or claims to come from the address `sender`, or from nobody. It gets an unsigned
    assignment for the next slot. The assignment's time is that slot's own time; at the newest slot, or if the
    environment has a fixed time, it is the time of `environment`. `limit_bytes` is the maximum size of a message.

    Slots that are not computed yet are computed in memory. A slot that a fork shares is its owner's.

    Raises:
        NotFound: there is no such process or slot.
        Refused: the message is not acceptable, or the fixed time is before that of the slot.
        IntegrityError: what is stored is damaged.
        Interrupted: the caller was cancelled.
    """
    located = references.locate(context.session, process, reference)
    with context.session() as store:
        pid = names.resolve(store, process)
        slot = history.resolve_slot(store, pid, located)
        pid = lineage.owner(store, pid, slot)
        is_newest = slot == scheduler.get_head(store, pid).slot
        before = schedules.get_assignment(store, pid, slot)
        definition = lineage.get_definition(store, pid)
    asked = _asked(message, pid, signer, sender)
    intake.check_origin(asked, definition)
    intake.check_size(dumps(asked), limit_bytes)
    assignment = _assignment(asked, pid, before, environment, is_newest=is_newest)

    results, state = context.run(lambda inner: try_at(inner, pid, slot, assignment))
    return Answer(pid, slot, message_id(asked), results, state)


def _asked(message: Message, process: str, signer: Key | None, sender: str | None) -> Message:
    """Return the message as it is asked: signed, or with a claim of its sender."""
    addressed = requests.addressed(message, process)
    if signer is not None:
        return sign(addressed, signer)
    name = message_id(addressed)
    return addressed if sender is None else {**addressed, COMMITMENTS_KEY: {name: {"committer": sender}}}


def _assignment(
    message: Message, process: str, before: Assignment, environment: Environment, *, is_newest: bool
) -> Message:
    """Return the unsigned assignment that the message would have after `before`."""
    head = scheduler.head_after(before)
    is_then = environment.timestamp_ms is None and not is_newest
    time_ms = head.timestamp_ms if is_then else scheduler.timestamp_after(head, environment)
    unsigned, _ = scheduler.unsigned_after(process, head, message_id(message), time_ms, environment)
    return {**unsigned, "body": message}
