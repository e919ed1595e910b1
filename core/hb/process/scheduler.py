"""`scheduler@1.0`: gives each message of a process the next slot, without gaps, and chains them.

Whoever calls holds a store; what is scheduled here is one atomic batch, synced before it is acknowledged. It must
never run a module.

Source: HyperBEAM's `dev_scheduler`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.process.cache import parse
from hb.protocol import assignment as assignments_
from hb.protocol.commitment import Key, message_id, pack, sign, unpack
from hb.protocol.message import Message, dumps
from hb.store import keys
from hb.store.store import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hb.environment import Environment


class Head(NamedTuple):
    """Where a schedule ends: its newest slot, the hash-chain up to it, and when it was assigned."""

    slot: int
    chain: bytes
    timestamp_ms: int

    def encode(self) -> bytes:
        """The head record."""
        return dumps({"hash-chain": ids.encode(self.chain), "slot": self.slot, "timestamp": self.timestamp_ms})


NO_HEAD = Head(slot=-1, chain=b"", timestamp_ms=0)


class Scheduled(NamedTuple):
    """A message and the slot it has. `fresh` is False where the schedule had it already (a retry)."""

    process: str
    slot: int
    message: str
    assignment: str
    fresh: bool = True


def find_head(store: Store, process: str) -> tuple[Head, bytes] | None:
    """The head of a process's schedule and its stored bytes, or None where there is no such process.

    Raises:
        IntegrityError: the stored bytes are no head record.
    """
    raw = store.get(keys.head_key(process))
    if raw is None:
        return None
    fields = parse(raw, "schedule's head", process, None)
    slot, chain, timestamp_ms = fields.get("slot"), fields.get("hash-chain"), fields.get("timestamp")
    if not (isinstance(slot, int) and isinstance(chain, str) and ids.is_id(chain) and isinstance(timestamp_ms, int)):
        raise IntegrityError("the schedule's head lacks what a head has", process=process)
    return Head(slot, ids.decode(chain), timestamp_ms), raw


def get_head(store: Store, process: str) -> Head:
    """The head of a process's schedule.

    Raises:
        NotFound: there is no such process.
    """
    found = find_head(store, process)
    if found is None:
        raise NotFound(f"no process {process} here")
    return found[0]


def get_definition(store: Store, process: str) -> Message:
    """The definition of a process.

    Raises:
        NotFound: there is no such process.
        IntegrityError: the stored bytes are no definition.
    """
    raw = store.get(keys.definition_key(process))
    if raw is None:
        raise NotFound(f"no process {process} here")
    return parse(raw, "definition", process, None)


def open_schedule(
    process: str, definition: Message, *, key: Key, environment: Environment
) -> tuple[Batch, Scheduled, Message]:
    """The batch that opens the schedule of a new process with its definition in slot 0, and that assignment."""
    batch = Batch(expects={keys.head_key(process): None}, sync=True)
    timestamp_ms = _timestamp(NO_HEAD, environment)
    assignment, head = _assign(process, NO_HEAD, definition, message_id(definition), timestamp_ms, key, environment)
    scheduled = _put(batch, process, head, message_id(definition), assignment)
    batch.puts[keys.head_key(process)] = head.encode()
    return batch, scheduled, assignment


def schedule(
    store: Store, process: str, messages: Sequence[Message], *, key: Key, environment: Environment
) -> list[Scheduled]:
    """Gives each signed message of `messages` its slot, in order, in one synced batch.

    A message that the schedule already has keeps the slot it has. `key` is the scheduler's.

    Raises:
        NotFound: there is no such process.
        Refused: the environment's timestamp is before that of the newest assignment.
    """
    found = find_head(store, process)
    if found is None:
        raise NotFound(f"no process {process} here")
    head, stored = found
    batch = Batch(expects={keys.head_key(process): stored}, sync=True)
    timestamp_ms = _timestamp(head, environment)
    here: dict[str, Scheduled] = {}
    answers = []
    for message in messages:
        name = message_id(message)
        answer = here.get(name) or find_scheduled(store, process, name)
        if answer is None:
            assignment, head = _assign(process, head, message, name, timestamp_ms, key, environment)
            answer = _put(batch, process, head, name, assignment)
            here[name] = Scheduled(process, answer.slot, name, answer.assignment, fresh=False)
        answers.append(answer)
    if here:
        batch.puts[keys.head_key(process)] = head.encode()
        store.commit(batch)
    return answers


def find_slot(store: Store, process: str, name: str) -> int | None:
    """The slot that the message with the ID `name` has in this process, or None."""
    raw = store.get(keys.message_slot_key(name, process))
    return None if raw is None else keys.decode_slot(raw)


def find_scheduled(store: Store, process: str, name: str) -> Scheduled | None:
    """What this process's schedule has under the message ID `name`, or None."""
    slot = find_slot(store, process, name)
    if slot is None:
        return None
    return Scheduled(process, slot, name, message_id(get_assignment(store, process, slot)), fresh=False)


def get_assignment(store: Store, process: str, slot: int) -> Message:
    """The assignment of `slot`.

    Raises:
        IntegrityError: the schedule should have it and has not, or has another there.
    """
    raw = store.get(keys.assignment_key(process, slot))
    if raw is None:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=slot)
    return _read(raw, process, slot)


def assignments(store: Store, process: str, first: int, last: int) -> Iterator[Message]:
    """The assignments of slots `first` to `last`, both included, in order and without a gap.

    Raises:
        IntegrityError: a slot between them has no assignment, or bytes that are none.
    """
    expected = first
    for key, raw in store.scan(*keys.assignments(process, first, last)):
        if keys.slot_of(key) != expected:
            raise IntegrityError("an assignment is gone from the schedule", process=process, slot=expected)
        yield _read(raw, process, expected)
        expected += 1
    if expected <= last:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=expected)


def _read(raw: bytes, process: str, slot: int) -> Message:
    assignment = unpack(parse(raw, "assignment", process, slot))
    if (
        assignment.get("process") != process
        or assignment.get("slot") != slot
        or not isinstance(assignment.get("body"), dict)
    ):
        raise IntegrityError("the assignment stored here is not this slot's", process=process, slot=slot)
    return assignment


def _timestamp(head: Head, environment: Environment) -> int:
    """What assignments after `head` say of the time: never a time before it."""
    if environment.timestamp_ms is None:
        return max(environment.now_ms(), head.timestamp_ms)
    if environment.timestamp_ms < head.timestamp_ms:
        raise Refused(
            f"timestamps never run backwards: the newest assignment's is {head.timestamp_ms} ms, "
            f"this one's would be {environment.timestamp_ms} ms"
        )
    return environment.timestamp_ms


def _assign(
    process: str, head: Head, message: Message, name: str, timestamp_ms: int, key: Key, environment: Environment
) -> tuple[Message, Head]:
    after = Head(head.slot + 1, assignments_.chain(head.chain, name), timestamp_ms)
    unsigned = assignments_.build(
        process=process,
        slot=after.slot,
        message=message,
        chain=after.chain,
        timestamp_ms=timestamp_ms,
        block_height=environment.block_height,
        block_hash=environment.block_hash,
    )
    return sign(unsigned, key), after


def _put(batch: Batch, process: str, head: Head, name: str, assignment: Message) -> Scheduled:
    batch.puts[keys.assignment_key(process, head.slot)] = dumps(pack(assignment))
    batch.puts[keys.message_slot_key(name, process)] = keys.encode_slot(head.slot)
    return Scheduled(process, head.slot, name, message_id(assignment))
