"""What an export wrote, and what an import stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hb.verify.replay import Note


class Exported(NamedTuple):
    """What was written: `slots` of a process from slot 0 on, of which `computed` have records, in `bytes` bytes."""

    process: str
    slots: int
    computed: int
    images: int
    bytes: int


class Imported(NamedTuple):
    """How many slots and records an import added, whether the process `is_new` here, and its newest slot.

    `notes` name other engines that computed records in the file: their gas is not compared.
    """

    process: str
    is_new: bool
    slots: int
    records: int
    newest: int
    notes: tuple[Note, ...] = ()
