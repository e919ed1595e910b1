"""Computing a process up to a slot: the cache, else the latest restorable state, then slot by slot.

The store is opened for one read or one batch at a time and held by nobody while a module runs. It must never
schedule anything.

Source: HyperBEAM's `dev_process` (`compute`, `compute_loop`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from hb.compute import comparison, worker
from hb.errors import IntegrityError, Interrupted
from hb.protocol import definition as definitions
from hb.records import cache, keys, lineage, links
from hb.schedule import scheduler
from hb.storage.store import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.compute.context import Context
    from hb.compute.worker import Computed, Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message

RUN_SLOTS = 4000
"""So many assignments are read at once, and so many records written at once, at the most."""

RUN_BYTES = 32 << 20
RUN_SECONDS = 1.0
"""Computed slots are written when they have so many bytes, or so long after the last write."""

READ_BYTES = 16 << 20
"""So many bytes of assignments, and of records that there are already, are read at once at the most, and one more."""


@dataclass
class _Run:
    """A stretch of the schedule that is being computed, and what of it is to be written."""

    first: int = 0
    assignments: list[bytes] = field(default_factory=list)
    known: dict[int, bytes] = field(default_factory=dict)
    batch: Batch = field(default_factory=Batch)
    size_bytes: int = 0
    since: float = field(default_factory=monotonic)

    def is_full(self) -> bool:
        return self.size_bytes >= RUN_BYTES or monotonic() - self.since >= RUN_SECONDS


def compute(context: Context, process: str, slot: int) -> None:
    """Sees to it that the state of `slot`, which is scheduled, is in the cache.

    Raises:
        NotFound: there is no such process.
        IntegrityError: the schedule or the cache is damaged, or a slot computed again came out differently.
        Interrupted: the user wants to stop; what was computed until then is stored.
    """
    with context.session() as store:
        if cache.is_computed(store, process, slot):
            return
    with context.lease(process):
        with context.session() as store:
            if cache.is_computed(store, process, slot):
                return
        advance(context, open_worker(context, process, slot, context.machine()), slot, last_image=True)


def open_worker(context: Context, process: str, limit: int, machine: Machine) -> Worker:
    """A worker at the latest restorable slot at or below `limit`, or a new one at the first, which is then stored.

    Where `limit` is a slot that a fork shares, the worker is that of the process that has it. Of a fork with nothing
    restorable, what it comes from is computed up to where it left, one process after the other.
    """
    with context.session() as store:
        line = [at for at in lineage.segments(store, process) if at.first <= limit]
        restorable = cache.latest(store, process, limit=limit, required="image")
        newest = -1 if restorable is None else restorable
        shared = [at for at in line[:-1] if newest <= at.last] if newest < line[-1].first else []
        found = None if shared else _found(store, line[-1], limit, machine)
    live = None
    for at in shared:
        if context.cancellation.is_cancelled:
            raise Interrupted(f"interrupted at slot {at.first} of {limit}")
        with context.lease(at.process):
            live = _open(context, machine, at, at.last, live)
            advance(context, live, at.last, last_image=False)
    return _open(context, machine, line[-1], limit, live, found)


class _Found(NamedTuple):
    """What a worker is made from: a slot that has a memory image, or else the first assignment.

    `record` is the stored record of the first slot, if there is one but no image.
    """

    definition: Message
    restorable: tuple[bytes, cache.Image, dict[int, bytes]] | None
    first: Message | None = None
    record: bytes | None = None


def _found(store: Store, at: lineage.Segment, limit: int, machine: Machine) -> _Found:
    definition = lineage.get_definition(store, at.process)
    slot = cache.latest(store, at.process, first=at.first, limit=limit, required="image")
    if slot is None:
        first, raw = (
            scheduler.get_assignment(store, at.process, at.first),
            cache.read_bytes(store, at.process, at.first),
        )
        return _Found(definition, None, first, raw)
    links.read(store, at.process, slot)
    record = cache.read_bytes(store, at.process, slot)
    assert record is not None
    image = cache.read_image(store, at.process, slot)
    machine.check_memory(image.pages)
    return _Found(definition, (record, image, cache.read_pages(store, image, at.process, slot)))


def _open(
    context: Context,
    machine: Machine,
    at: lineage.Segment,
    limit: int,
    before: Worker | None,
    found: _Found | None = None,
) -> Worker:
    """A worker of the process whose own slots these are; `before` is one at the slot that they go on from."""
    process = at.process
    if found is None:
        with context.session() as store:
            found = _found(store, at, limit, machine)
    definition, restorable, first, _ = found
    if restorable is not None:
        return worker.resume(process, definition, *restorable, machine)
    assert first is not None
    if at.first == 0:
        live, computed = worker.begin(process, definition, first, machine)
    elif before is None:
        raise IntegrityError("a memory image that was there is gone", process=process)
    else:
        _check_origin(before, process, definition)
        live, computed = before.branch(process, definition, first, machine)
    run = _Run(known={} if found.record is None else {at.first: found.record})
    _keep(run, live, computed)
    _write(context, run)
    context.on_slot(at.first, limit)
    return live


def _check_origin(live: Worker, process: str, definition: Message) -> None:
    """Makes sure that the worker is where a fork's definition says that it left."""
    origin = definitions.origin(definition)
    if origin is None or origin.hashpath != live.hashpath:
        raise IntegrityError(
            "the process that this one comes from has another hashpath where it left",
            process=process,
            slot=live.slot,
            expected=None if origin is None else origin.hashpath,
            got=live.hashpath,
        )


def advance(context: Context, live: Worker, slot: int, *, last_image: bool) -> None:
    """Computes on until the worker is at `slot`; the last state gets a memory image if `last_image`.

    Raises:
        IntegrityError: as `compute`.
        Interrupted: as `compute`; the worker is of no further use.
    """
    run = _next_run(context, live, slot, _Run())
    while live.slot < slot:
        try:
            for computed in _steps(context, live, run, slot):
                _keep(run, live, computed)
        except BaseException:
            _write(context, run)
            raise
        if live.slot >= slot:
            break
        run = _next_run(context, live, slot, run)
    if last_image:
        _put_image(run.batch, live)
    run.batch.sync = True
    _write(context, run)


def keep_image(context: Context, live: Worker) -> None:
    """Stores a memory image of the slot that the worker is at, unless it has one."""
    run = _Run(batch=Batch(sync=True))
    _put_image(run.batch, live)
    _write(context, run)


def _put_image(batch: Batch, live: Worker) -> None:
    last = live.image()
    if last is not None:
        cache.write_image(batch, live.process, last.slot, last.record, last.pages)


def _next_run(context: Context, live: Worker, slot: int, done: _Run) -> _Run:
    """Writes what was computed and reads on, in one slice."""
    first, last = live.slot + 1, min(slot, live.slot + RUN_SLOTS)
    with context.session() as store:
        _commit(store, done)
        known, last = _read_known(store, live.process, first, last)
        following = scheduler.stretch(store, live.process, first, last, READ_BYTES)
    return _Run(first, following, known)


def _read_known(store: Store, process: str, first: int, last: int) -> tuple[dict[int, bytes], int]:
    """The records that there are already, and the slot up to which that was looked at."""
    known: dict[int, bytes] = {}
    size = 0
    for key, raw in store.scan(*keys.slot_records(process, first, last)):
        known[keys.slot_of(key)] = raw
        size += len(raw)
        if size >= READ_BYTES:
            return known, keys.slot_of(key)
    return known, last


def _steps(context: Context, live: Worker, run: _Run, last: int) -> Iterator[Computed]:
    for assignment in scheduler.read_stretch(live.process, run.first, run.assignments):
        if context.cancellation.is_cancelled:
            raise Interrupted(f"interrupted at slot {live.slot}; all slots up to it are computed")
        results = _known_out_of_gas(run, live) if run.known else None
        yield live.step(assignment) if results is None else live.step_out_of_gas(assignment, results)
        context.on_slot(live.slot, last)
        if run.is_full():
            break


def _known_out_of_gas(run: _Run, live: Worker) -> Message | None:
    """Return the stored results of the next slot if another engine ran out of gas there: this one might not."""
    stored = run.known.get(live.slot + 1)
    return None if stored is None else comparison.foreign_out_of_gas(stored, live.engine)


def _keep(run: _Run, live: Worker, computed: Computed) -> None:
    """Put what was computed into the run's batch. A record that is stored already stays, and must say the same.

    Raises:
        IntegrityError: the stored record says something else.
    """
    known = run.known.get(computed.slot)
    if known is None:
        cache.write(run.batch, live.process, computed.slot, computed.record)
        run.size_bytes += len(computed.record)
    elif known != computed.record:
        _check_same(known, computed, live.process)
        live.follow(known)
    if computed.image is not None:
        cache.write_image(run.batch, live.process, computed.slot, computed.image.record, computed.image.pages)
        run.size_bytes += sum(map(len, computed.image.pages.values()))


def _check_same(known: bytes, computed: Computed, process: str) -> None:
    """Make sure that a record that another engine computed says what was computed here, apart from gas."""
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
    if run.batch.puts:
        with context.session() as store:
            _commit(store, run)
        context.storage.announce()


def _commit(store: Store, run: _Run) -> None:
    if run.batch.puts:
        store.commit(run.batch)
