"""`hb diff`: what became another from slot to slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from conftest import Shell


@prepared("plain")
def minted(home: Shell) -> None:
    """A ledger with three slots, of which the last is not computed."""
    home.ok("spawn", home.samples / "ledger.wasm", "--name", "ledger")
    home.ok("send", "ledger", "Mint", "1", "100", "--wait")
    home.ok("send", "ledger", "Mint", "1", "256")


def test_all_that_differs_is_one_object_and_nothing_is_stored(minted: Shell) -> None:
    before = minted.records()
    found = minted.ok("diff", "ledger", "1", "2").json()
    assert set(found) == {"process", "before", "after", "same", "keys", "results", "globals", "memory"}
    assert (found["before"]["slot"], found["after"]["slot"], found["same"]) == (1, 2, False)
    assert found["before"]["hashpath"] == minted.ok("inspect", "ledger", "--slot", "1").json()["hashpath"]
    assert found["memory"]["changed-bytes"] == 1
    [one] = found["memory"]["ranges"]
    assert (one["page"], one["size"], one["before"], one["after"]) == (0, 1, "00", "01")
    assert minted.records() == before
    assert minted.ok("diff", "ledger", "1").json() == found
    assert minted.ok("diff", "ledger", "now~1", "now", "--json").json() == found


def test_how_much_differs(minted: Shell) -> None:
    found = minted.ok("diff", "ledger", "0", "now", "--stat").json()
    assert "ranges" not in found["memory"]
    assert (found["memory"]["changed-bytes"], found["memory"]["changed-ranges"]) == (3, 1)
    assert (found["keys"], found["globals"], found["results"]) == (0, 2, 2)


def test_public_keys_and_results_differ_by_path(playground: Shell) -> None:
    playground.ok("send", "play", "Set", "5")
    playground.ok("send", "play", "Get")
    found = playground.ok("diff", "play", "0", "1").json()
    assert found["keys"] == [{"path": "n", "before": 0, "after": 5}]
    assert [change["name"] for change in found["globals"]] == ["n"]
    found = playground.ok("diff", "play", "1", "2").json()
    assert (found["same"], found["results"]) == (True, [{"path": "output/1", "after": 5}])


def test_the_same_state_is_said_to_be(playground: Shell) -> None:
    assert playground.ok("diff", "play", "0", "0").json()["same"] is True
    shown = playground.terminal("diff", "play", "0", "0")
    assert shown.code == 0
    assert "state   the same" in shown.text


def test_on_a_terminal(minted: Shell) -> None:
    text = minted.terminal("diff", "ledger", "0", "2").text
    assert "ledger from slot 0 to slot 2" in text
    assert "3 bytes changed, in 1 range on 1 page" in text
    assert "page 0 +0x" in text
    text = minted.terminal("diff", "ledger", "0", "2", "--stat").text
    assert "3 bytes changed" in text
    assert "page 0" not in text


def test_answers_of_several_lines_differ_line_by_line(speaker: Shell) -> None:
    speaker.ok("send", "me", "Say", "--data", "l")
    speaker.ok("send", "me", "Say", "--data", "c")
    text = speaker.terminal("diff", "me", "1", "2").text
    assert "~ data" in text
    assert "one" in text
    raw = speaker.terminal("diff", "me", "1", "2", env={"NO_COLOR": "1"}).out
    assert "\x1b[2J" not in raw
    assert "\x1b]0;" not in raw


@pytest.mark.parametrize(
    ("words", "code"), [(["ledger", "9"], 12), (["ledger", "0", "x"], 13), (["nobody", "0"], 12), (["ledger"], 2)]
)
def test_what_is_not_there_is_said(minted: Shell, words: list[str], code: int) -> None:
    outcome = minted.hb("diff", *words)
    assert (outcome.code, outcome.out) == (code, "")
