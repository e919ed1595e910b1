"""Compute several processes at once, on threads, while deliveries are made in their order.

Invariants:
    At most one thread computes a process.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import monotonic
from typing import TYPE_CHECKING

from hb.cancellation import Cancellation
from hb.compute import driver

if TYPE_CHECKING:
    from hb.compute.context import Context

THREADS = 4
"""Maximum processes that are computed at once. Modules run outside of the interpreter's lock."""


class Computing:
    """The processes that are being computed. Close it when the push ends."""

    def __init__(self, context: Context) -> None:
        self._cancellation = Cancellation()
        context.cancellation.notify(self._cancellation.cancel)
        self._context = context.replace(cancellation=self._cancellation)
        self._executor: ThreadPoolExecutor | None = None
        self._running: dict[str, tuple[Future[None], float]] = {}

    def __contains__(self, process: str) -> bool:
        return process in self._running

    def __len__(self) -> int:
        return len(self._running)

    def start(self, process: str, slot: int) -> None:
        """Begin to compute a process up to `slot`, unless it is being computed, or all threads are busy."""
        if process in self._running or len(self._running) >= THREADS:
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, "hb push")
        future = self._executor.submit(
            self._context.run, lambda inner: driver.compute(inner, process, slot, is_followed=True)
        )
        self._running[process] = (future, monotonic())

    def seconds(self, process: str) -> float:
        """Return for how long a process has been computed; 0 if it is not."""
        return monotonic() - self._running[process][1] if process in self._running else 0.0

    def wait(self, timeout_s: float) -> dict[str, BaseException | None]:
        """Wait until a process is computed, at most `timeout_s`. Return those that are, each with what it raised."""
        futures = {future: process for process, (future, _) in self._running.items()}
        done, _ = wait(futures, timeout_s, FIRST_COMPLETED)
        for future in done:
            del self._running[futures[future]]
        return {futures[future]: future.exception() for future in done}

    def close(self) -> None:
        """Stop what is being computed. What is computed until then is stored."""
        self._cancellation.cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=True)
