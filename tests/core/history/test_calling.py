"""A message tried at a slot: whose state it is asked of, and at what time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.compute import transition
from hb.errors import Refused
from hb.history import calling, fork
from hb.history.calling import call
from hb.protocol.request import build_message

if TYPE_CHECKING:
    from hb.protocol.message import Message

NOW_MS = 1_700_000_000_000  # what the clock of the fixture says


def ask(shell, process: str, slot: str | int, *words: object, **options: object) -> calling.Answer:
    message = build_message(str(words[0]), list(words[1:]))  # type: ignore[arg-type]
    environment = shell.environment._replace(timestamp_ms=options.pop("timestamp_ms", None))
    return call(shell.node.context, process, slot, message, environment=environment, limit_bytes=2**20, **options)


def test_a_fork_answers_as_its_origin_did_where_it_shares_and_as_itself_after(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    forked = fork.fork(shell.node.context, process, 2, signer=shell.key, environment=shell.environment).process
    shell.send(forked, "Add", 40)
    before = shell.records()
    shared, own = ask(shell, forked, 2, "Increment"), ask(shell, forked, "now", "Increment")
    assert (shared.process, shared.slot, shared.state) == (process, 2, {"counter": 3})
    assert (own.process, own.slot, own.state) == (forked, 4, {"counter": 43})
    assert shell.records() == before


@pytest.fixture
def assignments(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The assignments that messages are tried with."""
    seen: list[Message] = []
    compute_slot = transition.compute_slot

    def watched(base, assignment, machine):
        seen.append(assignment)
        return compute_slot(base, assignment, machine)

    monkeypatch.setattr(transition, "compute_slot", watched)
    return seen


def test_the_assignment_is_the_one_that_would_come_next(shell, assignments: list[Message]) -> None:
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    shell.node.compute(process)
    sent = shell.send(process, "Increment")
    shell.node.compute(process)
    assignments.clear()
    answer = ask(shell, process, 1, "Increment", signer=shell.key, timestamp_ms=NOW_MS + 5)
    asked = assignments[-1]
    assert (asked["slot"], asked["process"], asked["timestamp"]) == (sent, process, NOW_MS + 5)
    assert asked["body"]["target"] == process
    assert "commitments" not in asked
    assert answer.message in asked["body"]["commitments"]


def test_the_past_has_its_own_time_and_the_newest_slot_the_clocks(shell, assignments: list[Message]) -> None:
    shell.environment = shell.environment._replace(timestamp_ms=1000)
    process = shell.spawn("counter.wasm")
    shell.environment = shell.environment._replace(timestamp_ms=2000)
    shell.send(process, "Increment")
    shell.node.compute(process)
    for slot, expected in ((0, 1000), (1, NOW_MS)):
        ask(shell, process, slot, "Increment")
        assert assignments[-1]["timestamp"] == expected
    with pytest.raises(Refused, match="slot 1's is 2000 ms, this one's would be 1999 ms"):
        ask(shell, process, 1, "Increment", timestamp_ms=1999)


def test_a_message_that_cannot_be_sent_is_refused(shell) -> None:
    process = shell.spawn("counter.wasm")
    with pytest.raises(Refused):
        ask(shell, process, 0, "Increment", {"a/b": "\ud800"})
