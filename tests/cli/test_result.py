"""`hb result`: what one slot gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from conftest import Shell


@prepared("playground")
def told(playground: Shell) -> None:
    """A change, a read and a failure, none of them computed."""
    for words in (["Set", "5"], ["Get"], ["Trap"]):
        playground.ok("send", "play", *words)


def test_the_results_of_a_slot_which_is_computed_first(told: Shell) -> None:
    assert told.ok("result", "play", "2").json() == {"gas": 2, "output": [5], "type": "ok"}
    assert [row["computed"] for row in told.ok("inspect", "play").lines()] == [True, True, True, False]
    assert told.hb("result", "play").json()["kind"] == "trap"


def test_as_json_they_say_whose_they_are(told: Shell) -> None:
    row = told.ok("inspect", "play", "--slot", "2").json()
    for ref in ("2", "now~1", row["message"], row["assignment"]):
        found = told.ok("result", "play", ref, "--json").json()
        assert set(found) == {"process", "slot", "message", "assignment", "results", "state"}
        assert (found["slot"], found["message"], found["assignment"]) == (2, row["message"], row["assignment"])
        assert (found["results"]["output"], found["state"]) == ([5], {"n": 5})


def test_an_outcome_that_is_an_error_has_its_exit_code(told: Shell) -> None:
    assert told.hb("result", "play", "3").code == 15
    shown = told.terminal("result", "play", "3")
    assert (shown.code, "slot 3" in shown.text, "✗ " in shown.text) == (15, True, True)


@pytest.mark.parametrize(("words", "code"), [(["play", "9"], 12), (["play", "x"], 13), (["nobody"], 12)])
def test_what_is_not_there_is_said(told: Shell, words: list[str], code: int) -> None:
    outcome = told.hb("result", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith("hb: error: ")
