"""A live process at one of its slots, to try something there.

Invariants:
    Nothing is written. What is computed on the way to the slot, or tried there, is dropped.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from hb import ids
from hb.compute import driver
from hb.compute.pool import Pool
from hb.records import cache
from hb.storage.storage import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.storage.storage import Patience, Storage
    from hb.storage.store import Batch, Store


def worker_at(context: Context, process: str, slot: int, *, machine: Machine | None = None) -> Worker:
    """Return a worker at `slot`, which is scheduled. Nothing that it computes on the way is stored.

    It starts from the newest memory image before the slot. `machine` runs the modules; by default the context's own.
    Call it inside `context.run`, like everything that is done with the worker.

    Raises:
        NotFound: there is no such process.
        IntegrityError: what is stored is damaged, or a slot on the way differs from its stored record.
        Interrupted: the caller was cancelled.
    """
    unwritten = context.replace(
        storage=_Unwritten(context.storage), lineages={}, tools=context.tools.with_pool(Pool(0))
    )
    live = driver.open_worker(unwritten, process, slot, context.machine() if machine is None else machine)
    driver.advance(unwritten, live, slot, is_last=False)
    return live


def try_at(context: Context, process: str, slot: int, assignment: Message) -> tuple[Message, Message]:
    """Return the results of `assignment` at the state of `slot`, and the public keys after it. Nothing is stored.

    `process` owns the slot. The pool's worker answers if it is at the slot. Otherwise a worker is made as by
    `worker_at`, and the pool keeps it if the slot is computed and the pool has none that is further. Call it inside
    `context.run`.

    Raises:
        NotFound, IntegrityError, Interrupted: as `worker_at`.
        HomeBusy: other processes took all memory of the pool for longer than the context allows.
    """
    with context.session() as store:
        size_bytes = driver.expected_bytes(context, store, process, slot)
        record = cache.read_bytes(store, process, slot)
    with context.room(process, size_bytes):
        live = None if record is None else _take_at(context, process, slot, ids.digest(record))
        if live is None:
            live = worker_at(context, process, slot)
            context.pool.weigh(live)
        else:
            live.run_on(context.machine())
            live.copy_state()
        answer = live.try_next(assignment)
        if record is not None:
            context.pool.keep(live)
        return answer


def _take_at(context: Context, process: str, slot: int, record_digest: str) -> Worker | None:
    """Take the pool's worker of `process` if it is at `slot`, with that record. Leave it there if it is further."""
    live = context.pool.take(process)
    if live is None or (live.slot, live.record_digest) == (slot, record_digest):
        return live
    if live.slot > slot:
        context.pool.keep(live)
    return None


class _Unwritten:
    """A storage that keeps nothing of what is written to it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.signal = storage.signal
        self.scratch = storage.scratch
        self.repair = storage.repair

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[Store]:
        """Open the store to read. Batches are dropped."""
        with self._storage.session(patience) as store:
            yield _ReadOnly(store)

    def lease(self, process: str, patience: Patience = FOREVER) -> AbstractContextManager[None]:
        """Wait for nobody: callers that store nothing can compute the same slots at once."""
        return nullcontext()

    def announce(self) -> None:
        """Tell nobody: nothing was written."""


class _ReadOnly:
    """A store that drops every batch."""

    def __init__(self, store: Store) -> None:
        self.get = store.get
        self.get_many = store.get_many
        self.scan = store.scan

    def commit(self, batch: Batch) -> None:
        """Drop the batch."""
