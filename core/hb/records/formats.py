"""The format of a store: which one it has, and which this program knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import IntegrityError, Refused
from hb.records import keys

if TYPE_CHECKING:
    from hb.storage.store import Store


def check(store: Store, where: str) -> None:
    """Make sure that the store `where` ("the home PATH") has the format that this program writes.

    Raises:
        Refused: the format is newer.
        IntegrityError: no program ever wrote this format.
    """
    found = store.get(keys.FORMAT_KEY)
    if found == keys.FORMAT:
        return
    if found is not None and found.isdigit() and int(found[:9]) > int(keys.FORMAT):
        raise Refused(
            f"{where} has format {found[:9].decode()}; this hb knows {keys.FORMAT.decode()}",
            hint="use a newer hb",
        )
    raise IntegrityError(f"{where} has no format that an hb ever wrote", expected=keys.FORMAT, got=found and found[:80])
