"""Ctrl-C and SIGTERM: the first one stops the command in good order, the next one ends the program at once.

Invariants:
    Nothing is imported that Python has not loaded by itself: this runs before anything else of the program.
    A signal that the program was started to ignore stays ignored.
"""

import _signal  # type: ignore[import-not-found]  # what the library calls `signal` is made of
import _thread
import sys
import time

NUMBERS = (_signal.SIGINT, _signal.SIGTERM)
INTERRUPTED = 130
TERMINATED = 143
_MOMENT_S = 0.001


class Signals:
    """What this run of the program has heard."""

    def __init__(self) -> None:
        self.is_terminated = False
        self._once = True
        self._last = 0

    def listen(self, *, once: bool = True) -> None:
        """Raise `KeyboardInterrupt` at the next signal. If `once`, the one after that ends the program."""
        self._once = once
        sys.unraisablehook = self._hear_again
        _handle(self._hear)

    def exit_code(self, code: int) -> int:
        """Return `code`, or 143 in place of 130 if it was SIGTERM that interrupted."""
        return TERMINATED if code == INTERRUPTED and self.is_terminated else code

    def _hear(self, number: int, frame: object) -> None:
        if self._once:
            leave_to_the_system()
        self._last = number
        self.is_terminated = self.is_terminated or number == _signal.SIGTERM
        raise KeyboardInterrupt

    def _hear_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Hear a signal again that came where nothing can be raised, as in a callback of Python's own."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            _handle(self._hear)
            _thread.start_new_thread(self._send_again, ())
        else:
            sys.__unraisablehook__(unraisable)

    def _send_again(self) -> None:
        # Not at once: this may still be the place where nothing can be raised.
        time.sleep(_MOMENT_S)
        _thread.interrupt_main(self._last)  # type: ignore[arg-type]  # any number of a signal does


def leave_to_the_system() -> None:
    """Let the next signal end the program as it ends any other: without a word, and without a traceback."""
    _handle(_signal.SIG_DFL)


def _handle(handler: object) -> None:
    for number in NUMBERS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, handler)
