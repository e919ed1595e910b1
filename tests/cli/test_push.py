"""`hb push`."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

import hb
from aowat import says
from gossip import spawn_all
from hb.errors import IntegrityError, OutOfMemory
from hb.home import open_home
from hb.records import keys
from hb.storage.store import Batch
from hb_cli import pushing
from programs import SPEAKER
from shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "N" * 43
NOTHING = {"delivered": 0, "spawned": 0, "held": 0, "failed": 0, "stopped": 0, "troubled": 0}


def pid(shell: Shell, name: str) -> str:
    """The ID of the process with this name."""
    return shell.records()[keys.name_key(name)].decode()


def send(shell: Shell, name: str, data: str) -> str:
    """Send a process what it is to do; gives the slot."""
    return shell.ok("send", name, "Start", "--data", data).out.strip()


def for_ever(shell: Shell) -> str:
    """What starts a game of ping and pong without end."""
    return says({"Target": pid(shell, "pong"), "Action": "Ping", "Data": "@"})


def break_slot(shell: Shell, process: str, slot: int) -> None:
    """Damage the assignment of a slot."""
    with open_home(shell.home).storage.session() as store:
        store.commit(Batch(puts={keys.assignment_key(process, slot): b"{}"}))


def actions(shell: Shell, name: str) -> list[str]:
    return [row["action"] for row in shell.ok("inspect", name, "--from", "1").lines()]


# What is delivered, and what is said of it


def test_it_delivers_everything_and_prints_each_delivery(talkers: Shell) -> None:
    ping, pong = pid(talkers, "ping"), pid(talkers, "pong")
    send(talkers, "ping", says({"Target": pong, "Action": "One"}, {"Target": pong, "Action": "Two"}))
    send(talkers, "ping", says({"Target": pong, "Action": "Three", "Data": says({"Target": ping, "Action": "Four"})}))
    outcome = talkers.ok("push", "ping")
    *deliveries, last = outcome.lines()
    assert [(each["process"], each["slot"], each["place"]) for each in deliveries] == [
        (ping, 1, "outbox/1"), (ping, 1, "outbox/2"), (ping, 2, "outbox/1"), (pong, 3, "outbox/1"),
    ]  # fmt: skip
    assert [(each["target"], each["target-slot"]) for each in deliveries] == [
        (pong, 1),
        (pong, 2),
        (pong, 3),
        (ping, 3),
    ]
    assert last == {**NOTHING, "delivered": 4}
    assert outcome.err == ""
    for each, action in zip(deliveries, ("One", "Two", "Three", "Four"), strict=True):
        there = talkers.ok("inspect", each["target"], "--slot", str(each["target-slot"])).json()
        assert (there["message"], there["action"]) == (each["message"], action)
        assert (there["computed"], set(each)) == (
            True,
            {"process", "slot", "place", "target", "target-slot", "message"},
        )
    before = talkers.records()
    assert talkers.ok("push", "ping").json() == NOTHING
    assert talkers.ok("push", "ping", "2").lines()[0]["slot"] == 2
    assert talkers.records() == before


def test_with_a_slot_it_prints_the_tree_of_that_message(talkers: Shell) -> None:
    pong = pid(talkers, "pong")
    for action in ("One", "Two", "Three"):
        send(talkers, "ping", says({"Target": pong, "Action": action}))
    root, child = talkers.ok("push", "ping", "now~1").lines()
    assert (root["slot"], root["depth"], child["action"], child["depth"]) == (2, 0, "Two", 1)
    assert child["parent"] == {"process": root["process"], "slot": 2}
    assert actions(talkers, "pong") == ["One", "Two"]  # what comes before goes first, and nothing after it goes
    by_id = talkers.ok("push", "ping", talkers.ok("inspect", "ping", "--slot", "3").json()["message"])
    assert [node["action"] for node in by_id.lines()] == ["Start", "Three"]


def test_all_processes(talkers: Shell) -> None:
    ping, pong = pid(talkers, "ping"), pid(talkers, "pong")
    send(talkers, "ping", says({"Target": pong, "Action": "A"}))
    send(talkers, "pong", says({"Target": ping, "Action": "B"}))
    *deliveries, last = talkers.ok("push", "--all").lines()
    assert {(each["process"], each["target"]) for each in deliveries} == {(ping, pong), (pong, ping)}
    assert last["delivered"] == 2


def test_on_a_terminal_it_says_what_was_done(talkers: Shell) -> None:
    image = talkers.ok("list").lines()[0]["image"]
    spawn = {"Anchor": "1", "Tags": [{"name": "Module", "value": image}]}
    send(talkers, "ping", says({"Target": NOBODY}, {"Target": pid(talkers, "pong"), "Data": "!"}, Spawns=[spawn]))
    shown = talkers.terminal("push", "ping")
    assert shown.code == 0
    first, note = shown.text.splitlines()
    assert first == "2 delivered, 1 spawned, 1 held"
    assert note == f"hb: 1 message waits for NNNNNNNNNN: no process '{NOBODY}' here"
    assert "\x1b[" in shown.out
    again = talkers.terminal("push", "ping", env={"NO_COLOR": "1"})
    assert again.text.splitlines() == ["nothing was delivered", note]
    assert "\x1b" not in again.out
    send(talkers, "ping", says({"Target": pid(talkers, "pong"), "Data": says(Error="boom")}))
    failed = talkers.terminal("push", "ping")
    assert (failed.code, failed.text.splitlines()[0]) == (15, "1 delivered, 1 failed")


def test_a_spawn_is_one_line_that_says_who_was_told(talkers: Shell) -> None:
    image = talkers.ok("list").lines()[0]["image"]
    send(talkers, "ping", says(Spawns=[{"Anchor": "1", "Tags": [{"name": "Module", "value": image}]}]))
    spawned, last = talkers.ok("push", "ping").lines()
    assert (spawned["place"], spawned["target-slot"], spawned["told"]) == ("spawns/1", 0, 2)
    assert spawned["message"] == spawned["target"]
    assert talkers.ok("inspect", spawned["target"], "--slot", "0").json()["message"] == spawned["target"]
    assert actions(talkers, "ping") == ["Start", "Spawned"]
    assert (last["delivered"], last["spawned"]) == (1, 1)


def test_an_assignment_is_a_line_that_says_whose_results_asked_for_it(talkers: Shell) -> None:
    ping, pong = pid(talkers, "ping"), pid(talkers, "pong")
    message = talkers.ok("send", "ping", "Start", "--json").json()["message"]
    send(talkers, "ping", says(Assignments=[{"Message": message, "Processes": [pong]}]))
    assigned, _ = talkers.ok("push", "ping").lines()
    assert (assigned["process"], assigned["slot"], assigned["place"]) == (ping, 2, "assignments/1")
    assert (assigned["target"], assigned["message"]) == (pong, message)


def test_what_is_printed_is_there_for_others(talkers: Shell) -> None:
    send(talkers, "ping", for_ever(talkers))
    process = talkers.start("push", "ping", "--depth", "1000000", "--messages", "1000000")
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    there = talkers.ok("inspect", line["target"], "--slot", str(line["target-slot"])).json()
    assert there["message"] == line["message"]
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


# Budgets


@pytest.mark.parametrize(
    ("budget", "says_"),
    [
        (("--depth", "3"), "a push goes 3 messages deep"),
        (("--messages", "4"), "a push delivers 4 messages of one root"),
        (("--gas", "30000"), "a push uses 30,000 gas for one root"),
    ],
)
def test_a_budget_that_is_used_up_is_said_with_its_root_and_who_goes_round(
    talkers: Shell, budget: tuple[str, str], says_: str
) -> None:
    send(talkers, "ping", for_ever(talkers))
    root = talkers.ok("inspect", "ping", "--slot", "1").json()["message"]
    outcome = talkers.hb("push", "ping", *budget)
    assert outcome.code == 1
    error, hint = outcome.err.splitlines()
    assert error in {
        f"hb: error: {says_}, and there is more of root {root}: {cycle}"
        for cycle in ("ping -> pong -> ping", "pong -> ping -> pong")
    }
    *deliveries, last = outcome.lines()
    assert (last["delivered"], last["held"], last["stopped"]) == (len(deliveries), 1, 1)
    stopped = error.rsplit(" ", 1)[1]
    assert hint == f"hint: `hb push {stopped}` goes on"
    again = talkers.hb("push", stopped, *budget)
    assert again.code == 1
    more = again.lines()[:-1]
    assert len(more) >= 2
    made = [(each["target"], each["target-slot"]) for each in (*deliveries, *more)]
    ping, pong = pid(talkers, "ping"), pid(talkers, "pong")
    assert made == [(pong if number % 2 == 0 else ping, 1 + (number + 1) // 2) for number in range(len(made))]


def test_of_several_roots_one_is_named_and_the_others_are_counted(talkers: Shell) -> None:
    for _ in range(3):
        send(talkers, "ping", for_ever(talkers))
    outcome = talkers.hb("push", "ping", "--depth", "2")
    assert outcome.code == 1
    assert "; so it is with 2 more roots" in outcome.err
    send(talkers, "pong", says({"Target": pid(talkers, "ping"), "Data": "@"}))
    both = talkers.hb("push", "--all", "--depth", "4")
    assert "hint: `hb push --all` goes on" in both.err


def test_with_json_the_error_is_an_object(talkers: Shell) -> None:
    send(talkers, "ping", for_ever(talkers))
    outcome = talkers.hb("push", "ping", "--depth", "2", "--json")
    told = json.loads(outcome.err)
    assert (outcome.code, told["exit"], told["kind"]) == (1, 1, "unfinished")
    assert told["error"].endswith(": ping -> pong -> ping") or told["error"].endswith(": pong -> ping -> pong")
    assert "goes on" in told["hint"]
    assert outcome.lines()[-1]["stopped"] == 1


def test_a_process_that_answers_itself_is_a_circle_of_its_own(talkers: Shell) -> None:
    send(talkers, "ping", says({"Target": pid(talkers, "ping"), "Data": "@"}))
    outcome = talkers.hb("push", "ping", "--depth", "2")
    assert outcome.code == 1
    assert ": ping -> ping\n" in outcome.err
    assert len(actions(talkers, "ping")) == 3


def test_the_settings_of_the_home_are_the_budget(talkers: Shell) -> None:
    (talkers.home / "config.toml").write_text("[push]\ndepth = 1\n")
    send(talkers, "ping", for_ever(talkers))
    outcome = talkers.hb("push", "ping")
    assert (outcome.code, outcome.lines()[-1]["delivered"]) == (1, 1)
    assert "a push goes 1 message deep" in outcome.err


# What cannot be delivered


def test_what_waits_for_a_process_is_delivered_by_the_first_push_after_that_came(
    talkers: Shell, tmp_path: Path
) -> None:
    late = ("spawn", "talker.wat", "--name", "late", "--anchor", "late")
    shutil.copytree(talkers.directory, tmp_path / "elsewhere")
    target = Shell(tmp_path / "elsewhere").ok(*late).out.strip()
    pong = {"Target": pid(talkers, "pong"), "Action": "Other"}
    send(talkers, "ping", says({"Target": target}, pong, {"Target": target, "Action": "Second"}, {"Target": target}))
    outcome = talkers.ok("push", "ping")
    assert [line.get("target") for line in outcome.lines()] == [pong["Target"], None]
    assert outcome.lines()[-1]["held"] == 3
    assert outcome.err == f"hb: 3 messages wait for {target[:10]}: no process '{target}' here\n"
    again = talkers.ok("push", "ping")
    assert (again.json(), again.err) == (NOTHING, outcome.err)
    assert talkers.ok("push", "ping", "--json").err == ""
    assert talkers.ok(*late).out.strip() == target
    came = talkers.ok("push", "ping")
    assert (came.lines()[-1]["delivered"], came.err) == (3, "")
    assert actions(talkers, "late") == ["Say", "Second", "Say"]


def test_a_target_of_another_home_is_said_and_is_not_this_ones_to_push(talkers: Shell, tmp_path: Path) -> None:
    other = Shell(tmp_path / "other")
    other.directory.mkdir()
    other.ok("init")
    other.write("speaker.wat", SPEAKER)
    target = other.ok("spawn", "speaker.wat").out.strip()
    other.ok("export", target, "-o", tmp_path / "other.history")
    talkers.ok("import", tmp_path / "other.history", "--name", "theirs")
    send(talkers, "ping", says({"Target": target}))
    outcome = talkers.ok("push", "ping")
    assert outcome.json()["held"] == 1
    assert outcome.err.startswith(f"hb: 1 message waits for theirs: process {target} is scheduled by ")
    refused = talkers.hb("push", "theirs")
    assert (refused.code, refused.out) == (13, "")
    assert "hint: fork the process" in refused.err


def test_what_a_process_further_on_cannot_deliver_is_said_too(talkers: Shell) -> None:
    further = says({"Target": NOBODY, "Action": "Lost"})
    send(talkers, "ping", says({"Target": pid(talkers, "pong"), "Data": further}))
    outcome = talkers.ok("push", "ping")
    assert [line["held"] for line in outcome.lines() if "held" in line] == [1]
    assert outcome.err == f"hb: 1 message waits for NNNNNNNNNN: no process '{NOBODY}' here\n"


def test_a_message_for_nobody_is_said(talkers: Shell) -> None:
    send(talkers, "ping", says({"Target": ""}))
    outcome = talkers.ok("push", "ping")
    assert outcome.err == "hb: 1 message for nobody is not delivered: it names no process that it is for\n"


def test_many_reasons_are_cut(talkers: Shell) -> None:
    send(talkers, "ping", says(*({"Target": f"nobody-{number}"} for number in range(14))))
    said = talkers.ok("push", "ping").err.splitlines()
    assert len(said) == 11
    assert said[-1] == "hb: deliveries are held for 4 more reasons"


def test_an_outcome_that_is_an_error_gives_exit_code_15(talkers: Shell) -> None:
    slot = send(talkers, "ping", says({"Target": pid(talkers, "pong"), "Data": says(Error="boom")}))
    outcome = talkers.hb("push", "ping")
    assert (outcome.code, outcome.lines()[-1]["failed"], outcome.err) == (15, 1, "")
    in_tree = talkers.hb("push", "ping", slot)
    assert (in_tree.code, in_tree.lines()[1]["error"]) == (15, "boom")
    assert talkers.hb("push", "ping").code == 0  # nothing was computed


def test_damage_comes_before_budgets_and_these_before_failed_programs(talkers: Shell) -> None:
    broken = talkers.ok("spawn", "talker.wat", "--name", "broken").out.strip()
    talkers.ok("send", "broken", "--batch", "-", stdin="{}\n{}\n")
    break_slot(talkers, broken, 1)
    pong, failing = pid(talkers, "pong"), says(Error="boom")
    talkers.ok("send", "ping", "--data", says({"Target": pong, "Data": failing}, {"Target": pong, "Data": "@"}))
    outcome = talkers.hb("push", "ping", "--depth", "2")
    assert (outcome.code, outcome.lines()[-1]["failed"]) == (1, 1)
    talkers.ok("send", "pong", "--data", says({"Target": broken}, {"Target": pong, "Action": "After", "Data": failing}))
    talkers.ok("send", "pong", "--data", says({"Target": pong, "Data": "@"}))
    outcome = talkers.hb("push", "pong", "--depth", "1")
    last = outcome.lines()[-1]
    assert (outcome.code, last["troubled"], last["stopped"], last["failed"]) == (14, 1, 1, 1)
    note, error = outcome.err.splitlines()
    assert note.startswith("hb: a push goes 1 message deep, and there is more of root ")
    assert error.startswith("hb: error: ")
    assert f"process {broken}, slot 1" in error
    assert "After" in actions(talkers, "pong")


def test_of_several_troubles_damage_is_told_first_and_others_name_their_process() -> None:
    home = hb.memory()
    troubles = {"A" * 43: OutOfMemory("no memory", hint="buy some"), "B" * 43: IntegrityError("damage")}
    damage, other = pushing.problems_of(home, pushing.Names(home), hb.Pushed(troubles=troubles))
    assert isinstance(damage, IntegrityError)
    assert (type(other), other.message, other.hint) == (
        OutOfMemory,
        "AAAAAAAAAA could not be computed: no memory",
        "buy some",
    )


def test_a_long_circle_is_cut() -> None:
    home = hb.frozen()
    ring = spawn_all(home, 9, peers=1)
    last = ring[0].send("Gossip", data="9", push=True).tree[-1]
    assert (last.process, last.depth) == (ring[0].id, 9)
    stop = hb.Stop("R" * 43, "depth", "a push goes 9 messages deep", last.process, last.slot or 0)
    [problem] = pushing.problems_of(home, pushing.Names(home), hb.Pushed(stops={stop.root: stop}))
    assert problem.message.endswith(": g0 -> g1 -> g2 -> g3 -> (2 more) -> g6 -> g7 -> g8 -> g0")


# Interrupts


@pytest.mark.parametrize("words", ["ping", "--all", "ping 1"])
def test_ctrl_c_in_the_middle_loses_nothing_and_the_next_push_goes_on(talkers: Shell, words: str) -> None:
    send(talkers, "ping", for_ever(talkers))
    process = talkers.start("push", *words.split(), "--depth", "1000000", "--messages", "1000000")
    assert process.stdout is not None
    begun = [json.loads(process.stdout.readline()) for _ in range(0 if "1" in words else 5)]
    if not begun:
        while len(talkers.ok("inspect", "pong").lines()) < 5:
            pass
    process.send_signal(signal.SIGINT)
    printed = [*begun, *map(json.loads, process.stdout.read().splitlines())]
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"hb: error: the push was interrupted; the next one goes on where it was\n"
    before = talkers.hb("tree", "ping", "1").lines()
    assert [line["message"] for line in printed] == [node["message"] for node in before[1:]][: len(printed)]
    delivered = sum("reason" not in node or node["reason"] is None for node in before) - 1
    last = talkers.hb("push", "--all", "--depth", "1000000", "--messages", str(delivered + 5))
    assert (last.code, last.lines()[-1]["delivered"]) == (1, 5), "the budget is what it was before the interrupt"
    nodes = talkers.ok("tree", "ping", "1").lines()
    assert len(nodes) >= len(before) + 5
    scheduled = sum(len(talkers.ok("inspect", name, "--from", "1").lines()) for name in ("ping", "pong"))
    assert scheduled == len({node["message"] for node in nodes if node["message"]})


def test_ctrl_c_on_a_terminal_says_how_many_were_delivered(talkers: Shell) -> None:
    send(talkers, "ping", for_ever(talkers))
    with talkers.talk("push", "ping", "--depth", "1000000", "--messages", "1000000") as talk:
        talk.wait_for("delivered, .* slots computed")
        talk.signal(signal.SIGINT)
        talk.wait_for("[1-9][0-9]* delivered until then")
        talk.wait_for("hb: error: the push was interrupted; the next one goes on where it was")
        assert talk.end() == 130


@pytest.mark.parametrize(
    ("words", "says_"),
    [
        (("push",), "give a PROCESS, or --all"),
        (("push", "ping", "--all"), "give a PROCESS, or --all"),
        (("push", "ping", "1", "--all"), "give a PROCESS, or --all"),
        (("push", "ping", "--depth", "-1"), "not in the range"),
    ],
)
def test_wrong_usage(talkers: Shell, words: tuple[str, ...], says_: str) -> None:
    outcome = talkers.hb(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert says_ in outcome.err


def test_what_is_not_here_is_said(talkers: Shell, shell: Shell) -> None:
    assert talkers.hb("push", "nobody").code == 12
    assert talkers.hb("push", "ping", "9").code == 12
