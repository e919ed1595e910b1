"""Storage in memory: it lives and dies with its object.

Invariants:
    No file is written.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hb.storage.storage import FOREVER, Patience
from hb.storage.store import MemoryStore
from hb.storage.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "the home in memory"


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
