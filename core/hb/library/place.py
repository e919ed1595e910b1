"""What a home needs of where it is. For type checkers only: nothing loads this while the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from hb.config import Config
    from hb.protocol.commitment import Key
    from hb.storage.storage import Storage


class Place(Protocol):
    """Where a home is: in a directory (`hb.home.Home`) or in memory (`hb.memory_home.MemoryHome`)."""

    @property
    def storage(self) -> Storage:
        """Its storage."""

    @property
    def cache(self) -> Path | None:
        """The directory of compiled modules, if there is one."""

    def settings(self) -> Config:
        """Read its settings."""

    def key(self, name: str) -> Key:
        """Return its key of that name, ready to sign."""

    def make_key(self, name: str) -> Key:
        """Make a key of that name."""
