"""One holder at a time: the lock that programs queue at for a home.

A lock is a file that `flock` is taken on. The wait is the kernel's: it polls nothing, wakes who waits as soon as the
holder lets go, and a holder that dies, however it dies, has let go. What the file holds means nothing.

`flock` alone is not fair: a holder that lets go and asks again at once gets the lock before those that waited have
woken up. So there is a second file, NAME.queue. Only who holds that one may ask for the lock, and gives it back with
the lock in hand. The last holder then finds the next one waiting, and queues behind.

`flock` cannot be interrupted from another thread either. So a thread asks the kernel, and its caller waits for that
thread. A caller that gives up leaves the thread behind: it serves the next caller, or lets go of the lock at once.
There is at most one such thread for a file.

Invariants:
    A lock file is never removed: whoever waits on a removed file would hold a lock that nobody else sees.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

from hb.errors import HomeUnusable, NoHome, Refused
from hb.storage.storage import FOREVER, Patience
from hb.storage.turns import Turns, release, too_long, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, patience: Patience = FOREVER) -> Iterator[None]:
    """Hold the lock file `path` for a `with` block; make it if it is missing.

    Works in any thread. A thread that holds a lock and asks for it again waits for itself.

    Raises:
        HomeBusy: others held it for longer than `patience` allows.
        Interrupted: the caller was cancelled while it waited.
        NoHome: the directory it belongs in is not there.
        Refused: what is there is not a plain file.
        HomeUnusable: the operating system does not let it be opened or locked.
    """
    descriptor = acquire(path, patience)
    try:
        yield
    finally:
        let_go(descriptor)


def acquire(path: Path, patience: Patience = FOREVER) -> int:
    """Return a descriptor that holds the lock file `path`. It is for `let_go`.

    Raises:
        HomeBusy, Interrupted, NoHome, Refused, HomeUnusable: as `hold`.
    """
    while True:
        try:
            descriptor = _take_at_once(path)
            if descriptor is None:
                descriptor = _queue_up(path, patience)
        except OSError as error:
            raise HomeUnusable(f"cannot lock {path}: {error.strerror}") from error
        if is_still(descriptor, path):
            return descriptor
        os.close(descriptor)


def let_go(descriptor: int) -> None:
    """Let go of a lock, also where a forked child has the descriptor too."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_still(descriptor: int, path: Path) -> bool:
    """Return whether the lock that is held is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_awaited(path: Path) -> bool:
    """Return whether anybody waits for the lock file `path`, which the caller holds. No file is made."""
    try:
        queue = os.open(queue_of(path), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(queue)
    return False


def queue_of(path: Path) -> Path:
    """Return the file beside the lock file `path` that is held by who has the next turn.

    Whoever waits touches it, so that its change of time wakes a holder that would let go; see `keeping`.
    """
    return path.with_name(f"{path.name}.queue")


def _take_at_once(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None if others hold it or wait for it."""
    queue = _open(queue_of(path))
    try:
        descriptor = _open(path)
        try:
            fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(queue)


def _queue_up(path: Path, patience: Patience) -> int:
    """Return a descriptor that holds the lock, once it is this thread's turn."""
    if patience.timeout_s is not None and patience.timeout_s <= 0:
        raise too_long(str(path.parent), patience)
    place = _Place.at(path)
    with place.turns.hold(patience, str(path.parent)):
        asker = place.asker
        if asker is None or not asker.adopt():
            asker = place.asker = _Asker(path)
        try:
            if not wait(asker.has_ended, asker.ended, patience):
                raise too_long(str(path.parent), patience)
            return asker.taken()
        except BaseException:  # Ctrl-C, too
            asker.abandon()
            raise


class _Place:
    """Where the threads of this program wait for one lock file."""

    guard = Lock()
    known: ClassVar[WeakValueDictionary[str, _Place]] = WeakValueDictionary()

    def __init__(self) -> None:
        self.turns = Turns()
        self.asker: _Asker | None = None

    @classmethod
    def at(cls, path: Path) -> _Place:
        """Return the one place for `path`. It is forgotten when no thread waits there any more."""
        with cls.guard:
            return cls.known.setdefault(str(path), _Place())

    @classmethod
    def forget(cls) -> None:
        """Forget all: a forked child has none of the threads."""
        cls.guard, cls.known = Lock(), WeakValueDictionary()


os.register_at_fork(after_in_child=_Place.forget)


class _Asker:
    """A thread that asks the kernel for a lock on behalf of one caller at a time."""

    def __init__(self, path: Path) -> None:
        self.ended = Lock()
        """Released when the thread has ended."""
        self.ended.acquire()
        self._queue = _open(queue_of(path))
        try:
            self._descriptor = _open(path)
        except BaseException:
            os.close(self._queue)
            raise
        self._guard = Lock()
        self._is_done = False
        self._is_wanted = True
        self._error: OSError | None = None
        # The thread keeps the place, so that the next caller finds the thread there.
        Thread(target=self._ask, args=(_Place.at(path),), name="hb-lock", daemon=True).start()

    def has_ended(self) -> bool:
        """Return whether the thread has the lock, or an error."""
        return self._is_done

    def taken(self) -> int:
        """Return the descriptor that holds the lock.

        Raises:
            OSError: the operating system does not let it be locked.
        """
        if self._error is not None:
            raise self._error
        return self._descriptor

    def adopt(self) -> bool:
        """Want the lock that a caller before no longer wanted. Return False if it is too late."""
        with self._guard:
            self._is_wanted = not self._is_done
            return self._is_wanted

    def abandon(self) -> None:
        """No longer want the lock."""
        with self._guard:
            self._is_wanted = False
            if self._is_done and self._error is None:
                os.close(self._descriptor)

    def _ask(self, _place: _Place) -> None:
        try:
            fcntl.flock(self._queue, fcntl.LOCK_EX)
            with suppress(OSError):
                os.utime(self._queue)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        finally:
            os.close(self._queue)
        with self._guard:
            self._is_done = True
            if not self._is_wanted or self._error is not None:
                os.close(self._descriptor)
        release(self.ended)


def _open(path: Path) -> int:
    try:
        # O_NONBLOCK: should it be a pipe, do not wait for who writes to it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoHome(f"no home at {path.parent}") from error
    except PermissionError as error:
        raise HomeUnusable(f"cannot open {path}: {error.strerror}") from error
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise Refused(f"{path} must be a plain file") from error
        raise HomeUnusable(f"cannot open {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{path} must be a plain file")
    return descriptor
