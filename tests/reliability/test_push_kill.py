"""kill -9 of `hb push` at random instants, and two pushes at once: in the end, all is as if nobody had disturbed one.

With HB_LONG=1 there are 200 kills.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

import hb
from disk import quick_directory
from gossip import spawn_all
from hb.records import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

HB = Path(sys.executable).parent / "hb"
KILLS = 200 if os.environ.get("HB_LONG") else 12
PROCESSES = 10
PUSH = ("push", "--all", "--timestamp", "1", "--json")


class System(NamedTuple):
    """Ten processes with messages whose results are not delivered, and what they are like once all is delivered.

    `tree` is what `hb tree` prints of the first message. `seconds` is how long a push takes.
    """

    home: Path
    records: dict[bytes, bytes]
    tree: bytes
    seconds: float


def run(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([HB, "--home", home, *words], capture_output=True, check=False, timeout=120)


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([HB, "--home", home, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def records(home: Path) -> dict[bytes, bytes]:
    """Return all records, but for images of memory: which slots have one depends on who computed them."""
    with hb.open(home, create=False).context.session() as store:
        return {key: raw for key, raw in store.scan(*keys.EVERYTHING) if key[:2] not in (b"v/", b"g/")}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with quick_directory() as directory:
        home = hb.create(directory / "home")
        processes = spawn_all(home, PROCESSES)
        for number, hops in ((0, "3"), (4, "2"), (7, "3")):
            processes[number].send("Gossip", data=hops, anchor=f"root-{number}", timestamp_ms=1)
        home.place.close()  # type: ignore[attr-defined]
        undisturbed = directory / "undisturbed"
        shutil.copytree(directory / "home", undisturbed)
        began = perf_counter()
        done = run(undisturbed, *PUSH)
        seconds = perf_counter() - began
        assert done.returncode == 0, done.stderr
        tree = run(undisturbed, "tree", "g0", "2", "--json").stdout
        assert len(tree.splitlines()) == 1 + 3 + 9 + 27
        yield System(directory / "home", records(undisturbed), tree, seconds)


def test_a_push_that_is_killed_at_any_instant_is_gone_on_with_and_ends_the_same(system: System) -> None:
    random = Random(12)
    killed = 0
    while killed < KILLS:
        with quick_directory() as directory:
            home = directory / "home"
            shutil.copytree(system.home, home)
            for _ in range(4):
                push = start(home, *PUSH)
                try:
                    push.wait(random.uniform(0.2, 1.0) * system.seconds)
                except subprocess.TimeoutExpired:
                    push.kill()
                    push.wait()
                    killed += 1
                else:
                    break
            done = run(home, *PUSH)
            assert done.returncode == 0, done.stderr
            assert records(home) == system.records
            assert run(home, "tree", "g0", "2", "--json").stdout == system.tree


def test_two_pushes_of_one_home_at_once_end_as_one_does(system: System) -> None:
    for kill_one in (False, True):
        with quick_directory() as directory:
            home = directory / "home"
            shutil.copytree(system.home, home)
            one, two = start(home, *PUSH), start(home, *PUSH)
            if kill_one:
                with pytest.raises(subprocess.TimeoutExpired):
                    one.wait(0.6 * system.seconds)
                one.kill()
            assert two.wait(120) == 0
            assert one.wait(120) == (-9 if kill_one else 0)
            assert records(home) == system.records
            assert run(home, "verify", "--all", "--replay").returncode == 0
