"""A directory storage whose store stays open between sessions: for programs that live long.

Opening a LevelDB store costs milliseconds. So the store stays open after a session, and the lock with it, as long as
nobody else wants them. A thread sleeps in the kernel until somebody does, and closes the store then: also while the
program runs a module, or does nothing at all.

Invariants:
    Whoever waits for the lock gets it as soon as no session is running.
    A forked child never touches the store of its parent. It is refused: LevelDB does not survive a fork.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from select import POLLIN, poll
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol
from weakref import finalize

from hb.errors import HbError, HomeUnusable, IntegrityError
from hb.storage import lock
from hb.storage.directory import DirectoryStorage
from hb.storage.storage import FOREVER, Patience
from hb.storage.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hb.storage.leveldb import LevelStore

WATCH_TURN_S = 0.05
"""A session waits at least this long for its turn within this program, however impatient its caller is."""

IDLE_S = 5.0
"""A store that no session has used for so many seconds is closed."""

LOOK_S = 1.0
"""How often the thread looks by itself: a program of an older version waits without telling."""

POLL_S = 0.005
"""How often the thread looks where the kernel cannot wake it."""

EXIT_S = 0.5
"""How long the end of the program waits for a session."""

_IN_ATTRIB = 0x4


@dataclass(frozen=True)
class KeptStorage(DirectoryStorage):
    """A `DirectoryStorage` that keeps its store open between sessions. Safe to use from several threads."""

    _keeper: _Keeper = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Have the store closed when the program ends, or when nobody has this storage any more."""
        keeper = _Keeper(self)
        object.__setattr__(self, "_keeper", keeper)
        finalize(self, keeper.close_at_exit)

    @property
    def times_opened(self) -> int:
        """How often the store was opened so far."""
        return self._keeper.times_opened

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[LevelStore]:
        """Use the store for a `with` block, one thread at a time; see `Storage.session`."""
        with self._keeper.session(patience) as store:
            yield store

    def repair(self, patience: Patience = FOREVER) -> list[str]:
        """Bring a damaged store to where it can be opened; see `Storage.repair`."""
        self.close()
        return super().repair(patience)

    def close(self) -> None:
        """Close the store if it is open, once no session is running. The next session opens it again."""
        self._keeper.close()


class _Keeper:
    """The store while it is open, the lock that goes with it, and the thread that watches for others."""

    def __init__(self, storage: DirectoryStorage) -> None:
        self.times_opened = 0
        # Not the storage itself: it could never be collected then.
        self._plain = DirectoryStorage(storage.path, storage.check_format)
        self._lock_file = storage.lock
        self._path = storage.store
        self._check_format = storage.check_format
        self._process = os.getpid()
        self._turns = Turns()
        self._store: LevelStore | None = None
        self._descriptor = -1
        self._used_at = 0.0
        self._is_watched = False

    @contextmanager
    def session(self, patience: Patience) -> Iterator[LevelStore]:
        self._check_process()
        end = None if patience.timeout_s is None else monotonic() + patience.timeout_s
        with self._turns.hold(patience, str(self._path.parent), WATCH_TURN_S):
            if self._store is not None and not lock.is_still(self._descriptor, self._lock_file):
                self._close()  # the home is gone, or another one is there now
            if self._store is None:
                self._open(patience if end is None else patience._replace(timeout_s=max(0.0, end - monotonic())))
            store = self._store
            assert store is not None
            try:
                yield store
            except (IntegrityError, HomeUnusable):
                self._close()
                raise
            except HbError:
                raise
            except BaseException:
                self._close()
                raise
            finally:
                self._end_session()

    def close(self, patience: Patience = FOREVER) -> None:
        self._check_process()
        with self._turns.hold(patience, str(self._path.parent)):
            self._close()
        with suppress(OSError):
            os.utime(lock.queue_of(self._lock_file))  # wakes the thread, so that it ends

    def close_at_exit(self) -> None:
        """Close the store, unless a thread that was left behind has a session."""
        with suppress(HbError):
            self.close(Patience(EXIT_S))

    def _open(self, patience: Patience) -> None:
        from hb.storage.leveldb import open_store

        self._plain.check_there()
        descriptor = lock.acquire(self._lock_file, patience)
        try:
            store = open_store(self._path)
            try:
                self._check_format(store)
            except BaseException:
                store.close()
                raise
        except BaseException:
            lock.let_go(descriptor)
            raise
        self._store, self._descriptor = store, descriptor
        self.times_opened += 1

    def _end_session(self) -> None:
        if self._store is None:
            return
        self._store.end_session()
        self._used_at = monotonic()
        if self._store.has_failed or lock.is_awaited(self._lock_file):
            self._close()
        elif not self._is_watched:
            try:
                Thread(target=self._watch, name="hb-keeper", daemon=True).start()
                self._is_watched = True
            except RuntimeError:  # the system has no thread for us: nobody would see who waits
                self._close()

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            try:
                store.close()
            finally:
                lock.let_go(self._descriptor)

    def _watch(self) -> None:
        """Close the store as soon as somebody waits for it, or it is idle. Runs on a thread while it is open."""
        bell = make_bell(lock.queue_of(self._lock_file))
        try:
            while True:
                with self._turns.hold(FOREVER, ""):
                    if self._store is not None and (
                        monotonic() - self._used_at >= IDLE_S or lock.is_awaited(self._lock_file)
                    ):
                        self._close()
                    if self._store is None:
                        self._is_watched = False
                        return
                bell.wait(LOOK_S)
        finally:
            bell.close()

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise HomeUnusable(
                "this home was opened before the program forked, and a forked child cannot use it",
                hint="start the child with multiprocessing's method 'spawn', and open the home there",
            )


class Bell(Protocol):
    """Rings when a file is touched."""

    def wait(self, timeout_s: float) -> None:
        """Return when the file was touched since the last call, or after `timeout_s` seconds."""

    def close(self) -> None:
        """Let go of what the kernel keeps for this."""


def make_bell(path: Path) -> Bell:
    """Return a bell for the file `path`: one that sleeps in the kernel where that is possible."""
    with suppress(OSError, AttributeError):
        return KernelBell(path)
    return PollingBell(path)


class KernelBell:
    """A bell by Linux's inotify."""

    def __init__(self, path: Path) -> None:
        from ctypes import CDLL, get_errno

        libc = CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_ATTRIB) < 0:
            os.close(self._descriptor)
            raise OSError(get_errno(), "inotify_add_watch")
        self._poll = poll()
        self._poll.register(self._descriptor, POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Return when the file was touched since the last call, or after `timeout_s` seconds."""
        if self._poll.poll(timeout_s * 1000):
            os.read(self._descriptor, 4096)

    def close(self) -> None:
        """Let go of what the kernel keeps for this."""
        os.close(self._descriptor)


class PollingBell:
    """A bell that looks at the file's time now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._time()

    def wait(self, timeout_s: float) -> None:
        """Return when the file was touched since the last call, or after `timeout_s` seconds."""
        end = monotonic() + timeout_s
        while (now := self._time()) == self._seen and monotonic() < end:
            sleep(POLL_S)
        self._seen = now

    def close(self) -> None:
        """There is nothing to let go of."""

    def _time(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0
