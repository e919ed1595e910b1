"""One thread at a time, in the order in which they came, and a wait that ends at once when it is cancelled.

Invariants:
    A wait polls nothing.
    Ctrl-C at any step leaves nothing locked.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, suppress
from threading import TIMEOUT_MAX, Lock
from time import monotonic
from typing import TYPE_CHECKING

from hb.errors import HomeBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.storage import Patience

WAITING = "the wait for the home"


def wait(until: Callable[[], bool], wake: Lock, patience: Patience) -> bool:
    """Wait until `until()` is true, and return whether it is. It is asked whenever `wake`, a held lock, is released.

    Raises:
        Interrupted: the caller was cancelled.
    """
    # A plain lock, not an Event: that is Python itself, and Ctrl-C in its midst could leave it locked for good.
    timeout_s, cancellation = patience
    end = None if timeout_s is None else monotonic() + timeout_s
    with cancellation.calling(lambda: release(wake)):
        while not until():
            cancellation.check(WAITING)
            left_s = TIMEOUT_MAX if end is None else end - monotonic()
            if left_s <= 0:
                return until()
            wake.acquire(timeout=min(left_s, TIMEOUT_MAX))
    return True


def release(lock: Lock) -> None:
    """Release a lock that may be released already."""
    with suppress(RuntimeError):
        lock.release()


class Turns:
    """Lets one thread at a time into a `with` block."""

    def __init__(self) -> None:
        self._guard = Lock()
        # Each waiter's own lock. The first one has its turn.
        self._line: deque[Lock] = deque()

    @contextmanager
    def hold(self, patience: Patience, busy: str, least_s: float = 0) -> Iterator[None]:
        """Wait for the turn and keep it for a `with` block. `busy` says what was busy, if the wait is too long.

        The wait is never shorter than `least_s` seconds, however impatient the caller is.

        Raises:
            HomeBusy: others had their turns for longer than `patience` allows.
            Interrupted: the caller was cancelled while it waited.
        """
        mine = Lock()
        mine.acquire()
        try:
            self._line.append(mine)
            if not wait(lambda: self._line[0] is mine, mine, _at_least(patience, least_s)):
                raise too_long(busy, patience)
            yield
        finally:
            with self._guard:
                with suppress(ValueError):
                    self._line.remove(mine)
                if self._line:
                    release(self._line[0])


def _at_least(patience: Patience, least_s: float) -> Patience:
    timeout_s = patience.timeout_s
    return patience if timeout_s is None else patience._replace(timeout_s=max(timeout_s, least_s))


def too_long(busy: str, patience: Patience) -> HomeBusy:
    """Return the error of a caller whose time is over."""
    return HomeBusy(
        f"{busy} was busy for {patience.timeout_s:g} s", hint="try again, or wait longer: --lock-timeout SECONDS"
    )
