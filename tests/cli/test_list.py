"""`hb list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
