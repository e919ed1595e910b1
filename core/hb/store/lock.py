"""One holder at a time: the lock that shells queue at for a home.

A lock is a file that `flock` is taken on. The wait is the kernel's: it polls nothing, wakes who waits as soon as
the holder lets go, and a holder that dies, however it dies, has let go. The file's content means nothing.

This module must never remove a lock file: who waits on a removed file would hold a lock that nobody else sees.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from hb.errors import HomeBusy, HomeUnusable, NoHome, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock file `path`, made if need be, for the length of a `with` block.

    Waits for at most `timeout_s` seconds, or for as long as it takes if None. Works in any thread; a thread that
    holds a lock and asks for it again waits for itself.

    Raises:
        HomeBusy: others held it for longer than `timeout_s`.
        NoHome: the directory it belongs in is not there.
        Refused: what is there is not a plain file.
        HomeUnusable: the operating system would not let it be opened.
    """
    descriptor = _acquire(path, timeout_s)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path, timeout_s: float | None) -> int:
    while True:
        descriptor = _open(path)
        if timeout_s is None:
            _flock(descriptor, path)
        elif not _Waiter(descriptor).wait(timeout_s):
            raise HomeBusy(
                f"{path.parent} was busy for {timeout_s:g} s", hint="try again, or wait longer: --lock-timeout SECONDS"
            )
        if _still_there(descriptor, path):
            return descriptor
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        # O_NONBLOCK: should it be a pipe, do not wait for who writes to it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoHome(f"no home at {path.parent}") from error
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise Refused(f"{path} must be a plain file") from error
        raise HomeUnusable(f"cannot open {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{path} must be a plain file")
    return descriptor


def _flock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        os.close(descriptor)
        raise HomeUnusable(f"cannot lock {path}: {error.strerror}") from error
    except BaseException:  # Ctrl-C while waiting
        os.close(descriptor)
        raise


def _still_there(descriptor: int, path: Path) -> bool:
    """Whether the file that was locked is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


class _Waiter:
    """Waits for a lock with a limit, without polling and without signals.

    A thread waits in `flock`. Whoever gave up marks the wait as given up; should the thread get the lock
    later, it lets go of it at once.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._got = Event()
        self._lock = Lock()
        self._given_up = False

    def wait(self, timeout_s: float) -> bool:
        """Whether the lock was got within `timeout_s` seconds. If not, the descriptor is no longer the caller's."""
        try:
            # Nobody has it: no thread is needed.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            return True
        Thread(target=self._queue, name="hb-lock", daemon=True).start()
        try:
            self._got.wait(timeout_s)
        except BaseException:  # Ctrl-C while waiting
            if not self._give_up():
                os.close(self._descriptor)
            raise
        return not self._give_up()

    def _give_up(self) -> bool:
        """Whether that was possible: too late if the lock has just come."""
        with self._lock:
            self._given_up = not self._got.is_set()
            return self._given_up

    def _queue(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:  # the caller runs into its limit and says so
            os.close(self._descriptor)
            return
        with self._lock:
            if self._given_up:
                os.close(self._descriptor)
            else:
                self._got.set()
