"""What a context needs of a home's keys. For type checkers only: nothing loads this while the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hb.protocol.commitment import Key


class Keys(Protocol):
    """The signing keys of a home, by name."""

    def key(self, name: str) -> Key:
        """Return the key called `name`, ready to sign.

        Raises:
            NotFound: there is none.
            Refused: no key can have this name, or its file is not a key's.
            HomeUnusable: the operating system does not let it be read.
        """
