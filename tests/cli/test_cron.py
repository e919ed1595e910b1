"""`hb cron`."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import hb
from hb import home as homes
from hb.environment import Environment, system_environment

if TYPE_CHECKING:
    from conftest import Shell

HOUR_MS = 3_600_000


class EarlierHome(hb.Home):
    """A home in which it is 10 hours earlier."""

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        real = system_environment()
        return real._replace(now_ms=lambda: real.now_ms() - 10 * HOUR_MS)


def earlier(shell: Shell, name: str = "counter") -> hb.Process:
    """Return a process to which crons are added 10 hours ago."""
    return EarlierHome(homes.open_home(shell.home)).process(name)


def count(shell: Shell) -> int:
    return int(shell.ok("state", "counter", "counter").json())


def test_add_prints_the_id_alone_and_run_one_line_a_tick(counter: Shell) -> None:
    added = counter.ok("cron", "add", "counter", "--every", "1ms", "Increment")
    cron = added.out.strip()
    assert (added.out, len(cron), added.err) == (f"{cron}\n", 43, "")
    (tick,) = counter.ok("cron", "run").lines()
    process = counter.ok("list").json()["process"]
    assert tick == {**tick, "cron": cron, "process": process, "slot": 1}
    assert set(tick) == {"cron", "process", "slot", "message", "tick"}
    message = counter.ok("message", "show", tick["message"]).json()
    assert (message["action"], message["cron"], message["cron-tick"]) == ("Increment", cron, tick["tick"])
    assert message["anchor"] == f"{cron[:12]}{tick['tick']:015}"
    assert count(counter) == 1


def test_a_message_has_what_a_message_can_have(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    counter.ok(
        "cron", "add", "counter", "--every", "1ms", "Add", "5", "six", "--data", "text", "--tag", "Colour=Red", "--as",
        "alice",
    )  # fmt: skip
    counter.ok("cron", "add", "counter", "--at", "0")
    plain, full = counter.ok("cron", "run").lines()
    message = counter.ok("message", "show", full["message"]).json()
    assert (message["action"], message["parameters"], message["data"], message["colour"]) == (
        "Add",
        [5, "six"],
        "text",
        "Red",
    )
    assert counter.ok("key", "show", "alice").json()["address"] in json.dumps(message["commitments"])
    assert counter.ok("message", "show", plain["message"]).json()["action"] == "Cron"


def test_nothing_due_is_nothing_said(counter: Shell) -> None:
    for _ in range(2):
        ran = counter.ok("cron", "run")
        assert (ran.out, ran.err) == ("", "")
        counter.ok("cron", "add", "counter", "--every", "1h", "Increment")
    assert count(counter) == 0


def test_of_missed_ticks_one_is_sent_or_all(counter: Shell) -> None:
    earlier(counter).every(HOUR_MS, "Increment")
    earlier(counter).every(HOUR_MS, "Add", 100, missed="run")
    ticks = counter.ok("cron", "run").lines()
    assert len(ticks) == 1 + 10
    assert [tick["tick"] for tick in ticks] == sorted(tick["tick"] for tick in ticks)
    assert counter.ok("cron", "run").out == ""
    assert count(counter) == 1001
    skipping, _ = sorted(counter.ok("cron", "list").lines(), key=lambda view: view["sent"])
    assert (skipping["sent"], skipping["skipped"], skipping["missed"]) == (1, 9, "skip")


def test_two_programs_at_once_send_each_tick_once(counter: Shell) -> None:
    for _ in range(20):
        earlier(counter).every(HOUR_MS, "Increment", missed="run")
    programs = [counter.start("cron", "run") for _ in range(3)]
    outputs = [program.communicate(timeout=60) for program in programs]
    assert [program.returncode for program in programs] == [0, 0, 0]
    assert [errors for _, errors in outputs] == [b""] * 3
    ticks = [json.loads(line) for output, _ in outputs for line in output.splitlines()]
    assert len({(tick["cron"], tick["tick"]) for tick in ticks}) == len(ticks) == 200
    assert sorted(tick["slot"] for tick in ticks) == list(range(1, 201))
    assert count(counter) == 200


def test_once_at_a_time(counter: Shell) -> None:
    said = counter.ok("cron", "add", "counter", "--at", "2020-02-29T12:00:00Z", "Add", "7")
    assert said.err == "hb: that time has passed: the next run sends it\n"
    later = counter.ok("cron", "add", "counter", "--at", "9999-12-31 23:00", "Add", "7")
    assert later.err == ""
    ticks = counter.ok("cron", "run").lines()
    assert [tick["tick"] for tick in ticks] == [int(datetime(2020, 2, 29, 12, tzinfo=UTC).timestamp() * 1000)]
    assert [view["cron"] for view in counter.ok("cron", "list").lines()] == [later.out.strip()]
    assert count(counter) == 7


def test_list_and_remove(counter: Shell) -> None:
    assert counter.ok("cron", "list").out == ""
    assert "no crons yet; hb cron add makes one" in counter.terminal("cron", "list").text
    added = counter.ok("cron", "add", "counter", "--every", "10m", "Add", "5", "--json").json()
    (view,) = counter.ok("cron", "list", "counter").lines()
    assert view == {**added, "state": "waiting"}
    assert (view["every"], view["message"], view["key"]) == (600_000, {"action": "Add", "parameters": [5]}, "default")
    assert view["next"] == view["first"] > 1_700_000_000_000
    assert (view["last"], view["last-slot"], view["sent"], view["skipped"]) == (None, None, 0, 0)
    before = counter.records()
    shown = counter.terminal("cron", "list").text
    for word in ("counter", "10m", "in 9m", "Add 5", "waiting", view["cron"][:10]):
        assert word in shown
    assert counter.records() == before
    removed = counter.ok("cron", "remove", view["cron"][:8] if view["cron"][0] != "-" else view["cron"])
    assert (removed.out, removed.err) == ("", f"hb: removed cron {view['cron']}\n")
    assert counter.ok("cron", "list").out == ""
    again = counter.hb("cron", "remove", view["cron"])
    assert again.code == 12
    assert "no cron" in again.err
    assert counter.hb("cron", "remove", "abc").code == 13


def test_on_a_terminal_a_tick_is_a_line_and_a_late_cron_is_due(counter: Shell) -> None:
    earlier(counter).every(HOUR_MS, "Increment")
    assert "now" in counter.terminal("cron", "list").text
    ran = counter.terminal("cron", "run").text
    assert "counter  slot 1  tick of " in ran
    shown = counter.terminal("cron", "list").text
    assert "ago" in shown
    for columns in (30, 60, 200):
        assert counter.terminal("cron", "list", columns=columns).code == 0


def test_what_a_definition_asks_for_runs_when_it_is_accepted(counter: Shell) -> None:
    tags = ["--tag", "Cron-Interval=5-minutes", "--tag", "Cron-Tag-Action=Increment"]
    process = counter.ok("spawn", counter.counter_wasm, "--name", "game", *tags).out.strip()
    counter.ok("spawn", counter.counter_wasm, "--name", "blocks", "--tag", "Cron-Interval=10-blocks")
    views = {view["interval"]: view for view in counter.ok("cron", "list").lines()}
    assert views["5-minutes"] == {
        "cron": None, "process": process, "state": "defined", "interval": "5-minutes", "every": 300_000,
        "message": {"action": "Increment"},
    }  # fmt: skip
    assert views["10-blocks"]["trouble"] == "'10-blocks' counts blocks, and a home has none"
    shown = counter.terminal("cron", "list").text
    assert "defined, not running" in shown
    refused = counter.hb("cron", "add", "blocks", "--defined")
    assert refused.code == 13
    assert "counts blocks" in refused.err
    cron = counter.ok("cron", "add", "game", "--defined").out.strip()
    assert counter.hb("cron", "add", "game", "--defined").code == 13
    (running,) = counter.ok("cron", "list", "game").lines()
    assert (running["cron"], running["state"], running["every"]) == (cron, "waiting", 300_000)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "give one of --every, --at and --defined"),
        (["--every", "1m", "--at", "0"], 2, "give one of"),
        (["--every", "1m", "--defined"], 2, "give one of"),
        (["--defined", "Act"], 2, "--defined takes its message from the definition"),
        (["--every", "1m", "--missed", "all"], 2, "--missed is skip or run, got all"),
        (["--every", "0s"], 13, "an interval is from 1 millisecond to 10 years"),
        (["--every", "-5m"], 13, "an interval is a number and a unit"),
        (["--every", "1.5h"], 13, "an interval is a number and a unit"),
        (["--every", "nan"], 13, "an interval is a number and a unit"),
        (["--every", "11y"], 13, "an interval is from 1 millisecond to 10 years"),
        (["--every", "9" * 5000 + "s"], 13, "an interval is a number and a unit"),
        (["--at", "-1"], 13, "a time is a date and time"),
        (["--at", "1969-12-31T23:59:59Z"], 13, "from 1970 to the year 9999"),
        (["--at", "0001-01-01"], 13, "time"),
        (["--at", "9" * 18], 13, "from 1970 to the year 9999"),
        (["--at", "9" * 5000], 13, "a time is a date and time"),
        (["--at", "tomorrow"], 13, "a time is a date and time"),
        (["--at", ""], 13, "a time is a date and time"),
        (["--every", "1m", "--tag", "From-Process=x"], 13, "'from-process'"),
        (["--every", "1m", "--tag", "cron=x"], 13, "'cron'"),
        (["--every", "1m", "--as", "nobody"], 12, "no key 'nobody'"),
    ],
)  # fmt: skip
def test_what_is_refused(counter: Shell, words: list[str], code: int, says: str) -> None:
    before = counter.records()
    ran = counter.hb("cron", "add", "counter", *words)
    assert ran.code == code, ran
    assert ran.out == ""
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert counter.records() == before


def test_no_such_process(home: Shell) -> None:
    assert home.hb("cron", "add", "nobody", "--every", "1m").code == 12
    assert home.hb("cron", "run", "nobody").code == 12
    assert home.hb("cron", "list", "nobody").code == 12


def test_a_cron_in_trouble_is_told_and_keeps_no_other_from_sending(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    broken = counter.ok("cron", "add", "counter", "--every", "1ms", "Add", "10", "--as", "alice").out.strip()
    counter.ok("cron", "add", "counter", "--at", "0", "Increment")
    (counter.home / "keys" / "alice.json").unlink()
    ran = counter.hb("cron", "run")
    assert ran.code == 1
    assert len(ran.lines()) == 1
    told, error, hint = ran.err.splitlines()
    assert told.startswith(f"hb: cron {broken} cannot send: no key 'alice' in ")
    assert error == "hb: error: 1 of the crons cannot send"
    assert "hb cron list" in hint
    (view,) = counter.ok("cron", "list").lines()
    assert (view["state"], view["trouble"][:14]) == ("trouble", "no key 'alice'")
    assert "trouble: no key" in counter.terminal("cron", "list", columns=200).text
    as_json = counter.hb("cron", "run", "--json")
    assert (as_json.code, as_json.out) == (1, "")
    assert broken in json.loads(as_json.err)["error"]
    assert count(counter) == 1


def test_a_damaged_cron_is_listed_and_hides_no_other(counter: Shell) -> None:
    from hb.records import keys
    from hb.storage.store import Batch

    damaged, sound = (counter.ok("cron", "add", "counter", "--every", "1h").out.strip() for _ in range(2))
    with homes.open_home(counter.home).storage.session() as store:
        store.commit(Batch(puts={keys.cron_key(damaged): b'{"\\u001b":1}'}))
    listed = counter.hb("cron", "list")
    assert listed.code == 14
    assert [(view["cron"], view["state"]) for view in listed.lines()] == [(sound, "waiting"), (damaged, "trouble")]
    assert counter.terminal("cron", "list").code == 14
    assert counter.hb("cron", "run").code == 1
    counter.ok("cron", "remove", "--", damaged)
    counter.ok("cron", "list")


def test_crons_run_while_processes_are_followed(counter: Shell) -> None:
    """`hb compute --follow --push` sends the ticks as they are due, and says which cron cannot."""
    counter.ok("key", "new", "alice")
    broken = counter.ok("cron", "add", "counter", "--every", "50ms", "Add", "10", "--as", "alice").out.strip()
    (counter.home / "keys" / "alice.json").unlink()
    counter.ok("spawn", counter.counter_wasm, "--name", "other")
    counter.ok("cron", "add", "other", "--every", "1ms", "Increment")
    program = counter.start("compute", "counter", "--follow", "--push")
    assert program.stdout is not None
    seen = [json.loads(program.stdout.readline())]
    assert seen[0]["slot"] == 0
    cron = counter.ok("cron", "add", "counter", "--every", "100ms", "Increment").out.strip()
    seen += [json.loads(program.stdout.readline()) for _ in range(3)]
    assert [view["slot"] for view in seen] == [0, 1, 2, 3]
    assert [view["state"]["counter"] for view in seen] == [0, 1, 2, 3]
    counter.ok("cron", "remove", "--", cron)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors.decode().count(f"cron {broken} cannot send: no key 'alice'") == 1
    # The crons of other processes are theirs who follow those.
    assert counter.ok("state", "other", "at-slot").out == "0\n"


def test_the_help_of_each_has_an_example(shell: Shell) -> None:
    for name in ("add", "list", "remove", "run"):
        text = shell.ok("cron", name, "--help").out
        assert f"Usage: hb cron {name}" in text
        assert f"      hb cron {name}".strip() in text
        assert "--lock-timeout" in text
    assert shell.hb("cron").code == 2
