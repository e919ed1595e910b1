"""What hb asks of a place to keep bytes, and the one in memory.

A store maps keys to values, both bytes, in the order of the keys. It gives single reads, ordered scans, and one
kind of write: an atomic batch that may state what it expects to find. Any transactional, ordered key-value
engine can give that; nothing above this seam may ask for more.

This module must never know what a key or a value means, and must never touch a file.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from hb.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


class MemoryStore:
    """A store that lives and dies with its object. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._lock = Lock()

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None if there is none."""
        return self._values.get(key)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with start <= key < stop, as of now, in order, or against it if `reverse`."""
        with self._lock:
            found = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
            pairs = [(key, self._values[key]) for key in found]
        return iter(pairs[::-1] if reverse else pairs)

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once.

        Raises:
            Conflict: an expectation of the batch does not hold; nothing was written.
            ValueError: a key is both put and deleted; nothing was written.
        """
        with self._lock:
            check(batch, self._values.get)
            for key in batch.deletes & self._values.keys():
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]
            new = batch.puts.keys() - self._values.keys()
            self._values.update(batch.puts)
            if new:
                self._keys.extend(new)
                self._keys.sort()


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
