"""`hb fork`: what it prints, what it refuses, and how a fork is shown."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from cli.conftest import Shell


@prepared("counter")
def counted(counter: Shell) -> None:
    """A shell whose counter was incremented four times."""
    counter.ok("send", "counter", "--batch", "-", stdin='{"action":"Increment"}\n' * 4)
    counter.ok("compute", "counter")


def of(process: str, records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: raw for key, raw in records.items() if process.encode() in key}


def test_it_prints_the_id_alone_and_the_fork_goes_its_own_way(counted: Shell) -> None:
    process = counted.ok("list").json()["process"]
    before = of(process, counted.records())
    made = counted.ok("fork", "counter", "--slot", "2", "--name", "what-if")
    assert (len(made.out), made.err) == (44, "")
    forked = made.out.strip()
    assert counted.ok("send", "what-if", "Add", "40").out == "4\n"
    assert counted.ok("state", "what-if", "counter").out == "42\n"
    assert counted.ok("state", "what-if", "--slot", "1", "counter").out == "1\n"
    assert counted.ok("state", "counter", "counter").out == "4\n"
    assert [line["action"] for line in counted.ok("inspect", forked).lines()] == [
        None,
        "Increment",
        "Increment",
        None,
        "Add",
    ]
    assert counted.ok("verify", "--all", "--replay").lines()[-1]["findings"] == 0
    assert of(process, counted.records()) == before


def test_the_state_of_a_shared_slot_is_that_of_the_origin(counted: Shell) -> None:
    counted.ok("fork", "counter", "--slot", "2", "--name", "what-if")
    for slot in ("0", "1", "2"):
        assert counted.ok("state", "what-if", "--slot", slot).out == counted.ok("state", "counter", "--slot", slot).out


def test_json_says_where_it_left(counted: Shell) -> None:
    process = counted.ok("list").json()["process"]
    made = counted.ok("fork", "counter", "--slot", "now~1", "--name", "two", "--anchor", "a", "--json").json()
    assert made["fork-of"] == process
    assert (made["fork-slot"], made["slot"], made["fresh"], made["name"]) == (3, 4, True, "two")
    again = counted.ok("fork", "counter", "--slot", "now~1", "--anchor", "a", "--json").json()
    assert again == {key: value for key, value in {**made, "fresh": False}.items() if key != "name"}
    noted = counted.ok("fork", "counter", "--slot", "now~1", "--anchor", "a")
    assert (noted.out.strip(), noted.err) == (made["process"], "hb: this fork is here already; nothing was made\n")
    [line] = [line for line in counted.ok("list").lines() if line["process"] == made["process"]]
    assert (line["fork-of"], line["fork-slot"], line["slots"], line["computed"]) == (process, 3, 5, 3)
    [slot] = [line for line in counted.ok("inspect", "two").lines() if "fork-of" in line]
    assert (slot["slot"], slot["fork-of"], slot["fork-slot"], slot["computed"]) == (4, process, 3, False)
    definition = counted.ok("inspect", "two", "--definition", "--json").json()
    assert (definition["fork-of"], definition["fork-slot"]) == (process, 3)
    outcome = counted.hb("inspect", "two", "--definition")
    assert (outcome.code, outcome.out) == (13, "")
    assert f"`hb fork {process} --slot 3 --anchor a`" in outcome.err
    counted.ok("fork", "counter", "--name", "strangers", "--anchor", "a; rm -rf '$HOME'")
    hint = counted.hb("inspect", "strangers", "--definition").err.split("`")[1]
    assert shlex.split(hint)[-1] == "a; rm -rf '$HOME'"


def test_verify_all_checks_what_is_shared_once(counted: Shell) -> None:
    counted.ok("fork", "counter", "--slot", "3", "--name", "what-if")
    counted.ok("send", "what-if", "Increment", "--wait")
    slots = len(counted.ok("inspect", "counter").lines())
    assert counted.ok("verify", "what-if").json()["slots"] == 6
    assert counted.ok("verify", "--all").json() == {
        "findings": 0,
        "processes": 2,
        "replayed": False,
        "slots": slots + 2,
    }


def test_a_terminal_shows_where_it_left(counted: Shell) -> None:
    counted.ok("fork", "counter", "--slot", "2", "--name", "what-if")
    assert "counter at 2" in counted.terminal("list").text
    assert "counter at 2" in counted.terminal("list", columns=80).text
    shown = counted.terminal("inspect", "what-if").text
    assert "left counter at slot 2" in shown
    assert "fork of counter at slot 2" in shown
    assert "fork of counter at slot 2" in counted.terminal("inspect", "what-if", "--slot", "3").text
    assert "left" not in counted.terminal("inspect", "counter").text


def test_it_goes_on_with_other_code(counted: Shell) -> None:
    counted.ok("fork", "counter", "--slot", "3", "--module", counted.samples / "counter2.wat", "--name", "twice")
    counted.ok("send", "twice", "Increment")
    assert counted.ok("state", "twice", "counter").out == "5\n"
    assert counted.ok("verify", "twice", "--replay").json()["findings"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("counter", "--slot", "9"), 12, "slot 9 is not scheduled"),
        (("nobody",), 12, "no process is called 'nobody'"),
        (("counter", "--slot", "soon"), 13, "a slot is"),
        (("counter", "--name", "counter"), 13, "the name 'counter' is taken"),
        (("counter", "--name", "a b"), 13, "a name has"),
        (("counter", "--tag", "fork-of=x"), 13, "a tag cannot be called 'fork-of'"),
        (("counter", "--module", "no.wasm"), 13, "cannot read the module"),
        (("counter", "--as", "nobody"), 12, "nobody"),
        ((), 2, "PROCESS"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(
    counted: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    before = counted.records()
    outcome = counted.hb("fork", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert counted.records() == before


def test_a_module_that_does_not_fit_is_refused(counted: Shell) -> None:
    before = counted.records()
    outcome = counted.hb("fork", "counter", "--module", counted.samples / "ledger.wasm")
    assert (outcome.code, outcome.err) == (13, "hb: error: the module has a memory, the process has none\n")
    assert counted.records() == before


def test_no_home_is_made_for_it(shell: Shell) -> None:
    assert shell.hb("fork", "counter").code == 10
    assert not shell.home.exists()


def test_killed_at_any_moment_there_is_all_of_a_fork_or_nothing(counted: Shell) -> None:
    patience_s, is_whole = 0.05, False
    while not is_whole:
        name = f"f{patience_s:.3f}"
        before = counted.records()
        running = counted.start(
            "fork", "counter", "--slot", "2", "--name", name, "--module", counted.samples / "counter2.wat"
        )
        try:
            is_whole = running.wait(timeout=patience_s) == 0
        except subprocess.TimeoutExpired:
            running.kill()
        patience_s *= 1.3
        running.communicate()
        new = {key: raw for key, raw in counted.records().items() if key not in before}
        if new:
            assert sorted(key[:1] for key in new if key[:1] != b"i") == [b"a", b"h", b"m", b"n", b"p"]
            assert counted.ok("verify", name, "--replay").json()["findings"] == 0
        assert new or not is_whole
    assert counted.ok("verify", "--all").lines()[-1]["findings"] == 0


def test_a_module_with_its_data_elsewhere_is_refused_unless_it_is_forced(shell: Shell) -> None:
    text = '(module (memory 1) (data (i32.const 0) "{0}") (func (export "F") (result i32) (i32.load (i32.const 0))))'
    for name, data in (("old", "abcd"), ("new", "abcdefgh")):
        (shell.directory / f"{name}.wat").write_text(text.replace("{0}", data))
    shell.ok("spawn", "old.wat", "--name", "it")
    refused = shell.hb("fork", "it", "--module", "new.wat")
    assert refused.code == 13
    assert "so what the memory points to is not there" in refused.err
    assert "--force" in refused.err
    assert shell.hb("fork", "it", "--force").code == 2
    assert shell.ok("fork", "it", "--module", "new.wat", "--force", "--name", "forced").code == 0
    assert shell.ok("call", "forced", "F").code == 0
