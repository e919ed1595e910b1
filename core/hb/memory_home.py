"""A home in memory: it is gone when nothing refers to it.

Invariants:
    No file is written, except compiled modules, if the caller gives a directory for them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hb import keyring
from hb.config import Config
from hb.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from hb.protocol.commitment import Key


class MemoryHome:
    """A home in memory. `cache` is a directory for compiled modules, or None.

    It has a key of every name that a key can have, made from the name and `seed`. Equal seeds give equal keys.
    """

    def __init__(self, seed: bytes, *, cache: Path | None = None) -> None:
        self.cache = cache
        self._seed = seed
        self.storage = MemoryStorage()

    def settings(self) -> Config:
        """Return the settings of a new home."""
        return Config()

    def key(self, name: str) -> Key:
        """Return the key of that name.

        Raises:
            Refused: no key can have that name.
        """
        from hb.protocol.commitment import Key

        keyring.check_name(name)
        return Key(sha256(b"hb memory home key\0" + self._seed + b"\0" + name.encode()).digest())

    def make_key(self, name: str) -> Key:
        """Return the key of that name. It is there already.

        Raises:
            Refused: no key can have that name.
        """
        return self.key(name)
