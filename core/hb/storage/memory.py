"""Storage in memory: it lives and dies with its object.

Invariants:
    No file is written.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from hb.errors import HomeBusy
from hb.storage.storage import FOREVER, Patience
from hb.storage.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_S = 0.05
"""How often a caller that waits looks whether it was cancelled, in seconds."""


class MemoryStorage:
    """A `Storage` in memory, for the threads of one program."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._lock = Lock()
        self._leases: dict[str, Lock] = {}
        self._announced = 0

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[MemoryStore]:
        """Open the store for a `with` block; see `Storage.session`."""
        with _held(self._lock, patience):
            yield self._store

    @contextmanager
    def lease(self, process: str, patience: Patience = FOREVER) -> Iterator[None]:
        """Be the only one to compute `process` for a `with` block; see `Storage.lease`."""
        with _held(self._leases.setdefault(process, Lock()), patience):
            yield

    def announce(self) -> None:
        """Tell those who wait that something new was scheduled or computed."""
        self._announced += 1

    def signal(self) -> int:
        """Return a number that changes with each `announce`."""
        return self._announced

    def repair(self, patience: Patience = FOREVER) -> list[str]:
        """Do nothing: memory has no files that could be damaged."""
        return []

    @contextmanager
    def scratch(self) -> Iterator[MemoryStore]:
        """Make an empty store for a `with` block."""
        yield MemoryStore()


@contextmanager
def _held(lock: Lock, patience: Patience) -> Iterator[None]:
    timeout_s, cancellation = patience
    end = None if timeout_s is None else monotonic() + timeout_s
    while True:
        left = _LOOK_S if end is None else max(0.0, min(_LOOK_S, end - monotonic()))
        if lock.acquire(timeout=left):
            break
        cancellation.check("waiting for the home")
        if end is not None and monotonic() >= end:
            raise HomeBusy(f"the home in memory was busy for {timeout_s:g} s")
    try:
        yield
    finally:
        lock.release()
