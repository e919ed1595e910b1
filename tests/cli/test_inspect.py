"""`hb inspect`."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from aowat import says
from cli.conftest import prepared
from hb.home import open_home
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from conftest import Shell

_FIELDS = {
    "process", "slot", "timestamp", "sender", "message", "assignment", "action", "parameters",
    "computed", "results", "state", "changed", "gas", "image", "hashpath",
}  # fmt: skip


def _slots(text: str) -> list[int]:
    """Return the slots of a table."""
    return [int(line.split()[0]) for line in text.splitlines() if line[:4].strip().isdigit()]


@prepared("playground")
def told(playground: Shell) -> None:
    """A history with a change, a read, a failure, and a slot that is not computed."""
    for words in (["Set", "5"], ["Get"], ["Trap"]):
        playground.hb("send", "play", *words, "--wait")
    playground.ok("send", "play", "Set", "6")


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
    text = counter.terminal("inspect", "counter", "--all", columns=130).text
    assert _slots(text) == list(range(1101))
    assert text.count("hashpath") == 1
    assert len({len(line.rstrip()) for line in text.splitlines() if line.startswith(("   1", "1100"))}) == 1


def test_a_terminal_shows_the_newest_fifty_and_says_so(counter: Shell) -> None:
    counter.ok("send", "counter", "--batch", "-", stdin='{"action": "Increment"}\n' * 59 + '{"action": "Nope"}\n')
    text = counter.terminal("inspect", "counter").text
    assert _slots(text) == list(range(11, 61))
    assert "the newest 50 of 61 slots; --all shows all" in text
    assert _slots(counter.terminal("inspect", "counter", "--reverse").text) == list(range(60, 10, -1))
    text = counter.terminal("inspect", "counter", "--action", "Increment").text
    assert _slots(text) == list(range(10, 60))
    assert "the newest 50 that match; --all shows all" in text
    for words, slots in (
        (["--all"], range(61)),
        (["-n", "55"], range(55)),
        (["--from", "1"], range(1, 61)),
        (["--to", "now~1"], range(60)),
        (["--action", "Nope"], range(60, 61)),
    ):
        text = counter.terminal("inspect", "counter", *words).text
        assert _slots(text) == list(slots), words
        assert "--all" not in text
    assert len(counter.ok("inspect", "counter").lines()) == 61


def test_a_table_is_as_wide_as_what_it_holds(told: Shell) -> None:
    for columns in (60, 80, 130, 300):
        lines = told.terminal("inspect", "play", columns=columns).text.splitlines()
        [ruler] = [line for line in lines if line.startswith("──")]
        assert len(ruler) <= min(columns, 160)
        assert all(len(line.rstrip()) <= len(ruler) for line in lines if line[:4].strip().isdigit())
    # What one column does not need, another one gets: nothing is cut where there is room.
    assert not any("…" in line for line in lines)


def test_the_id_of_a_slot_is_enough_to_name_it(told: Shell) -> None:
    [line] = [line for line in told.terminal("inspect", "play").text.splitlines() if line.startswith("   2")]
    [row] = told.ok("inspect", "play", f"--slot={line.split()[1]}").lines()
    assert (row["slot"], row["message"][:8]) == (2, line.split()[1])


def test_nothing_that_matches_is_said_on_a_terminal(told: Shell) -> None:
    for words in (["--action", "Nope"], ["--from", "3", "--to", "1"]):
        text = told.terminal("inspect", "play", *words).text
        assert "no slot matches" in text
        assert "changed nothing" not in text
        assert told.ok("inspect", "play", *words).out == ""


def test_who_sent_a_message_goes_by_name(talkers: Shell) -> None:
    pong = talkers.records()[keys.name_key("pong")].decode()
    ping = talkers.records()[keys.name_key("ping")].decode()
    talkers.ok("send", "ping", "Go", "--push", "--data", says({"Target": pong, "Action": "Hello"}))
    rows = talkers.terminal("inspect", "pong").text.splitlines()
    assert any(line.startswith("   1") and " ping " in line and "Hello" in line for line in rows)
    assert any(line.startswith("   0") and " default " in line for line in rows)
    panel = talkers.terminal("inspect", "pong", "--slot", "1", columns=160).text
    assert f"ping ({ping})" in panel
    assert "default (" in panel
    assert "to pong Hello" in talkers.terminal("inspect", "ping", "--slot", "1", columns=160).text


def test_wide_characters_keep_their_columns(playground: Shell) -> None:
    playground.hb("send", "play", "数えるカウンター数えるカウンター数えるカウンター数えるカウンター", "--wait")
    from rich.cells import cell_len

    for line in playground.terminal("inspect", "play", columns=100).text.splitlines():
        assert cell_len(line) <= 100


@prepared("counter")
def crowd(counter: Shell) -> None:
    """A counter that two people sent to; the last slot is not computed."""
    counter.ok("key", "new", "alice")
    for place, (words, key) in enumerate(
        [(["Increment"], "default"), (["Add", "5"], "alice"), (["Nope"], "alice"), (["Increment"], "alice")]
    ):
        counter.ok("send", "counter", *words, "--as", key, "--timestamp", str(4_000_000_000_000 + place * 1000))
    counter.ok("compute", "counter", "--slot", "3")


@pytest.mark.parametrize(
    ("words", "slots"),
    [
        (["--sender", "alice"], [2, 3, 4]),
        (["--sender", "alice", "--sender", "default"], [0, 1, 2, 3, 4]),
        (["--sender", "AAAA"], []),
        (["--action", "Increment"], [1, 4]),
        (["--action", "Increment", "--action", "Add"], [1, 2, 4]),
        (["--error"], [3]),
        (["--no-error"], [0, 1, 2]),
        (["--sender", "alice", "--action", "Increment"], [4]),
        (["--reverse"], [4, 3, 2, 1, 0]),
        (["-n", "2"], [0, 1]),
        (["--reverse", "-n", "2"], [4, 3]),
        (["--from", "1", "--to", "3", "--reverse", "--no-error"], [2, 1]),
        (["--since", "2096-10-02T07:06:42Z"], [3, 4]),
        (["--since", "2096-10-02T07:06:42Z", "--from", "4"], [4]),
        (["--since", "2099-01-01"], []),
    ],
)
def test_a_choice_of_slots(crowd: Shell, words: list[str], slots: list[int]) -> None:
    before = crowd.records()
    assert [row["slot"] for row in crowd.ok("inspect", "counter", *words).lines()] == slots
    assert crowd.records() == before


def test_a_sender_goes_by_the_beginning_of_an_address(crowd: Shell) -> None:
    address = crowd.ok("key", "show", "alice", "--json").json()["address"]
    for word in (address, address[:6]):
        assert [row["slot"] for row in crowd.ok("inspect", "counter", "--sender", word).lines()] == [2, 3, 4]


def test_a_choice_on_a_terminal(crowd: Shell) -> None:
    text = crowd.terminal("inspect", "counter", "--sender", "alice", "--reverse").text
    assert [line.split()[0] for line in text.splitlines() if line[:4].strip().isdigit()] == ["4", "3", "2"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--sender", "a b"], 13, "a sender is a key of this home"),
        (["--since", "soon"], 13, "a time is a date"),
        (["-n", "0"], 2, "-n"),
        (["--slot", "1", "--error"], 2, "--slot"),
        (["--definition", "--reverse"], 2, "--definition"),
        (["--follow", "--reverse"], 2, "--follow"),
        (["--follow", "--to", "1"], 2, "--follow"),
    ],
)
def test_a_choice_that_is_none_is_said(crowd: Shell, words: list[str], code: int, says: str) -> None:
    outcome = crowd.hb("inspect", "counter", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err


def test_a_follower_shows_what_others_compute(crowd: Shell) -> None:
    follower = crowd.start("inspect", "counter", "--follow", "--from", "2", "--action", "Increment")
    crowd.ok("send", "counter", "ReadValue")
    crowd.ok("send", "counter", "Increment", "--wait", "--timestamp", "4000000009000")
    assert follower.stdout is not None
    rows = [json.loads(follower.stdout.readline()) for _ in range(2)]
    assert [(row["slot"], row["computed"], row["state"]["counter"]) for row in rows] == [(4, True, 7), (6, True, 8)]
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert (follower.returncode, out, err) == (130, b"", b"hb: stopped following\n")


def test_a_follower_ends_when_it_has_seen_enough(crowd: Shell) -> None:
    rows = crowd.ok("inspect", "counter", "--follow", "--from", "0", "-n", "3").lines()
    assert [row["slot"] for row in rows] == [0, 1, 2]


def test_a_damaged_name_keeps_nobody_from_looking_at_a_slot(talkers: Shell) -> None:
    pong = talkers.records()[keys.name_key("pong")].decode()
    talkers.ok("send", "ping", "Go", "--push", "--data", says({"Target": pong, "Action": "Hello"}))
    with open_home(talkers.home).storage.session() as store:
        store.commit(Batch(puts={keys.name_key("bad"): b"no process ID"}))
    outcome = talkers.terminal("inspect", "ping", "--slot", "1", columns=160)
    assert outcome.code == 0, outcome.text
    assert f"to {pong[:10]} Hello" in outcome.text
