"""`hb call`: an answer at any slot, and not a byte of the home changed."""

from __future__ import annotations

import signal
from subprocess import PIPE
from time import sleep
from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from conftest import Shell


@prepared("counter")
def counted(counter: Shell) -> None:
    """A counter with five slots, of which two are not computed."""
    counter.ok("send", "counter", "--batch", "-", stdin='{"action": "Increment"}\n' * 4)
    counter.ok("compute", "counter", "--slot", "2")


@pytest.mark.parametrize(("ref", "value"), [("0", 0), ("1", 1), ("now~2", 2), ("3", 3), ("now", 4)])
def test_it_answers_at_any_slot_and_writes_nothing(counted: Shell, ref: str, value: int) -> None:
    before = counted.records()
    assert counted.ok("call", "counter", "ReadValue", "--slot", ref).json() == {
        "type": "ok",
        "output": [value],
        "gas": 2,
    }
    asked = counted.ok("call", "counter", "Add", "100", "--slot", ref, "--json").json()
    assert (asked["slot"], asked["state"]) == (value, {"counter": value + 100})
    assert counted.records() == before
    assert counted.ok("state", "counter", "--slot", ref, "counter").out == f"{value}\n"


def test_it_answers_as_the_message_would_if_it_were_sent(counted: Shell) -> None:
    asked = counted.ok("call", "counter", "Add", "5", "--json").json()
    sent = counted.ok("send", "counter", "Add", "5", "--wait", "--json").json()
    assert (asked["results"], asked["state"]) == (sent["results"], sent["state"])
    # Asked once more, of the slot before, it is the same.
    again = counted.ok("call", "counter", "Add", "5", "--slot", "now~1", "--json").json()
    assert (again["results"], again["state"]) == (sent["results"], sent["state"])


def test_an_error_is_an_answer_with_its_exit_code(playground: Shell) -> None:
    before = playground.records()
    for words, kind in ((["Trap"], "trap"), (["Nothing"], "unknown-function"), (["Set", "x"], "wrong-arguments")):
        outcome = playground.hb("call", "play", *words)
        assert (outcome.code, outcome.json()["kind"]) == (15, kind)
    assert playground.records() == before


def test_memory_is_that_of_the_slot(home: Shell) -> None:
    home.ok("spawn", home.samples / "ledger.wasm", "--name", "ledger")
    for amount in ("100", "20"):
        home.ok("send", "ledger", "Mint", "1", amount)
    before = home.records()
    found = [home.ok("call", "ledger", "Balance", "1", "--slot", slot).json()["output"] for slot in "012"]
    assert found == [[0], [100], [120]]
    assert home.records() == before


# Answers with what it is told of the message: the JSON that it is called with.
ECHO = """
(module
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (global $first (mut i32) (i32.const 0))
  (data (i32.const 0) "{\\22ok\\22:true,\\22response\\22:{\\22Output\\22:")
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "handle") (param $at i32) (param i32) (result i32) (local $to i32)
    (global.set $next (i32.const 65536))
    (local.set $to (i32.const 32))
    (loop $copy
      (i32.store8 (local.get $to) (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br_if $copy (i32.load8_u (local.get $at))))
    (i32.store16 (local.get $to) (i32.const 0x7d7d))
    (i32.store8 offset=2 (local.get $to) (i32.const 0))
    (i32.const 0)))
"""


@prepared("plain")
def echo(home: Shell) -> None:
    """A process of the AO ABI that answers with what it was told, with one message after the spawn."""
    home.write("echo.wat", ECHO)
    home.ok("spawn", "echo.wat", "--name", "echo", "--timestamp", "1000")
    home.ok("send", "echo", "Hello", "--timestamp", "2000", "--wait")
    home.ok("key", "new", "alice")


def test_a_program_is_told_of_a_message_that_nobody_signed(echo: Shell) -> None:
    before = echo.records()
    mine = echo.ok("key", "show", "default", "--json").json()["address"]
    asked = echo.ok("call", "echo", "Ask", "--data", "what", "--tag", "Topic=rain", "--slot", "0", "--json").json()
    told = asked["results"]["output"]
    assert (told["owner"], told["from"], told["signature"], told["id"]) == (mine, mine, "", asked["message"])
    assert (told["nonce"], told["timestamp"], told["data"], told["anchor"]) == (1, 1000, "what", "")
    assert {"name": "Topic", "value": "rain"} in told["tags"]
    assert echo.records() == before


def test_it_is_signed_if_that_is_asked_for(echo: Shell) -> None:
    before = echo.records()
    alice = echo.ok("key", "show", "alice", "--json").json()["address"]
    told = echo.ok("call", "echo", "Ask", "--as", "alice", "--json").json()["results"]["output"]
    assert (told["owner"], told["from"], len(told["signature"])) == (alice, alice, 86)
    assert echo.records() == before


def test_the_time_is_the_slots_or_the_clocks_or_the_one_that_is_given(echo: Shell) -> None:
    def told(*words: str) -> tuple[int, int]:
        fields = echo.ok("call", "echo", "Ask", *words).json()["output"]
        return fields["timestamp"], fields["block-height"]

    assert told("--slot", "0") == (1000, 0)
    assert told("--timestamp", "5000", "--block-height", "7") == (5000, 7)
    assert told()[0] > 1_700_000_000_000
    refused = echo.hb("call", "echo", "Ask", "--slot", "1", "--timestamp", "1999")
    assert (refused.code, refused.out) == (13, "")
    assert "slot 1's is 2000 ms, this one's would be 1999" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nobody", "Ask"], 12, "nobody"),
        (["counter", "ReadValue", "--slot", "5"], 12, "has slots 0 to 4"),
        (["counter", "ReadValue", "--slot", "when"], 13, "a slot is a number"),
        (["counter", "ReadValue", "--slot", "A" * 43], 12, "no message and no assignment"),
        (["counter", "ReadValue", "--as", "nobody"], 12, "no key 'nobody'"),
        (["counter", "ReadValue", "--tag", "x"], 13, "KEY=VALUE"),
        (["counter", "ReadValue", "--tag", "target=x"], 13, "cannot be called 'target'"),
    ],
)
def test_what_cannot_be_asked_is_said(counted: Shell, words: list[str], code: int, says: str) -> None:
    before = counted.records()
    outcome = counted.hb("call", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert counted.records() == before


def test_a_message_beyond_the_limit_is_refused(counted: Shell) -> None:
    config = counted.home / "config.toml"
    config.write_text(config.read_text().replace("16_777_216       # bytes of one message", "300"))
    assert counted.hb("call", "counter", "ReadValue").code == 0
    outcome = counted.hb("call", "counter", "ReadValue", "--tag", f"x={'y' * 300}")
    assert (outcome.code, "a message may have 300 bytes" in outcome.err) == (13, True)


def test_ctrl_c_ends_it(home: Shell) -> None:
    home.ok("spawn", home.samples / "loop.wasm", "--name", "loop", "--gas-limit", "4000000000000")
    before = home.records()
    started = home.start("call", "loop", "Loop", "--data", "-", stdin=PIPE)
    assert started.stdin is not None
    started.stdin.write(b"it is at work when it has read this")
    started.stdin.close()
    started.stdin = None
    sleep(0.5)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out) == (130, b"")
    assert err.startswith(b"hb: error: ")
    assert home.records() == before


def test_on_a_terminal_it_says_that_it_is_no_more_than_an_answer(counted: Shell) -> None:
    shown = counted.terminal("call", "counter", "ReadValue", "--slot", "1").text
    assert "it would answer, at slot 1" in shown
    assert "→ 1" in shown
