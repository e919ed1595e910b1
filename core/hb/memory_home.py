"""A home that lives and dies with its object: what a node needs of a home, without a directory.

It must never write a file; compiled modules may be kept in a directory that it is handed.
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

    It has a key of every name that a key can have, made from the name and `seed`: equal seeds are equal keys.
    """

    def __init__(self, seed: bytes, *, cache: Path | None = None) -> None:
        self.cache = cache
        self._seed = seed
        self.storage = MemoryStorage()

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
