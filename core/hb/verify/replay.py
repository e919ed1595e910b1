"""A process run again from its definition, and what comes of it compared with what is stored.

The records that are stored are believed in nothing here; the schedule is, for `verify` has checked it. It must never
write anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.compute import fresh
from hb.compute.comparison import differences
from hb.errors import BeyondThisMachine, HbError, Refused
from hb.protocol.message import Message, Value, dumps, loads_message
from hb.records import cache, keys
from hb.verify.evidence import REPLAY, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hb.compute.worker import Computed, StoredImage, Worker
    from hb.devices.device import Machine
    from hb.storage.store import OpenStore, Store
    from hb.verify.evidence import OnSlot

WINDOW_SLOTS = 100
_SHOWN = 300
_OUTCOME = ("results", "state")
_REST = ("changed", "image", "hashpath", "assignment", "slot", "engine")


def replay(
    open_store: OpenStore,
    process: str,
    last: int,
    machine: Machine,
    *,
    on_slot: OnSlot,
) -> Finding | None:
    """The first slot up to `last` that comes out otherwise than it is stored, and in what; None if there is none.

    Raises:
        Interrupted: the user wants to stop.
        IntegrityError: the schedule, or a definition, cannot be read.
    """
    stored: dict[int, tuple[bytes, bytes | None]] = {}
    known = -1
    try:
        for live, computed in fresh.run(open_store, process, last, machine):
            if computed.slot > known:
                known = min(last, known + WINDOW_SLOTS)
                with open_store() as store:
                    stored = _stored(store, process, computed.slot, known)
            finding = compare(live, computed, stored.get(computed.slot))
            on_slot(computed.slot, last)
            if finding is not None:
                return finding
    except BeyondThisMachine:
        raise  # it says nothing about what is stored
    except Refused as error:
        return Finding(process, 0, REPLAY, "a module that runs", error.message)
    return None


def _stored(store: Store, process: str, first: int, last: int) -> dict[int, tuple[bytes, bytes | None]]:
    """The record and the memory image of the slots that have a record."""
    images = {keys.slot_of(key): raw for key, raw in store.scan(*keys.memory_images(process, first, last))}
    records = {keys.slot_of(key): raw for key, raw in store.scan(*keys.slot_records(process, first, last))}
    return {slot: (raw, images.get(slot)) for slot, raw in records.items()}


def compare(live: Worker, computed: Computed, stored: tuple[bytes, bytes | None] | None) -> Finding | None:
    """In what a slot that was computed again differs from its stored record and memory image; None if in nothing."""
    if stored is None:
        return None
    raw, image = stored
    finding = None if raw == computed.record else _record_difference(live.process, computed, raw, _OUTCOME)
    if finding is None and image is not None:
        again = computed.image or live.make_image()
        finding = None if again.record == image else _image_difference(live.process, again, image)
    if finding is None and raw != computed.record:
        finding = _record_difference(live.process, computed, raw, _REST)
    return finding


def _record_difference(process: str, computed: Computed, raw: bytes, compared: tuple[str, ...]) -> Finding | None:
    expected = loads_message(computed.record)
    try:
        got = loads_message(raw)
    except Refused as error:
        return Finding(process, computed.slot, f"{REPLAY}: slot record", "a record", error.message)
    engine, stored_engine = expected["engine"], got.get("engine")
    note = ""
    if engine != stored_engine:
        # Gas of unequal engines is not equal, and nobody said that it is.
        expected, got = _without_gas(expected), _without_gas(got)
        note = f" (computed by {_shown(stored_engine)}, run again by {_shown(engine)})"
    for key in compared:
        path, wanted, had = _first_difference(expected.get(key), got.get(key), key)
        if path and key != "engine":
            return Finding(process, computed.slot, f"{REPLAY}: {path}{note}", wanted, had)
    return None


def reach(open_store: OpenStore, process: str, findings: Iterable[Finding]) -> int | None:
    """The newest computed slot that can be run to again, past none of the schedule's `findings`; None if none can."""
    damaged = [finding.slot for finding in findings if not finding.is_derived]
    if None in damaged:
        return None
    with open_store() as store:
        newest = cache.latest(store, process)
    if newest is None:
        return None
    last = min([newest, *(slot - 1 for slot in damaged if slot is not None)])
    return last if last >= 0 else None


def _without_gas(record: Message) -> Message:
    results = record.get("results")
    if not isinstance(results, dict):
        return record
    return {**record, "results": {key: value for key, value in results.items() if key != "gas"}}


def _first_difference(expected: Value, got: Value, path: str) -> tuple[str, str, str]:
    """Where two values differ first, as a path, and both there; the path is empty where they do not."""
    found = next(differences(expected, got, path), None)
    return ("", "", "") if found is None else (found.path, _shown(found.before), _shown(found.after))


def _shown(value: Value) -> str:
    text = "nothing" if value is None else dumps(value).decode()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _image_difference(process: str, again: StoredImage, image: bytes) -> Finding:
    what = f"{REPLAY}: memory image"
    try:
        expected = cache.parse_image(again.record, process, again.slot)
        got = cache.parse_image(image, process, again.slot)
    except HbError:
        return Finding(process, again.slot, what, ids.digest(again.record), ids.digest(image))
    if expected.pages != got.pages:
        return Finding(process, again.slot, what, f"{expected.pages} pages", f"{got.pages} pages")
    for page in range(expected.pages):
        one, other = expected.held.get(page, "zeros"), got.held.get(page, "zeros")
        if one != other:
            return Finding(process, again.slot, f"{what}, page {page}", one, other)
    for number, (wanted, had) in enumerate(zip(expected.globals, got.globals, strict=False)):
        if wanted != had:
            return Finding(process, again.slot, f"{what}, global {number}", str(wanted), str(had))
    return Finding(process, again.slot, what, ids.digest(again.record), ids.digest(image))
