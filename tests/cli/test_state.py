"""`hb state`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from conftest import Shell


@prepared("counter")
def at_three(counter: Shell) -> None:
    """The counter after two increments and a read."""
    counter.ok(
        "send",
        "counter",
        "--batch",
        "-",
        stdin='{"action":"Increment"}\n{"action":"Increment"}\n{"action":"ReadValue"}',
    )


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        ("counter", "2\n"),
        ("at-slot", "3\n"),
        ("device", "process@1.0\n"),
        ("results/output", "[2]\n"),
        ("results/output/1", "2\n"),
        ("results/type", "ok\n"),
        ("/results/type/", "ok\n"),
        ("process/type", "Process\n"),
        ("process/initial-state", '{"counter":0}\n'),
    ],
)
def test_a_path_gives_the_value_alone_text_raw_and_the_rest_as_json(at_three: Shell, path: str, printed: str) -> None:
    assert at_three.ok("state", "counter", path).out == printed
    assert (
        json.dumps(json.loads(printed) if printed[0] in "[{0123456789" else printed.strip(), separators=(",", ":"))
        == at_three.ok("state", "counter", path, "--json").out.strip()
    )


@pytest.mark.parametrize("path", ["nosuch", "counter/more", "results/output/2", "results/output/0", "results/nosuch"])
def test_a_path_that_leads_nowhere_says_what_there_is(at_three: Shell, path: str) -> None:
    outcome = at_three.hb("state", "counter", path)
    assert (outcome.code, outcome.out) == (12, "")
    assert "hint: there is: " in outcome.err


@pytest.mark.parametrize(
    ("ref", "value"), [("0", "0"), ("1", "1"), ("now", "2"), ("now~0", "2"), ("now~2", "1"), ("now~3", "0")]
)
def test_a_slot_is_a_number_or_now_or_so_many_before(at_three: Shell, ref: str, value: str) -> None:
    assert at_three.ok("state", "counter", "--slot", ref, "counter").out == f"{value}\n"


def test_a_slot_is_the_id_of_its_message_or_its_assignment(at_three: Shell) -> None:
    sent = at_three.ok("send", "counter", "Increment", "--json").json()
    at_three.ok("send", "counter", "Increment")
    for name in (sent["message"], sent["message"][:8], sent["assignment"]):
        assert at_three.ok("state", "counter", "--slot", name, "counter").out == "3\n"


def test_whole_state_in_a_pipe_is_one_object_that_paths_lead_into(at_three: Shell) -> None:
    state = at_three.ok("state", "counter").json()
    assert (state["counter"], state["at-slot"], state["results"]["output"]) == (2, 3, [2])
    assert state["hashpath"] == at_three.ok("inspect", "counter", "--slot", "3").json()["hashpath"]
    assert at_three.ok("state", "counter", "hashpath").out.strip() == state["hashpath"]


def _spawn_a_pid_that_begins_with_a_dash(shell: Shell) -> str:
    """One in 64 does, so that a user meets one soon."""
    from hb import keyring
    from hb.environment import system_environment
    from hb.home import open_home
    from verbs import Node

    home = open_home(shell.home)
    node, key, wasm = Node(home), keyring.load(home.keys, "default"), shell.counter_wasm.read_bytes()
    while True:
        pid = node.spawn(wasm, signer=key, environment=system_environment()).process
        if pid.startswith("-"):
            return pid


def test_a_pid_that_begins_with_a_dash_is_an_argument_like_any_other(home: Shell) -> None:
    pid = _spawn_a_pid_that_begins_with_a_dash(home)
    assert home.ok("send", pid, "Add", "-5", "--wait").out.startswith("1\n")
    assert home.ok("state", pid, "counter").out == "-5\n"
    assert home.ok("inspect", pid, "--slot", "1").json()["parameters"] == [-5]
    assert home.ok("compute", pid).json() == {"process": pid, "slot": 1}
    assert home.ok("state", "--slot", "0", "--", pid, "counter").out == "0\n"


def test_a_state_is_computed_once_and_then_only_read(at_three: Shell) -> None:
    at_three.ok("state", "counter")
    before = at_three.records()
    at_three.ok("state", "counter", "--slot", "1")
    assert at_three.records() == before


def test_on_a_terminal_a_value_is_safe(home: Shell) -> None:
    home.write("play.wat", '(module (func (export "F")))')
    home.ok("spawn", "play.wat", "--name", "play", "--tag", "subject=\x1b[2Jred\x07")
    assert home.ok("state", "play", "process/subject").out == "\x1b[2Jred\x07\n"
    shown = home.terminal("state", "play", "process/subject").out
    assert "\\u001b[2Jred\\u0007" in shown
    assert "\x1b" not in shown
    assert "\x07" not in home.terminal("state", "play", "process").out
