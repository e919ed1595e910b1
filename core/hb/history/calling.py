"""A message tried at a slot of the past: what a process would answer to it, there and then.

The message takes no slot, and nothing is stored: the state is stood at in memory, and gone afterwards. It must never
schedule, nor write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.compute import transition
from hb.compute.standing import stand
from hb.history import references
from hb.history import views as history
from hb.protocol import request as requests
from hb.protocol.commitment import message_id, sign
from hb.protocol.coverage import COMMITMENTS_KEY
from hb.protocol.message import Message, dumps
from hb.records import lineage, names
from hb.schedule import intake, scheduler

if TYPE_CHECKING:
    from threading import Event

    from hb.compute.premises import Premises
    from hb.devices.device import Base
    from hb.environment import Environment
    from hb.protocol.commitment import Key


class Answer(NamedTuple):
    """What a process would answer: the results, and the public keys that it would have then.

    `slot` is the slot at whose state it was asked, and `message` the ID of the message, which no schedule has.
    """

    process: str
    slot: int
    message: str
    results: Message
    state: Message


def call(
    premises: Premises,
    process: str,
    reference: str | int,
    message: Message,
    *,
    environment: Environment,
    limit_bytes: int,
    signer: Key | None = None,
    sender: str | None = None,
) -> Answer:
    """What `message`, which nobody has signed, would be answered at the state of a slot.

    It is signed by `signer`, or says that it comes from the address `sender`, or from nobody. The assignment that it
    is given is the one after that slot's, unsigned. At the newest slot it says the time of `environment`; at one before
    it that slot's own time, unless the environment's is fixed. Slots up to there that are not computed are computed in
    memory; one that a fork shares is that of the process that it comes from. `limit_bytes` is the size that a message
    may have.

    Raises:
        NotFound: there is no such process or slot.
        Refused: the message cannot be sent, or the fixed time is before that of the slot.
        IntegrityError: what is stored is damaged.
        Interrupted: the user wants to stop.
    """
    from hb.wasm.engine import run_interruptibly

    located = references.locate(premises.open_store, process, reference)
    with premises.open_store() as store:
        pid = names.resolve(store, process)
        slot = history.resolve_slot(store, pid, located)
        pid = lineage.owner(store, pid, slot)
        is_newest = slot == scheduler.get_head(store, pid).slot
        before = scheduler.get_assignment(store, pid, slot)
        definition = lineage.get_definition(store, pid)
    asked = _asked(message, pid, signer, sender)
    intake.check_origin(asked, definition)
    intake.check_size(dumps(asked), limit_bytes)
    assignment = _assignment(asked, pid, before, environment, is_newest=is_newest)
    machine = premises.machine(None)

    def answer(stop: Event) -> Base:
        live = stand(premises, pid, slot, stop.is_set, machine=machine)
        return transition.compute_slot(live.base, assignment, machine)

    after = run_interruptibly(answer)
    return Answer(pid, slot, message_id(asked), after["results"], transition.public_state(after))


def _asked(message: Message, process: str, signer: Key | None, sender: str | None) -> Message:
    """The message as it is asked: signed, or with no more than a claim of whom it is from."""
    addressed = requests.addressed(message, process)
    if signer is not None:
        return sign(addressed, signer)
    name = message_id(addressed)
    return addressed if sender is None else {**addressed, COMMITMENTS_KEY: {name: {"committer": sender}}}


def _assignment(
    message: Message, process: str, before: Message, environment: Environment, *, is_newest: bool
) -> Message:
    """The assignment that the message would have after `before`; nobody signs it."""
    head = scheduler.head_after(before)
    is_then = environment.timestamp_ms is None and not is_newest
    time_ms = head.timestamp_ms if is_then else scheduler.timestamp_after(head, environment)
    unsigned, _ = scheduler.unsigned_after(process, head, message_id(message), time_ms, environment)
    return {**unsigned, "body": message}
