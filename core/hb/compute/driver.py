"""Compute a process up to a slot.

If the slot has a record, there is nothing to do. Otherwise a live worker of the pool goes on, or a new one that starts
from the newest memory image before the slot.

Invariants:
    No module runs while the store is open.
    Nothing is scheduled here.

Source: HyperBEAM's `dev_process` (`compute`, `compute_loop`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from hb import ids
from hb.cancellation import NEVER
from hb.compute import opening
from hb.errors import IntegrityError, Interrupted
from hb.records import cache, keys, lineage, schedules
from hb.storage.store import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.compute.computed import Computed
    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message

RUN_SLOTS = 4000
"""Maximum slots that are read at once, and written at once."""

RUN_BYTES = 32 << 20
RUN_SECONDS = 1.0
"""Computed slots are written when they have this many bytes, or this long after the last write."""

READ_BYTES = 16 << 20
"""Maximum bytes of assignments, and of stored records, that are read at once. One of them may exceed it."""


@dataclass
class _Run:
    """A few slots that are computed in one go: what was read of them, and what is to be written."""

    first: int = 0
    assignments: list[bytes] = field(default_factory=list)
    known: dict[int, bytes] = field(default_factory=dict)
    batch: Batch = field(default_factory=Batch)
    size_bytes: int = 0
    since: float = field(default_factory=monotonic)

    def is_full(self) -> bool:
        return self.size_bytes >= RUN_BYTES or monotonic() - self.since >= RUN_SECONDS


def ensure_computed(context: Context, process: str, slot: int) -> None:
    """Do what `compute` does, on a thread that Ctrl-C and the context's cancellation stop. Start none if it is done.

    Raises:
        NotFound, IntegrityError, Interrupted, HomeBusy: as `compute`.
    """
    with context.session() as store:
        if cache.is_computed(store, process, slot):
            return
    context.run(lambda inner: compute(inner, process, slot))


def compute(context: Context, process: str, slot: int, *, is_followed: bool = False) -> None:
    """Have a record of `slot`, which is scheduled, and of every slot before it. Call it inside `context.run`.

    The pool's worker of the process computes them, or a new one, which the pool keeps afterwards. A new worker also
    stores a memory image of the last slot if going back to an earlier image takes long. It stores none if the slot
    `is_followed` by more that the caller will ask for.

    Raises:
        NotFound: there is no such process.
        IntegrityError: the schedule or the cache is damaged, or a slot computed again came out differently.
        Interrupted: the caller was cancelled; what was computed until then is stored.
        HomeBusy: others computed it, or took all memory of the pool, for longer than the context allows.
    """
    with context.session() as store:
        if cache.is_computed(store, process, slot):
            return
        process = lineage.owner(store, process, slot)
        size_bytes = expected_bytes(context, store, process, slot)
    with context.room(process, size_bytes), context.lease(process):
        with context.session() as store:
            if cache.is_computed(store, process, slot):
                return
            live = take(context, store, process, slot)
            run = None if live is None else _read_run(store, live, slot)
        if live is None or run is None:
            live = open_worker(context, process, slot, context.machine())
            context.pool.weigh(live)
            advance(context, live, slot, is_last=not is_followed)
        else:
            live.run_on(context.machine())
            _advance(context, live, slot, run, is_last=False)
        context.pool.keep(live)


def keep_image(context: Context, process: str) -> None:
    """Store a memory image of the slot that the pool's worker of `process` is at, if it has one and that is worth it.

    Raises:
        HomeBusy, NoHome, HomeUnusable: as `Context.session`.
    """
    with context.room(process, 0):
        live = context.pool.take(process)
        if live is None:
            return
        live.run_on(context.machine())
        run = _Run(batch=Batch(sync=True))
        _put_image(run.batch, live)
        with context.session() as store:
            if _is_stored(store, live):
                _commit(store, run)
        context.pool.keep(live)


def expected_bytes(context: Context, store: Store, process: str, slot: int) -> int:
    """Return what a worker at `slot` will take: what the pool's takes, or what a memory image says."""
    known = context.pool.size_of(process)
    if known is not None:
        return known
    imaged = cache.latest(store, process, limit=slot, required="image")
    return 0 if imaged is None else 2 * cache.PAGE_BYTES * len(cache.read_image(store, process, imaged).held)


def take(context: Context, store: Store, process: str, slot: int) -> Worker | None:
    """Take the pool's worker of `process` if it is right and can go on to `slot`. Otherwise drop it.

    Others may have computed meanwhile, and a repair may have deleted records. The worker is right if the record of its
    slot is the stored one: each record names the one before, so those are the same too. It computes again what others
    have computed, unless they left a memory image, from which a new worker starts sooner.

    Call its `run_on` once the store is closed.
    """
    live = context.pool.take(process)
    if live is None or live.slot > slot or not _is_stored(store, live):
        return None
    if cache.latest(store, process, first=live.slot + 1, limit=slot, required="image") is not None:
        return None
    return live


def _is_stored(store: Store, live: Worker) -> bool:
    """Return whether the record of the slot that a worker is at is the stored one."""
    stored = cache.read_bytes(store, live.process, live.slot)
    return stored is not None and ids.digest(stored) == live.record_digest


def open_worker(context: Context, process: str, limit: int, machine: Machine) -> Worker:
    """Return a new worker at the newest slot, up to `limit`, that has a memory image.

    With no image, start at the first slot and store it. If `limit` lies in history that a fork shares, the worker
    belongs to the ancestor that owns the slot. A fork with no image has its ancestors computed first, oldest first.

    Raises:
        As `compute`.
    """
    with context.session() as store:
        line = [at for at in lineage.segments(store, process) if at.first <= limit]
        restorable = cache.latest(store, process, limit=limit, required="image")
        newest = -1 if restorable is None else restorable
        shared = [at for at in line[:-1] if newest <= at.last] if newest < line[-1].first else []
        found = None if shared else opening.find(store, line[-1], limit, machine)
    live = None
    for at in shared:
        if context.cancellation.is_cancelled:
            raise Interrupted(f"interrupted at slot {at.first} of {limit}")
        with context.lease(at.process):
            live = _open(context, machine, at, at.last, live)
            advance(context, live, at.last, is_last=False)
    return _open(context, machine, line[-1], limit, live, found)


def _open(
    context: Context,
    machine: Machine,
    at: lineage.Segment,
    limit: int,
    before: Worker | None,
    found: opening.Found | None = None,
) -> Worker:
    """Return a worker of the process that owns the slots `at`. `before` is one at the slot that they go on from."""
    if found is None:
        with context.session() as store:
            found = opening.find(store, at, limit, machine)
    live, computed = opening.open_at(machine, at, found, before)
    if computed is not None:
        run = _Run(known={} if found.record is None else {at.first: found.record})
        _keep(run, live, computed)
        _write(context, run)
        context.on_slot(at.first, limit)
    return live


def advance(context: Context, live: Worker, slot: int, *, is_last: bool) -> None:
    """Compute on until the worker is at `slot`. If it `is_last`, sync it and store a memory image that is worth it.

    Raises:
        IntegrityError: as `compute`.
        Interrupted: as `compute`; the worker is of no further use.
    """
    with context.session() as store:
        run = _read_run(store, live, slot)
    _advance(context, live, slot, run, is_last=is_last)


def _advance(context: Context, live: Worker, slot: int, run: _Run, *, is_last: bool) -> None:
    try:
        while True:
            for computed in _compute(context, live, run, slot):
                _keep(run, live, computed)
            if live.slot >= slot:
                break
            context.pool.weigh(live)
            with context.session() as store:
                _commit(store, run)
                run = _read_run(store, live, slot)
    except BaseException:
        _write(context, run)
        raise
    if is_last:
        _put_image(run.batch, live)
        run.batch.sync = True
    _write(context, run)


def _put_image(batch: Batch, live: Worker) -> None:
    last = live.find_worthwhile_image()
    if last is not None:
        cache.write_image(batch, live.process, last.slot, last.record, last.pages)


def _read_run(store: Store, live: Worker, slot: int) -> _Run:
    """Read what is needed to compute the next slots, up to `slot` or as many as go at once."""
    first, last = live.slot + 1, min(slot, live.slot + RUN_SLOTS)
    known, last = _read_known(store, live.process, first, last)
    following = schedules.stretch(store, live.process, first, last, READ_BYTES)
    return _Run(first, following, known)


def _read_known(store: Store, process: str, first: int, last: int) -> tuple[dict[int, bytes], int]:
    """Return the stored records from `first` to `last`, by slot, and the last slot if they are too many to read."""
    known: dict[int, bytes] = {}
    size = 0
    for key, raw in store.scan(*keys.slot_records(process, first, last)):
        known[keys.slot_of(key)] = raw
        size += len(raw)
        if size >= READ_BYTES:
            return known, keys.slot_of(key)
    return known, last


def _compute(context: Context, live: Worker, run: _Run, last: int) -> Iterator[Computed]:
    for assignment in schedules.read_stretch(live.process, run.first, run.assignments):
        if context.cancellation.is_cancelled:
            raise Interrupted(f"interrupted at slot {live.slot}; all slots up to it are computed")
        results = _known_out_of_gas(run, live) if run.known else None
        request = assignment.message
        yield live.compute_next(request) if results is None else live.take_out_of_gas(request, results)
        context.on_slot(live.slot, last)
        if run.is_full():
            break


def _known_out_of_gas(run: _Run, live: Worker) -> Message | None:
    """Return the stored results of the next slot if another engine ran out of gas there: this one might not."""
    from hb.compute import comparison

    stored = run.known.get(live.slot + 1)
    return None if stored is None else comparison.foreign_out_of_gas(stored, live.engine)


def _keep(run: _Run, live: Worker, computed: Computed) -> None:
    """Put what was computed into the run's batch. A record that is stored already stays, and must say the same."""
    process, known = live.process, run.known.get(computed.slot)
    if known is None:
        cache.write(run.batch, process, computed.slot, computed.record)
        run.size_bytes += len(computed.record)
    elif known != computed.record:
        _check_same(known, computed, process)
        live.follow(known)
    image = computed.image
    if image is not None:
        cache.write_image(run.batch, process, computed.slot, image.record, image.pages)
        if image.pages:
            run.size_bytes += sum(map(len, image.pages.values()))


def _check_same(known: bytes, computed: Computed, process: str) -> None:
    """Make sure that a stored record of another engine says what was computed here, apart from gas."""
    from hb.compute import comparison

    stored = cache.parse(known, "slot record", process, computed.slot)
    again = cache.parse(computed.record, "slot record", process, computed.slot)
    if stored.get("engine") == again["engine"]:
        expected, got = known.decode("utf-8", "replace"), computed.record.decode()
        what = "a slot computed again came out differently"
    else:
        found = comparison.find_difference(stored, again, comparison.EVERYTHING)
        if found is None:
            return
        expected, got = (comparison.shown(value) for value in (found.before, found.after))
        engines = comparison.engines_of(stored, again)
        what = f"a slot computed again came out differently in {found.path} ({engines})"
    raise IntegrityError(what, process=process, slot=computed.slot, expected=expected, got=got)


def _write(context: Context, run: _Run) -> None:
    """Write what was computed, also if the caller was cancelled: it would have to be computed again."""
    if run.batch.puts:
        with context.replace(cancellation=NEVER).session() as store:
            _commit(store, run)
        context.storage.announce()


def _commit(store: Store, run: _Run) -> None:
    if run.batch.puts:
        store.commit(run.batch)
