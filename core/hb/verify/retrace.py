"""Mend what pushes remember: look again where deliveries went, and write that anew.

A delivery that lies in no schedule is marked as held, so that the next push makes it.

Invariants:
    No assignment, definition or slot record is written or deleted.
    Each batch states what it was derived from. What changed meanwhile is left as it is.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from hb import ids
from hb.protocol import delivery
from hb.protocol.commitment import message_id
from hb.push.targets import SHOWN
from hb.records import deliveries, keys
from hb.records.deliveries import Delivered, Held, Used
from hb.records.lineage import Segment
from hb.storage.store import Batch, retrying
from hb.verify import given, queued
from hb.verify import tracks as checks
from hb.verify.deliveries import body_in, marked
from hb.verify.tracks import Assign, Delete, Move, Seek, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb.protocol.delivery import Place
    from hb.protocol.message import Message
    from hb.storage.store import OpenStore, Store
    from hb.verify.evidence import Finding

WINDOW_KEYS = 1000
"""Maximum records that are read in one slice."""

LOST = "what was known of it was lost; the next push tries it again"
"""Why a delivery is held that was found in no schedule."""


def mend(open_store: OpenStore, process: str) -> list[str]:
    """Mend what pushes remember of a process; return what was done, a line each.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    flaws = [*checks.check(open_store, process), *given.check(open_store, process)]
    found = _find_all(open_store, process, [flaw.remedy for flaw in flaws if isinstance(flaw.remedy, Seek)])
    done = []
    for flaw in sorted(flaws, key=lambda flaw: isinstance(flaw.remedy, Move)):
        remedy, name = flaw.remedy, _named(flaw.finding)
        if isinstance(remedy, Seek):
            went = found.get((remedy.slot, remedy.asked.ordinal))
            done += _write(open_store, name, _seek_batch(process, remedy, went), _went_text(went))
        elif isinstance(remedy, Assign):
            by = remedy.by or _find_giver(open_store, remedy)
            text = "" if by is None else f"delivery {by[2]} of slot {by[1]} of {by[0]}"
            done += _write(open_store, name, _assign_batch(remedy, by), text)
        elif isinstance(remedy, Move):
            text = "" if remedy.cursor is None else f"slot {remedy.cursor.slot}, delivery {remedy.cursor.ordinal}"
            done += _write(open_store, name, _move_batch(process, remedy), text)
        elif isinstance(remedy, Delete):
            done += _write(open_store, name, Batch(deletes={remedy.key}, expects={remedy.key: remedy.raw}), "")
    return done


def mend_home(open_store: OpenStore, *, orphans: bool) -> list[str]:
    """Mend the queue of deliveries and the budgets of roots; return what was done, a line each.

    With `orphans`, also delete what pushes remember of processes that are not here.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    done = []
    for flaw in list(queued.check(open_store)):
        assert isinstance(flaw.remedy, Delete)
        batch = Batch(deletes={flaw.remedy.key}, expects={flaw.remedy.key: flaw.remedy.raw})
        done += _write(open_store, _named(flaw.finding), batch, "")
    if done:
        retrying(open_store, _recount)
    for flaw in list(queued.orphans(open_store)) if orphans else ():
        assert isinstance(flaw.remedy, Sweep)
        while _sweep(open_store, flaw.remedy):
            pass
        done.append(f"took back each {flaw.finding.what} of {flaw.finding.process}, which is not here")
    return done


# -- looking where deliveries went


def _find_all(open_store: OpenStore, process: str, seeks: Iterable[Seek]) -> dict[tuple[int, int], Delivered]:
    """Return where deliveries went, by slot and ordinal, as schedules have it. Those that lie nowhere are left out."""
    found: dict[tuple[int, int], Delivered] = {}
    by_target: dict[str, dict[Place, tuple[int, int]]] = {}
    spawns: dict[Place, tuple[int, int]] = {}
    for seek in seeks:
        at, wanted = (seek.slot, seek.asked.ordinal), seek.asked
        if wanted.kind == delivery.ASSIGNMENT:
            went = _find_assigned(open_store, wanted.target, str(wanted.content["message"]))
            if went is not None:
                found[at] = went
        elif wanted.kind == delivery.SPAWN:
            spawns[delivery.Place(process, seek.slot, delivery.SPAWN, wanted.place)] = at
        elif ids.is_id(wanted.target):
            place = delivery.Place(process, seek.slot, delivery.MESSAGE, wanted.place)
            by_target.setdefault(wanted.target, {})[place] = at
    for target, places in by_target.items():
        for place, slot in _find_messages(open_store, target, places):
            found.setdefault(places[place], Delivered(target, slot))
    if spawns:
        children = {place: child for child, place in _find_children(open_store, spawns)}
        told = {place._replace(kind=delivery.SPAWNED): place for place in children}
        for place, slot in _find_messages(open_store, process, told):
            child = children[told[place]]
            found.setdefault(spawns[told[place]], Delivered(child, 0, slot))
    return found


def _find_messages(open_store: OpenStore, process: str, places: Iterable[Place]) -> Iterator[tuple[Place, int]]:
    """Yield those of the places that messages in the schedule of a process come from, each with its slot."""
    wanted = set(places)
    with open_store() as store:
        if store.get(keys.definition_key(process)) is None:
            return
        bounds = checks.bounds_of(store, process)
    for slot, raw in marked(open_store, Segment(process, bounds.first, bounds.newest)):
        body = body_in(raw)
        place = None if body is None else delivery.origin(body)
        if place is not None and place in wanted:
            yield place, slot


def _find_children(open_store: OpenStore, places: Iterable[Place]) -> Iterator[tuple[str, Place]]:
    """Yield the processes that were spawned for the places."""
    wanted = set(places)
    for key, raw in _scan(open_store, keys.definitions()):
        place = delivery.origin(_definition_in(raw)) if b'"from-process":' in raw else None
        if place is not None and place in wanted:
            yield keys.text_of(key), place


def _definition_in(raw: bytes) -> Message:
    return body_in(b'{"body":%b}' % raw) or {}


def _find_assigned(open_store: OpenStore, process: str, message: str) -> Delivered | None:
    with open_store() as store:
        raw = store.get(keys.message_slot_key(message, process))
        if raw is None or len(raw) != keys.SLOT_BYTES:
            return None
        slot = keys.decode_slot(raw)
        body = checks.message_at(store, process, slot)
    return None if body is None or message_id(body) != message else Delivered(process, slot)


def _find_giver(open_store: OpenStore, remedy: Assign) -> tuple[str, int, int] | None:
    """Return the first delivery that went to a slot, and asks for its message to get it."""
    mark = b'"process":"%s","slot":%d' % (remedy.process.encode(), remedy.slot)
    for key, raw in _scan(open_store, keys.all_delivered()):
        if mark not in raw or len(key) != checks.KEY_BYTES:
            continue
        by = keys.place_of(key)
        with open_store() as store:
            body = checks.message_at(store, remedy.process, remedy.slot)
            if body is not None and given.gave(store, by, remedy.process, message_id(body)):
                return by
    return None


def _scan(open_store: OpenStore, span: keys.Range) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records in a range, read in short slices."""
    start, stop = span
    while True:
        with open_store() as store:
            part = list(islice(store.scan(start, stop), WINDOW_KEYS))
        yield from part
        if len(part) < WINDOW_KEYS:
            return
        start = part[-1][0] + b"\0"


# -- batches


def _seek_batch(process: str, seek: Seek, went: Delivered | None) -> Batch:
    """Return a batch that writes where a delivery went, or that it is held."""
    place = process, seek.slot, seek.asked.ordinal
    delivered, held = keys.delivered_key(*place), keys.held_key(*place)
    expects = {delivered: seek.delivered, held: seek.held}
    if went is not None:
        return Batch(puts={delivered: went.encode()}, deletes={held}, expects=expects)
    reason = deliveries.IMAGE if seek.asked.kind == delivery.SPAWN else deliveries.MISSING
    kept = Held(reason, LOST, seek.asked.target[:SHOWN], 1)
    return Batch(puts={held: kept.encode()}, deletes={delivered}, expects=expects)


def _assign_batch(remedy: Assign, by: tuple[str, int, int] | None) -> Batch:
    key = keys.assigned_key(remedy.process, remedy.slot)
    if by is None:
        return Batch(deletes={key}, expects={key: remedy.raw})
    return Batch(puts={key: deliveries.encode_assigned(*by)}, expects={key: remedy.raw})


def _move_batch(process: str, move: Move) -> Batch:
    key = keys.cursor_key(process)
    if move.cursor is None:
        return Batch(deletes={key}, expects={key: move.raw})
    return Batch(puts={key: move.cursor.encode()}, expects={key: move.raw})


def _write(open_store: OpenStore, name: str, batch: Batch, what: str) -> list[str]:
    """Write a batch unless something that it expects has changed. Return the line that says what was done."""
    batch.sync = True

    def write(store: Store) -> bool:
        if any(store.get(key) != raw for key, raw in batch.expects.items()):
            return False
        store.commit(batch)
        return True

    if not retrying(open_store, write):
        return []
    return [f"wrote the {name} anew: {what}" if what else f"took back the {name}"]


def _went_text(went: Delivered | None) -> str:
    return "it is held, and the next push tries it" if went is None else f"slot {went.slot} of {went.process}"


def _recount(store: Store) -> None:
    """Delete the budgets of roots of which nothing is left in the queue, and begin those that are gone anew."""
    entries = Counter(entry.root for _, _, entry in deliveries.queue(store))
    batch = Batch(sync=True)
    stored = {keys.text_of(key): (key, raw) for key, raw in store.scan(*keys.roots())}
    for key, raw in (stored[root] for root in stored.keys() - entries.keys()):
        batch.deletes.add(key)
        batch.expects[key] = raw
    for root in entries.keys() - stored.keys():
        batch.puts[keys.root_key(root)] = Used(entries=entries[root]).encode()
        batch.expects[keys.root_key(root)] = None
    if batch.expects:
        store.commit(batch)


def _sweep(open_store: OpenStore, sweep: Sweep) -> bool:
    """Delete the next records in a range; return whether there were any."""

    def delete(store: Store) -> bool:
        part = list(islice(store.scan(*sweep.span), WINDOW_KEYS))
        key = keys.head_key(sweep.process)
        if not part or store.get(key) is not None:
            return False
        store.commit(Batch(deletes={key for key, _ in part}, expects={**dict(part), key: None}, sync=True))
        return True

    return retrying(open_store, delete)


def _named(finding: Finding) -> str:
    return finding.what if finding.slot is None else f"{finding.what} of slot {finding.slot}"
