"""`hb inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

_FIELDS = {
    "process", "slot", "timestamp", "sender", "message", "assignment", "action", "parameters",
    "computed", "results", "state", "changed", "gas", "image", "hashpath",
}  # fmt: skip


@pytest.fixture
def told(playground: Shell) -> Shell:
    """A history with a change, a read, a failure, and a slot that is not computed."""
    for words in (["Set", "5"], ["Get"], ["Trap"]):
        playground.hb("send", "play", *words, "--wait")
    playground.ok("send", "play", "Set", "6")
    return playground


def test_a_line_a_slot_with_all_there_is_to_know(told: Shell) -> None:
    rows = told.ok("inspect", "play").lines()
    assert [row["slot"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(set(row) == _FIELDS for row in rows)
    assert [row["parameters"] for row in rows] == [[], [5], [], [], [6]]
    assert [row["changed"] for row in rows[1:]] == [True, False, False, None]
    assert [row["computed"] for row in rows] == [True, True, True, True, False]
    assert [(row["results"] or {}).get("type") for row in rows[1:]] == ["ok", "ok", "error", None]
    assert [row["state"] and row["state"]["n"] for row in rows] == [0, 5, 5, 5, None]
    assert all(len(row["hashpath"].split("/")[1]) == 43 for row in rows[:4])
    assert rows[4]["hashpath"] is None


def test_it_only_looks(told: Shell) -> None:
    before = told.records()
    told.ok("inspect", "play")
    told.terminal("inspect", "play")
    told.ok("inspect", "play", "--slot", "4")
    assert told.records() == before


@pytest.mark.parametrize(
    ("words", "slots"),
    [
        (["--from", "3"], [3, 4]),
        (["--to", "1"], [0, 1]),
        (["--from", "now~2", "--to", "now~1"], [2, 3]),
        (["--from", "3", "--to", "1"], []),
        (["--slot", "2"], [2]),
        (["--slot", "now"], [4]),
    ],
)
def test_a_part_of_it(told: Shell, words: list[str], slots: list[int]) -> None:
    assert [row["slot"] for row in told.ok("inspect", "play", *words).lines()] == slots


def test_on_a_terminal_each_kind_of_slot_has_its_sign(told: Shell) -> None:
    lines = told.terminal("inspect", "play", columns=160).text.splitlines()
    rows = {line.split()[0]: line for line in lines if line[:4].strip().isdigit()}
    assert "Set 5" in rows["1"]
    assert "n=5" in rows["1"]
    assert "= n=5" in rows["2"]
    assert "→ 5" in rows["2"]
    assert "✗ " in rows["3"]
    assert "pending" in rows["4"]
    whole = told.terminal("inspect", "play", "--slot", "1").text
    for row in told.ok("inspect", "play", "--slot", "1").lines():
        for key in ("message", "assignment", "process", "hashpath", "sender"):
            assert row[key] in whole


def test_what_strangers_wrote_never_reaches_the_terminal_raw(playground: Shell) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
    line = json.dumps({"action": evil, "parameters": [evil], "tags": {"subject": evil}, "data": evil})
    playground.ok("send", "play", "--batch", "-", stdin=line)
    playground.ok("compute", "play")
    message = playground.ok("inspect", "play", "--slot", "1").json()["message"]
    for command in (
        ["inspect", "play"],
        ["inspect", "play", "--slot", "1"],
        ["state", "play"],
        ["state", "play", "results/error"],
        ["message", "show", message],
        ["message", "show", message, "--json"],
        ["inspect", "play", "--json"],
    ):
        outcome = playground.terminal(*command, env={"NO_COLOR": "1"})
        assert outcome.code == 0
        for character in "\x1b\x07\x9b\u202e":
            assert character not in outcome.out
    assert "\\u001b[2J" in playground.terminal("inspect", "play", columns=200).text
    shown = playground.terminal("message", "show", message, "--json")
    assert json.loads(shown.out)["action"] == evil
    # A pipe gets the bytes as they are.
    assert playground.ok("message", "show", message).json()["action"] == evil


def test_a_long_history_comes_in_one_piece_and_in_order(counter: Shell) -> None:
    counter.ok("send", "counter", "--batch", "-", stdin='{"action": "Increment"}\n' * 1100)
    counter.ok("compute", "counter")
    assert [row["slot"] for row in counter.ok("inspect", "counter").lines()] == list(range(1101))
    text = counter.terminal("inspect", "counter").text
    rows = [line for line in text.splitlines() if line[:4].strip().isdigit()]
    assert [int(row.split()[0]) for row in rows] == list(range(1101))
    assert text.count("hashpath") == 1


def test_wide_characters_keep_their_columns(playground: Shell) -> None:
    playground.hb("send", "play", "数えるカウンター数えるカウンター数えるカウンター数えるカウンター", "--wait")
    from rich.cells import cell_len

    for line in playground.terminal("inspect", "play", columns=100).text.splitlines():
        assert cell_len(line) <= 100
