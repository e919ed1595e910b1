"""The assignments of a schedule, as they are stored: without a gap, and chained to each other.

Invariants:
    Nothing is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError
from hb.protocol import assignment as assignments_
from hb.protocol.assignment import Assignment
from hb.protocol.commitment import message_id
from hb.records import keys, lineage
from hb.records.cache import parse
from hb.records.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb.protocol.message import Message
    from hb.storage.store import Store


def get_assignment(store: Store, process: str, slot: int) -> Assignment:
    """Return the assignment of `slot`.

    Raises:
        IntegrityError: it is missing, or damaged, or another slot's.
    """
    raw = store.get(keys.assignment_key(process, slot))
    if raw is None:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=slot)
    stored = _parse_assignment(raw, process, slot, lineage.segments(store, process))
    return Assignment.checked(unpack(stored.message))


def assignments(store: Store, process: str, first: int, last: int) -> Iterator[Assignment]:
    """Yield the assignments of slots `first` to `last`, both included, in order. Check that they are chained.

    They have their stored form; `unpack` restores the full one. IDs and signed commitments are the same in both.

    Raises:
        IntegrityError: an assignment is missing, damaged, or another slot's.
    """
    return read_stretch(process, first, _scan_stored(store, process, first, last), lineage.segments(store, process))


def stretch(store: Store, process: str, first: int, last: int, most_bytes: int) -> list[bytes]:
    """Return the stored assignments from slot `first` to `last`, both included, in order. Stop once they have
    `most_bytes` in all.

    Raises:
        IntegrityError: an assignment is missing.
    """
    raws = []
    for raw in _scan_stored(store, process, first, last):
        raws.append(raw)
        most_bytes -= len(raw)
        if most_bytes <= 0:
            break
    return raws


def read_stretch(process: str, first: int, raws: Iterable[bytes], line: lineage.Lineage = ()) -> Iterator[Assignment]:
    """Yield what `assignments` yields, from the stored bytes `raws` of the slots from `first` on.

    `line` is the process's lineage. It is needed if some of the slots are not its own.

    Raises:
        IntegrityError: an assignment is damaged, or another slot's.
    """
    chain = b""
    for slot, raw in enumerate(raws, first):
        assignment = _parse_assignment(raw, process, slot, line)
        if chain:
            chain = assignments_.chain(chain, message_id(assignment.body))
            _check_chain(assignment, ids.encode(chain), process, slot)
        else:
            chain = ids.decode(assignment.hash_chain)
        yield assignment


def _scan_stored(store: Store, process: str, first: int, last: int) -> Iterator[bytes]:
    """Yield the stored assignments of slots `first` to `last`, and make sure that none is missing."""
    expected = first
    for key, raw in store.scan(*keys.assignments(process, first, last)):
        if keys.slot_of(key) != expected:
            break
        yield raw
        expected += 1
    if expected <= last:
        raise IntegrityError("an assignment is gone from the schedule", process=process, slot=expected)


def _check_chain(assignment: Assignment, expected: str, process: str, slot: int) -> None:
    if assignment.hash_chain != expected:
        raise IntegrityError(
            "the hash-chain does not lead to this assignment",
            process=process,
            slot=slot,
            expected=expected,
            got=assignment.hash_chain,
        )


def _parse_assignment(raw: bytes, process: str, slot: int, line: lineage.Lineage) -> Assignment:
    """Parse the stored bytes of the assignment of `slot`, and check that it is that slot's."""
    message = parse(raw, "assignment", process, slot)
    named = message.get("process")
    # The assignment of a shared slot names the ancestor that owns it, not the fork.
    if (named != process and named != lineage.owner_in(line, slot)) or message.get("slot") != slot:
        raise IntegrityError("the assignment stored here is not this slot's", process=process, slot=slot)
    assignment = parse_assignment(message, process, slot)
    if not (_is_committed(message) and _is_committed(assignment.body)):
        raise IntegrityError("the assignment lacks what an assignment has", process=process, slot=slot)
    return assignment


def _is_committed(message: Message) -> bool:
    """Return whether a message has a commitment with a committer. Nothing is verified."""
    commitments = message.get("commitments")
    if isinstance(commitments, dict):
        for entry in commitments.values():
            if isinstance(entry, dict) and "committer" in entry:
                return True
    return False


def parse_assignment(message: Message, process: str | None = None, slot: int | None = None) -> Assignment:
    """Return the assignment that a stored message is. `process` and `slot` say in the error where it was stored.

    Raises:
        IntegrityError: a field is missing, of another type, or beyond its range.
    """
    flaw = assignments_.find_flaw(message)
    if flaw is not None:
        what = f"the assignment's {flaw.key} is not what it must be"
        raise IntegrityError(what, process=process, slot=slot, expected=flaw.expected, got=flaw.got)
    return Assignment.checked(message)
