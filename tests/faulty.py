"""A store whose commits fail on purpose, for tests of the code that uses a store.

    store = FaultyStore(MemoryStore(), fail_at=3)            # commit 3 fails, and every later one
    store = FaultyStore(inner, fail_at=3, lost_answer=True)  # commit 3 is written, and fails all the same

Commits count from 1. Reads work as before, as they do on a full disk. `inner` has what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import HomeUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hb.storage.store import Batch, Store


class FaultyStore:
    """Pass everything to `inner`, but fail from commit `fail_at` on. `commits` counts all commits, failed ones too."""

    def __init__(self, inner: Store, *, fail_at: int, lost_answer: bool = False) -> None:
        self.inner = inner
        self.fail_at = fail_at
        self.lost_answer = lost_answer
        self.commits = 0

    def get(self, key: bytes) -> bytes | None:
        return self.inner.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.inner.get_many(keys)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self.inner.scan(start, stop, reverse=reverse)

    def commit(self, batch: Batch) -> None:
        self.commits += 1
        if self.commits < self.fail_at:
            self.inner.commit(batch)
            return
        if self.lost_answer and self.commits == self.fail_at:
            self.inner.commit(batch)
        raise HomeUnusable(f"no space left on device (commit {self.commits}, told to fail at {self.fail_at})")
