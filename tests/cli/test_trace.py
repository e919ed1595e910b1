"""`hb trace`: one slot from the inside, for scripts and for people; it stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from conftest import Shell


def test_a_script_gets_one_object_with_all_that_happened(counter: Shell) -> None:
    counter.ok("send", "counter", "Add", "5", "--wait")
    before = counter.records()
    found = counter.ok("trace", "counter", "1").json()
    assert counter.records() == before
    (call,) = found["calls"]
    assert (call["function"], call["arguments"], call["results"], call["failure"]) == ("Add", [5], [], None)
    assert call["gas"] == found["results"]["gas"]
    assert found["keys"] == {"counter": {"before": 0, "after": 5}}
    assert found["globals"] == [{"index": 0, "name": "counter", "type": "i32", "before": 0, "after": 5}]
    assert found["memory"] == {"pages-before": 0, "pages-after": 0, "changed-pages": 0, "changed-bytes": 0, "pages": []}
    assert (found["slot"], found["undone"], found["same-as-stored"], found["differences"]) == (1, False, True, [])


def test_the_slot_may_be_left_out_and_need_not_be_computed(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment")
    counter.ok("send", "counter", "Increment")
    before = counter.records()
    found = counter.ok("trace", "counter").json()
    assert (found["slot"], found["keys"]["counter"]["after"], found["same-as-stored"]) == (2, 2, None)
    assert counter.ok("trace", "counter", found["message"]).json() == found
    assert counter.records() == before


def test_a_trap_says_where_it_was_and_the_exit_code_is_that_of_a_trace_that_worked(playground: Shell) -> None:
    playground.hb("send", "play", "Trap", "--wait")
    found = playground.ok("trace", "play").json()
    (call,) = found["calls"]
    assert call["failure"] == {"kind": "trap", "error": "the program executed an unreachable instruction"}
    assert [(frame["function"], frame["index"]) for frame in call["backtrace"]] == [("Trap", 3)]
    assert found["undone"]
    shown = playground.terminal("trace", "play", columns=100).text
    assert "✗ trap: the program executed an unreachable instruction" in shown
    assert "in Trap  function 3, at byte " in shown
    assert "all of it was put back" in shown


def test_an_ao_program_shows_its_texts_its_host_calls_and_its_output(speaker: Shell) -> None:
    speaker.ok("eval", "me", "p")
    found = speaker.ok("trace", "me").json()
    handle = next(call for call in found["calls"] if call["function"] == "handle")
    assert '"Action","value":"Eval"' in handle["texts"][0]
    assert handle["texts"][1].startswith('{"Process":')
    assert handle["answer"] == '{"ok":true,"response":{"Output":{"data":"done"}}}'
    (printing,) = handle["host-calls"]
    assert (printing["function"], printing["printed"]) == ("wasi_snapshot_preview1.fd_write", "hello\n")
    assert handle["host-calls-in-all"] == {"wasi_snapshot_preview1.fd_write": {"calls": 1, "gas": 1000}}
    assert speaker.ok("trace", "me", "--host-calls", "0").json()["calls"][-1]["host-calls"] == []
    shown = speaker.terminal("trace", "me", columns=200).text
    for words in ("asked", "handle(", "prints hello\\n", "printed", "→ done", "stored", "the same"):
        assert words in shown
    # What a stranger's program prints cannot clear the screen of who looks at it.
    speaker.ok("eval", "me", "c")
    assert "\x1b[2J" not in speaker.terminal("trace", "me").out


def test_what_comes_out_otherwise_than_it_is_stored_is_damage(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    process = counter.ok("trace", "counter").json()["process"]
    from hb.home import open_home

    with open_home(counter.home).storage.session() as store:
        key = keys.slot_record_key(process, 1)
        record = loads_message(store.get(key) or b"")
        store.commit(Batch(puts={key: dumps({**record, "state": {"counter": 7}})}))
    outcome = counter.hb("trace", "counter")
    assert outcome.code == 14
    assert outcome.json()["differences"] == [{"what": "state", "stored": '{"counter":7}', "traced": '{"counter":1}'}]
    shown = counter.terminal("trace", "counter")
    assert shown.code == 14
    assert 'state differs: stored {"counter":7}, traced {"counter":1}' in shown.text


def test_what_is_not_there_and_wrong_usage(counter: Shell) -> None:
    for reference in ("1", "now~1", "x" * 43):
        outcome = counter.hb("trace", "counter", reference)
        assert (outcome.code, outcome.out) == (12, ""), outcome
    assert counter.hb("trace", "counter", "now~").code == 13
    assert counter.hb("trace", "nobody").code == 12
    assert counter.hb("trace", "counter", "--host-calls", "-1").code == 2
