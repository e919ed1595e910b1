"""Another program writes between the read and the write of a verb: nothing of either is lost."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb.environment import Environment
from hb.errors import Conflict, Refused
from hb.files import transfer
from hb.memory_home import MemoryHome
from hb.protocol.request import build_message
from hb.records import keys
from hb.storage.memory import MemoryStorage
from hb.storage.storage import FOREVER, Patience
from hb.storage.store import MOST_TRIES, Batch, retrying
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.memory import MemoryStore

COUNTER = (Path(__file__).parents[2] / "samples" / "counter.wasm").read_bytes()
ENVIRONMENT = Environment(now_ms=lambda: 1_700_000_000_000, random_bytes=bytes)


class MeddlingStore:
    """A store to which somebody else writes just before each commit, as long as there is something to be written."""

    def __init__(self, inner: MemoryStore, meddling: list[Callable[[], object]]) -> None:
        self.get = inner.get
        self.get_many = inner.get_many
        self.scan = inner.scan
        self._inner = inner
        self._meddling = meddling

    def commit(self, batch: Batch) -> None:
        if self._meddling:
            self._meddling.pop(0)()
        self._inner.commit(batch)


class MeddlingStorage(MemoryStorage):
    """A storage whose sessions exclude nobody."""

    def __init__(self, shared: MemoryStore | None = None) -> None:
        super().__init__()
        self._store = shared or self._store
        self.meddling: list[Callable[[], object]] = []

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[MeddlingStore]:  # type: ignore[override]
        yield MeddlingStore(self._store, self.meddling)


class MeddlingHome(MemoryHome):
    """A home with such a storage."""

    def __init__(self, shared: MemoryStore | None = None) -> None:
        super().__init__(b"seed")
        self.storage: MeddlingStorage = MeddlingStorage(shared)


class Pair:
    """A home, and the same home as another program sees it, which is not disturbed."""

    def __init__(self) -> None:
        self.mine = MeddlingHome()
        self.theirs = MeddlingHome(self.mine.storage._store)
        self.meddling = self.mine.storage.meddling

    def spawn(self, home: MeddlingHome, name: str, anchor: str = "a") -> str:
        options = {"signer": home.key("default"), "environment": ENVIRONMENT, "anchor": anchor, "name": name}
        return Node(home).spawn(COUNTER, **options).process  # type: ignore[arg-type]

    def send(self, home: MeddlingHome, *anchors: str) -> list[int]:
        messages = [build_message("Increment", [], anchor=anchor) for anchor in anchors]
        sent = Node(home).send("counter", messages, signer=home.key("default"), environment=ENVIRONMENT)
        return [each.slot for each in sent]


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_work_is_done_again_after_a_conflict_and_not_without_end() -> None:
    storage, tries = MemoryStorage(), []

    def work(store: object) -> int:
        tries.append(store)
        if len(tries) < 3:
            raise Conflict("x")
        return len(tries)

    assert retrying(storage.session, work) == 3

    def fail(store: object) -> None:
        tries.append(store)
        raise Conflict("x")

    tries.clear()
    with pytest.raises(Conflict):
        retrying(storage.session, fail)
    assert len(tries) == MOST_TRIES


def test_sends_get_slots_of_their_own(pair: Pair) -> None:
    pair.spawn(pair.mine, "counter")
    theirs: list[int] = []
    for count in (1, 2):
        pair.meddling[:] = [
            lambda at=at, count=count: theirs.extend(pair.send(pair.theirs, f"{count} {at}")) for at in range(3)
        ]
        mine = pair.send(pair.mine, *(f"mine {count} {at}" for at in range(count)))
        assert not set(mine) & set(theirs)
    assert len(theirs) == 6
    assert [view.slot for view in Node(pair.mine).history("counter")] == list(range(10))
    Node(pair.mine).compute("counter")
    assert list(Node(pair.mine).verify("counter", replay=True)) == []


def test_a_message_that_another_sends_meanwhile_gets_one_slot(pair: Pair) -> None:
    pair.spawn(pair.mine, "counter")
    pair.meddling[:] = [lambda: pair.send(pair.theirs, "same")]
    assert pair.send(pair.mine, "same") == [1]


def test_a_process_that_another_spawns_meanwhile_is_the_same_one(pair: Pair) -> None:
    pair.meddling[:] = [lambda: pair.spawn(pair.theirs, "theirs")]
    process = pair.spawn(pair.mine, "mine")
    assert Node(pair.mine).names() == {"mine": process, "theirs": process}


def test_a_name_that_another_takes_meanwhile_is_taken(pair: Pair) -> None:
    pair.meddling[:] = [lambda: pair.spawn(pair.theirs, "wanted", anchor="theirs")]
    with pytest.raises(Refused, match="the name 'wanted' is taken"):
        pair.spawn(pair.mine, "wanted", anchor="mine")
    assert len(Node(pair.mine).processes()) == 1


def test_an_import_beside_another_of_the_same_file_stores_it_once(pair: Pair, tmp_path: Path) -> None:
    pair.spawn(pair.mine, "counter")
    pair.send(pair.mine, "one", "two")
    Node(pair.mine).compute("counter")
    file = tmp_path / "counter.history"
    transfer.export(Node(pair.mine).context, "counter", "now", file)
    other = Pair()
    other.meddling[:] = [lambda: transfer.import_history(Node(other.theirs).context, file, name="theirs")]
    imported = transfer.import_history(Node(other.mine).context, file, name="mine")
    assert Node(other.mine).names() == {"mine": imported.process, "theirs": imported.process}
    assert list(Node(other.mine).verify("mine", replay=True)) == []


def test_an_import_while_the_process_goes_on_here_keeps_what_came(pair: Pair, tmp_path: Path) -> None:
    pair.spawn(pair.mine, "counter")
    file = tmp_path / "counter.history"
    transfer.export(Node(pair.mine).context, "counter", "now", file)
    other = Pair()
    process = transfer.import_history(Node(other.theirs).context, file, name="counter").process
    other.meddling[:] = [lambda: other.send(other.theirs, "new")]
    transfer.import_history(Node(other.mine).context, file, name="again")
    assert [view.slot for view in Node(other.mine).history(process)] == [0, 1]


def test_a_name_that_gets_a_process_while_names_are_mended_stays(pair: Pair) -> None:
    process = pair.spawn(pair.mine, "counter")
    name = keys.name_key("lost")
    store = pair.mine.storage._store
    store.commit(Batch(puts={name: b"P" * 43}))
    pair.meddling[:] = [lambda: store.commit(Batch(puts={name: process.encode()}))]
    Node(pair.mine).repair_leftovers()
    assert Node(pair.mine).names() == {"counter": process, "lost": process}


def test_a_message_that_is_sent_while_the_head_is_mended_stays(pair: Pair) -> None:
    process = pair.spawn(pair.mine, "counter")
    pair.send(pair.mine, "one")
    store = pair.mine.storage._store
    sound = store.get(keys.head_key(process))
    assert sound is not None
    store.commit(Batch(puts={keys.head_key(process): b"{}"}))

    def send() -> None:
        store.commit(Batch(puts={keys.head_key(process): sound}))
        pair.send(pair.theirs, "two")

    pair.meddling[:] = [send]
    Node(pair.mine).repair("counter")
    assert [view.slot for view in Node(pair.mine).history("counter")] == [0, 1, 2]
    assert list(Node(pair.mine).verify("counter")) == []
