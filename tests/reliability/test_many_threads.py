"""Many threads of one program on one home: each request gets its answer, and one that is cancelled disturbs no other.

With HB_LONG=1 it takes a minute for each kind of storage.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from random import Random
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

from hb import home as homes
from hb.cancellation import Cancellation
from hb.errors import Interrupted
from hb.verify import audit
from world import LARGE, PAGE, World

if TYPE_CHECKING:
    from pathlib import Path

LONG = bool(os.environ.get("HB_LONG"))
SECONDS = 60
THREADS, PROCESSES = 8, 4
CANCEL_EACH = 10
"""How many requests end between one that is cancelled and the next."""


class Clients:
    """What the threads of a test do at the same time, and what came of it."""

    def __init__(self, world: World, requests: int) -> None:
        """With HB_LONG=1, each thread makes requests for a while; otherwise it makes as many as `requests`."""
        self.world = world
        self.requests = requests
        self.processes = [world.spawn(LARGE if n else 1, gas=10**10 + n) for n in range(PROCESSES)]
        self.end = monotonic() + SECONDS
        self.is_over = False
        self.sent: dict[tuple[str, int], str] = {}
        self.at_work: dict[int, Cancellation] = {}
        self.answered = self.cancelled = 0

    def ask(self, number: int) -> None:
        """Send and read. Whoever was not cancelled gets the right answer."""
        random, world, made = Random(number), self.world, 0
        while monotonic() < self.end if LONG else made < self.requests:
            made += 1
            process = random.choice(self.processes)
            action = random.choice(["Count", "Count", "Stored", "Fail", "Spin"])
            # Some messages take long enough to be cancelled while they run.
            slot = world.send(process, (action, 5_000_000) if action == "Spin" else action)
            self.sent[process, slot] = action
            cancellation = self.at_work[number] = Cancellation()
            try:
                world.compute(process, slot, world.context.replace(cancellation=cancellation))
            except Interrupted:
                assert cancellation.is_cancelled, "another request was cancelled, and not this one"
                self.cancelled += 1
                continue
            self.answered += 1
            assert world.record(process, slot)["results"]["type"] == ("error" if action == "Fail" else "ok")

    def cancel(self) -> None:
        """Cancel a request at random, again and again."""
        random, after = Random(0), CANCEL_EACH // 2
        while not self.is_over:
            sleep(0.001)
            if self.answered + self.cancelled >= after:
                random.choice(list(self.at_work.values())).cancel()
                after += CANCEL_EACH

    def check(self) -> None:
        """Check each slot against what was sent, and what is stored against the program run once more."""
        for process in self.processes:
            slots = sorted(slot for pid, slot in self.sent if pid == process)
            assert slots == list(range(1, len(slots) + 1))
            self.world.compute(process, len(slots))
            counted = 0
            for slot in slots:
                action, record = self.sent[process, slot], self.world.record(process, slot)
                counted += action == "Count"
                assert record["state"]["count"] == counted
                if action == "Stored":
                    assert record["results"]["output"] == [counted]
            assert list(audit.verify(self.world.other(), process, replay=True, shared=True)) == []


@pytest.mark.parametrize("storage", ["memory", "directory"])
def test_threads_send_to_few_processes_and_read_them_while_some_are_cancelled(tmp_path: Path, storage: str) -> None:
    home = None if storage == "memory" else homes.create(tmp_path / "home")
    # Room for two of the three larger ones: workers come and go, too.
    world = World((2 * 2 * LARGE * PAGE) + (4 << 20), home)
    clients = Clients(world, 40 if home is None else 6)
    with ThreadPoolExecutor(THREADS + 1) as threads:
        asked = [threads.submit(clients.ask, number) for number in range(THREADS)]
        cancelling = threads.submit(clients.cancel)
        for each in asked:
            each.exception()
        clients.is_over = True
        for each in (*asked, cancelling):
            each.result()
    assert clients.cancelled
    assert clients.answered > clients.cancelled
    assert world.pool.size_bytes <= world.pool.limit_bytes
    clients.check()
