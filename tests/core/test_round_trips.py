"""How often each verb asks the storage: on another machine, each of these costs half a millisecond."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb.environment import Environment
from hb.memory_home import MemoryHome
from hb.protocol.request import build_message
from hb.storage.memory import MemoryStorage
from hb.storage.storage import FOREVER, Patience
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hb.storage.store import Batch, Store

COUNTER = (Path(__file__).parents[2] / "samples" / "counter.wasm").read_bytes()
ENVIRONMENT = Environment(now_ms=lambda: 1_700_000_000_000, random_bytes=bytes)
SLOTS = 10


class CountingStore:
    """A store that counts what it is asked."""

    def __init__(self, inner: Store, asked: Counter[str]) -> None:
        self.inner = inner
        self.asked = asked

    def get(self, key: bytes) -> bytes | None:
        self.asked["gets"] += 1
        return self.inner.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.asked["get_manys"] += 1
        return self.inner.get_many(keys)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self.asked["scans"] += 1
        return self.inner.scan(start, stop, reverse=reverse)

    def commit(self, batch: Batch) -> None:
        self.asked["commits"] += 1
        self.inner.commit(batch)


class CountingStorage(MemoryStorage):
    """A storage that counts its sessions, and what its stores are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[CountingStore]:  # type: ignore[override]
        self.asked["sessions"] += 1
        with super().session(patience) as store:
            yield CountingStore(store, self.asked)


class CountingHome(MemoryHome):
    """A home in memory with such a storage."""

    def __init__(self) -> None:
        super().__init__(b"seed")
        self.storage: CountingStorage = CountingStorage()


@pytest.fixture(scope="module")
def home() -> CountingHome:
    """A home with a process `counter` of so many slots, half of them computed, and nine other processes."""
    home = CountingHome()
    for number in range(10):
        spawn(home, "counter" if not number else f"other-{number}")
    send(home, SLOTS)
    Node(home).compute("counter", SLOTS // 2)
    return home


def spawn(home: CountingHome, name: str) -> None:
    Node(home).spawn(COUNTER, signer=home.key("default"), environment=ENVIRONMENT, name=name, anchor=name)


def send(home: CountingHome, count: int, anchor: str = "") -> None:
    messages = [build_message("Increment", [], anchor=f"{anchor}{number}") for number in range(count)]
    Node(home).send("counter", messages, signer=home.key("default"), environment=ENVIRONMENT)


def ask(**most: int) -> dict[str, int]:
    return {"sessions": 1, "gets": 0, "get_manys": 0, "scans": 0, "commits": 0} | most


VERBS: dict[str, tuple[Callable[[CountingHome], object], dict[str, int]]] = {
    "state of a computed slot": (lambda home: Node(home).state("counter", 3), ask(gets=8, scans=1)),
    "inspect 11 slots": (lambda home: list(Node(home).history("counter")), ask(sessions=3, gets=6, scans=7)),
    "list 10 processes": (lambda home: Node(home).processes(), ask(sessions=10, gets=50, scans=30)),
    "send": (lambda home: send(home, 1, "one "), ask(gets=6, get_manys=1, scans=1, commits=1)),
    "send 50": (lambda home: send(home, 50, "many "), ask(sessions=2, gets=5, get_manys=1, scans=1, commits=1)),
    "send 50 again": (lambda home: send(home, 50, "many "), ask(sessions=2, gets=105, get_manys=1, scans=1)),
    "compute 56 slots": (
        lambda home: Node(home).compute("counter"),
        ask(sessions=7, gets=20, get_manys=2, scans=6, commits=1),
    ),
    "spawn": (lambda home: spawn(home, "new"), ask(gets=3, commits=1)),
}
"""What is asked, and how often each may ask. `lambda`s, as each run is of the same home, in this order."""


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_makes_no_more_round_trips_than_it_needs(home: CountingHome, verb: str) -> None:
    do, most = VERBS[verb]
    home.storage.asked.clear()
    do(home)
    asked = home.storage.asked
    assert {what: count for what, count in asked.items() if count > most[what]} == {}, dict(asked)
