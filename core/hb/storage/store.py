"""What is asked of a place to keep bytes.

A store maps keys to values, both bytes, in the order of the keys. It gives reads, ordered scans, and one kind of
write: an atomic batch that may state what it expects to find. Any transactional, ordered key-value engine can give
that; nothing else is asked of one.

Invariants:
    Nothing here knows what a key or a value means.
    No file is touched.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from hb.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

Result = TypeVar("Result")


@dataclass
class Batch:
    """Writes that happen together or not at all.

    `puts` and `deletes` share no key. `expects` has keys with the value that must be there just before the batch is
    written, or None if there must be none. With `sync`, the batch is on the disk when `commit` returns. Without, it
    survives the end of this program, but perhaps not a power cut.
    """

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: set[bytes] = field(default_factory=set)
    expects: dict[bytes, bytes | None] = field(default_factory=dict)
    sync: bool = False


class Store(Protocol):
    """Bytes by ordered keys."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is none.

        Raises:
            IntegrityError: the stored bytes are damaged.
            HomeUnusable: the operating system does not let it be read.
        """

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order: one round trip where the store is on another machine.

        Raises:
            IntegrityError, HomeUnusable: as `get`.
        """

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values with start <= key < stop, in the order of the keys, or against it if `reverse`.

        They are as they were when `scan` was called: commits made since do not show.

        Raises:
            IntegrityError, HomeUnusable: as `get`; also while iterating.
        """

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once.

        Raises:
            Conflict: an expectation of the batch does not hold; nothing was written.
            ValueError: a key is both put and deleted; nothing was written.
            HomeUnusable: the operating system does not let it be written; no part of the batch shows by itself.
        """


OpenStore: TypeAlias = "Callable[[], AbstractContextManager[Store]]"
"""Opens the store for a few reads and at most one batch."""


MOST_TRIES = 100
"""How often work is done again after a conflict. Each time, somebody else got on with theirs."""


def retrying(session: OpenStore, work: Callable[[Store], Result]) -> Result:
    """Return what `work(store)` returns, in a session of its own. After a `Conflict`, do it again in a new one.

    `work` reads, and commits at most one batch that states in `expects` what it has read.

    Raises:
        Conflict: there was one each time.
    """
    for _ in range(MOST_TRIES - 1):
        with suppress(Conflict), session() as store:
            return work(store)
    with session() as store:
        return work(store)


def check(batch: Batch, get: Callable[[bytes], bytes | None]) -> None:
    """Compare a batch with what is stored. A store calls this under its own lock, before it writes.

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
