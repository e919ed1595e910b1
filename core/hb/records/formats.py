"""The format of a store: which one it has, and how an older one is brought to the one that this program writes.

A migration runs when the store is opened, before anything else is read. It is made of batches. With one batch it is
atomic. With more, the format says `NEW<OLD` until the last one is written, and whoever opens the store next goes on.

Invariants:
    A newer format, or one that no hb ever wrote, is refused and stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import IntegrityError, Refused
from hb.records import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.store import Batch, Store


class Migration:
    """The way from one format to the next.

    `batches(store)` yields what is still to be changed, so that a migration that was cut short goes on where it was.
    What it reads must not depend on batches that it yielded before: they are written while it runs.
    """

    def __init__(self, to: bytes, batches: Callable[[Store], Iterator[Batch]]) -> None:
        self.to = to
        self.batches = batches


MIGRATIONS: dict[bytes, Migration] = {}
"""By the format that a migration starts from. Format 1 is the first and the only one so far."""

_MARK = b"<"
_SHOWN_BYTES = 9


def ensure(store: Store, where: str) -> None:
    """Make sure that the store `where` ("the home PATH") has the format that this program writes; migrate it if needed.

    Raises:
        Refused: the format is newer.
        IntegrityError: no program ever wrote this format.
        HomeUnusable: the store cannot be written. It has its old format, or goes on with the migration next time.
    """
    found = store.get(keys.FORMAT_KEY)
    while found != keys.FORMAT:
        to, _, old = (found or b"").partition(_MARK)
        migration = MIGRATIONS.get(old or to)
        if migration is None or to not in (found, migration.to):
            raise _refusal(found, to, where)
        found = _migrate(store, found or b"", old or to, migration)


def _migrate(store: Store, found: bytes, old: bytes, migration: Migration) -> bytes:
    """Bring the store to the format that the migration leads to, and return that."""
    from hb.storage.store import Batch

    batches = migration.batches(store)
    batch = next(batches, Batch())
    while True:
        following = next(batches, None)
        says = migration.to if following is None else b"%b%b%b" % (migration.to, _MARK, old)
        batch.puts[keys.FORMAT_KEY] = says
        batch.expects[keys.FORMAT_KEY] = found
        batch.sync = True
        store.commit(batch)
        if following is None:
            return says
        batch, found = following, says


def _refusal(found: bytes | None, number: bytes, where: str) -> Refused | IntegrityError:
    if number.isdigit() and int(number[:_SHOWN_BYTES]) > int(keys.FORMAT):
        return Refused(
            f"{where} has format {number[:_SHOWN_BYTES].decode()}; this hb knows {keys.FORMAT.decode()}",
            hint="use a newer hb",
        )
    return IntegrityError(
        f"{where} has no format that an hb ever wrote", expected=keys.FORMAT, got=found and found[:80]
    )
