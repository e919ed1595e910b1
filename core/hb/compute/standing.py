"""A process at one of its slots, live, for what is to be tried there and not kept.

It must never write: whatever is computed on the way there, or done with the worker afterwards, is gone with it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from hb.compute import driver
from hb.storage.storage import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.storage.storage import Patience, Storage
    from hb.storage.store import Batch, Store


def worker_at(context: Context, process: str, slot: int, *, machine: Machine | None = None) -> Worker:
    """Return a worker at `slot`, which is scheduled. Nothing that it computes on the way is stored.

    It resumes from the newest memory image before the slot. `machine` runs the modules; by default the context's own.
    Call it inside `context.run`, like everything that is done with the worker.

    Raises:
        NotFound: there is no such process.
        IntegrityError: what is stored is damaged, or a slot on the way differs from its stored record.
        Interrupted: the caller was cancelled.
    """
    unwritten = replace(context, storage=_Unwritten(context.storage), lineages={})
    live = driver.open_worker(unwritten, process, slot, context.machine() if machine is None else machine)
    driver.advance(unwritten, live, slot, last_image=False)
    return live


class _Unwritten:
    """A storage that keeps nothing of what is written to it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.signal = storage.signal
        self.scratch = storage.scratch
        self.repair = storage.repair

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[Store]:
        """Open the store to read; batches are dropped."""
        with self._storage.session(patience) as store:
            yield _ReadOnly(store)

    def lease(self, process: str, patience: Patience = FOREVER) -> AbstractContextManager[None]:
        """Wait for nobody: two callers that store nothing are in nobody's way."""
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
