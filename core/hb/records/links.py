"""Read slot records, and check each against the records beside it.

LevelDB's checksums find damage by a disk. The checks here find a record that somebody replaced, at the cost of a few
reads:

- A record must name its own slot.
- The record after it must name its digest.
- The newest record has no record after it. It must name the digest of the record before it, continue that record's
  hashpath, and belong to the stored assignment.
- The memory image must have the digest that the record names.

These checks do not cover the results and the state of the newest slot. Only computing the slot again does.

Invariants:
    No module runs here.
    Nothing is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.protocol import hashpath as hashpaths
from hb.records import cache, keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.records.cache import SlotRecord
    from hb.storage.store import Store


def read(store: Store, process: str, slot: int) -> SlotRecord | None:
    """Return the record of `slot`, or None if the slot is not computed.

    Raises:
        IntegrityError: the stored bytes are not a record, or the record contradicts what is stored beside it.
    """
    raw = cache.read_bytes(store, process, slot)
    if raw is None:
        return None
    record = _parse(raw, process, slot)
    after = cache.read_bytes(store, process, slot + 1) if slot < keys.LAST_SLOT else None
    if after is not None:
        _check_link(raw, _parse(after, process, slot + 1), process)
    else:
        _check_newest(store, record, process)
    _check_image(store, record, process)
    return record


def records(store: Store, process: str, first: int, last: int) -> Iterator[SlotRecord]:
    """Yield the records of slots `first` to `last`, both included, in order. Slots that are not computed are left out.

    Raises:
        IntegrityError: as `read`.
    """
    before: tuple[int, bytes] | None = None
    for key, raw in store.scan(*keys.slot_records(process, max(first - 1, 0), min(last + 1, keys.LAST_SLOT))):
        slot = keys.slot_of(key)
        record = _parse(raw, process, slot)
        if before is not None and before[0] == slot - 1:
            _check_link(before[1], record, process)
        before = slot, raw
        if first <= slot <= last:
            yield record


def check_assignment(record: SlotRecord, name: str, every: str, process: str) -> None:
    """Make sure that a record belongs to the assignment with the ID `name`. Its hashpath must end with the ID `every`.

    Raises:
        IntegrityError: it belongs to another assignment.
    """
    _check_equal(record, "assignment", name, record.assignment, process)
    ending = record.hashpath.rpartition("/")[2]
    _check_equal(record, "hashpath", every, ending, process)


def _parse(raw: bytes, process: str, slot: int) -> SlotRecord:
    record = cache.parse_record(raw, process, slot)
    if record.slot != slot:
        raise IntegrityError(
            "the slot record stored here is another slot's",
            process=process,
            slot=slot,
            expected=slot,
            got=record.slot,
            hint=_hint(process),
        )
    return record


def _check_link(before: bytes, record: SlotRecord, process: str) -> None:
    """Make sure that a record names the digest of the record before it, which has the stored bytes `before`."""
    _check_equal(record, "record before", ids.digest(before), record.previous, process)


def _check_newest(store: Store, record: SlotRecord, process: str) -> None:
    """Check a record that has no record after it against the record before it and its assignment."""
    slot = record.slot
    before = cache.read_bytes(store, process, slot - 1) if slot else None
    if before is not None:
        _check_link(before, record, process)
        _check_hashpath(_parse(before, process, slot - 1), record, process)
    elif not slot:
        _check_equal(record, "record before", "", record.previous, process)
    # The assignment is not parsed, because it can be large. Its bytes contain its ID.
    assignment = store.get(keys.assignment_key(process, slot)) or b""
    if b'"%s":{' % record.assignment.encode() not in assignment:
        raise _contradiction(record, "assignment", None, record.assignment, process)


def _check_hashpath(before: SlotRecord, record: SlotRecord, process: str) -> None:
    """Make sure that a record's hashpath continues that of the record before it."""
    part = record.hashpath.rpartition("/")[2]
    try:
        expected = hashpaths.step_id(before.hashpath, part)
    except Refused as error:
        raise _contradiction(record, "hashpath before", error.message, record.hashpath, process) from error
    _check_equal(record, "hashpath before", expected, record.hashpath, process)


def _check_image(store: Store, record: SlotRecord, process: str) -> None:
    """Make sure that a stored memory image has the digest that its record names."""
    if record.image is not None:
        image = store.get(keys.memory_image_key(process, record.slot))
        if image is not None:
            _check_equal(record, "memory image", ids.digest(image), record.image, process)


def _check_equal(record: SlotRecord, what: str, expected: object, got: object, process: str) -> None:
    if expected != got:
        raise _contradiction(record, what, expected, got, process)


def _contradiction(record: SlotRecord, what: str, expected: object, got: object, process: str) -> IntegrityError:
    return IntegrityError(
        f"the slot record and its {what} do not fit together",
        process=process,
        slot=record.slot,
        expected=expected,
        got=got,
        hint=_hint(process),
    )


def _hint(process: str) -> str:
    return f"`hb verify {process}` tells what is damaged"
