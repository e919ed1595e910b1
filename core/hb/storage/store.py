"""What hb asks of a place to keep bytes, and the one in memory.

A store maps keys to values, both bytes, in the order of the keys. It gives single reads, ordered scans, and one
kind of write: an atomic batch that may state what it expects to find. Any transactional, ordered key-value
engine can give that; nothing above this seam may ask for more.

This module must never know what a key or a value means, and must never touch a file.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeAlias
from weakref import WeakSet

from hb.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


_FEW = 64
"""So many keys are put in their places one by one; more are sorted in."""


@dataclass
class Batch:
    """Writes that happen together or not at all.

    `puts` and `deletes` share no key. `expects` names keys with the value that must be there just before the
    batch is written, or None where there must be none. With `sync`, the batch is on the disk when `commit` returns;
    without, it survives the end of this program, but perhaps not a power cut.
    """

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: set[bytes] = field(default_factory=set)
    expects: dict[bytes, bytes | None] = field(default_factory=dict)
    sync: bool = False


class Store(Protocol):
    """Bytes by ordered keys."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None if there is none.

        Raises:
            IntegrityError: the stored bytes are damaged.
            HomeUnusable: the operating system would not let it be read.
        """

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with start <= key < stop, in the order of the keys, or against it if `reverse`.

        What it yields is as it was when `scan` was called: commits made since do not show.

        Raises:
            IntegrityError, HomeUnusable: as `get`; also while iterating.
        """

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once.

        Raises:
            Conflict: an expectation of the batch does not hold; nothing was written.
            ValueError: a key is both put and deleted; nothing was written.
            HomeUnusable: the operating system would not let it be written; no part of the batch shows by itself.
        """


OpenStore: TypeAlias = "Callable[[], AbstractContextManager[Store]]"
"""Opens the store for a few reads and at most one batch."""


class MemoryStore:
    """A store that lives and dies with its object. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._lock = Lock()
        self._scans: WeakSet[_Scan] = WeakSet()

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None if there is none."""
        return self._values.get(key)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with start <= key < stop, as of now, in order, or against it if `reverse`."""
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
        """`keys` are those still to come, the next one last; `lock` is held by whoever changes `values`."""
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
        """Makes what is still to come independent of the store, whose lock is held."""
        self._values = {key: self._values[key] for key in self._keys}


def check(batch: Batch, get: Callable[[bytes], bytes | None]) -> None:
    """Hold a batch against what is stored: for stores to call, under their own lock, before they write.

    Raises:
        Conflict: an expectation does not hold.
        ValueError: a key is both put and deleted.
    """
    if batch.deletes and not batch.deletes.isdisjoint(batch.puts):
        raise ValueError(f"both put and deleted: {min(batch.deletes & batch.puts.keys())!r}")
    for key, expected in batch.expects.items():
        got = get(key)
        if got != expected:
            raise Conflict(f"expected {_shown(expected)} under {key[:80]!r}, got {_shown(got)}")


def _shown(value: bytes | None) -> str:
    if value is None:
        return "nothing"
    return repr(value) if len(value) <= 80 else f"{len(value)} bytes"
