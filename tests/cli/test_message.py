"""`hb message`: IDs, signatures, and the JSON form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shell

_VECTORS = Path(__file__).parents[1] / "vectors"


def test_the_id_of_a_message_needs_no_home(shell: Shell) -> None:
    outcome = shell.ok("message", "id", "-", stdin='{"action": "Increment"}')
    assert len(outcome.out.strip()) == 43
    assert shell.ok("message", "id", "-", "--json", stdin='{"Action": "Increment"}').json()["id"] == outcome.out.strip()
    assert not list(shell.directory.iterdir())


def test_sign_then_verify(home: Shell) -> None:
    address = home.ok("key", "new", "alice").out
    signed = home.ok("message", "sign", "-", "--as", "alice", stdin='{"action": "Increment", "target": "x"}').out
    assert home.ok("message", "verify", "-", stdin=signed).out == address
    twice = home.ok("message", "sign", "-", stdin=signed).out
    assert len(home.ok("message", "verify", "-", stdin=twice).out.split()) == 2
    every, everyone, none = (
        home.ok("message", "id", "-", "--which", which, stdin=signed).out for which in ("all", "every", "none")
    )
    assert len({every, everyone, none}) == 3


def _altered(signed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Forgeries of a signed message, each wrong in one place."""
    (first, commitment), *_ = [(key, value) for key, value in signed["commitments"].items() if "committer" in value]
    others = {key: value for key, value in signed["commitments"].items() if key != first}

    def with_commitment(**changes: str) -> dict[str, Any]:
        return {**signed, "commitments": {**others, first: {**commitment, **changes}}}

    return {
        "another action": {**signed, "action": "Decrement"},
        "a key more": {**signed, "amount": 5},
        "a key less": {key: value for key, value in signed.items() if key != "action"},
        "another committer": with_commitment(committer="A" * 43),
        "another signature": with_commitment(signature=commitment["signature"].replace("=:", "=:AAAA", 1)),
        "another commitment ID": {**signed, "commitments": {**others, "A" * 43: commitment}},
        "another algorithm": with_commitment(alg="none"),
    }


@pytest.mark.parametrize(
    "how",
    [
        "another action",
        "a key more",
        "a key less",
        "another committer",
        "another signature",
        "another commitment ID",
        "another algorithm",
    ],
)
def test_a_forged_or_altered_message_is_refused_everywhere_and_changes_nothing(counter: Shell, how: str) -> None:
    pid = counter.ok("list").json()["process"]
    signed = counter.ok("message", "sign", "-", stdin=json.dumps({"action": "Increment", "target": pid})).json()
    forged = json.dumps(_altered(signed)[how])
    before = counter.records()
    for command in (["message", "verify", "-"], ["send", "counter", "--batch", "-"]):
        outcome = counter.hb(*command, stdin=forged)
        assert (outcome.code, outcome.out) == (13, "")
        assert outcome.err.startswith("hb: error: ")
        assert outcome.err.count("\n") <= 2
    assert counter.records() == before
    assert counter.ok("send", "counter", "--batch", "-", stdin=json.dumps(signed)).out == "1\n"


def test_a_message_for_another_process_is_refused(counter: Shell) -> None:
    signed = counter.ok("message", "sign", "-", stdin=json.dumps({"action": "Increment", "target": "A" * 43})).out
    before = counter.records()
    outcome = counter.hb("send", "counter", "--batch", "-", stdin="{}\n" + signed)
    assert outcome.code == 13
    assert outcome.err.startswith("hb: error: line 2 of the batch: its target must be ")
    assert counter.records() == before


def test_an_unsigned_message_does_not_verify(shell: Shell) -> None:
    outcome = shell.hb("message", "verify", "-", stdin='{"action": "Increment"}')
    assert outcome.code == 13
    assert "nobody signed" in outcome.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"a": }', "\xff", '{"a": 1, "a": 2}', '{"a": NaN}', '{"$map": 1}']
)
def test_what_is_no_message_is_refused(shell: Shell, text: str) -> None:
    outcome = shell.hb("message", "id", "-", stdin=text.encode("latin-1"))
    assert (outcome.code, outcome.out) == (13, "")
    assert outcome.err.startswith("hb: error: the message: ")


def test_show_gives_what_was_sent(counter: Shell) -> None:
    sent = counter.ok("send", "counter", "Increment", "--json").json()
    shown = counter.ok("message", "show", sent["message"])
    assert shown.json()["action"] == "Increment"
    assert counter.ok("message", "id", "-", stdin=shown.out).out.strip() == sent["message"]
    assert counter.ok("message", "verify", "-", stdin=shown.out).code == 0
    assert "Increment" in counter.terminal("message", "show", sent["message"]).text
    assert counter.hb("message", "show", "A" * 43).code == 12
    assert counter.hb("message", "show", "nonsense").code in (12, 13)
