"""`hb compute`."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from aowat import says
from hb.home import open_home
from hb.records import keys
from hb.storage.store import Batch
from watching import LIMIT_S, children, is_locked, wait_until

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


# --follow --push


def _pid(shell: Shell, name: str) -> str:
    return shell.records()[keys.name_key(name)].decode()


def _lines_until(process: subprocess.Popen[bytes], **wanted: object) -> list[dict[str, object]]:
    """Read lines up to the first that has these values. A program that does not print one is killed after a while."""
    lines: list[dict[str, object]] = []
    watch = Timer(LIMIT_S / 3, process.kill)
    watch.start()
    try:
        while not lines or {key: lines[-1].get(key) for key in wanted} != wanted:
            lines.append(_line(process))
    finally:
        watch.cancel()
    return lines


def _stop(process: subprocess.Popen[bytes]) -> bytes:
    """Stop a follower; gives what it has said on stderr."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith(b"hb: stopped following; what was computed is stored\n")
    return err


def test_a_follower_that_pushes_delivers_what_other_shells_send(talkers: Shell) -> None:
    ping, pong = _pid(talkers, "ping"), _pid(talkers, "pong")
    talkers.ok("compute", "--all")
    follower = talkers.start("compute", "ping", "--follow", "--push")
    back = says({"Target": ping, "Action": "Back"})
    talkers.ok("send", "ping", "Start", "--data", says({"Target": pong, "Action": "Ping", "Data": back}))
    slot, *deliveries, last = _lines_until(follower, action="Back")
    assert (slot["process"], slot["slot"], slot["action"], slot["computed"]) == (ping, 1, "Start", True)
    assert [(line["process"], line["place"], line["target"], line["target-slot"]) for line in deliveries] == [
        (ping, "outbox/1", pong, 1),
        (pong, "outbox/1", ping, 2),
    ]
    assert (last["process"], last["slot"], last["computed"]) == (ping, 2, True)
    talkers.ok("send", "pong", "Start", "--data", says({"Target": ping, "Action": "Unheard"}))
    talkers.ok("send", "ping", "Again", "--data", says({"Target": pong, "Action": "Second"}))
    assert [line.get("action") for line in _lines_until(follower, action="Unheard")] == ["Again", None, None, "Unheard"]
    assert _stop(follower).count(b"\n") == 1
    assert talkers.ok("push", "--all").json()["delivered"] == 0


def test_all_processes_are_followed_and_those_that_come_later_too(talkers: Shell) -> None:
    ping, pong = _pid(talkers, "ping"), _pid(talkers, "pong")
    talkers.ok("send", "pong", "Before", "--data", says({"Target": ping, "Action": "First"}))
    follower = talkers.start("compute", "--all", "--follow", "--push")
    begun = _lines_until(follower, action="First")
    assert {(line["process"], line["slot"]) for line in begun if "action" in line} == {
        (ping, 0), (ping, 1), (pong, 0), (pong, 1),
    }  # fmt: skip
    late = talkers.ok("spawn", "talker.wat", "--name", "late").out.strip()
    talkers.ok("send", "late", "Start", "--data", says({"Target": pong, "Action": "FromLate"}))
    told = _lines_until(follower, action="FromLate")
    assert [(line["process"], line["slot"], "place" in line) for line in told] == [
        (late, 0, False), (late, 1, False), (late, 1, True), (pong, 2, False),
    ]  # fmt: skip
    _stop(follower)


def test_a_follower_tries_again_what_is_held_when_its_target_comes(talkers: Shell, tmp_path: Path) -> None:
    late = ("spawn", "talker.wat", "--name", "late", "--anchor", "late")
    shutil.copytree(talkers.directory, tmp_path / "elsewhere")
    target = type(talkers)(tmp_path / "elsewhere").ok(*late).out.strip()
    for name in ("ping", "pong"):
        talkers.ok("send", name, "Start", "--data", says({"Target": target, "Action": f"From-{name}"}))
    talkers.ok("push", "pong")
    follower = talkers.start("compute", "ping", "--follow", "--push")
    _lines_until(follower, action="Start")
    talkers.ok(*late)
    delivered = _lines_until(follower, target=target)[-1]
    assert (delivered["process"], delivered["target-slot"]) == (_pid(talkers, "ping"), 1)
    said = _stop(follower).decode().splitlines()
    assert said[0] == "hb: 1 held; `hb push ping` tries again, and says why"
    assert [row["action"] for row in talkers.ok("inspect", "late", "--from", "1").lines()] == ["From-ping"]


def test_a_follower_says_when_a_budget_is_used_up_and_goes_on(talkers: Shell) -> None:
    (talkers.home / "config.toml").write_text("[push]\ndepth = 3\n")
    pong = _pid(talkers, "pong")
    follower = talkers.start("compute", "ping", "--follow", "--push")
    talkers.ok("send", "ping", "Start", "--data", says({"Target": pong, "Data": "@"}))
    _lines_until(follower, **{"target": pong, "target-slot": 2})
    talkers.ok("send", "ping", "After", "--data", says({"Target": pong, "Action": "Ping"}))
    after = _lines_until(follower, target=pong)
    assert [line.get("action") for line in after] == ["After", None]
    told = _stop(follower).decode().splitlines()
    assert len(told) == 2
    assert told[0].startswith("hb: a push goes 3 messages deep, and there is more of root ")
    assert told[0].endswith("; `hb push pong` goes on")
    assert len(talkers.ok("inspect", "pong", "--from", "1").lines()) == 3


def test_of_all_processes_a_damaged_one_is_said_once_and_the_others_are_followed(talkers: Shell) -> None:
    pong = _pid(talkers, "pong")
    broken = talkers.ok("spawn", "talker.wat", "--name", "broken").out.strip()
    talkers.ok("send", "broken", "--batch", "-", stdin="{}\n{}\n")
    with open_home(talkers.home).storage.session() as store:
        store.commit(Batch(puts={keys.assignment_key(broken, 1): b"{}"}))
    follower = talkers.start("compute", "--all", "--follow", "--push")
    for action in ("One", "Two"):
        talkers.ok("send", "ping", "Start", "--data", says({"Target": broken}, {"Target": pong, "Action": action}))
        _lines_until(follower, action=action)
    said = _stop(follower).decode()
    assert said.count(f"process {broken}, slot 1") == 1
    outcome = talkers.hb("compute", "broken", "--follow", "--push")
    assert outcome.code == 14


def test_a_process_of_another_home_is_not_followed_with_push(talkers: Shell, tmp_path: Path) -> None:
    talkers.ok("export", "ping", "-o", tmp_path / "ping.history")
    other = type(talkers)(tmp_path / "other")
    other.directory.mkdir()
    other.ok("init")
    other.ok("import", tmp_path / "ping.history", "--name", "ping")
    outcome = other.hb("compute", "ping", "--follow", "--push")
    assert (outcome.code, outcome.out) == (13, "")
    assert "what it sends is delivered there" in outcome.err
    follower = other.start("compute", "--all", "--follow", "--push")
    wait_until(lambda: other.ok("list").json()["computed"] == 0, "it is computed")
    assert _stop(follower).count(b"\n") == 1


def test_on_a_terminal_a_follower_shows_slots_and_deliveries(talkers: Shell) -> None:
    with talkers.talk("compute", "--all", "--follow", "--push", env={"NO_COLOR": "1"}) as talk:
        talk.wait_for("hb: following; Ctrl-C ends it")
        talkers.ok("send", "ping", "Start", "--data", says({"Target": _pid(talkers, "pong"), "Action": "Hello"}))
        talk.wait_for(r"ping +1  [0-9:]{8}  Start")
        talk.wait_for(r"↳ ping 1 outbox/1 → pong 1$")
        talk.wait_for(r"pong +1  [0-9:]{8}  Hello  → fine")
        talk.type("\x03")
        talk.wait_for("stopped following")
        assert talk.end() == 130
