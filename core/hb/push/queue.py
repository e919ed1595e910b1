"""The queue of deliveries: put slots in, and put deliveries that are held back in, to be tried again.

Invariants:
    Entries are only added at the end, and taken at the front.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hb.errors import IntegrityError, NotFound, Refused
from hb.records import deliveries, keys, lineage
from hb.records.deliveries import Queued, Used
from hb.schedule import scheduler
from hb.storage.store import Batch, retrying

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb.storage.store import OpenStore, Store

Wanted = tuple[str, int | None]
"""A process, and the slot up to which its results are to be delivered; None for all, and for what is held, too."""


def add(session: OpenStore, wanted: Iterable[Wanted], address: str, *, again: str = deliveries.ALL) -> list[Queued]:
    """Put processes into the queue, and return its new entries.

    `address` is this home's scheduler. `again` says which held deliveries are tried again: all, or those that wait for
    what may have come. Roots of which something that is held is tried again begin with a new budget.

    Raises:
        NotFound: there is no such process.
        Refused: another home schedules for the process, so it is that one's to deliver.
        IntegrityError: what is stored is damaged.
    """
    pairs = list(wanted)

    def put(store: Store) -> list[Queued]:
        entries = [entry for pair in pairs for entry in _entries(store, *pair, address, again)]
        _put(store, entries)
        return entries

    return retrying(session, put)


def _put(store: Store, entries: list[Queued]) -> None:
    if not entries:
        return
    batch = Batch()
    append(store, batch, entries)
    counts = Counter(entry.root for entry in entries)
    anew = {entry.root for entry in entries if entry.again is not None}
    for root, (before, raw) in deliveries.read_used(store, list(counts)).items():
        used = Used() if root in anew else before
        batch.puts[keys.root_key(root)] = used._replace(entries=before.entries + counts[root]).encode()
        batch.expects[keys.root_key(root)] = raw
    store.commit(batch)


def again(session: OpenStore, process: str, slot: int, ordinal: int) -> None:
    """Put one delivery that is held into the queue.

    Raises:
        IntegrityError: what is stored is damaged.
    """

    def put(store: Store) -> None:
        held = deliveries.find_held(store, process, slot, ordinal)
        if held is not None:
            root = deliveries.root_at(store, process, slot)
            _put(store, [Queued(process, slot, root, 0, deliveries.ONE, ordinal)])

    retrying(session, put)


def undelivered(session: OpenStore, address: str) -> list[str]:
    """Return the processes that this home schedules, with the scheduler `address`, and that ask for something that is
    not delivered, or held."""
    with session() as store:
        held = {keys.place_of(key)[0] for key, _ in store.scan(*keys.all_held())}
        found = []
        for process in scheduler.processes(store):
            try:
                if lineage.get_definition(store, process)["scheduler"] != address:
                    continue
                behind = deliveries.read_cursor(store, process)[0].slot <= scheduler.get_head(store, process).slot
            except (IntegrityError, NotFound):
                continue  # a damaged process must not keep the others from being delivered; `hb verify` finds it
            if behind or process in held:
                found.append(process)
    return found


def append(store: Store, batch: Batch, entries: Iterable[Queued]) -> None:
    """Put new entries at the end of the queue into `batch`."""
    first = deliveries.next_number(store)
    for number, entry in enumerate(entries, first):
        batch.puts[keys.queued_key(number)] = entry.encode()
        batch.expects[keys.queued_key(number)] = None


def _entries(store: Store, process: str, slot: int | None, address: str, again: str) -> Iterator[Queued]:
    definition = lineage.get_definition(store, process)
    scheduled_by = str(definition["scheduler"])
    if scheduled_by != address:
        raise Refused(
            f"process {process} is scheduled by {scheduled_by}, and what it sends is delivered there",
            hint="fork the process to continue it here",
        )
    cursor, _ = deliveries.read_cursor(store, process)
    newest = scheduler.get_head(store, process).slot
    if slot is None:
        yield from _held(store, process, address, again)
    last = newest if slot is None else slot
    if cursor.slot <= last:
        root = deliveries.root_at(store, process, last)
        yield Queued(process, last, root)


def _held(store: Store, process: str, address: str, which: str) -> Iterator[Queued]:
    """Yield entries for deliveries of the process that are held, and for those of others that wait for it."""
    last: tuple[str, int] | None = None
    for key, raw in store.scan(*keys.all_held()):
        source, slot, _ = keys.place_of(key)
        if (source, slot) == last:
            continue
        held = deliveries.parse_held(raw, source, slot)
        if source != process and not (held.target == process and held.reason in deliveries.WAITING):
            continue
        if held.reason == deliveries.DROPPED or (which == deliveries.WAITERS and held.reason not in deliveries.WAITING):
            continue
        if held.reason == deliveries.MISSING and not _is_here(store, held.target):
            continue
        if lineage.get_definition(store, source)["scheduler"] == address:
            last = source, slot
            yield Queued(source, slot, deliveries.root_at(store, source, slot), 0, which)


def _is_here(store: Store, process: str) -> bool:
    return store.get(keys.definition_key(process)) is not None
