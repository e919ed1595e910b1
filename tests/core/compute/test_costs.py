"""What a slot costs, counted and not timed: slices, records, bytes, hashes, signatures, calls. A rise is a regression.

Each number is what was counted when the test was written, or a little more where versions of Python differ.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from disk import settle
from hb import home as homes
from hb import ids
from hb.compute import driver as compute
from hb.protocol import assignment, commitment, hashpath
from hb.protocol.request import build_message
from hb.storage.leveldb import LevelStore
from hb.wasm.instance import Instance
from world import LARGE, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import Batch

SLOTS = 500
HB = Path(sys.executable).parent / "hb"


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts what the store is asked for and what is hashed and signed."""
    counts: Counter[str] = Counter()

    def sha256(data: bytes) -> Any:
        counts["hashes"] += 1
        counts["hashed bytes"] += len(data)
        return hashlib.sha256(data)

    commit = LevelStore.commit
    get = LevelStore.get
    opening = LevelStore.__init__
    sign = commitment.Key.sign

    def counted_commit(self: LevelStore, batch: Batch) -> None:
        counts.update({"commits": 1, "synced": batch.sync, "puts": len(batch.puts), "deletes": len(batch.deletes)})
        counts["bytes"] += sum(len(key) + len(value) for key, value in batch.puts.items())
        commit(self, batch)

    def counted_get(self: LevelStore, key: bytes) -> bytes | None:
        counts["gets"] += 1
        return get(self, key)

    def counted_opening(self: LevelStore, *arguments: Any) -> None:
        counts["slices"] += 1
        opening(self, *arguments)

    def counted_sign(self: commitment.Key, message: bytes) -> bytes:
        counts["signatures"] += 1
        return sign(self, message)

    with monkeypatch.context() as patched:
        for place in (ids, assignment, hashpath):
            patched.setattr(place, "sha256", sha256)
        for name, counted in (("commit", counted_commit), ("get", counted_get), ("__init__", counted_opening)):
            patched.setattr(LevelStore, name, counted)
        patched.setattr(commitment.Key, "sign", counted_sign)
        yield counts


def increments(count: int) -> list[Any]:
    return [build_message("Increment", anchor=f"{n:043}") for n in range(count)]


def test_what_a_message_of_a_batch_costs(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    process = shell.spawn("counter.wasm")
    with counting(monkeypatch) as counts:
        shell.send_all(process, increments(SLOTS))
    assert counts["signatures"] == 2 * SLOTS, "the message's and the assignment's"
    # Each message: the hash-chain, two signatures' IDs, and the boundary of the assignment's parts.
    assert counts["hashes"] <= 4 * SLOTS + 30
    # The assignment and the message's slot; the head once.
    assert counts["puts"] == 2 * SLOTS + 1
    assert (counts["commits"], counts["synced"], counts["slices"]) == (1, 1, 2)
    assert counts["gets"] <= SLOTS + 20, "each message is looked for, and little else"
    assert counts["bytes"] <= 2050 * SLOTS


def test_a_message_that_gets_its_anchor_here_is_not_looked_for(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    process = shell.spawn("counter.wasm")
    with counting(monkeypatch) as counts:
        scheduled = shell.send_all(process, [build_message("Increment") for _ in range(SLOTS)])
    assert [each.slot for each in scheduled] == list(range(1, SLOTS + 1))
    assert counts["gets"] <= 20


def test_what_one_message_costs(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    process = shell.spawn("counter.wasm")
    with counting(monkeypatch) as counts:
        shell.send(process, "Increment")
    assert (counts["slices"], counts["commits"], counts["synced"], counts["puts"]) == (1, 1, 1, 3)
    assert counts["gets"] <= 10


def test_what_a_slot_costs(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    process = shell.spawn("counter.wasm")
    shell.send_all(process, increments(SLOTS))
    shell.node.compute(process, 0)
    with counting(monkeypatch) as counts:
        shell.node.compute(process)
    # The hash-chain, the hashpath's two, the record and the memory image.
    assert counts["hashes"] <= 5 * SLOTS + 30
    assert counts["hashed bytes"] <= 900 * SLOTS
    # The record and, this memory being small, its image.
    assert counts["puts"] == 2 * SLOTS
    assert (counts["commits"], counts["synced"], counts["signatures"], counts["deletes"]) == (1, 1, 0, 0)
    assert counts["slices"] <= 7
    assert counts["gets"] <= 30, "assignments are read by range"
    assert counts["bytes"] <= 850 * SLOTS


def test_what_a_request_to_a_live_process_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(home=homes.create(tmp_path / "home"))
    process = world.spawn(LARGE)
    world.compute(process, world.send(process, "Count"))
    made = Counter[str]()
    instantiate = Instance.__init__

    def counted(self: Instance, *arguments: Any, **options: Any) -> None:
        made["instances"] += 1
        instantiate(self, *arguments, **options)

    monkeypatch.setattr(Instance, "__init__", counted)
    slots = [world.send(process, "Count") for _ in range(20)]
    with counting(monkeypatch) as counts:
        for slot in slots:
            world.compute(process, slot)
    assert made["instances"] == 0, "nothing is restored"
    assert counts["slices"] == 3 * len(slots), "what there is, what to compute, and what was computed"
    assert (counts["commits"], counts["puts"]) == (len(slots), len(slots)), "a record for each"
    assert counts["synced"] == 0, "what is lost with the power is computed again, to the same bytes"
    assert counts["gets"] <= 6 * len(slots)


def test_how_many_calls_a_slot_takes(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send_all(process, increments(SLOTS))
    shell.node.compute(process, 0)
    context = shell.node.context
    calls = Counter[str]()

    def count(frame: object, event: str, argument: object) -> None:
        calls[event] += 1

    sys.setprofile(count)
    try:
        compute.compute(context, process, SLOTS)
    finally:
        sys.setprofile(None)
    assert calls["call"] / SLOTS <= 118, "calls of Python functions"
    assert calls["c_call"] / SLOTS <= 155, "calls of built-in ones"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to count system calls")
def test_how_many_system_calls_commands_take(shell, tmp_path: Path) -> None:
    process = shell.spawn("counter.wasm", name="counter")
    shell.send(process, "Increment")
    shell.node.compute(process)
    settle(shell.home.path / "store")
    told = {}
    for name, arguments in {"state": ["state", "counter"], "send": ["send", "counter", "Increment"]}.items():
        log = tmp_path / name
        command = ["strace", "-f", "-o", log, "-e", "trace=all", HB, "--home", shell.home.path, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode and "ptrace" in ran.stderr.lower():
            pytest.skip(f"strace may not trace here: {ran.stderr.splitlines()[0][:100]}")
        assert ran.returncode == 0, ran.stderr
        lines = log.read_text().splitlines()
        told[name] = Counter(line.split(maxsplit=1)[1].partition("(")[0] for line in lines if "(" in line)
    # A send is on the disk by one fsync of the schedule, beside those that opening a store takes.
    assert told["send"]["fdatasync"] + told["send"]["fsync"] <= 6
    assert told["state"].total() <= 3400
    assert told["send"].total() <= 3700
