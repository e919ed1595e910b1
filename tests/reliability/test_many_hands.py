"""Many shells at once on one home: each send its own slot, all the same state, and nobody waits for a long compute.

With HB_LONG=1 there are 64 sends, and ten processes; `scripts/soak wait N` says how long who waits.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.home import Home
from hb.protocol.request import build_message
from hb.storage import lock
from hb.storage.directory import DirectoryStorage
from hb.storage.storage import FOREVER, Patience
from hb.wasm.module import from_text
from reliability import intact, waiting
from reliability.waiting import COUNTER, hb, start
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen

    from hb.storage.leveldb import LevelStore

LONG = bool(os.environ.get("HB_LONG"))
SENDS = 64 if LONG else 16
PROCESSES = 10 if LONG else 3
SLICE_S = 0.5
TIMEOUT_S = 120


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with processes `p0`, `p1` and so on, all counters."""
    made = homes.create(tmp_path / "home")
    key = keyring.load(made.keys, homes.DEFAULT_KEY)
    node = Node(made)
    for number in range(PROCESSES):
        name = f"p{number}"
        node.spawn(COUNTER.read_bytes(), signer=key, environment=system_environment(), name=name, anchor=name)
    return made.path


@contextmanager
def following(home: Path, name: str, slots: int, told: list[list[str]]) -> Iterator[None]:
    """Two `hb compute --follow` of one process; `told` gets the lines of each, once there are `slots` of them."""
    followers = [start(home, "compute", name, "--follow") for _ in range(2)]
    try:
        yield
        for follower in followers:
            assert follower.stdout is not None
            told.append([follower.stdout.readline() for _ in range(slots)])
            follower.send_signal(signal.SIGINT)
            _, said = follower.communicate(timeout=TIMEOUT_S)
            assert follower.returncode == 130, said
    finally:
        for follower in followers:
            follower.kill()
            follower.communicate()


def end(sends: list[Popen[str]]) -> list[int]:
    """The slots that sends print, all of which must be content."""
    slots = []
    for process in sends:
        out, said = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, said) == (0, "")
        slots.append(int(out))
    return slots


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_many_sends_at_once_get_each_its_own_slot_and_all_end_in_the_same_state(home: Path, processes: int) -> None:
    names = [f"p{number % processes}" for number in range(SENDS)]
    told: list[list[str]] = []
    with following(home, "p0", 1 + names.count("p0"), told):
        slots = end([start(home, "send", name, "Increment") for name in names])
    for name in set(names):
        count = names.count(name)
        assert sorted(slot for slot, of in zip(slots, names, strict=True) if of == name) == list(range(1, count + 1))
        assert hb(home, "state", name, "counter") == f"{count}\n"
    followed = [[json.loads(line) for line in lines] for lines in told]
    assert followed[0] == followed[1]
    assert [row["slot"] for row in followed[0]] == list(range(1 + names.count("p0")))
    assert followed[0][-1]["state"] == {"counter": names.count("p0")}
    stored = intact.records(home)
    assert list(intact.broken(stored)) == []
    hb(home, "compute", "--all")
    assert intact.derived(intact.records(home)) == intact.uninterrupted(intact.scheduled(stored), home.parent / "again")


def test_a_compute_that_does_not_end_keeps_no_send_and_no_state_waiting(tmp_path: Path) -> None:
    with waiting.endless(tmp_path) as home:
        for number in range(3):
            assert hb(home, "--lock-timeout", "20", "send", "endless", "Increment") == f"{3 + number}\n"
            assert hb(home, "--lock-timeout", "20", "state", "endless", "--slot", "1", "counter") == "1\n"
            assert hb(home, "--lock-timeout", "20", "send", "counter", "Increment", "--wait").startswith(
                f"{1 + number}\n"
            )


def test_ctrl_c_and_the_lock_timeout_are_heard_while_another_computes_the_same_process(tmp_path: Path) -> None:
    with waiting.endless(tmp_path) as home:
        (computing,) = (home / "cache").glob("computing-*.lock")
        for verb in ("compute", "state"):
            busy = start(home, "--lock-timeout", "0.2", verb, "endless")
            assert busy.communicate(timeout=TIMEOUT_S)[1].startswith("hb: error: ")
            assert busy.returncode == 11
            waiter = start(home, verb, "endless")
            while not lock.is_awaited(computing):
                assert waiter.poll() is None
                time.sleep(0.01)
            waiter.send_signal(signal.SIGINT)
            waiter.communicate(timeout=TIMEOUT_S)
            assert waiter.returncode == 130


class Slice(NamedTuple):
    """A slice of the store that is over: what the thread that had it worked, and how many slots were computed by it."""

    seconds: float
    slots: int


class WatchedHome(Home):
    """A home that remembers how long its store was held. What was computed meanwhile is counted in `computed`."""

    slices: list[Slice] = []  # noqa: RUF012  # one home a test, cleared there
    computed = 0

    @property
    def storage(self) -> WatchedStorage:
        return WatchedStorage(self.path, super().storage.check_format)


class WatchedStorage(DirectoryStorage):
    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[LevelStore]:
        with super().session(patience) as store:
            # What the thread works, not what the clock says: other programs want the machine, too.
            started, before = time.thread_time(), WatchedHome.computed
            yield store
            held_s = time.thread_time() - started
            store.close()
            WatchedHome.slices.append(Slice(held_s, WatchedHome.computed - before))


# Answers with all of its memory's first `n` bytes by a public key? No: it prints nothing, it only writes to 40 pages.
WIDE = """
(module
  (memory 200)
  (func (export "Fill") (param $with i32)
    (memory.fill (i32.const 0) (local.get $with) (i32.const 13107200)))
  (func (export "Take") (param $ignored i32)))
"""


@pytest.mark.parametrize(
    ("action", "messages", "data_bytes"),
    [("Fill", 300, 0), ("Take", 3000, 0), ("Take", 60, 1_000_000)],
    ids=["memory", "messages", "bytes"],
)
def test_the_store_is_held_for_short_slices_only_and_never_while_a_module_runs(
    tmp_path: Path, action: str, messages: int, data_bytes: int
) -> None:
    home = homes.create(tmp_path / "home")
    watched = WatchedHome(home.path)
    key = keyring.load(home.keys, homes.DEFAULT_KEY)
    environment = system_environment()

    def count(_slot: int, _last: int) -> None:
        WatchedHome.computed += 1

    node = Node(watched, on_slot=count)
    process = node.spawn(from_text(WIDE), signer=key, environment=environment, name="wide").process
    data = os.urandom(data_bytes // 2).hex()
    sent = [build_message(action, [number], data=data, anchor=f"{number}") for number in range(messages)]
    WatchedHome.slices.clear()
    node.send(process, sent, signer=key, environment=environment)
    sending, WatchedHome.slices[:] = list(WatchedHome.slices), []
    node.compute(process)
    computing = list(WatchedHome.slices)
    print(f"longest: send {max(sending)}, compute {max(computing)}")
    assert WatchedHome.computed >= messages
    assert {found.slots for found in computing} == {0}
    assert max(found.seconds for found in sending + computing) < SLICE_S
