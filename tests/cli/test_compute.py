"""`hb compute`."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from hb.home import open_home
from hb.records import keys
from hb.storage.store import Batch
from watching import children, is_locked, wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from conftest import Shell


def test_it_computes_up_to_now_or_to_a_slot(counter: Shell) -> None:
    pid = counter.ok("list").json()["process"]
    counter.ok("send", "counter", "--batch", "-", stdin='{"action": "Increment"}\n' * 5)
    assert counter.ok("compute", "counter", "--slot", "2").json() == {"process": pid, "slot": 2}
    assert [row["computed"] for row in counter.ok("inspect", "counter").lines()] == [True] * 3 + [False] * 3
    assert counter.ok("compute", "counter").json() == {"process": pid, "slot": 5}
    before = counter.records()
    assert counter.ok("compute", "counter").json() == {"process": pid, "slot": 5}
    assert counter.records() == before


def test_several_or_all_processes(counter: Shell) -> None:
    other = counter.ok("spawn", counter.counter_wasm, "--name", "other").out.strip()
    for name in ("counter", "other"):
        counter.ok("send", name, "Increment")
    assert [line["slot"] for line in counter.ok("compute", "counter", "other").lines()] == [1, 1]
    counter.ok("send", "other", "Increment")
    done = {line["process"]: line["slot"] for line in counter.ok("compute", "--all").lines()}
    assert done[other] == 2
    assert "computed to slot 2" in counter.terminal("compute", "other").text


def test_several_programs_compute_what_one_would(home: Shell, tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(3)]
    for number, name in enumerate(names):
        home.ok("spawn", home.samples / "counter.wasm", "--name", name, "--anchor", name)
        home.ok("send", name, "--batch", "-", stdin='{"action": "Increment"}\n' * (4 - number))
    shutil.copytree(home.home, tmp_path / "one")
    reached = home.ok("compute", *names, "--jobs", "2").lines()
    assert [line["slot"] for line in reached] == [4, 3, 2]
    several = home.records()
    shutil.rmtree(home.home)
    shutil.copytree(tmp_path / "one", home.home)
    assert home.ok("compute", *names, "--jobs", "1").lines() == reached
    assert home.records() == several


def test_several_programs_stop_at_what_one_of_them_cannot_compute(home: Shell) -> None:
    pids = []
    for name in ("good", "bad"):
        pids.append(home.ok("spawn", home.samples / "counter.wasm", "--name", name).out.strip())
        home.ok("send", name, "--batch", "-", stdin='{"action": "Increment"}\n' * 3)
    with open_home(home.home).storage.session() as store:
        store.commit(Batch(puts={keys.assignment_key(pids[1], 2): b"{}"}))
    outcome = home.hb("compute", "good", "bad", "--jobs", "2")
    assert outcome.code == 14
    assert [line["process"] for line in outcome.lines()] == pids[:1]
    assert pids[1] in outcome.err


@pytest.mark.parametrize("moment", ["they start", "they compute"])
def test_ctrl_c_stops_several_programs(home: Shell, moment: str) -> None:
    for name in ("one", "two", "three"):
        home.ok("spawn", home.samples / "loop.wasm", "--name", name, "--gas-limit", "4000000000000")
        home.ok("send", name, "Loop")
    process = home.start("compute", "--all", "--jobs", "2", start_new_session=True)
    if moment == "they start":
        wait_until(lambda: children(process.pid), "the first of them has started")
    else:
        locks = home.home / "cache"
        wait_until(lambda: sum(map(is_locked, locks.glob("computing-*.lock"))) == 2, "two programs compute")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.startswith(b"hb: error: interrupted")
    assert err.count(b"\n") == 1
    assert {row["computed"] for row in home.ok("list").lines()} <= {0, None}


def test_a_wrong_name_among_several_computes_none(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment")
    before = counter.records()
    assert counter.hb("compute", "counter", "nosuch").code == 12
    assert counter.records() == before


def _line(process: subprocess.Popen[bytes]) -> dict[str, object]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())  # type: ignore[no-any-return]


def test_a_follower_computes_what_other_shells_send_until_it_is_interrupted(counter: Shell) -> None:
    follower = counter.start("compute", "counter", "--follow")
    counter.ok("send", "counter", "Increment")
    while (line := _line(follower))["slot"] != 1:
        pass
    assert line["state"] == {"counter": 1}
    counter.ok("send", "counter", "Add", "41")
    line = _line(follower)
    assert (line["slot"], line["action"], line["computed"], line["state"]) == (2, "Add", True, {"counter": 42})
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert (follower.returncode, out) == (130, b"")
    assert err == b"hb: stopped following; what was computed is stored\n"
    assert counter.ok("inspect", "counter", "--slot", "2").json()["image"] is True


def test_ctrl_c_stops_a_program_that_runs_and_leaves_its_slot_pending(home: Shell) -> None:
    home.ok("spawn", home.samples / "loop.wasm", "--name", "loop", "--gas-limit", "4000000000000")
    process = home.start("send", "loop", "Loop", "--wait")
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.startswith(b"hb: error: ")
    assert err.count(b"\n") == 1
    row = home.ok("inspect", "loop", "--slot", "1").json()
    assert (row["computed"], row["results"]) == (False, None)
    assert "pending" in home.terminal("inspect", "loop").text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_progress_bar_is_shown_on_stderr_and_only_on_a_terminal(home: Shell, is_terminal: bool) -> None:
    home.ok("spawn", home.samples / "loop.wasm", "--name", "loop", "--gas-limit", "30000000")
    home.ok("send", "loop", "--batch", "-", stdin='{"action": "Loop"}\n' * 60)
    if is_terminal:
        ours, theirs = pty.openpty()
        process = home.start("compute", "loop", stderr=theirs)
        os.close(theirs)
        shown = home.read_terminal(ours)
        os.close(ours)
    else:
        process = home.start("compute", "loop")
        shown = ""
    out, err = process.communicate(timeout=120)
    assert json.loads(out)["slot"] == 60
    assert ("slots/s" in shown) is is_terminal
    assert not err
