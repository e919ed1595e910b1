"""A store that stays open: who waits gets it at once, and it is opened at most once for each who came."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.errors import Conflict, HomeBusy, HomeUnusable, IntegrityError, NoHome
from hb.storage import keeping, lock
from hb.storage.directory import DirectoryStorage
from hb.storage.keeping import KeptStorage
from hb.storage.leveldb import open_store
from hb.storage.storage import AT_ONCE, Patience
from hb.storage.store import Batch
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from hb.home import Home
    from hb.storage.store import Store

COUNTER = Path(__file__).parents[3] / "samples" / "counter.wasm"
SENDS = 200 if os.environ.get("HB_LONG") else 3
PUT_MANY = """
import sys
from pathlib import Path
from hb.storage.directory import DirectoryStorage
from hb.storage.store import Batch
storage = DirectoryStorage(Path(sys.argv[1]), lambda store: None)
for number in range(int(sys.argv[2])):
    with storage.session() as store:
        store.commit(Batch(puts={b"shell %d" % number: b""}, sync=True))
"""


def accept(store: Store) -> None:
    """Every format is right."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_store(tmp_path / "store", create=True).close()
    return tmp_path


@pytest.fixture
def kept(path: Path) -> Iterator[KeptStorage]:
    storage = KeptStorage(path, accept)
    yield storage
    storage.close()


@pytest.fixture(params=["kernel", "polling"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hear of who waits."""
    if request.param == "polling":
        monkeypatch.setattr(keeping, "KernelBell", None)
        monkeypatch.setattr(keeping, "make_bell", keeping.PollingBell)
    return str(request.param)


def put(storage: DirectoryStorage, key: bytes) -> None:
    with storage.session() as store:
        store.commit(Batch(puts={key: b"1"}, sync=True))


def is_open(storage: KeptStorage) -> bool:
    """Whether the lock is held: nobody could get it at once."""
    try:
        with lock.hold(storage.lock, AT_ONCE):
            return False
    except HomeBusy:
        return True


def test_the_store_is_opened_once_for_many_sessions(kept: KeptStorage) -> None:
    for number in range(20):
        put(kept, b"%d" % number)
    assert kept.times_opened == 1
    kept.close()
    assert not is_open(kept)
    put(kept, b"more")
    assert kept.times_opened == 2


@pytest.mark.usefixtures("bell")
def test_an_idle_holder_lets_go_as_soon_as_somebody_waits(kept: KeptStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep the store for an hour, and look by itself once an hour."""
    monkeypatch.setattr(keeping, "IDLE_S", 3600.0)
    monkeypatch.setattr(keeping, "LOOK_S", 3600.0)
    put(kept, b"mine")
    other = DirectoryStorage(kept.path, accept)
    for number in range(5):
        opened = kept.times_opened
        with other.session(Patience(60.0)) as store:
            store.commit(Batch(puts={b"theirs %d" % number: b"1"}))
        put(kept, b"mine %d" % number)
        assert kept.times_opened <= opened + 1


def test_a_holder_lets_go_when_the_session_ends_that_others_waited_for(kept: KeptStorage) -> None:
    with kept.session() as store:
        other = subprocess.Popen([sys.executable, "-c", PUT_MANY, kept.path, "1"])
        while not lock.is_awaited(kept.lock):
            time.sleep(0.001)
        store.commit(Batch(puts={b"a": b"1"}))
        assert other.poll() is None
    with other, kept.session() as store:
        assert store.get(b"shell 0") == b""
    assert kept.times_opened == 2


def test_sessions_of_several_threads_take_turns_in_one_opened_store(kept: KeptStorage) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(25):
            with kept.session() as store:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                count = int(store.get(b"count") or b"0")
                store.commit(Batch(puts={b"count": b"%d" % (count + 1)}))
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with kept.session() as store:
        assert store.get(b"count") == b"100"
    assert most == [1]
    assert kept.times_opened == 1


def test_two_programs_that_keep_the_store_hand_it_to_each_other(kept: KeptStorage) -> None:
    other = KeptStorage(kept.path, accept)
    for number in range(10):
        for storage in (kept, other):
            with storage.session(Patience(60.0)) as store:
                store.commit(Batch(puts={b"%d" % number: b"1"}, expects={b"%d" % number: None}, sync=True))
                store.commit(Batch(deletes={b"%d" % number}))
    assert max(kept.times_opened, other.times_opened) <= 10
    other.close()


def test_a_session_that_is_cut_short_leaves_a_store_that_works(kept: KeptStorage) -> None:
    for error in (Conflict("x"), IntegrityError("x"), ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)), kept.session():
            raise error
        put(kept, b"a")
    assert kept.times_opened == 4  # after a conflict the store is as good as before


def test_a_store_that_failed_to_write_is_opened_again(kept: KeptStorage) -> None:
    with kept.session() as store:
        store._failed = True
        with pytest.raises(HomeUnusable):
            store.commit(Batch(puts={b"a": b"1"}))
    put(kept, b"a")
    assert kept.times_opened == 2


def test_a_scan_ends_with_its_session(kept: KeptStorage) -> None:
    put(kept, b"a")
    with kept.session() as store:
        scans = [store.scan(b"", b"z"), store.scan(b"", b"z", reverse=True)]
        assert next(scans[0]) == (b"a", b"1")
    for scan in scans:
        with pytest.raises(RuntimeError, match="closed"):
            next(scan)


def test_a_store_that_nobody_uses_is_closed_after_a_while(kept: KeptStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_S", "LOOK_S"):
        monkeypatch.setattr(keeping, name, 0.02)
    put(kept, b"a")
    while is_open(kept):  # asking makes it let go, too
        time.sleep(0.01)


@pytest.mark.usefixtures("bell")
def test_no_thread_is_left_of_a_store_that_was_closed(kept: KeptStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LOOK_S", 3600.0)
    before = [thread.name for thread in threading.enumerate()].count("hb-keeper")
    put(kept, b"a")
    kept.close()
    while [thread.name for thread in threading.enumerate()].count("hb-keeper") > before:
        time.sleep(0.001)


def test_a_home_that_is_gone_or_replaced_is_noticed(
    kept: KeptStorage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    put(kept, b"a")
    moved = tmp_path_factory.mktemp("moved") / "home"
    kept.path.rename(moved)
    with pytest.raises(NoHome), kept.session():
        pass
    kept.path.mkdir()
    open_store(kept.path / "store", create=True).close()
    with kept.session() as store:
        assert store.get(b"a") is None
    shutil.rmtree(kept.path)
    with pytest.raises(NoHome):
        put(kept, b"b")
    kept.path.mkdir()


def child(kept: KeptStorage, answers: Connection) -> None:
    said = []
    for use in (lambda: put(kept, b"child"), kept.close):
        try:
            use()
        except HomeUnusable as error:
            said.append(error.hint)
    answers.send(said)
    os._exit(0)


def test_a_forked_child_is_refused_and_leaves_the_parents_store_alone(kept: KeptStorage) -> None:
    put(kept, b"parent")
    answers, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(kept, theirs))
    process.start()
    theirs.close()
    first, second = answers.recv()
    process.join()
    assert "spawn" in first
    assert second == first
    put(kept, b"parent again")
    with kept.session() as store:
        assert dict(store.scan(b"", b"z")) == {b"parent": b"1", b"parent again": b"1"}
    assert kept.times_opened == 1


def test_a_program_that_ends_without_closing_its_store_ends_at_once(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hb.storage.keeping import KeptStorage\n"
        "from hb.storage.store import Batch\n"
        "storage = KeptStorage(Path(sys.argv[1]), lambda store: None)\n"
        "with storage.session() as store: store.commit(Batch(puts={b'a': b'1'}))"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, timeout=60, check=True)
    assert ran.stderr == b""
    with open_store(path / "store") as store:
        assert store.get(b"a") == b"1"


def sends(home: Home, count: int) -> list[float]:
    """How long each of so many `hb send` took, one after the other, in seconds."""
    program = Path(sys.executable).parent / "hb"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.path)}
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        words = [program, "--home", home.path, "send", "counter", "Increment"]
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    return seconds


def test_shells_beside_a_long_lived_program_wait_for_nothing_and_it_opens_the_store_once_for_each(
    tmp_path: Path,
) -> None:
    """With HB_LONG=1 there are 200 sends with and without such a program; how long they took is printed."""
    made = homes.create(tmp_path / "home")
    node = Node(made)
    key = keyring.load(made.keys, homes.DEFAULT_KEY)
    node.spawn(COUNTER.read_bytes(), signer=key, environment=system_environment(), name="counter")
    times: dict[str, list[float]] = {"nobody": [], "it opens": [], "it keeps": []}
    for keep_open in (False, True):
        home = homes.open_home(made.path, keep_open=keep_open)
        ended = threading.Event()

        def look(home: Home = home, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                with home.storage.session() as store:
                    store.get(b"format")
                ended.wait(0.02)

        thread = threading.Thread(target=look)
        thread.start()
        times["it keeps" if keep_open else "it opens"] = sends(home, SENDS)
        ended.set()
        thread.join()
        if isinstance(home.storage, KeptStorage):
            assert home.storage.times_opened <= SENDS + 1
        home.close()
    if SENDS >= 200:
        times["nobody"] = sends(made, SENDS)
        for beside, seconds in times.items():
            ordered = sorted(seconds)
            print(f"{beside}: median {ordered[len(ordered) // 2] * 1000:.0f} ms, worst {ordered[-1] * 1000:.0f} ms")
    assert Node(made).resolve("counter")
