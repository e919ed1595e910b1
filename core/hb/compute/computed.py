"""What computing a slot gives to be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class StoredImage(NamedTuple):
    """A memory image to be stored: its record, and the contents of the pages that are new in it, by digest."""

    slot: int
    record: bytes
    pages: Mapping[str, bytes]


class Computed(NamedTuple):
    """What is to be stored of one slot: its record, and a memory image if one is worth its bytes."""

    slot: int
    record: bytes
    image: StoredImage | None
