"""The shared counter of AO's own introduction, from an empty directory, in a pipe and on a terminal."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Outcome, Shell


def _play(shell: Shell) -> str:
    """Spawns the counter and sends it what Alice, Bob and Carol send; returns the process ID."""
    for name in ("alice", "bob", "carol"):
        assert len(shell.ok("key", "new", name).out.strip()) == 43
    spawned = shell.ok("spawn", shell.counter_wasm, "--name", "counter", "--initial-state", '{"counter": 0}')
    pid = spawned.out.strip()
    assert len(pid) == 43
    assert shell.ok("send", "counter", "Increment", "--as", "alice").out == "1\n"
    assert shell.ok("send", "counter", "Increment", "--as", "bob").out == "2\n"
    return pid


def test_in_a_pipe(shell: Shell) -> None:
    pid = _play(shell)
    asked = shell.ok("send", "counter", "ReadValue", "--as", "carol", "--wait")
    slot, results = asked.out.splitlines()
    assert slot == "3"
    assert json.loads(results)["type"] == "ok"
    assert json.loads(results)["output"] == [2]
    assert json.loads(results)["gas"] > 0
    assert shell.ok("state", "counter", "--slot", "1", "counter").out == "1\n"
    assert shell.ok("state", "counter", "counter").out == "2\n"
    assert shell.ok("state", pid, "counter").out == "2\n"
    assert shell.ok("state", pid[:6] if not pid.startswith("-") else pid, "counter").out == "2\n"

    history = shell.ok("inspect", "counter").lines()
    assert [row["slot"] for row in history] == [0, 1, 2, 3]
    assert [row["state"]["counter"] for row in history] == [0, 1, 2, 2]
    assert [row["action"] for row in history] == [None, "Increment", "Increment", "ReadValue"]
    assert [row["changed"] for row in history[1:]] == [True, True, False]
    assert all(row["computed"] and row["process"] == pid for row in history)
    assert len({row["hashpath"] for row in history}) == 4
    addresses = {key["name"]: key["address"] for key in shell.ok("key", "list").lines()}
    assert [row["sender"] for row in history] == [addresses[n] for n in ("default", "alice", "bob", "carol")]


def test_the_home_is_made_where_it_is_first_needed_and_is_said_so(shell: Shell) -> None:
    made = shell.ok("key", "new", "alice")
    assert "made a home at" in made.err
    assert str(shell.directory / "user") in made.err
    assert shell.ok("key", "new", "bob").err == ""


def test_a_reader_that_stops_early_loses_nothing_and_says_nothing(counter: Shell) -> None:
    counter.ok("send", "counter", "--batch", "-", stdin='{"action": "Increment"}\n' * 3000)
    counter.ok("compute", "counter")
    ran = subprocess.run(
        ["/bin/bash", "-c", f'"{counter.program}" inspect counter --json | head -1; echo "${{PIPESTATUS[0]}}" >&2'],
        cwd=counter.directory,
        env=counter.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ran.stdout)["slot"] == 0
    assert ran.stderr == "141\n"


def _shown(shell: Shell, *arguments: str, columns: int = 120) -> Outcome:
    outcome = shell.terminal(*arguments, columns=columns)
    assert outcome.code == 0, outcome
    assert max(map(len, outcome.text.splitlines())) <= columns
    return outcome


def test_on_a_terminal(shell: Shell) -> None:
    pid = _play(shell)
    waited = _shown(shell, "send", "counter", "ReadValue", "--as", "carol", "--wait")
    assert waited.text.startswith("3\n")
    assert "→ 2" in waited.text
    assert "\x1b[" in waited.out

    assert _shown(shell, "state", "counter", "counter").text == "2\n"
    state = _shown(shell, "state", "counter")
    assert "counter at slot 3" in state.text
    assert "counter  2" in state.text

    history = _shown(shell, "inspect", "counter", columns=140).text
    assert pid in history
    rows = [line for line in history.splitlines() if line.strip() and line.split()[0] in {"0", "1", "2", "3"}]
    assert len(rows) == 4
    for row, words in zip(
        rows, (["default", "spawn"], ["alice", "Increment"], ["bob", "Increment"], ["carol", "ReadValue"]), strict=True
    ):
        for word in words:
            assert word in row
    assert "→ 2" in rows[3]
    assert "= counter=2" in rows[3]
    assert "counter=2" in rows[2]
    assert "= counter=2" not in rows[2]

    listed = _shown(shell, "list").text
    assert "counter" in listed
    assert pid[:10] in listed


def test_any_width_of_terminal_is_good_enough(shell: Shell) -> None:
    _play(shell)
    shell.ok("compute", "counter")
    for columns in (30, 60, 80, 110, 300):
        for command in (
            ["state", "counter"],
            ["list"],
            ["inspect", "counter", "--slot", "1"],
        ):
            _shown(shell, *command, columns=columns)
        rows = _shown(shell, "inspect", "counter", columns=columns).text.splitlines()
        assert any("Incr" in row for row in rows)


def test_no_colour_where_none_is_wanted(shell: Shell) -> None:
    _play(shell)
    for command in (["inspect", "counter"], ["state", "counter"], ["list"], ["key", "list"]):
        assert "\x1b" not in shell.terminal(*command, env={"NO_COLOR": "1"}).out
        assert "\x1b" not in shell.terminal(*command, env={"TERM": "dumb"}).out
        assert "\x1b[" in shell.terminal(*command).out
