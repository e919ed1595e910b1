"""Storage in a directory that several programs share: a LevelDB store, and lock files beside it.

    store/        the LevelDB store
    cache/        lock files of leases (and compiled modules, which are not this module's)
    lock          the lock that a program holds while it uses the store; its time is the signal
    lock.queue    the lock that the next one in the queue holds

Invariants:
    No other module names a lock file or the store's directory.
    A lock file is never removed: whoever waits on a removed file would hold a lock that nobody else sees.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import HomeUnusable, IntegrityError, NoHome
from hb.storage import lock
from hb.storage.storage import FOREVER, Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hb.storage.leveldb import LevelStore
    from hb.storage.store import Store


@dataclass(frozen=True, eq=False, repr=False)
class DirectoryStorage:
    """A `Storage` in the directory `path`. `check_format(store)` raises if the store has a format to be refused."""

    path: Path
    check_format: Callable[[Store], None]

    @property
    def store(self) -> Path:
        """The directory of the LevelDB store."""
        return self.path / "store"

    @property
    def lock(self) -> Path:
        """The file that a session locks."""
        return self.path / "lock"

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[LevelStore]:
        """Open the store for a `with` block in which no other program has it; see `Storage.session`."""
        from hb.storage.leveldb import open_store

        self.check_there()
        with lock.hold(self.lock, patience), open_store(self.store) as store:
            self.check_format(store)
            yield store

    def check_there(self) -> None:
        """Make sure that the home is not being removed: no lock file is made in what is left of it.

        Raises:
            NoHome: neither the lock file nor the store is there.
        """
        if _is_gone(self.lock) and _is_gone(self.store / "CURRENT"):
            raise NoHome(f"no home at {self.path}")

    @contextmanager
    def lease(self, process: str, patience: Patience = FOREVER) -> Iterator[None]:
        """Be the only one to compute `process` for a `with` block; see `Storage.lease`."""
        if not ids.is_id(process):
            raise IntegrityError("a process is named by something that is not an ID", got=process[:80])
        locks = self.path / "cache"
        try:
            locks.mkdir(mode=0o700, exist_ok=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NoHome(f"no home at {self.path}") from error
        except OSError as error:
            raise HomeUnusable(f"cannot make {locks}: {error.strerror}") from error
        with lock.hold(locks / f"computing-{process}.lock", patience):
            yield

    def announce(self) -> None:
        """Tell those who wait that something new was scheduled or computed."""
        with suppress(OSError):
            os.utime(self.lock)

    def signal(self) -> int:
        """Return a number that usually changes with each `announce`: the time of the lock file."""
        try:
            return self.lock.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NoHome(f"no home at {self.path}") from error
        except OSError as error:
            raise HomeUnusable(f"cannot look at {self.lock}: {error.strerror}") from error

    def repair(self, patience: Patience = FOREVER) -> list[str]:
        """Bring a damaged store to where it can be opened; see `Storage.repair`."""
        from hb.storage.leveldb import repair_store

        with lock.hold(self.lock, patience):
            return repair_store(self.store)

    def close(self) -> None:
        """Let go of what is kept between sessions: nothing."""

    def scratch(self) -> AbstractContextManager[Store]:
        """Make an empty store in a temporary directory for a `with` block."""
        from hb.storage import scratch

        return scratch.store()


def _is_gone(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # whoever uses it is told why not
    return False
