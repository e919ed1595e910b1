"""`scheduler@1.0`: gives each message of a process the next slot, without gaps, and chains them.

The caller holds a store. What is scheduled here is one atomic batch, synced before it is acknowledged.

Invariants:
    No module runs here.

Source: HyperBEAM's `dev_scheduler`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard, cast

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import assignment as assignments_
from hb.protocol import bounds
from hb.protocol.commitment import Encoded, Key, encoded, message_id, sign_around
from hb.protocol.message import Message, dumps
from hb.protocol.packing import pack, unpack
from hb.records import keys, lineage
from hb.records.cache import parse
from hb.storage.store import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hb.environment import Environment
    from hb.schedule.intake import Prepared


class Head(NamedTuple):
    """Where a schedule ends: its newest slot, the hash-chain up to it, and when it was assigned."""

    slot: int
    chain: bytes
    timestamp_ms: int

    def encode(self) -> bytes:
        """The head record."""
        return dumps({"hash-chain": ids.encode(self.chain), "slot": self.slot, "timestamp": self.timestamp_ms})


PART_BYTES = 8 << 20
"""Maximum bytes of messages that are signed and synced as one batch. One message may exceed it."""

NO_HEAD = Head(slot=-1, chain=b"", timestamp_ms=0)


class Scheduled(NamedTuple):
    """A message and its slot. `fresh` is False if the schedule had it already (a retry)."""

    process: str
    slot: int
    message: str
    assignment: str
    fresh: bool = True


def head_after(assignment: Message) -> Head:
    """Return where a schedule ends whose newest assignment is `assignment`.

    Raises:
        IntegrityError: a field of it is missing, of another type, or beyond its range.
    """
    check_assignment(assignment)
    slot, chain, timestamp_ms = (assignment[key] for key in ("slot", "hash-chain", "timestamp"))
    return Head(cast("int", slot), ids.decode(cast("str", chain)), cast("int", timestamp_ms))


def check_assignment(assignment: Message, process: str | None = None, slot: int | None = None) -> None:
    """Make sure that every field of an assignment is of its type and within its range.

    Raises:
        IntegrityError: one is not.
    """
    flaw = assignments_.find_flaw(assignment)
    if flaw is not None:
        what = f"the assignment's {flaw.key} is not what it must be"
        raise IntegrityError(what, process=process, slot=slot, expected=flaw.expected, got=flaw.got)


def find_head(store: Store, process: str) -> tuple[Head, bytes] | None:
    """Return the head of a process's schedule and its stored bytes, or None if there is no such process.

    Raises:
        IntegrityError: the stored bytes are no head record, or do not fit the stored schedule.
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


def _check_end(store: Store, process: str, slot: int, says: tuple[bytes, ...]) -> None:
    """Make sure that the newest assignment has this slot, and that its bytes contain what the head says.

    It is not parsed: it can be large, and every command asks for the head.
    """
    newest, raw = next(store.scan(*keys.assignments(process), reverse=True), (None, b""))
    if newest is None or keys.slot_of(newest) != slot or not all(text in raw for text in says):
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
    """Make sure that `key` is that of the process's scheduler, which `definition` names.

    Raises:
        Refused: it is not.
    """
    if definition["scheduler"] != key.address:
        raise Refused(f"process {process} is scheduled by {definition['scheduler']!r}, and this home has not that key")


def open_schedule(
    process: str, definition: Message, *, key: Key, environment: Environment, after: Head = NO_HEAD
) -> tuple[Batch, Scheduled, Message]:
    """Return the batch that opens the schedule of a new process, what it schedules, and that assignment.

    The first slot has the definition. `after` is where the schedule ends that a fork goes on from.

    Raises:
        Refused: the definition holds more than a message may.
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
    """Give each signed message its slot, in order, in one synced batch.

    A message that the schedule has already keeps its slot. `key` is the scheduler's.

    Raises:
        NotFound: there is no such process.
        Refused: the environment's timestamp is before that of the newest assignment.
    """
    found = find_head(store, process)
    if found is None:
        raise NotFound(f"no process {process} here")
    head, stored = found
    batch = Batch(expects={keys.head_key(process): stored}, sync=True)
    timestamp_ms = timestamp_after(head, environment)
    here: dict[str, Scheduled] = {}
    answers = []
    for message in messages:
        name = message_id(message.signed.message)
        answer = here.get(name) or (None if message.is_new else find_scheduled(store, process, name))
        if answer is None:
            assignment, head = _assign(process, head, message.signed, name, timestamp_ms, key, environment)
            answer = _put(batch, process, head, name, assignment, message.stored)
            here[name] = Scheduled(process, answer.slot, name, answer.assignment, fresh=False)
        answers.append(answer)
    if here:
        batch.puts[keys.head_key(process)] = head.encode()
        store.commit(batch)
    return answers


def parts(messages: Sequence[Prepared], most: int) -> Iterator[Sequence[Prepared]]:
    """Yield `messages` in parts that are scheduled at once: at most `most` messages and about `PART_BYTES` each."""
    start = size = 0
    for end, message in enumerate(messages, 1):
        size += len(message.stored)
        if end == len(messages) or end - start == most or size >= PART_BYTES:
            yield messages[start:end]
            start, size = end, 0


def find_message(store: Store, name: str) -> Message | None:
    """Return the message with the ID `name` from whichever schedule has it, or None.

    Raises:
        IntegrityError: the slot that it is said to have is another message's, or does not exist.
    """
    for key, raw in store.scan(*keys.message_slots(name)):
        return cast("Message", indexed(store, keys.process_of(key), name, raw)[1]["body"])
    return None


def find_slot(store: Store, process: str, name: str) -> int | None:
    """Return the slot of the message with the ID `name` in this process, or None.

    Raises:
        IntegrityError: the index names a slot that is another message's, or does not exist.
    """
    found = find_scheduled(store, process, name)
    return None if found is None else found.slot


def find_scheduled(store: Store, process: str, name: str) -> Scheduled | None:
    """Return what this process's schedule has under the message ID `name`, or None.

    Raises:
        IntegrityError: as `find_slot`.
    """
    raw = store.get(keys.message_slot_key(name, process))
    if raw is None:
        return None
    slot, assignment = indexed(store, process, name, raw)
    return Scheduled(process, slot, name, message_id(assignment), fresh=False)


def indexed(store: Store, process: str, name: str, raw: bytes) -> tuple[int, Message]:
    """Return the slot in the index entry `raw` of the message with the ID `name`, and that slot's assignment.

    Raises:
        IntegrityError: there is no such slot, or it is another message's.
    """
    try:
        slot = keys.decode_slot(raw)
    except ValueError as error:
        raise IntegrityError(f"the slot of message {name} is not readable ({error})", process=process) from error
    assignment = get_assignment(store, process, slot)
    has = message_id(cast("Message", assignment["body"]))
    if has != name:
        raise IntegrityError("this slot is another message's", process=process, slot=slot, expected=name, got=has)
    return slot, assignment


def get_assignment(store: Store, process: str, slot: int) -> Message:
    """Return the assignment of `slot`.

    Raises:
        IntegrityError: it is missing, or damaged, or another slot's.
    """
    raw = store.get(keys.assignment_key(process, slot))
    if raw is None:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=slot)
    return unpack(_read(raw, process, slot, lineage.segments(store, process)))


def assignments(store: Store, process: str, first: int, last: int) -> Iterator[Message]:
    """Yield the assignments of slots `first` to `last`, both included, in order, after checking their chain.

    They are as stored: `unpack` restores the rest. Their IDs and signed commitments are the same either way.

    Raises:
        IntegrityError: an assignment is missing, damaged, or another slot's.
    """
    return read_stretch(process, first, _stretch(store, process, first, last), lineage.segments(store, process))


def stretch(store: Store, process: str, first: int, last: int, most_bytes: int) -> list[bytes]:
    """Return the stored assignments from slot `first` to `last`, both included, or until they have `most_bytes`.

    Raises:
        IntegrityError: an assignment is missing.
    """
    raws = []
    for raw in _stretch(store, process, first, last):
        raws.append(raw)
        most_bytes -= len(raw)
        if most_bytes <= 0:
            break
    return raws


def read_stretch(process: str, first: int, raws: Iterable[bytes], line: lineage.Lineage = ()) -> Iterator[Message]:
    """Yield what `assignments` yields, from the stored bytes `raws` of the slots from `first` on.

    `line` is the process's lineage. It is needed if some of the slots are not its own.

    Raises:
        IntegrityError: an assignment is damaged, or another slot's.
    """
    chain = b""
    for slot, raw in enumerate(raws, first):
        assignment = _read(raw, process, slot, line)
        if chain:
            chain = assignments_.chain(chain, message_id(cast("Message", assignment["body"])))
            _check_chain(assignment, ids.encode(chain), process, slot)
        else:
            chain = ids.decode(cast("str", assignment["hash-chain"]))
        yield assignment


def _stretch(store: Store, process: str, first: int, last: int) -> Iterator[bytes]:
    expected = first
    for key, raw in store.scan(*keys.assignments(process, first, last)):
        if keys.slot_of(key) != expected:
            break
        yield raw
        expected += 1
    if expected <= last:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=expected)


def _check_chain(assignment: Message, expected: str, process: str, slot: int) -> None:
    got = assignment["hash-chain"]
    if got != expected:
        raise IntegrityError(
            "the hash-chain does not lead to this assignment", process=process, slot=slot, expected=expected, got=got
        )


def _read(raw: bytes, process: str, slot: int, line: lineage.Lineage) -> Message:
    assignment = parse(raw, "assignment", process, slot)
    named = assignment.get("process")
    # A slot that a fork shares belongs to a process that it comes from.
    if (named != process and named != lineage.owner_in(line, slot)) or assignment.get("slot") != slot:
        raise IntegrityError("the assignment stored here is not this slot's", process=process, slot=slot)
    check_assignment(assignment, process, slot)
    if not (_is_committed(assignment) and _is_committed(cast("Message", assignment["body"]))):
        raise IntegrityError("the assignment lacks what an assignment has", process=process, slot=slot)
    return assignment


def _is_committed(message: Message) -> bool:
    commitments = message.get("commitments")
    if isinstance(commitments, dict):
        for entry in commitments.values():
            if isinstance(entry, dict) and "committer" in entry:
                return True
    return False


def timestamp_after(head: Head, environment: Environment) -> int:
    """Return the timestamp of assignments after `head`: never before it.

    Raises:
        Refused: the environment's time is fixed, and before it.
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
    """Return the unsigned assignment after `head` of the message with the ID `name`, without it, and the new head."""
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
    """Put an assignment into the batch. It comes without its body; `body` has the stored bytes of that."""
    before, after = (
        {key: value for key, value in assignment.items() if (key < "body") is first} for first in (True, False)
    )
    record = b'%b,"body":%b,%b' % (dumps(before)[:-1], body, dumps(after)[1:])
    batch.puts[keys.assignment_key(process, head.slot)] = record
    batch.puts[keys.message_slot_key(name, process)] = keys.encode_slot(head.slot)
    return Scheduled(process, head.slot, name, message_id(assignment))
