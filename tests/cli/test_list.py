"""`hb list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.home import open_home
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from conftest import Shell


def test_an_empty_home_has_no_lines_in_a_pipe_and_a_word_on_a_terminal(home: Shell) -> None:
    assert home.ok("list").out == ""
    assert "no processes yet" in home.terminal("list").text


def test_one_line_a_process_with_full_ids_the_oldest_first(counter: Shell) -> None:
    other = counter.ok("spawn", counter.counter_wasm, "--timestamp", "9000000000000").out.strip()
    counter.ok("send", "counter", "Increment")
    first, second = counter.ok("list").lines()
    assert first["names"] == ["counter"]
    assert (first["slots"], first["devices"]) == (2, ["wasm64@1.0"])
    assert second["process"] == other
    assert (second["names"], second["slots"], second["spawned"]) == ([], 1, 9000000000000)


def test_it_only_looks(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment")
    before = counter.records()
    listed = counter.ok("list").json()
    assert listed["computed"] is None or listed["computed"] < 1
    counter.terminal("list")
    assert counter.records() == before


def test_a_damaged_process_is_listed_with_its_trouble_and_hides_no_other(counter: Shell) -> None:
    other = counter.ok("spawn", counter.counter_wasm, "--name", "other").out.strip()
    with open_home(counter.home).storage.session() as store:
        store.commit(Batch(puts={keys.head_key(other): b'{"hash-chain":"x","slot":0,"timestamp":0}'}))
    listed = counter.hb("list")
    sound, damaged = listed.lines()
    assert (sound["names"], sound["slots"]) == (["counter"], 1)
    assert damaged == {
        "process": other,
        "names": ["other"],
        "trouble": f"the schedule's head lacks what a head has, process {other}",
    }
    assert listed.code == 14
    assert "the schedule's head lacks what a head has" in listed.err
    shown = counter.terminal("list")
    assert shown.code == 14
    assert "damaged" in shown.text
    assert "counter" in shown.text
