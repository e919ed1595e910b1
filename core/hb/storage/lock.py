"""One holder at a time: the lock that shells queue at for a home.

A lock is a file that `flock` is taken on. The wait is the kernel's: it polls nothing, wakes who waits as soon as
the holder lets go, and a holder that dies, however it dies, has let go. What the file holds means nothing.

`flock` alone is not fair: a holder that lets go and asks again at once gets the lock before those that waited have
woken up. So there is a second file, NAME.queue: only who holds that one may ask for the lock, and gives it back when
it has the lock. The last holder then finds the next one waiting, and queues behind.

This module must never remove a lock file: who waits on a removed file would hold a lock that nobody else sees.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from threading import TIMEOUT_MAX, Lock, Thread
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
        HomeUnusable: the operating system would not let it be opened or locked.
    """
    descriptor = _acquire(path, timeout_s)
    try:
        yield
    finally:
        os.close(descriptor)


def queue_of(path: Path) -> Path:
    """The file beside the lock file `path` that is held by who has the next turn."""
    return path.with_name(f"{path.name}.queue")


def _acquire(path: Path, timeout_s: float | None) -> int:
    while True:
        queue = _open(queue_of(path))
        try:
            descriptor = _open(path)
        except BaseException:
            os.close(queue)
            raise
        try:
            got = _Turn(queue, descriptor).wait(timeout_s)
        except OSError as error:
            raise HomeUnusable(f"cannot lock {path}: {error.strerror}") from error
        if not got:
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


def _still_there(descriptor: int, path: Path) -> bool:
    """Whether the file that was locked is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


class _Turn:
    """One wait for a lock. Closes both descriptors in the end, but for the lock's when it was got."""

    def __init__(self, queue: int, descriptor: int) -> None:
        self._queue: int | None = queue
        self._descriptor = descriptor
        # Plain locks, not an Event: that is Python itself, and Ctrl-C in its midst could leave it locked for good.
        self._running = Lock()
        self._lock = Lock()
        self._ended = False
        self._given_up = False
        self._error: OSError | None = None

    def wait(self, timeout_s: float | None) -> bool:
        """Whether the lock was got, within `timeout_s` seconds if there is a limit.

        Raises:
            OSError: the operating system would not let it be locked.
        """
        try:
            if timeout_s is None:
                self._take()
                return True
            if self._take_at_once():
                return True
        except BaseException:  # Ctrl-C while waiting, too
            self._leave_queue()
            os.close(self._descriptor)
            raise
        return self._take_within(timeout_s)

    def _take(self, how: int = 0) -> None:
        assert self._queue is not None
        fcntl.flock(self._queue, fcntl.LOCK_EX | how)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | how)
        self._leave_queue()

    def _take_at_once(self) -> bool:
        try:
            self._take(fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _take_within(self, timeout_s: float) -> bool:
        """Without polling and without signals: a thread waits. If it gets the lock after all, it lets go at once."""
        self._running.acquire()
        Thread(target=self._take_in_thread, name="hb-lock", daemon=True).start()
        try:
            self._running.acquire(timeout=min(max(timeout_s, 0.0), TIMEOUT_MAX))
        except BaseException:  # Ctrl-C while waiting
            if not self._give_up() and self._error is None:
                os.close(self._descriptor)
            raise
        got = not self._give_up()
        if self._error is not None:
            raise self._error
        return got

    def _take_in_thread(self) -> None:
        try:
            self._take()
        except OSError as error:
            self._error = error
            self._leave_queue()
        with self._lock:
            if self._given_up or self._error is not None:
                os.close(self._descriptor)
            self._ended = True
        self._running.release()

    def _give_up(self) -> bool:
        """Whether that was possible: too late if the thread has ended."""
        with self._lock:
            self._given_up = not self._ended
            return self._given_up

    def _leave_queue(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            os.close(queue)
