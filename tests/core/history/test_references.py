"""What a slot is called by: numbers, `now`, and the IDs of messages and of assignments."""

from __future__ import annotations

import pytest

from hb.errors import NotFound, Refused
from hb.history import fork, references
from hb.protocol.request import build_message
from hb.records import keys
from hb.schedule import scheduler
from hb.storage.store import Batch


@pytest.fixture
def sent(shell):
    """A shell, and what it scheduled in a process called `counter`: seven slots, of which none is computed."""
    process = shell.spawn("counter.wasm", name="counter")
    return shell, [shell.send_all(process, [build_message("Increment", anchor=str(place))])[0] for place in range(6)]


def slot_of(shell, reference: str | int) -> int:
    return references.resolve(shell.node.context.session, "counter", reference)[1]


@pytest.mark.parametrize(("reference", "slot"), [(3, 3), ("3", 3), ("now", 6), ("now~0", 6), ("now~6", 0)])
def test_a_number_or_now(sent, reference: str | int, slot: int) -> None:
    assert slot_of(sent[0], reference) == slot


def test_the_id_of_a_message_or_of_an_assignment(sent) -> None:
    shell, scheduled = sent
    for one in scheduled:
        assert slot_of(shell, one.message) == one.slot
        assert slot_of(shell, one.message[:6]) == one.slot
        assert slot_of(shell, one.assignment) == one.slot
    assert slot_of(shell, scheduled[0].process) == 0


def test_the_schedule_is_looked_through_in_short_slices(sent, monkeypatch: pytest.MonkeyPatch) -> None:
    shell, scheduled = sent
    for name, size in (("WINDOW_SLOTS", 2), ("WINDOW_BYTES", 3000)):
        with monkeypatch.context() as patch:
            patch.setattr(references, name, size)
            for one in scheduled:
                assert slot_of(shell, one.assignment) == one.slot
            with pytest.raises(NotFound, match="no message and no assignment"):
                slot_of(shell, "A" * 43)


def test_an_assignments_id_in_a_message_is_not_that_messages(sent) -> None:
    shell, scheduled = sent
    quoted = scheduled[1].assignment
    tags = {quoted: {"is": "quoted"}}
    shell.send_all(scheduled[0].process, [build_message("Increment", tags=tags, anchor="quote")])
    assert f'"{quoted}":{{'.encode() in shell.records()[keys.assignment_key(scheduled[0].process, 7)]
    assert slot_of(shell, quoted) == 2


@pytest.mark.parametrize(
    ("reference", "error", "says"),
    [
        ("A" * 43, NotFound, "no message and no assignment AAAA"),
        ("AAAAAA", NotFound, "begins with 'AAAAAA'"),
        ("7", NotFound, "has slots 0 to 6"),
        ("now~7", NotFound, "has slots 0 to 6"),
        ("then", Refused, "or the ID of a message or an assignment, got 'then'"),
        ("A" * 44, Refused, "a slot is a number"),
        (-1, Refused, "a slot is a number"),
    ],
)
def test_what_stands_for_no_slot(sent, reference: str | int, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        slot_of(sent[0], reference)


def test_the_beginning_of_several_ids_is_refused_with_what_there_is(sent, monkeypatch: pytest.MonkeyPatch) -> None:
    shell, scheduled = sent
    process = scheduled[0].process
    names = ["ABCDEF" + letter * 37 for letter in "xyz"]
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={keys.message_slot_key(name, process): keys.encode_slot(1) for name in names}))
    monkeypatch.setattr(scheduler, "find_slot", lambda store, process, name: 1)
    with pytest.raises(Refused, match=f"'ABCDEF' is the beginning of 3 message IDs: {', '.join(names)}"):
        slot_of(shell, "ABCDEF")
    with pytest.raises(NotFound):
        references.resolve(shell.node.context.session, shell.spawn("ledger.wasm"), "ABCDEF")


def test_a_fork_has_what_it_shares_and_no_more_of_it(sent) -> None:
    shell, scheduled = sent
    forked = fork.fork(shell.node.context, "counter", 3, signer=shell.key, environment=shell.environment)
    for name in (scheduled[2].message, scheduled[2].message[:6], scheduled[2].assignment):
        assert references.resolve(shell.node.context.session, forked.process, name) == (forked.process, 3)
    for name in (scheduled[3].message, scheduled[3].message[:6], scheduled[3].assignment):
        with pytest.raises(NotFound):
            references.resolve(shell.node.context.session, forked.process, name)


def test_every_verb_takes_them(sent) -> None:
    shell, scheduled = sent
    assert shell.node.compute("counter", scheduled[1].assignment) == 2
    assert shell.node.state("counter", scheduled[2].assignment).state["counter"] == 3
    seen = shell.node.history("counter", scheduled[0].assignment, scheduled[3].message[:10])
    assert [view.slot for view in seen] == [1, 2, 3, 4]
