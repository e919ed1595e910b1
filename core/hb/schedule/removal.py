"""Remove a process: its schedule, what was computed of it, and what is kept of it elsewhere.

Slots go from the newest on, a part in each batch, with all that belongs to them. Wherever that stops, a whole, shorter
process is there, and another removal goes on. The first slot goes last, with the definition and the names.

What other processes delivered to a slot that is gone is held: as missing, like what was never delivered.

Invariants:
    A slot that a fork shares, and a page or an image that another process uses, is never deleted.
    Sessions must show each record under its own key: not a `lineage.View`, where a fork has the slots of its origin.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import Conflict, IntegrityError, Refused
from hb.protocol import definition as definitions
from hb.protocol import delivery
from hb.protocol.commitment import message_id
from hb.records import cache, crons, deliveries, keys, names, schedules
from hb.records.deliveries import Cursor, Held
from hb.schedule import scheduler
from hb.schedule.unshared import WINDOW_BYTES, WINDOW_KEYS, Pages, parse_definition, read, unused_images
from hb.storage.store import MOST_TRIES, Batch, retrying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.records.deliveries import Delivered, Queued
    from hb.storage.store import OpenStore, Store

BATCH_SLOTS = 500
"""Maximum slots that one batch deletes."""

BATCH_KEYS = 5000
"""Maximum records of deliveries that one batch deletes. Those of one slot may be more."""


class Removable(NamedTuple):
    """What a removal of a process deletes: its own slots, names and crons, and about how many bytes.

    `forks` are the processes here that share its slots, up to `last_shared`. `spawned` are the processes here that it
    spawned. Both stay.
    """

    process: str
    names: tuple[str, ...]
    slots: int
    crons: int
    size_bytes: int
    forks: tuple[str, ...]
    spawned: tuple[str, ...]
    last_shared: int | None = None

    def check_shared(self, keep_shared: bool) -> None:
        """Make sure that forks lose nothing.

        Raises:
            Refused: forks share slots of the process, and `keep_shared` is not set.
        """
        if self.forks and not keep_shared:
            listed = ", ".join(self.forks[:10])
            raise Refused(
                f"process {self.process} has slots that forks of it share: {listed}",
                hint="remove the forks first, or keep the slots that they share: --keep-shared",
            )


def find(store: Store, process: str) -> str:
    """Return the process ID that `process` stands for. An ID stands for itself as long as a record of it is here.

    Raises:
        NotFound, Refused, IntegrityError: as `names.resolve`.
    """
    if ids.is_id(process):
        spans = (keys.assignments(process), keys.slot_records(process), keys.memory_images(process))
        if any(next(store.scan(*span), None) is not None for span in spans):
            return process
    return names.resolve(store, process)


def survey(session: OpenStore, process: str) -> Removable:
    """Return what a removal of the process with the ID `process` deletes.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be read.
    """
    return _survey(session, process)[0]


def remove(session: OpenStore, process: str, *, keep_shared: bool = False) -> Removable:
    """Delete the process with the ID `process`, and return what was there. Hold its lease meanwhile.

    If forks share its slots, it is refused; with `keep_shared`, the slots that they share stay, as a shorter process
    without a name.

    Raises:
        Refused: forks share its slots, and `keep_shared` is not set; or it was forked meanwhile.
        Conflict: others went on sending to it.
        IntegrityError, HomeUnusable: the store cannot be read or written.
    """
    found, pages = _survey(session, process)
    found.check_shared(keep_shared)
    first = _first(session, process)
    keep = first if found.last_shared is None else max(first, found.last_shared)
    _unlist(session, process)
    if found.forks:
        _hold(session, process, keep + 1, is_gone=False)
        _cut(session, process, keep, pages)
        retrying(session, lambda store: _commit(store, _without_names(store, process)))
        return found
    for _ in range(MOST_TRIES):
        _hold(session, process, 0, is_gone=True)
        _cut(session, process, keep, pages)
        with session() as store:
            head = store.get(keys.head_key(process))
        # A message that came until now changed the head. One that comes later finds no process.
        _hold(session, process, 0, is_gone=True)
        _unlist(session, process)
        if _end(session, process, head, pages):
            break
    else:
        raise Conflict(f"others went on sending to process {process}")
    return found


# -- looking


def _survey(session: OpenStore, process: str) -> tuple[Removable, Pages]:
    slots = size_bytes = 0
    pages = Pages(session, process)
    for kind in (keys.assignments, keys.slot_records, keys.memory_images):
        for key, raw in read(session, kind(process)):
            slots += kind is keys.assignments
            size_bytes += len(raw)
            if kind is keys.memory_images:
                pages.add(key, raw)
    pages.leave_others()
    size_bytes += pages.size_bytes()
    forks: dict[str, int] = {}
    spawned = []
    for key, raw in read(session, keys.definitions()):
        other = keys.text_of(key)
        slot = _fork_slot(process, raw)
        if slot is not None:
            forks[other] = slot
        elif _is_child(process, raw):
            spawned.append(other)
    with session() as store:
        named = names.of_process(store, process)
        ticking = len(_crons(store, process))
        images = unused_images(store, process)
        size_bytes += sum(len(store.get(key) or b"") for key in [*images, keys.definition_key(process)])
    shared = max(forks.values(), default=None)
    return Removable(process, tuple(named), slots, ticking, size_bytes, tuple(forks), tuple(spawned), shared), pages


def _first(session: OpenStore, process: str) -> int:
    """Return the first slot that is stored under the process's own ID, or 0."""
    with session() as store:
        return next((keys.slot_of(key) for key, _ in store.scan(*keys.assignments(process))), 0)


def _fork_slot(process: str, raw: bytes) -> int | None:
    """Return up to which slot the process of a stored definition shares the slots of `process`; None if it does not."""
    if b'"%s":"%s"' % (definitions.FORK_KEYS[0].encode(), process.encode()) not in raw:
        return None
    slot: int = keys.LAST_SLOT
    try:
        origin = definitions.origin(parse_definition(raw, process))
    except Refused:
        return slot  # it is damaged: nothing that it may share is deleted
    return None if origin is None or origin.process != process else origin.slot


def _is_child(process: str, raw: bytes) -> bool:
    if process.encode() not in raw:
        return False
    place = delivery.origin(parse_definition(raw, process))
    return place is not None and place.process == process and place.kind == delivery.SPAWN


def _crons(store: Store, process: str) -> dict[bytes, bytes]:
    """Return the records of the crons of a process, by key."""
    mark = b'"process":"%s"' % process.encode()
    found = {}
    for name, raw in crons.stored(store):
        try:
            is_its = mark in raw and crons.parse_cron(raw, name).process == process
        except IntegrityError:
            continue
        if is_its:
            found[keys.cron_key(name)] = raw
    return found


# -- what is kept of it elsewhere


def _unlist(session: OpenStore, process: str) -> None:
    """Delete the crons of a process, and its entries of the queue of deliveries."""

    def unlist(store: Store) -> bool:
        stored = _crons(store, process)
        batch = Batch(deletes=set(stored), expects={**stored}, sync=True)
        entries = ((key, raw, queued) for key, raw, queued in _queue(store) if queued.process == process)
        done: dict[str, int] = {}
        for key, raw, queued in islice(entries, WINDOW_KEYS):
            batch.deletes.add(key)
            batch.expects[key] = raw
            done[queued.root] = done.get(queued.root, 0) + 1
        for root, count in done.items():
            _count_down(store, batch, root, count)
        return _commit(store, batch)

    while retrying(session, unlist):
        pass


def _queue(store: Store) -> Iterator[tuple[bytes, bytes, Queued]]:
    for key, raw in store.scan(*keys.queue()):
        try:
            yield key, raw, deliveries.parse_queued(raw)
        except IntegrityError:
            continue  # `hb verify` finds it


def _count_down(store: Store, batch: Batch, root: str, count: int) -> None:
    """Have `batch` say that `count` entries of the queue fewer belong to a root."""
    key = keys.root_key(root)
    raw = store.get(key)
    if raw is None:
        return
    batch.expects[key] = raw
    try:
        used = deliveries.parse_used(raw)
    except IntegrityError:
        return
    if used.entries > count:
        batch.puts[key] = used._replace(entries=used.entries - count).encode()
    else:
        batch.deletes.add(key)


def _hold(session: OpenStore, process: str, first: int, *, is_gone: bool) -> None:
    """Mark what was delivered to slots of the process from `first` on as held. If it `is_gone`, only others' is."""
    found: dict[bytes, tuple[bytes, Held]] = {}
    for key, raw in read(session, keys.all_delivered()):
        if process.encode() not in raw and process.encode() not in key:
            continue
        try:
            source, slot, _ = keys.place_of(key)
            if source == process and is_gone:
                continue
            went = deliveries.parse_delivered(raw, source, slot)
        except (IntegrityError, ValueError):
            continue  # `hb verify` finds it
        is_told = source == process and went.told is not None and went.told >= first
        if (went.process == process and went.slot >= first) or is_told:
            found[key] = raw, _held(source, went, process, is_gone=is_gone)
        if len(found) == WINDOW_KEYS:
            _write_held(session, found)
            found = {}
    _write_held(session, found)


def _held(source: str, went: Delivered, process: str, *, is_gone: bool) -> Held:
    if went.told is not None:
        # Not as missing: the next push would spawn it again. A held spawn may name the process that asks for it.
        return Held(deliveries.DROPPED, f"the process that was spawned, {went.process}, was removed", source, 1)
    if is_gone:
        return Held(deliveries.MISSING, f"no process {process!r} here", process, 1)
    return Held(deliveries.DROPPED, f"slot {went.slot} of process {process} was removed", process, 1)


def _write_held(session: OpenStore, found: dict[bytes, tuple[bytes, Held]]) -> None:
    def write(store: Store) -> None:
        batch = Batch(sync=True)
        for key, (raw, held) in found.items():
            if store.get(key) == raw:
                batch.deletes.add(key)
                batch.expects[key] = raw
                batch.puts[keys.held_key(*keys.place_of(key))] = held.encode()
        _commit(store, batch)

    if found:
        retrying(session, write)


# -- its slots


def _cut(session: OpenStore, process: str, keep: int, pages: Pages) -> None:
    """Delete the slots after `keep`, the newest first."""

    def cut(store: Store) -> list[str] | None:
        low, batch = _newest_part(store, process, keep + 1)
        _check_unforked(store, process, low)
        if low > keep + 1 or keys.assignment_key(process, low) in batch.deletes:
            _move_back(store, batch, process, low)
        gone = _delete_pages(store, batch, pages, low)
        return gone if _commit(store, batch) else None

    while (gone := retrying(session, cut)) is not None:
        pages.forget(gone)


def _delete_pages(store: Store, batch: Batch, pages: Pages, low: int) -> list[str]:
    """Have `batch` delete the pages that only images from slot `low` on hold. Return their digests."""
    pages.leave_new(store)
    gone = pages.since(low)
    batch.deletes.update(map(keys.page_key, gone))
    return gone


def _newest_part(store: Store, process: str, first: int) -> tuple[int, Batch]:
    """Return a batch that deletes the newest slots from `first` on, and the first slot that it deletes."""
    raws: dict[int, bytes] = {}
    size_bytes = 0
    for key, raw in store.scan(*keys.assignments(process, first), reverse=True):
        raws[keys.slot_of(key)] = raw
        size_bytes += len(raw)
        if len(raws) == BATCH_SLOTS or size_bytes >= WINDOW_BYTES:
            break
    slots = list(raws)
    while len(slots) > 1 and _count_deliveries(store, process, slots[-1]) > BATCH_KEYS:
        slots = slots[: len(slots) // 2]
    low = slots[-1] if slots else first
    batch = Batch(sync=True)
    for slot in slots:
        batch.deletes.add(keys.assignment_key(process, slot))
        message = _message_in(raws[slot], process, slot)
        if message is not None:
            batch.deletes.add(keys.message_slot_key(message, process))
    for kind in (keys.slot_records, keys.memory_images, keys.held, keys.assigned):
        batch.deletes.update(key for key, _ in store.scan(*kind(process, low)))
    for key, raw in store.scan(*keys.delivered(process, low)):
        batch.deletes.add(key)
        _forget_given(store, batch, key, raw)
    return low, batch


def _count_deliveries(store: Store, process: str, low: int) -> int:
    spans = (keys.delivered(process, low), keys.held(process, low))
    return sum(1 for span in spans for _ in islice(store.scan(*span), BATCH_KEYS + 1))


def _message_in(raw: bytes, process: str, slot: int) -> str | None:
    """Return the ID of the message in a stored assignment; None if that is damaged."""
    try:
        body = cache.parse(raw, "assignment", process, slot).get("body")
        return message_id(body) if isinstance(body, dict) else None
    except (IntegrityError, Refused):
        return None


def _forget_given(store: Store, batch: Batch, key: bytes, raw: bytes) -> None:
    """Have `batch` delete the record that a delivery gave a slot of another process to a message."""
    place = keys.place_of(key)
    try:
        went = deliveries.parse_delivered(raw, place[0], place[1])
        given = deliveries.find_assigned(store, went.process, went.slot)
    except IntegrityError:
        return  # `hb verify` finds it
    if given == place:
        batch.deletes.add(keys.assigned_key(went.process, went.slot))


def _check_unforked(store: Store, process: str, first: int) -> None:
    """Make sure that no fork shares a slot from `first` on.

    Raises:
        Refused: one does.
    """
    for key, raw in store.scan(*keys.definitions()):
        slot = _fork_slot(process, raw)
        if slot is not None and slot >= first:
            raise Refused(
                f"process {process} was forked meanwhile, and {keys.text_of(key)} shares its slot {slot}; "
                "the slots up to it are still there"
            )


def _move_back(store: Store, batch: Batch, process: str, low: int) -> None:
    """Have `batch` end the schedule before slot `low`, and put the cursor of deliveries there at the latest."""
    key = keys.head_key(process)
    batch.expects[key] = store.get(key)
    try:
        batch.puts[key] = scheduler.head_after(schedules.get_assignment(store, process, low - 1)).encode()
    except (IntegrityError, Refused):
        batch.puts.pop(key, None)  # the process is damaged: its head goes last, as it is
    key = keys.cursor_key(process)
    raw = store.get(key)
    if raw is None:
        return
    batch.expects[key] = raw
    try:
        cursor = deliveries.parse_cursor(raw, process)
    except IntegrityError:
        batch.deletes.add(key)
        return
    if cursor > Cursor(low):
        batch.puts[key] = Cursor(low).encode()


def _end(session: OpenStore, process: str, head: bytes | None, pages: Pages) -> bool:
    """Delete what is left: the first slot, the definition, the names. Return False if the schedule went on."""

    def end(store: Store) -> bool:
        if store.get(keys.head_key(process)) != head:
            return False
        _, batch = _newest_part(store, process, 0)
        _check_unforked(store, process, 0)
        single = {keys.definition_key(process), keys.head_key(process), keys.cursor_key(process)}
        batch.deletes |= single
        batch.expects.update((key, store.get(key)) for key in single)
        _delete_pages(store, batch, pages, 0)
        batch.deletes.update(unused_images(store, process))
        named = _without_names(store, process)
        batch.deletes |= named.deletes
        batch.expects |= named.expects
        return _commit(store, batch)

    return retrying(session, end)


def _without_names(store: Store, process: str) -> Batch:
    found = {keys.name_key(name) for name in names.of_process(store, process)}
    return Batch(deletes=found, expects=dict.fromkeys(found, process.encode()), sync=True)


def _commit(store: Store, batch: Batch) -> bool:
    """Write a batch; return whether it had anything to write."""
    if batch.puts or batch.deletes:
        store.commit(batch)
        return True
    return False
