"""A home that lives and dies with its object: what a node needs of a home, without a directory.

It must never write a file; compiled modules may be kept in a directory that it is handed.
"""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

from hb import keyring
from hb.config import Config
from hb.errors import HomeBusy
from hb.storage.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hb.protocol.commitment import Key


class MemoryHome:
    """A home in memory. `cache` is a directory for compiled modules, or None.

    It has a key of every name that a key can have, made from the name and `seed`: equal seeds are equal keys.
    """

    def __init__(self, seed: bytes, *, cache: Path | None = None) -> None:
        self.cache = cache
        self._seed = seed
        self._store = MemoryStore()
        self._lock = Lock()
        self._computing: dict[str, Lock] = {}
        self._announced = 0

    def settings(self) -> Config:
        """The settings that a new home has."""
        return Config()

    def key(self, name: str) -> Key:
        """The key of that name.

        Raises:
            Refused: no key can have that name.
        """
        from hb.protocol.commitment import Key

        keyring.check_name(name)
        return Key(sha256(b"hb memory home key\0" + self._seed + b"\0" + name.encode()).digest())

    def make_key(self, name: str) -> Key:
        """The key of that name: it is there already.

        Raises:
            Refused: no key can have that name.
        """
        return self.key(name)

    def announce(self) -> None:
        """Lets those who follow a process know that something was scheduled."""
        self._announced += 1

    def announced(self) -> int:
        """A number that is another one after each `announce`."""
        return self._announced

    @contextmanager
    def slice(self, timeout_s: float | None = None) -> Iterator[MemoryStore]:
        """The store, for the length of a `with` block in which no other thread has it.

        A slice within a slice of the same home waits for itself, as that of a home on a disk does.

        Raises:
            HomeBusy: others held it for longer than `timeout_s` seconds (None: wait for as long as it takes).
        """
        with _held(self._lock, timeout_s):
            yield self._store

    @contextmanager
    def computing(self, process: str, timeout_s: float | None = None) -> Iterator[None]:
        """Be the only one to compute `process`, for the length of a `with` block.

        Raises:
            HomeBusy: another one computed it for longer than `timeout_s` seconds.
        """
        with _held(self._computing.setdefault(process, Lock()), timeout_s):
            yield


@contextmanager
def _held(lock: Lock, timeout_s: float | None) -> Iterator[None]:
    if not lock.acquire(timeout=-1 if timeout_s is None else timeout_s):
        raise HomeBusy(f"the home in memory was in use for longer than {timeout_s} seconds")
    try:
        yield
    finally:
        lock.release()
