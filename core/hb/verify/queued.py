"""Check what pushes remember and what belongs to no process that is here: the queue, budgets, and left records.

The queue and the budgets are empty if no push is going on, and none was stopped.

Invariants:
    A check only reads.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError
from hb.records import deliveries, keys
from hb.verify.evidence import Finding, Kind, text_of
from hb.verify.tracks import Delete, Flaw, Sweep, bounds_of, twice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.store import OpenStore, Store

WINDOW_KEYS = 1000
"""Maximum entries that are read in one slice."""


def check(open_store: OpenStore) -> Iterator[Flaw]:
    """Yield the entries of the queue, and the budgets of roots, that cannot be read, or that nothing can come of.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    spans: tuple[tuple[keys.Range, Callable[[Store, bytes, bytes], Flaw | None]], ...] = (
        (keys.queue(), _queued),
        (keys.roots(), _root),
    )
    for (start, stop), judge in spans:
        after: bytes | None = start
        while after is not None:
            with open_store() as store:
                part = list(islice(store.scan(after, stop), WINDOW_KEYS))
                wrong = [key for key, raw in part if judge(store, key, raw) is not None]
            for key in wrong:
                yield from twice(open_store, lambda store, key=key, judge=judge: _again(store, key, judge))  # type: ignore[misc]
            after = part[-1][0] + b"\0" if len(part) == WINDOW_KEYS else None


_OWNED = (
    (Kind.CURSOR, keys.cursors),
    (Kind.DELIVERED, keys.all_delivered),
    (Kind.HELD, keys.all_held),
    (Kind.ASSIGNED, keys.all_assigned),
)


def orphans(open_store: OpenStore) -> Iterator[Flaw]:
    """Yield what pushes remember of processes that are not here: one flaw for each process and kind of record.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    for kind, layout in _OWNED:
        after: bytes | None
        after, stop = layout()
        while after is not None:
            with open_store() as store:
                flaws, after = _orphans(store, kind, after, stop)
            yield from flaws


def _orphans(store: Store, kind: Kind, after: bytes, stop: bytes) -> tuple[list[Flaw], bytes | None]:
    """Return the flaws of the next processes, and where those after them begin. One look is enough for each process."""
    flaws: list[Flaw] = []
    for _ in range(WINDOW_KEYS):
        key = next((key for key, _ in store.scan(after, stop)), None)
        if key is None:
            return flaws, None
        process = text_of(key[2:].split(b"/")[0])
        start, after = key[:2] + process.encode(), key[:2] + key[2:].split(b"/")[0] + b"0"  # the byte after "/"
        if store.get(keys.definition_key(process)) is None and store.get(keys.head_key(process)) is None:
            finding = Finding(process, None, kind, None, "none, for the process is not here", "some")
            flaws.append(Flaw(finding, Sweep(process, (start, after))))
    return flaws, after


def _again(store: Store, key: bytes, judge: Callable[[Store, bytes, bytes], Flaw | None]) -> list[Flaw]:
    raw = store.get(key)
    flaw = None if raw is None else judge(store, key, raw)
    return [] if flaw is None else [flaw]


def _queued(store: Store, key: bytes, raw: bytes) -> Flaw | None:
    number = str(keys.slot_of(key)) if len(key) == 2 + keys.SLOT_BYTES else key[2:].hex()
    expected, got = "a slot of a process that is here", text_of(raw)[:100]
    try:
        queued = deliveries.parse_queued(raw)
        bounds = bounds_of(store, queued.process)
    except IntegrityError:
        pass
    else:
        if bounds.first <= queued.slot <= bounds.newest and len(key) == 2 + keys.SLOT_BYTES:
            return None
        got = f"slot {queued.slot} of {queued.process}"
    return Flaw(Finding(None, None, Kind.QUEUED, number, expected, got), Delete(key, raw))


def _root(store: Store, key: bytes, raw: bytes) -> Flaw | None:
    root = text_of(key[2:])
    try:
        deliveries.parse_used(raw)
    except IntegrityError as error:
        return Flaw(Finding(None, None, Kind.ROOT, root, "what a push has used", error.message), Delete(key, raw))
    if ids.is_id(root):
        return None
    return Flaw(Finding(None, None, Kind.ROOT, root, "the ID of a message", repr(root[:80])), Delete(key, raw))
