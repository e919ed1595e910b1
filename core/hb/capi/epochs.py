"""How one running call is ended from outside, and no other with it.

Compiled code looks at the engine's epoch wherever it loops or enters a function. When the epoch has moved, the engine
calls back here, once for each store that is running. That call goes on, unless its own store is to stop.

Invariants:
    Moving the epoch ends no call by itself.
    Nothing is set up for each call: the deadline and the callback are set once for each store.
"""

from __future__ import annotations

import _thread
import ctypes
import itertools
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any

from hb.cancellation import NEVER
from hb.capi import binding
from hb.errors import Interrupted

if TYPE_CHECKING:
    import wasmtime

    from hb.cancellation import Cancellation

_REPEAT_S = 0.01


class Guard:
    """What decides whether the calls of one store go on."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self.engine = engine
        self.cancellation: Cancellation = NEVER
        self.failure: BaseException | None = None
        """Why this store must not run on, if it must not; set by `fail`."""
        self.is_running = False

    def fail(self, failure: BaseException) -> None:
        """End the running call in `failure`, and every later one. From the thread of the call."""
        self.failure = self.failure or failure
        self.engine.increment_epoch()

    def check(self) -> None:
        """Raise what ends the calls of this store, if anything does.

        Raises:
            Interrupted: the cancellation was cancelled.
            BaseException: the failure that `fail` was given.
        """
        if self.failure is not None:
            raise self.failure
        if self.cancellation.is_cancelled:
            raise Interrupted("the program was interrupted")

    @property
    def is_stopping(self) -> bool:
        """Whether a call runs that is cancelled and has not noticed yet."""
        return self.is_running and self.cancellation.is_cancelled


# By a number that is never used twice. The engine says when a store goes.
_guards: dict[int, Guard] = {}
_numbers = itertools.count(1)


def guard(store: wasmtime.Store) -> Guard:
    """Return the guard of a new store."""
    made, number = Guard(store.engine), next(_numbers)
    _guards[number] = made
    # A store may go later than anything in this file when the program ends, and then calls these.
    vars(store)["epoch_functions"] = (_DECIDE, _LEAVE)
    calls = binding.get()
    pointer, decide, leave = (binding.address_of(o) for o in (store.ptr(), _DECIDE, _LEAVE))
    calls.on_deadline(pointer, decide, number, leave)
    calls.set_deadline(binding.context_of(store), 1)
    return made


def wake() -> None:
    """Have every running call look at its cancellation, and repeat that until each cancelled one has ended.

    This is what a `Cancellation` calls. It takes no lock and waits for nothing.
    """
    _move()
    if _is_any_stopping():
        # A call may have looked at its cancellation just before, and set its next deadline just after the epoch moved.
        with suppress(RuntimeError):  # the system gives no more threads: the first time has to do
            _thread.start_new_thread(_repeat, ())


def _repeat() -> None:
    while _is_any_stopping():
        sleep(_REPEAT_S)
        _move()


def _move() -> None:
    """Move the epoch of every engine that has a store; in this program that is one engine."""
    for each in {guard.engine for guard in list(_guards.values())}:
        each.increment_epoch()


def _is_any_stopping() -> bool:
    return any(each.is_stopping for each in list(_guards.values()))


def _decide(_context: int, number: int, delta: Any, kind: Any) -> int:
    """Called by the engine; returns 0 to go on until the next epoch, or an error that the engine then owns."""
    try:
        _guards[number].check()
    except BaseException as exception:  # raised again where the call was made
        binding.hold(exception)
        return binding.get().new_error(b"stopped")
    delta[0], kind[0] = 1, 0
    return 0


_DECIDE = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ctypes.c_uint8),
)(_decide)
_LEAVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_guards.pop)
