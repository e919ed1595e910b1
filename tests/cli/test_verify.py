"""`hb verify`: what it prints, its exit codes, and that it mends only when asked to."""

from __future__ import annotations

import pytest

from aowat import says
from cli.conftest import prepared
from hb.home import open_home
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.storage.leveldb import open_store
from hb.storage.store import Batch


def alter(shell, *, puts=None, deletes=()) -> None:
    with open_home(shell.home).storage.session() as store:
        store.commit(Batch(puts=puts or {}, deletes=set(deletes)))


@prepared("counter")
def computed_home(counter):
    """A counter of three computed slots."""
    counter.ok("send", "counter", "--batch", "-", stdin='{"action":"Increment"}\n' * 2)
    counter.ok("compute", "counter")


@pytest.fixture
def computed(computed_home):
    """A counter of three computed slots, and its process ID."""
    return computed_home, computed_home.ok("list").json()["process"]


def test_a_home_without_damage_is_one_summary_line_and_exit_0(computed) -> None:
    shell, _ = computed
    before = shell.records()
    assert shell.ok("verify", "counter").json() == {"findings": 0, "processes": 1, "replayed": False, "slots": 3}
    outcome = shell.ok("verify", "--all", "--replay", "--repair")
    assert outcome.json() == {"findings": 0, "processes": 1, "replayed": True, "slots": 3}
    assert shell.records() == before


def test_a_finding_says_where_it_is_and_how_it_differs_and_the_exit_code_is_14(computed) -> None:
    shell, process = computed
    key = keys.slot_record_key(process, 1)
    alter(shell, puts={key: dumps({**loads_message(shell.records()[key]), "hashpath": "a/b"})})
    outcome = shell.hb("verify", process)
    first, *_, last = outcome.lines()
    assert outcome.code == 14
    assert first == {
        "process": process,
        "slot": 1,
        "what": "slot record's hashpath",
        "expected": first["expected"],
        "got": "a/b",
    }
    assert last == {"findings": len(outcome.lines()) - 1, "processes": 1, "replayed": False, "slots": 3}
    assert outcome.err == ""


def test_replay_finds_a_state_that_is_not_what_comes_out(computed) -> None:
    shell, process = computed
    key = keys.slot_record_key(process, 2)
    alter(shell, puts={key: dumps({**loads_message(shell.records()[key]), "state": {"counter": 9}})})
    assert shell.hb("verify", "counter").code == 0
    outcome = shell.hb("verify", "counter", "--replay")
    assert outcome.code == 14
    assert outcome.lines()[0] == {
        "process": process,
        "slot": 2,
        "what": "replay: state/counter",
        "expected": "2",
        "got": "9",
    }
    shown = shell.terminal("verify", "counter", "--replay")
    assert f"{process} slot 2: replay: state/counter: expected 2, got 9" in shown.text.replace("\n", "")
    assert "1 process, 3 slots, replayed: 1 finding" in shown.text


def test_repair_says_what_it_did_and_ends_in_0_when_all_is_whole_again(computed) -> None:
    shell, process = computed
    before = shell.records()
    alter(shell, puts={keys.name_key("lost"): b"x"}, deletes=[keys.slot_record_key(process, 1)])
    assert shell.hb("verify", "--all").code == 14
    assert keys.name_key("lost") in shell.records()
    outcome = shell.ok("verify", "--all", "--repair")
    assert [line["repaired"] for line in outcome.lines() if "repaired" in line] == [
        "deleted what was computed from slot 1 on",
        "computed slots 1 to 2 again",
        "took back the name 'lost': expected the ID of a process that is here, got x",
    ]
    assert outcome.lines()[-1] == {"findings": 0, "processes": 1, "replayed": False, "slots": 3}
    assert shell.records() == before


def test_a_damaged_schedule_is_not_mended_and_a_sentence_says_so(computed) -> None:
    shell, process = computed
    alter(shell, deletes=[keys.assignment_key(process, 1), keys.slot_record_key(process, 2)])
    before = shell.records()
    outcome = shell.hb("verify", process, "--repair")
    assert outcome.code == 14
    assert "nothing was mended: the assignment of slot 1 is damaged" in outcome.err
    assert "put the home, or its store, back from a copy" in outcome.err
    assert outcome.lines()[-1]["findings"] >= 1
    assert shell.records() == before


def test_a_home_with_one_process_that_cannot_be_mended_has_the_others_mended(computed) -> None:
    shell, process = computed
    other = shell.ok("spawn", shell.counter_wasm).out.strip()
    shell.ok("compute", other)
    whole = shell.records()
    alter(shell, deletes=[keys.definition_key(process), keys.head_key(other)])
    assert shell.hb("verify", "--all", "--repair").code == 14
    assert shell.records()[keys.head_key(other)] == whole[keys.head_key(other)]
    assert keys.definition_key(process) not in shell.records()


def test_slots_of_another_engine_are_no_finding_and_it_is_said_that_their_gas_is_not_compared(computed) -> None:
    shell, process = computed
    key = keys.slot_record_key(process, 2)
    record = loads_message(shell.records()[key])
    gas = {**record["results"], "gas": 1}
    alter(shell, puts={key: dumps({**record, "engine": "wasmtime-49", "results": gas})})
    said = f"hb: {process}: the gas of slot 2 is not compared: wasmtime-49 computed it, and this is wasmtime-50\n"
    for words in ((process,), ("--all",)):
        outcome = shell.ok("verify", *words, "--replay")
        assert outcome.err == said
        assert outcome.json()["findings"] == 0
    shell.ok("export", process, "-o", "p.history")
    assert shell.ok("verify", "p.history", "--replay").err == said
    assert said.partition(": ")[2].partition(": ")[2] in shell.hb("import", "p.history").err
    assert shell.ok("verify", process).err == ""


def test_a_process_whose_head_is_gone_is_found_by_its_id_and_mended(computed) -> None:
    shell, process = computed
    before = shell.records()
    alter(shell, deletes=[keys.head_key(process)])
    outcome = shell.hb("verify", process)
    assert outcome.code == 14
    assert outcome.lines()[0]["what"] == "head of the schedule"
    shell.ok("verify", process, "--repair")
    assert shell.records() == before


def test_a_store_that_cannot_be_opened_is_a_finding(computed) -> None:
    shell, process = computed
    for table in [*(shell.home / "store").glob("*.log"), *(shell.home / "store").glob("MANIFEST*")]:
        table.write_bytes(b"\xff" * table.stat().st_size)
    outcome = shell.hb("verify", process)
    assert outcome.code == 14
    assert "Traceback" not in outcome.err
    assert "damaged" in outcome.out + outcome.err


def test_wrong_usage_and_what_is_not_there(computed) -> None:
    shell, _ = computed
    assert shell.hb("verify").code == 2
    assert shell.hb("verify", "counter", "--all").code == 2
    assert shell.hb("verify", "nothing").code == 12


def the_log(shell):
    return max((shell.home / "store").glob("*.log"), key=lambda log: log.stat().st_size)


def test_a_torn_log_is_one_line_on_stderr_and_all_that_was_acknowledged_is_there(counter) -> None:
    counter.ok("send", "counter", "Increment")
    counter.ok("send", "counter", "Increment")
    # The next send is cut off by a power loss: the first half of its bytes is on the disk.
    counter.ok("send", "counter", "Increment")
    log = the_log(counter)
    sent = log.read_bytes()
    log.write_bytes(sent[: len(sent) // 2] + bytes(len(sent) - len(sent) // 2))
    outcome = counter.hb("inspect", "counter")
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("hb: a crash cut off the last write to ")
    assert "/set-aside/" in outcome.err
    assert [line["slot"] for line in outcome.lines()] == [0, 1, 2]
    clean = counter.ok("verify", "--all", "--replay")
    assert (clean.json()["findings"], clean.err) == (0, "")
    assert counter.ok("send", "counter", "Increment").json() == 3
    assert counter.ok("state", "counter", "counter").json() == 3


def test_a_log_damaged_before_its_end_is_exit_14_and_repair_brings_back_what_is_whole(counter) -> None:
    process = counter.ok("compute", "counter").json()["process"]
    with open_store(counter.home / "store") as store:
        store.commit(Batch(puts={keys.name_key("wrong"): process.encode()}, sync=True))
        store.commit(Batch(puts={keys.name_key("right"): process.encode()}, sync=True))
    log = the_log(counter)
    damaged = log.read_bytes().replace(b"wrong", b"wrnog")
    log.write_bytes(damaged)
    for words in (("state", "counter"), ("send", "counter", "Increment"), ("verify", "--all")):
        outcome = counter.hb(*words)
        assert outcome.code == 14
        assert "whole ones come after it" in outcome.err
        assert "hb verify --all --repair" in outcome.err
    outcome = counter.ok("verify", "--all", "--repair")
    assert outcome.lines()[0]["process"] is None
    assert log.name in outcome.lines()[0]["repaired"]
    assert outcome.lines()[-1]["findings"] == 0
    (aside,) = (counter.home / "set-aside").iterdir()
    assert aside.read_bytes() == damaged
    assert counter.ok("state", "right", "counter").json() == 0


@prepared("talkers")
def talked(shell) -> None:
    """Two processes: ping sent two messages to pong, and one to a process that is not here."""
    pong = shell.records()[keys.name_key("pong")].decode()
    messages = [{"Target": target, "Action": "Hello"} for target in (pong, pong, "N" * 43)]
    shell.ok("send", "ping", "Go", "--data", says(*messages), "--push")


def test_deliveries_are_proved_and_what_is_remembered_of_them_is_mended(talked) -> None:
    assert talked.ok("verify", "--all", "--replay").json()["findings"] == 0
    intact = talked.records()
    ping = intact[keys.name_key("ping")].decode()
    first, second = keys.delivered_key(ping, 1, 0), keys.delivered_key(ping, 1, 1)
    alter(talked, puts={second: intact[first], keys.queued_key(7): b"odd"}, deletes=[keys.cursor_key(ping)])
    outcome = talked.hb("verify", "--all")
    assert outcome.code == 14
    found = {each["what"]: each for each in outcome.lines()[:-1]}
    assert set(found) == {
        "record of the delivery outbox/2",
        "cursor of deliveries",
        "entry of the queue of deliveries 7",
    }
    assert (found["record of the delivery outbox/2"]["process"], found["record of the delivery outbox/2"]["slot"]) == (
        ping,
        1,
    )
    assert "ping: cursor of deliveries: expected" in talked.terminal("verify", "--all").text.replace(ping, "ping")
    mended = talked.ok("verify", "--all", "--repair").lines()
    assert mended[-1]["findings"] == 0
    assert len([line for line in mended if "repaired" in line]) == 3
    assert talked.records() == intact


def test_a_home_level_record_is_mended_with_one_process_too(talked) -> None:
    intact = talked.records()
    alter(talked, puts={keys.root_key("N" * 43): b"odd"})
    assert talked.hb("push", "ping").code == 0
    assert talked.hb("verify", "pong").lines()[0]["what"] == f"budget of a push {'N' * 43}"
    assert talked.ok("verify", "pong", "--repair").lines()[-1]["findings"] == 0
    assert talked.records() == intact


def test_one_of_each_is_not_many(counter) -> None:
    assert "1 process, 1 slot: 0 findings" in counter.terminal("verify", "counter").text
    assert ": 1 slot, 0 computed, of " in counter.terminal("export", "counter", "-o", "c.history", columns=200).text
