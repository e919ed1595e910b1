"""Check a slot record against its neighbours whenever one is read.

LevelDB's checksums notice what a disk does to a record. A record that somebody replaced is noticed here, as far as a
few reads can tell:

- It must name its own slot.
- The record after it must name its digest. The newest record must name the digest of the record before it, continue
  that record's hashpath, and belong to the stored assignment.
- Its memory image must have the digest that it names.

Only computing again can check the results and the state of the newest slot, because nothing else names them.

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
        IntegrityError: it is not a record, or it contradicts its neighbours.
    """
    raw = cache.read_bytes(store, process, slot)
    if raw is None:
        return None
    record = _parse(raw, process, slot)
    after = cache.read_bytes(store, process, slot + 1) if slot < keys.LAST_SLOT else None
    if after is not None:
        _check_link(raw, _parse(after, process, slot + 1), process)
    else:
        _check_origin(store, record, process)
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
    """Make sure that a record belongs to the assignment `name`. `every` is the ID that its hashpath must end with.

    Raises:
        IntegrityError: it belongs to another.
    """
    _check_named(record, "assignment", name, record.assignment, process)
    ending = record.hashpath.rpartition("/")[2]
    _check_named(record, "hashpath", every, ending, process)


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
    _check_named(record, "record before", ids.digest(before), record.previous, process)


def _check_origin(store: Store, record: SlotRecord, process: str) -> None:
    slot = record.slot
    before = cache.read_bytes(store, process, slot - 1) if slot else None
    if before is not None:
        _check_link(before, record, process)
        _check_hashpath(_parse(before, process, slot - 1), record, process)
    elif not slot:
        _check_named(record, "record before", "", record.previous, process)
    # Not parsed: it can be large, and what is looked for stands in its bytes.
    assignment = store.get(keys.assignment_key(process, slot)) or b""
    if b'"%s":{' % record.assignment.encode() not in assignment:
        raise _unfit(record, "assignment", None, record.assignment, process)


def _check_hashpath(before: SlotRecord, record: SlotRecord, process: str) -> None:
    part = record.hashpath.rpartition("/")[2]
    try:
        expected = hashpaths.step_id(before.hashpath, part)
    except Refused as error:
        raise _unfit(record, "hashpath before", error.message, record.hashpath, process) from error
    _check_named(record, "hashpath before", expected, record.hashpath, process)


def _check_image(store: Store, record: SlotRecord, process: str) -> None:
    if record.image is not None:
        image = store.get(keys.memory_image_key(process, record.slot))
        if image is not None:
            _check_named(record, "memory image", ids.digest(image), record.image, process)


def _check_named(record: SlotRecord, what: str, expected: object, got: object, process: str) -> None:
    if expected != got:
        raise _unfit(record, what, expected, got, process)


def _unfit(record: SlotRecord, what: str, expected: object, got: object, process: str) -> IntegrityError:
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
