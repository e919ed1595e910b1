"""Storage in memory: it lives and dies with its object.

Invariants:
    No file is written.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from hb.storage.storage import FOREVER, Patience
from hb.storage.store import check
from hb.storage.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hb.storage.store import Batch

_NAME = "the home in memory"

_FEW = 64
"""Up to so many new keys are inserted one by one. More are sorted in."""


class MemoryStorage:
    """A `Storage` in memory, for the threads of one program."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._turns = Turns()
        self._leases: dict[str, Turns] = {}
        self._announced = 0

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[MemoryStore]:
        """Open the store for a `with` block; see `Storage.session`."""
        with self._turns.hold(patience, _NAME):
            yield self._store

    @contextmanager
    def lease(self, process: str, patience: Patience = FOREVER) -> Iterator[None]:
        """Be the only one to compute `process` for a `with` block; see `Storage.lease`."""
        with self._leases.setdefault(process, Turns()).hold(patience, _NAME):
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

    def close(self) -> None:
        """Do nothing: memory keeps nothing open."""

    @contextmanager
    def scratch(self) -> Iterator[MemoryStore]:
        """Make an empty store for a `with` block."""
        yield MemoryStore()


class MemoryStore:
    """A store that lives and dies with its object. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._lock = Lock()
        self._scans: WeakSet[_Scan] = WeakSet()

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is none."""
        return self._values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order."""
        with self._lock:
            return [self._values.get(key) for key in keys]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Return keys and values with start <= key < stop, as of now, in order, or against it if `reverse`."""
        with self._lock:
            found = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
            if not reverse:
                found.reverse()
            scan = _Scan(found, self._values, self._lock)
            self._scans.add(scan)
        return scan

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once.

        Raises:
            Conflict: an expectation of the batch does not hold; nothing was written.
            ValueError: a key is both put and deleted; nothing was written.
        """
        with self._lock:
            check(batch, self._values.get)
            for scan in self._scans:
                scan.keep()
            self._scans.clear()
            for key in batch.deletes & self._values.keys():
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]
            new = [key for key in batch.puts if key not in self._values]
            self._values.update(batch.puts)
            if len(new) < _FEW:
                for key in new:
                    insort(self._keys, key)
            else:
                self._keys.extend(new)
                self._keys.sort()


class _Scan:
    """A scan of a store in memory: it reads each value when it comes to it, or all before the store changes."""

    def __init__(self, keys: list[bytes], values: dict[bytes, bytes], lock: Lock) -> None:
        """Scan `keys`, the last one first. Whoever changes `values` holds `lock`."""
        self._keys = keys
        self._values = values
        self._lock = lock

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        with self._lock:
            if not self._keys:
                raise StopIteration
            key = self._keys.pop()
            return key, self._values[key]

    def keep(self) -> None:
        """Make what is still to come independent of the store, whose lock is held."""
        self._values = {key: self._values[key] for key in self._keys}
