"""A progress bar on stderr, if that is a terminal: slots done, slots per second, time left.

Invariants:
    Nothing is written to stdout.
    Rich is not loaded for work that is done at once.
"""

from __future__ import annotations

import sys
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from hb_cli.terminal import output
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

_PATIENCE_S = 0.5
_REDRAW_S = 0.1


class Bar:
    """A bar that appears when work takes longer than half a second. Call `advance` after each slot."""

    def __init__(self) -> None:
        self._is_wanted = output.is_terminal(sys.stderr)
        self._since = self._drawn = monotonic()
        self._first: int | None = None
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()
            self._shown = None

    def advance(self, slot: int, target: int) -> None:
        """Show that `slot` is done. The work ends at `target`."""
        if not self._is_wanted:
            return
        now = monotonic()
        if self._first is None:
            self._first = slot - 1
        if now - self._drawn < (_REDRAW_S if self._shown else _PATIENCE_S):
            return
        self._drawn = now
        if self._shown is None:
            self._shown = _open()
        bar, task = self._shown
        done = slot - self._first
        rate = done / max(now - self._since, 1e-9)
        bar.update(task, completed=done, total=target - self._first, slot=slot, target=target, rate=f"{rate:,.0f}")


def _open() -> tuple[Progress, TaskID]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("slot {task.fields[slot]} of {task.fields[target]}"),
        BarColumn(),
        TextColumn("{task.fields[rate]} slots/s"),
        TimeRemainingColumn(compact=True),
        console=output.console(sys.stderr),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task("computing", total=None, slot=0, target=0, rate="0")


class Tally:
    """A line that counts, for work whose end nobody knows. It appears when that takes longer than half a second."""

    def __init__(self) -> None:
        self._is_wanted = output.is_terminal(sys.stderr)
        self._drawn = monotonic()
        self._shown: tuple[Progress, TaskID] | None = None
        self._slots = 0
        self._deliveries = 0
        self._drawing = Lock()

    def __enter__(self) -> Tally:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()
            self._shown = None

    def count_slot(self, slot: int, target: int) -> None:
        """Count a slot that was computed."""
        self._slots += 1
        self._draw()

    def count_delivery(self, delivery: object) -> None:
        """Count a delivery that was made."""
        self._deliveries += 1
        self._draw()

    def _draw(self) -> None:
        now = monotonic()
        if not self._is_wanted or now - self._drawn < (_REDRAW_S if self._shown else _PATIENCE_S):
            return
        if not self._drawing.acquire(blocking=False):
            return  # several processes are computed at once, each on a thread
        try:
            self._drawn = now
            if self._shown is None:
                self._shown = _open_tally()
            bar, task = self._shown
            bar.update(task, slots=counted(self._slots, "slot"), deliveries=f"{self._deliveries:,}")
        finally:
            self._drawing.release()


def _open_tally() -> tuple[Progress, TaskID]:
    from rich.progress import Progress, SpinnerColumn, TextColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[deliveries]} delivered, {task.fields[slots]} computed"),
        console=output.console(sys.stderr),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task("pushing", total=None, slots=counted(0, "slot"), deliveries="0")
