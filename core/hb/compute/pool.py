"""The live workers that a program keeps between requests, within a bound of memory.

A request for a process first waits for room. Then it takes the lease of the process, and then the worker, if one is
kept. It gives the worker back if all went well. A worker that is not given back is gone.

Invariants:
    A worker that was taken is in nobody else's hands.
    Nothing is read or written here, and no module runs.
    Room comes before the lease. Whoever holds a lease never waits for room, so no two requests wait for each other.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from mmap import PAGESIZE
from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING

from hb.errors import HomeBusy
from hb.storage.storage import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.compute.worker import Worker
    from hb.storage.storage import Patience

LEAST_BYTES = 1 << 20
"""What a worker counts at least: its instance takes some memory, and addresses, even if its program has no memory."""

GROWN_SHARE = 16
"""A worker's memory is looked at page by page when the program has grown by this share of the bound since then."""

_LOOK_S = 0.05
"""How often a request that waits for room looks whether it was cancelled, in seconds."""


class _Place:
    """The place of one process: what its worker takes, how many requests are for it, and the worker if it is here."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.requests = 0
        self.worker: Worker | None = None


class Pool:
    """The live workers of one program on one storage, at most one for each process. Safe to use from several threads.

    Workers take at most `limit_bytes` in all, kept or at work. The one that was used longest ago goes first. A request
    waits if those at work leave no room, but one process is always worked on, however large it is. A memory counts
    twice, because a worker has a copy of it, to undo a message that failed. Of a large memory only pages that were
    written to count. Which these are is known from the last image, and found out when the program has grown since.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        """What all workers take now, kept or at work."""
        self._changed = Condition()
        self._places: dict[str, _Place] = {}  # the one that was used last is last
        self._waiting: deque[object] = deque()
        self._is_closed = False
        self._resident = _resident_bytes()

    def size_of(self, process: str) -> int | None:
        """Return what the worker of `process` takes, or None if there is none."""
        with self._changed:
            place = self._places.get(process)
            return None if place is None else place.size_bytes

    @contextmanager
    def room(self, process: str, size_bytes: int, patience: Patience = FOREVER) -> Iterator[None]:
        """Have room for a worker of `process` for a `with` block. `size_bytes` is what it is expected to take.

        Requests for one process share its room: the lease lets one of them in at a time.

        Raises:
            HomeBusy: others were at work for longer than `patience` allows.
            Interrupted: the caller was cancelled while it waited.
        """
        with self._changed:
            if not self._is_at_work(process):
                self._wait(process, max(size_bytes, LEAST_BYTES), patience)
            place = self._places.pop(process, None)
            if place is None:
                place = _Place(0)
                self._resize(place, size_bytes)
            self._places[process] = place
            place.requests += 1
            dropped = self._drop_to_fit()
        del dropped  # only now, as giving memory back takes time
        try:
            yield
        finally:
            with self._changed:
                place.requests -= 1
                if not place.requests and place.worker is None:
                    self._remove(process)
                dropped = self._drop_to_fit()
                self._changed.notify_all()
            del dropped

    def take(self, process: str) -> Worker | None:
        """Take the worker of `process` out of its place, or return None if none is kept. Call it inside `room`."""
        with self._changed:
            place = self._places[process]
            taken, place.worker = place.worker, None
            return taken

    def weigh(self, worker: Worker) -> None:
        """Count what `worker` takes by now, if its process has room. Kept workers go if there is too little."""
        with self._changed:
            place = self._places.get(worker.process)
            if place is not None:
                self._resize(place, self._size_of_worker(worker))
            dropped = self._drop_to_fit()
        del dropped

    def keep(self, worker: Worker) -> None:
        """Give back a worker whose slots are all stored. Call it inside `room`.

        Of two workers of one process, the one that is further is kept. It must `run_on` a machine when it is taken.
        """
        # What made the request holds the pool. Without this, only the garbage collector would give the memory back.
        worker.rest()
        with self._changed:
            place = self._places[worker.process]
            kept = place.worker
            if not self._is_closed and (kept is None or kept.slot <= worker.slot):
                place.worker = worker
                self._resize(place, self._size_of_worker(worker))
        del kept

    def close(self) -> None:
        """Drop all workers. Requests that are at work end as usual, and their workers are not kept."""
        with self._changed:
            self._is_closed = True
            dropped = [place.worker for place in self._places.values()]
            for process, place in list(self._places.items()):
                place.worker = None
                if not place.requests:
                    self._remove(process)
        del dropped

    def _size_of_worker(self, worker: Worker) -> int:
        now = _resident_bytes()
        if now is None or self._resident is None:
            return worker.reserved_bytes
        has_grown = now - self._resident > self.limit_bytes // GROWN_SHARE
        if has_grown or now < self._resident:
            self._resident = now
        return worker.memory_bytes(look=has_grown)

    def _is_at_work(self, process: str) -> bool:
        place = self._places.get(process)
        return place is not None and place.requests > 0

    def _wait(self, process: str, size_bytes: int, patience: Patience) -> None:
        """Wait until those at work leave room, first come, first served."""
        end = None if patience.timeout_s is None else monotonic() + patience.timeout_s
        ticket = object()
        self._waiting.append(ticket)
        try:
            while not (self._is_at_work(process) or (self._waiting[0] is ticket and self._fits(size_bytes))):
                patience.cancellation.check("waiting for memory")
                left_s = _LOOK_S if end is None else min(_LOOK_S, end - monotonic())
                if left_s <= 0:
                    raise HomeBusy(
                        f"processes at work took all memory of the pool for {patience.timeout_s:g} s",
                        hint="try again, or raise pool-memory under [host] in the home's config.toml",
                    )
                self._changed.wait(left_s)
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        at_work = [place.size_bytes for place in self._places.values() if place.requests]
        return not at_work or sum(at_work) + size_bytes <= self.limit_bytes

    def _resize(self, place: _Place, size_bytes: int) -> None:
        before, place.size_bytes = place.size_bytes, max(size_bytes, LEAST_BYTES)
        self.size_bytes += place.size_bytes - before

    def _remove(self, process: str) -> _Place:
        place = self._places.pop(process)
        self.size_bytes -= place.size_bytes
        return place

    def _drop_to_fit(self) -> list[_Place]:
        """Take out the workers that were used longest ago, and are not at work, until the rest fits. Return them."""
        if self.size_bytes <= self.limit_bytes:
            return []
        dropped = []
        for process in [name for name, place in self._places.items() if not place.requests]:
            dropped.append(self._remove(process))
            if self.size_bytes <= self.limit_bytes:
                break
        return dropped


def _resident_bytes() -> int | None:
    """Return the memory that this program takes, where the system tells it in an instant; else None."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123  a pathlib.Path takes as long again
            return int(file.read().split()[1]) * PAGESIZE
    except (OSError, ValueError, IndexError):
        return None
