"""Writes that fail: whichever it is, nothing acknowledged is lost, and going on ends where it would have ended.

Every write of a scenario fails once, not done and done with its answer lost; and disks run full at many points of it.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import scenario
from disk import fill, quick_directory, small_disk
from faulty import FaultyStore
from hb import home as homes
from hb.compute import driver as compute
from hb.errors import HomeUnusable, Unfinished
from hb.home import Home
from hb.records import keys
from hb.schedule import sending
from hb.storage.directory import DirectoryStorage
from hb.storage.memory import MemoryStore
from hb.storage.storage import FOREVER, Patience
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hb.schedule.scheduler import Scheduled

NEVER = 10**6


@dataclass(frozen=True)
class FaultyStorage(DirectoryStorage):
    faults: FaultyStore

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[FaultyStore]:  # type: ignore[override]
        with super().session(patience) as store:
            self.faults.inner = store
            yield self.faults


@dataclass(frozen=True)
class FaultyHome(Home):
    """A home whose store fails at one write, counted over all its slices."""

    faults: FaultyStore

    @property
    def storage(self) -> FaultyStorage:
        return FaultyStorage(self.path, super().storage.check_format, self.faults)


@pytest.fixture(autouse=True)
def _small_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and computes are written in parts of two slots, so that there are writes between the first and the last."""
    monkeypatch.setattr(sending, "PART_MESSAGES", 2)
    monkeypatch.setattr(compute, "RUN_SLOTS", 2)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with quick_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def fresh(root: Path) -> Path:
    """A home in which nothing has happened, but the modules are compiled."""
    used = homes.create(root / "used", seed=scenario.SEED)
    scenario.run(used, [])
    unused = homes.create(root / "unused", seed=scenario.SEED)
    shutil.copytree(used.cache, unused.cache, dirs_exist_ok=True)
    return unused.path


@pytest.fixture(scope="module")
def undisturbed(fresh: Path, root: Path) -> dict[bytes, bytes]:
    """Every record of a home in which the scenario ran as it should."""
    home = copy(fresh, root / "undisturbed")
    scenario.run(home, [])
    return scenario.records(home)


def copy(home: Path, to: Path) -> Home:
    shutil.copytree(home, to)
    return homes.open_home(to)


def check_whole(home: Home, acknowledged: list[Scheduled]) -> None:
    """What was acknowledged is there, schedules have no gap, no half of a write shows, and `verify` has no findings."""
    found = scenario.records(home)
    for answer in acknowledged:
        assert found[keys.message_slot_key(answer.message, answer.process)] == keys.encode_slot(answer.slot)
        assert keys.assignment_key(answer.process, answer.slot) in found
    node = Node(home)
    for view in node.processes():
        slots = [seen.slot for seen in node.history(view.process)]
        assert slots == list(range(view.slots))
        scheduled = [key for key in found if key.startswith(b"m/") and key.endswith(view.process.encode())]
        assert len(scheduled) == view.slots
        assert list(node.verify(view.process)) == []
    assert list(node.verify_names()) == []


def count_writes(fresh: Path, to: Path) -> int:
    faults = FaultyStore(MemoryStore(), fail_at=NEVER)
    home = copy(fresh, to)
    scenario.run(FaultyHome(home.path, faults), [])
    return faults.commits


@pytest.mark.parametrize("lost_answer", [False, True], ids=["not written", "answer lost"])
def test_whichever_write_fails_nothing_is_lost_and_going_on_ends_in_the_same_bytes(
    fresh: Path, undisturbed: dict[bytes, bytes], root: Path, lost_answer: bool
) -> None:
    writes = count_writes(fresh, root / f"counted-{lost_answer}")
    assert writes > 15
    for fail_at in range(1, writes + 1):
        home = copy(fresh, root / f"{lost_answer}-{fail_at}")
        faults = FaultyStore(MemoryStore(), fail_at=fail_at, lost_answer=lost_answer)
        acknowledged: list[Scheduled] = []
        with pytest.raises((HomeUnusable, Unfinished), match=rf"told to fail at {fail_at}\)"):
            scenario.run(FaultyHome(home.path, faults), acknowledged)
        check_whole(home, acknowledged)
        again: list[Scheduled] = []
        scenario.run(home, again)
        assert [answer.slot for answer in again[: len(acknowledged)]] == [answer.slot for answer in acknowledged]
        assert scenario.records(home) == undisturbed
        shutil.rmtree(home.path)


def test_a_home_is_usable_again_after_its_disk_was_full(
    fresh: Path, undisturbed: dict[bytes, bytes], tmp_path: Path
) -> None:
    """The disk runs full at many points of the scenario: between its steps, and in the midst of a write."""
    sentences = []
    for free_kib in range(0, 64, 4):
        with small_disk(tmp_path / f"disk-{free_kib}", "4m") as disk:
            home = copy(fresh, disk / "home")
            fill(disk / "filler", leave_bytes=free_kib * 1024)
            acknowledged: list[Scheduled] = []
            try:
                scenario.run(home, acknowledged)
            except (HomeUnusable, Unfinished) as error:
                sentences.append(error.message)
            (disk / "filler").unlink()
            check_whole(home, acknowledged)
            scenario.run(home, [])
            assert scenario.records(home) == undisturbed
    assert len(sentences) > 5
    assert all("No space left on device" in sentence for sentence in sentences)
