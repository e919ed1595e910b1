"""Run a process again from its definition, and compare what comes of it with what is stored.

Stored records are not believed. The schedule is: `verify` has checked it. Gas of another engine is not compared; a
`Note` says so.

Invariants:
    Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import comparison, fresh
from hb.errors import BeyondThisMachine, HbError, Refused
from hb.protocol.message import loads_message
from hb.records import cache, keys
from hb.verify.evidence import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hb.compute.computed import Computed, StoredImage
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.storage.store import OpenStore, Store
    from hb.verify.evidence import OnSlot

WINDOW_SLOTS = 100
"""Maximum slots whose records are read in one slice."""


class Note(NamedTuple):
    """Slots that another engine computed, so that their gas is not compared. They need not be all from first to last.

    `engine` computed them, `here` runs them again.
    """

    process: str
    first: int
    last: int
    engine: str
    here: str

    @property
    def sentence(self) -> str:
        """The note in words."""
        slots = f"slot {self.first}" if self.first == self.last else f"slots {self.first} to {self.last}"
        return f"the gas of {slots} is not compared: {self.engine} computed it, and this is {self.here}"


def ignore(note: Note) -> None:
    """Do nothing: the `on_note` of a caller that does not show notes."""


def replay(
    open_store: OpenStore,
    process: str,
    last: int,
    machine: Machine,
    *,
    on_slot: OnSlot,
    on_note: Callable[[Note], None] = ignore,
) -> Finding | None:
    """Return the first slot up to `last` that differs from what is stored, and in what; None if there is none.

    `on_note` is called, at the end, once for each other engine that computed slots that are equal but for gas.

    Raises:
        Interrupted: the machine's cancellation was cancelled.
        BeyondThisMachine: a program needs more than this machine allows.
        IntegrityError: the schedule, or a definition, cannot be read.
    """
    stored: dict[int, tuple[bytes, bytes | None]] = {}
    notes: dict[str, Note] = {}
    known = -1
    try:
        for live, computed in fresh.run(open_store, process, last, machine):
            if computed.slot > known:
                known = min(last, known + WINDOW_SLOTS)
                with open_store() as store:
                    stored = _stored(store, process, computed.slot, known)
            finding = compare(live, computed, stored.get(computed.slot), notes)
            on_slot(computed.slot, last)
            if finding is not None:
                return finding
    except BeyondThisMachine:
        raise  # it says nothing about what is stored
    except Refused as error:
        return Finding(process, 0, Kind.REPLAY, None, "a module that runs", error.message)
    for note in notes.values():
        on_note(note._replace(process=process))
    return None


def _stored(store: Store, process: str, first: int, last: int) -> dict[int, tuple[bytes, bytes | None]]:
    """Return the record and the memory image of the slots that have a record."""
    images = {keys.slot_of(key): raw for key, raw in store.scan(*keys.memory_images(process, first, last))}
    records = {keys.slot_of(key): raw for key, raw in store.scan(*keys.slot_records(process, first, last))}
    return {slot: (raw, images.get(slot)) for slot, raw in records.items()}


def compare(
    live: Worker,
    computed: Computed,
    stored: tuple[bytes, bytes | None] | None,
    notes: dict[str, Note],
) -> Finding | None:
    """Return in what a slot that was computed again differs from its stored record and memory image, or None.

    If another engine computed it, its note is put into `notes`, by that engine.
    """
    if stored is None:
        return None
    process, slot = live.process, computed.slot
    raw, image = stored
    if raw == computed.record:
        return None if image is None else _compare_image(live, computed, image)
    again = loads_message(computed.record)
    try:
        was = loads_message(raw)
    except Refused as error:
        return Finding(process, slot, Kind.REPLAY, str(Kind.RECORD), "a record", error.message)
    finding = _record_difference(process, slot, was, again, comparison.OUTCOME)
    if finding is None and image is not None:
        finding = _compare_image(live, computed, image)
    if finding is None:
        finding = _record_difference(process, slot, was, again, comparison.LINKS)
    engine = was.get("engine")
    if finding is None and engine != live.engine:
        said = comparison.shown(engine) if not isinstance(engine, str) else engine
        first = notes[said].first if said in notes else slot
        notes[said] = Note(process, first, slot, said, live.engine)
    return finding


def _record_difference(
    process: str, slot: int, stored: Message, again: Message, compared: Iterable[str]
) -> Finding | None:
    found = comparison.find_difference(again, stored, compared)
    if found is None:
        return None
    is_foreign = stored.get("engine") != again["engine"]
    part = f"{found.path} ({comparison.engines_of(stored, again)})" if is_foreign else found.path
    return Finding(process, slot, Kind.REPLAY, part, comparison.shown(found.before), comparison.shown(found.after))


def reach(open_store: OpenStore, process: str, findings: Iterable[Finding]) -> int | None:
    """Return the newest computed slot before the damage in the schedule that `findings` tell of, or None."""
    damaged = [finding.slot for finding in findings if not finding.is_derived]
    if None in damaged:
        return None
    with open_store() as store:
        newest = cache.latest(store, process)
    if newest is None:
        return None
    last = min([newest, *(slot - 1 for slot in damaged if slot is not None)])
    return last if last >= 0 else None


def _compare_image(live: Worker, computed: Computed, image: bytes) -> Finding | None:
    again = computed.image or live.make_image()
    return None if again.record == image else _image_difference(live.process, again, image)


def _image_difference(process: str, again: StoredImage, image: bytes) -> Finding:
    kind, what, slot = Kind.REPLAY, str(Kind.MEMORY_IMAGE), again.slot
    try:
        expected = cache.parse_image(again.record, process, slot)
        got = cache.parse_image(image, process, slot)
    except HbError:
        return Finding(process, slot, kind, what, ids.digest(again.record), ids.digest(image))
    if expected.pages != got.pages:
        return Finding(process, slot, kind, what, f"{expected.pages} pages", f"{got.pages} pages")
    for page in range(expected.pages):
        one, other = expected.held.get(page, "zeros"), got.held.get(page, "zeros")
        if one != other:
            return Finding(process, slot, kind, f"{what}, page {page}", one, other)
    for number, (wanted, had) in enumerate(zip(expected.globals, got.globals, strict=False)):
        if wanted != had:
            return Finding(process, slot, kind, f"{what}, global {number}", str(wanted), str(had))
    return Finding(process, slot, kind, what, ids.digest(again.record), ids.digest(image))
