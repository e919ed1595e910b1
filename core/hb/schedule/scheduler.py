"""`scheduler@1.0`: give each message of a process the next slot, sign its assignment, and read assignments back.

Slots have no gaps. The hash-chain links each assignment to all earlier ones. The caller holds an open store. The
assignments of one call are written in one atomic batch, which is synced before the call returns.

Invariants:
    No module runs here.

Source: HyperBEAM's `dev_scheduler`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import assignment as assignments_
from hb.protocol import bounds
from hb.protocol.commitment import Encoded, Key, encoded, message_id, sign_around
from hb.protocol.message import Message, dumps
from hb.records import keys, schedules
from hb.records.cache import parse
from hb.records.packing import pack
from hb.storage.store import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hb.environment import Environment
    from hb.protocol.assignment import Assignment
    from hb.schedule.intake import Prepared


class Head(NamedTuple):
    """Where a schedule ends: its newest slot, the hash-chain up to it, and when it was assigned."""

    slot: int
    chain: bytes
    timestamp_ms: int

    def encode(self) -> bytes:
        """Return the stored bytes of the head record."""
        return dumps({"hash-chain": ids.encode(self.chain), "slot": self.slot, "timestamp": self.timestamp_ms})


PART_BYTES = 8 << 20
"""Maximum bytes of messages that are signed and synced as one batch. One message may exceed it."""

NO_HEAD = Head(slot=-1, chain=b"", timestamp_ms=0)
"""The head of a schedule without any slot: slot 0 is next."""


class Scheduled(NamedTuple):
    """A scheduled message: the IDs of its process, of itself and of its assignment, and its slot.

    `fresh` is False if the schedule had the message already (a retry).
    """

    process: str
    slot: int
    message: str
    assignment: str
    fresh: bool = True


def head_after(assignment: Assignment) -> Head:
    """Return the head of a schedule whose newest assignment is `assignment`."""
    return Head(assignment.slot, ids.decode(assignment.hash_chain), assignment.timestamp_ms)


def find_head(store: Store, process: str) -> tuple[Head, bytes] | None:
    """Return the head of a process's schedule and its stored bytes, or None if there is no such process.

    Raises:
        IntegrityError: the stored bytes are not a head record, or contradict the newest assignment. Or the head is
            missing, but the definition is stored.
    """
    raw = store.get(keys.head_key(process))
    if raw is None:
        if store.get(keys.definition_key(process)) is not None:
            raise IntegrityError("the schedule's head is gone", process=process)
        return None
    fields = parse(raw, "schedule's head", process, None)
    slot, chain, timestamp_ms = fields.get("slot"), fields.get("hash-chain"), fields.get("timestamp")
    if not (_is_number(slot) and isinstance(chain, str) and ids.is_digest(chain) and _is_number(timestamp_ms)):
        raise IntegrityError("the schedule's head lacks what a head has", process=process)
    _check_end(store, process, slot, (b'"hash-chain":"%s"' % chain.encode(), b'"timestamp":%d' % timestamp_ms))
    return Head(slot, ids.decode(chain), timestamp_ms), raw


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= assignments_.MAX_NUMBER


def _check_end(store: Store, process: str, slot: int, texts: tuple[bytes, ...]) -> None:
    """Make sure that the newest stored assignment has `slot`, and that its bytes contain every one of `texts`.

    The assignment is not parsed, because it can be large and every command reads the head.
    """
    newest, raw = next(store.scan(*keys.assignments(process), reverse=True), (None, b""))
    if newest is None or keys.slot_of(newest) != slot or not all(text in raw for text in texts):
        got = "none" if newest is None else f"one at slot {keys.slot_of(newest)}"
        raise IntegrityError(
            "the schedule's head and its newest assignment do not fit together",
            process=process,
            expected=f"one at slot {slot} with the head's chain and timestamp",
            got=got,
        )


def processes(store: Store) -> list[str]:
    """Return every process ID with a head or a definition, including processes that lack one of them."""
    halves = (keys.heads(), keys.definitions())
    return sorted({keys.text_of(key) for half in halves for key, _ in store.scan(*half)})


def get_head(store: Store, process: str) -> Head:
    """Return the head of a process's schedule.

    Raises:
        NotFound: there is no such process.
    """
    found = find_head(store, process)
    if found is None:
        raise NotFound(f"no process {process} here")
    return found[0]


def check_scheduler(definition: Message, process: str, key: Key) -> None:
    """Make sure that `key` is the key of the scheduler that a process's `definition` names.

    Raises:
        Refused: it is not.
    """
    if definition["scheduler"] != key.address:
        raise Refused(f"process {process} is scheduled by {definition['scheduler']!r}, and this home has not that key")


def open_schedule(
    process: str, definition: Message, *, key: Key, environment: Environment, after: Head = NO_HEAD
) -> tuple[Batch, Scheduled, Message]:
    """Return a batch that schedules the definition of a new process, its `Scheduled`, and its assignment.

    The definition gets the process's first own slot. The batch is not committed here. For a fork, `after` is the head
    of the shared part of the schedule.

    Raises:
        Refused: the definition has more values, or is nested deeper, than a message may be; or as `timestamp_after`.
    """
    stored = dumps(pack(definition))
    bounds.check(stored, "a definition", values=bounds.MESSAGE_VALUES, depth=2 * bounds.MAX_DEPTH)
    batch = Batch(expects={keys.head_key(process): None}, sync=True)
    name, timestamp_ms = message_id(definition), timestamp_after(after, environment)
    assignment, head = _assign(process, after, encoded(definition), name, timestamp_ms, key, environment)
    scheduled = _put(batch, process, head, name, assignment, stored)
    batch.puts[keys.head_key(process)] = head.encode()
    return batch, scheduled, assignment


def schedule(
    store: Store, process: str, messages: Sequence[Prepared], *, key: Key, environment: Environment
) -> list[Scheduled]:
    """Give each signed message its slot, in order, in one synced batch. Return one `Scheduled` for each message.

    A message that the schedule already has keeps its slot. `key` is the scheduler's.

    Raises:
        NotFound: there is no such process.
        Refused: the environment's timestamp is before that of the newest assignment.
    """
    batch = Batch(sync=True)
    answers = put_all(store, batch, process, messages, key=key, environment=environment)
    if batch.puts:
        store.commit(batch)
    return answers


def put_all(
    store: Store, batch: Batch, process: str, messages: Sequence[Prepared], *, key: Key, environment: Environment
) -> list[Scheduled]:
    """Do what `schedule` does, but only put it into `batch`, for a caller that commits more with it.

    Raises:
        NotFound, Refused: as `schedule`.
    """
    found = find_head(store, process)
    if found is None:
        raise NotFound(f"no process {process} here")
    head, stored = found
    timestamp_ms = timestamp_after(head, environment)
    here: dict[str, Scheduled] = {}
    answers = []
    known = _find_slots(store, process, [message_id(each.signed.message) for each in messages if not each.is_new])
    for message in messages:
        name = message_id(message.signed.message)
        answer = here.get(name) or (find_scheduled(store, process, name) if name in known else None)
        if answer is None:
            assignment, head = _assign(process, head, message.signed, name, timestamp_ms, key, environment)
            answer = _put(batch, process, head, name, assignment, message.stored)
            here[name] = Scheduled(process, answer.slot, name, answer.assignment, fresh=False)
        answers.append(answer)
    if here:
        batch.puts[keys.head_key(process)] = head.encode()
        batch.expects[keys.head_key(process)] = stored
    return answers


def _find_slots(store: Store, process: str, messages: list[str]) -> set[str]:
    """Return those of the message IDs that the schedule has already."""
    raws = store.get_many([keys.message_slot_key(name, process) for name in messages]) if messages else []
    return {name for name, raw in zip(messages, raws, strict=True) if raw is not None}


def parts(messages: Sequence[Prepared], most: int) -> Iterator[Sequence[Prepared]]:
    """Yield `messages` in parts. Each part has at most `most` messages, and ends when it has `PART_BYTES` or more."""
    start = size = 0
    for end, message in enumerate(messages, 1):
        size += len(message.stored)
        if end == len(messages) or end - start == most or size >= PART_BYTES:
            yield messages[start:end]
            start, size = end, 0


def find_message(store: Store, name: str) -> Message | None:
    """Return the message with the ID `name` from whichever schedule has it, or None.

    Raises:
        IntegrityError: the index names a slot that has another message, or does not exist.
    """
    for key, raw in store.scan(*keys.message_slots(name)):
        return indexed(store, keys.process_of(key), name, raw).body
    return None


def find_slot(store: Store, process: str, name: str) -> int | None:
    """Return the slot of the message with the ID `name` in this process, or None.

    Raises:
        IntegrityError: the index names a slot that has another message, or does not exist.
    """
    found = find_scheduled(store, process, name)
    return None if found is None else found.slot


def find_scheduled(store: Store, process: str, name: str) -> Scheduled | None:
    """Return the `Scheduled` of the message with the ID `name` in this process, or None.

    Raises:
        IntegrityError: as `find_slot`.
    """
    raw = store.get(keys.message_slot_key(name, process))
    if raw is None:
        return None
    assignment = indexed(store, process, name, raw)
    return Scheduled(process, assignment.slot, name, message_id(assignment.message), fresh=False)


def indexed(store: Store, process: str, name: str, raw: bytes) -> Assignment:
    """Return the assignment that the index entry `raw` of the message with the ID `name` leads to.

    Raises:
        IntegrityError: the slot does not exist, or it has another message.
    """
    try:
        slot = keys.decode_slot(raw)
    except ValueError as error:
        raise IntegrityError(f"the slot of message {name} is not readable ({error})", process=process) from error
    assignment = schedules.get_assignment(store, process, slot)
    has = message_id(assignment.body)
    if has != name:
        raise IntegrityError("this slot is another message's", process=process, slot=slot, expected=name, got=has)
    return assignment


def timestamp_after(head: Head, environment: Environment) -> int:
    """Return the timestamp, in milliseconds, for assignments after `head`. It is never earlier than the head's.

    Raises:
        Refused: the environment has a fixed time, and it is earlier.
    """
    if environment.timestamp_ms is None:
        return max(environment.now_ms(), head.timestamp_ms)
    if environment.timestamp_ms < head.timestamp_ms:
        raise Refused(
            f"timestamps never run backwards: slot {head.slot}'s is {head.timestamp_ms} ms, "
            f"this one's would be {environment.timestamp_ms} ms"
        )
    return environment.timestamp_ms


def unsigned_after(
    process: str, head: Head, name: str, timestamp_ms: int, environment: Environment
) -> tuple[Message, Head]:
    """Return the assignment that gives the message `name` the slot after `head`, and the new head.

    The assignment has no body and is not signed.
    """
    after = Head(head.slot + 1, assignments_.chain(head.chain, name), timestamp_ms)
    unsigned = assignments_.build(
        process=process,
        slot=after.slot,
        chain=after.chain,
        timestamp_ms=timestamp_ms,
        block_height=environment.block_height,
        block_hash=environment.block_hash,
    )
    return unsigned, after


def _assign(
    process: str, head: Head, message: Encoded, name: str, timestamp_ms: int, key: Key, environment: Environment
) -> tuple[Message, Head]:
    unsigned, after = unsigned_after(process, head, name, timestamp_ms, environment)
    return sign_around(unsigned, message, key), after


def _put(batch: Batch, process: str, head: Head, name: str, assignment: Message, body: bytes) -> Scheduled:
    """Put an assignment, and the index entry of its message, into the batch.

    `assignment` has no body. `body` has the stored bytes of the message.
    """
    before, after = (
        {key: value for key, value in assignment.items() if (key < "body") is first} for first in (True, False)
    )
    record = b'%b,"body":%b,%b' % (dumps(before)[:-1], body, dumps(after)[1:])
    batch.puts[keys.assignment_key(process, head.slot)] = record
    batch.puts[keys.message_slot_key(name, process)] = keys.encode_slot(head.slot)
    return Scheduled(process, head.slot, name, message_id(assignment))
