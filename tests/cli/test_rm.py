"""`hb rm`: what it asks, what it says, and that nothing is left."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cli.conftest import COUNTER, prepared
from hb.records import keys

if TYPE_CHECKING:
    from cli.conftest import Shell


@prepared("counter")
def counted(counter: Shell) -> None:
    """A shell whose counter was incremented four times, and has a cron and a second name."""
    counter.ok("send", "counter", "--batch", "-", stdin='{"action":"Increment"}\n' * 4)
    counter.ok("compute", "counter")
    counter.ok("name", "counter", "second", "--also")
    counter.ok("cron", "add", "counter", "Increment", "--every", "1h")


def pid(shell: Shell, name: str = "counter") -> str:
    return shell.records()[keys.name_key(name)].decode()


def test_in_a_pipe_it_needs_yes(counted: Shell) -> None:
    before = counted.records()
    refused = counted.hb("rm", "counter")
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert counted.hb("rm", "counter", "--json").code == 2
    assert counted.records() == before


def test_with_yes_all_of_it_is_gone(counted: Shell) -> None:
    process = pid(counted)
    gone = counted.ok("rm", "second", "--yes")
    assert (gone.out, gone.err) == ("", f"hb: removed process {process}\n")
    assert counted.records() == {b"format": b"1"}
    assert counted.ok("list").out == ""
    assert counted.ok("cron", "list").out == ""
    assert counted.hb("rm", "counter", "--yes").code == 12
    assert counted.hb("state", process).code == 12
    counted.ok("verify", "--all")


def test_json_says_what_went(counted: Shell) -> None:
    process = pid(counted)
    told = counted.ok("rm", process, "--yes", "--json").json()
    assert told.pop("bytes") > COUNTER.stat().st_size
    assert told == {
        "process": process,
        "names": ["counter", "second"],
        "slots": 5,
        "crons": 1,
        "forks": [],
        "spawned": [],
    }


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("\x04", 1)])
def test_on_a_terminal_it_says_what_would_go_and_asks(counted: Shell, answer: str, code: int) -> None:
    before = counted.records()
    with counted.talk("rm", "counter") as talk:
        talk.wait_for(r"\[y/N\]")
        shown = " ".join(talk.shown.split())
        assert re.search(rf"process {pid(counted)} \(counter, second\): 5 slots, about [\d.]+ KiB, 1 cron", shown)
        assert counted.records() == before
        talk.type(answer)
        talk.wait_for("removed")
        assert talk.end() == code
    assert (counted.records() == before) == bool(code)


def test_forks_and_their_origin(counted: Shell) -> None:
    process = pid(counted)
    fork = counted.ok("fork", "counter", "--slot", "2", "--name", "fork").out.strip()
    counted.ok("send", "fork", "Add", "40", "--wait")
    state = counted.ok("state", "fork").out
    before = counted.records()
    refused = counted.hb("rm", "counter", "--yes")
    assert (refused.code, refused.out) == (13, "")
    assert fork in refused.err
    assert "--keep-shared" in refused.err
    assert counted.terminal("rm", "counter").code == 13  # nothing is asked
    assert counted.records() == before
    told = counted.ok("rm", "counter", "--yes", "--keep-shared", "--json").json()
    assert (told["forks"], told["kept"]) == ([fork], 2)
    assert counted.ok("state", "fork").out == state
    counted.ok("verify", "--all", "--replay")
    [left] = [line for line in counted.ok("list").lines() if line["process"] == process]
    assert (left["names"], left["slots"]) == ([], 3)
    counted.ok("rm", "fork", "--yes")
    counted.ok("rm", process, "--yes")
    assert counted.records() == {b"format": b"1"}


def test_what_it_spawned_and_what_it_is_sent(talkers: Shell) -> None:
    from aowat import says

    pong = pid(talkers, "pong")
    talkers.ok("send", "ping", "Start", "--data", says({"Target": pong, "Action": "Hello"}), "--push")
    gone = talkers.ok("rm", "pong", "--yes", "--json").json()
    assert gone["slots"] == 2
    talkers.ok("verify", "--all", "--replay")
    assert "missing" in talkers.ok("tree", "ping", "1", "--json").out


def test_a_kill_in_the_middle_leaves_a_home_in_which_it_can_go_on(counted: Shell) -> None:
    counted.ok("send", "counter", "--batch", "-", stdin='{"action":"Increment"}\n' * 2500)
    process = pid(counted)
    head = counted.records()[keys.head_key(process)]
    left: bytes | None = head
    delay_s = 0.3
    while left == head:
        removing = counted.start("rm", "counter", "--yes")
        with suppress(subprocess.TimeoutExpired):
            removing.wait(delay_s)
        removing.kill()
        removing.communicate()
        left = counted.records().get(keys.head_key(process))
        delay_s *= 1.2
    assert counted.ok("verify", "--all").lines()[-1]["findings"] == 0
    if left is not None:
        counted.ok("rm", "counter", "--yes")
    assert counted.records() == {b"format": b"1"}
