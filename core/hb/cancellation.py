"""Tell one piece of work to stop, from any thread, without touching any other.

Invariants:
    Cancelling never blocks: no lock is taken, so a signal that arrives in the middle leaves nothing locked.
    A cancellation is never taken back.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hb.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cancellation:
    """A request to stop that one caller makes and one piece of work obeys. Safe from any thread.

    >>> cancellation = Cancellation()
    >>> with cancellation.calling(lambda: print("stopping")):
    ...     cancellation.cancel()
    stopping
    >>> cancellation.is_cancelled
    True
    """

    def __init__(self) -> None:
        self.is_cancelled = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    def cancel(self) -> None:
        """Ask the work to stop. It raises `Interrupted` as soon as what it has done so far is safe."""
        # The flag before the callbacks: whoever registers later sees the flag.
        self.is_cancelled = True
        for callback in list(self._callbacks.values()):
            callback()

    def check(self, doing: str = "the call") -> None:
        """Raise `Interrupted` if the work was cancelled. `doing` says what was interrupted."""
        if self.is_cancelled:
            raise Interrupted(f"{doing} was interrupted")

    def notify(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the work is cancelled; at once if it already is. Giving it again changes nothing.

        It stays registered for as long as this cancellation lives. It must be as `calling` wants it.
        """
        self._callbacks[callback] = callback
        if self.is_cancelled:
            callback()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback` as soon as the work is cancelled, while the `with` block runs; at once if it already is.

        `callback` may run more than once and on any thread. It must be quick and must not raise.
        """
        key = object()
        self._callbacks[key] = callback
        try:
            if self.is_cancelled:
                callback()
            yield
        finally:
            del self._callbacks[key]


class Never(Cancellation):
    """The cancellation of work that nobody can cancel."""

    def cancel(self) -> None:
        """Refuse: whoever wants to cancel makes a `Cancellation` of its own."""
        raise AssertionError("this work cannot be cancelled")

    def notify(self, callback: Callable[[], None]) -> None:
        """Do nothing: there is nothing to be told."""


NEVER = Never()
