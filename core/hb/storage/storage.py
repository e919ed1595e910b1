"""What a verb needs of the world to keep bytes: a store to read and write, and the right to compute one process.

Two kinds of storage implement this: `storage.directory` (LevelDB in a directory that several programs share) and
`storage.memory` (this program alone). One suite of tests holds both to it (tests/core/storage).

Invariants:
    Nothing here knows what a key or a value means.
    Exclusivity is never assumed: whoever writes states in the batch what it has read (`Batch.expects`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from hb.cancellation import NEVER, Cancellation

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hb.storage.store import Store


class Patience(NamedTuple):
    """How long a caller waits for others: `timeout_s` seconds (None: without limit), or until it is cancelled."""

    timeout_s: float | None = None
    cancellation: Cancellation = NEVER


FOREVER = Patience()
AT_ONCE = Patience(0)


class Storage(Protocol):
    """Bytes by ordered keys, who may write them, and who computes what. Safe to use from several threads."""

    def session(self, patience: Patience = FOREVER) -> AbstractContextManager[Store]:
        """Open the store for a `with` block: a few reads and at most one batch.

        Keep it short, because others may be waiting. A session inside a session waits for itself.

        Raises:
            HomeBusy: others held the store for longer than `patience` allows.
            Interrupted: the caller was cancelled while it waited.
            NoHome: the storage is gone.
            Refused: the storage has a format that is newer than this program knows.
            IntegrityError: the store is damaged.
            HomeUnusable: the operating system does not let the store be opened.
        """

    def lease(self, process: str, patience: Patience = FOREVER) -> AbstractContextManager[None]:
        """Be the only one to compute `process` for a `with` block.

        A lease only spares double work: two programs that compute the same slots get the same bytes.

        Raises:
            HomeBusy: another program computed it for longer than `patience` allows.
            Interrupted: the caller was cancelled while it waited.
            NoHome: the storage is gone.
            HomeUnusable: the operating system does not let the lease be taken.
        """

    def announce(self) -> None:
        """Tell those who wait that something new was scheduled or computed. Never fails: it is a hint."""

    def signal(self) -> int:
        """Return a number that usually changes with each `announce`. It is a hint: look for yourself after a while.

        Raises:
            NoHome: the storage is gone.
        """

    def repair(self, patience: Patience = FOREVER) -> list[str]:
        """Bring a damaged store to where it can be opened, if that is possible. Return what was done, a line each.

        What is in the store is not looked at. A store that can be opened stays as it is.

        Raises:
            HomeBusy, Interrupted, NoHome, Refused, IntegrityError, HomeUnusable: as `session`.
        """

    def scratch(self) -> AbstractContextManager[Store]:
        """Make an empty store for a `with` block, for what must be checked before it is kept.

        Raises:
            HomeUnusable: the operating system does not let it be made.
        """
