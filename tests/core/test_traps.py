"""Traps: a test looks at each message before it is delivered, and does what a network can do. The tree says what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gossip
import hb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hb import FrozenHome, Process
    from hb.history.tree import Node
    from hb.push.trap import TrapDelivery, Verdict

TESTS = Path(__file__).parents[1]


def peers(process: Process, *others: Process) -> None:
    """Tell a process of gossip whom it passes numbers on to."""
    process.send("Peers", data="=" + "".join(other.id for other in others))


def start(home: FrozenHome) -> tuple[Process, Process, Process]:
    """Return `a`, which passes numbers on to `b` and `c`; `b`, which passes them on to `c`; and `c`."""
    module = hb.wat(gossip.WAT)
    a, b, c = (home.spawn(module, name=name) for name in "abc")
    peers(a, b, c)
    peers(b, c)
    return a, b, c


def shape(nodes: Iterable[Node]) -> list[tuple[int, str | None, int | str | None]]:
    """Return depth, place, and slot or reason of each node."""
    return [(node.depth, node.place, node.reason if node.slot is None else node.slot) for node in nodes]


def heard(process: Process) -> list[object]:
    """Return the numbers that came to a process, in order."""
    return [view.data for view in process.history() if view.action == "Gossip"]


def to(target: Process, verdict: Verdict, seen: list[TrapDelivery] | None = None) -> Callable[[TrapDelivery], Verdict]:
    """Return a trap that says `verdict` of what goes to `target`, and puts that into `seen`."""

    def trap(delivery: TrapDelivery) -> Verdict:
        if delivery.target != target.id:
            return None
        if seen is not None:
            seen.append(delivery)
        return verdict

    return trap


def records(home: FrozenHome) -> dict[bytes, bytes]:
    """Return everything that is stored."""
    with home.context.session() as store:
        return dict(store.scan(b"", b"\xff"))


# -- look


def test_a_trap_sees_each_message_once_before_it_is_delivered(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    seen: list[TrapDelivery] = []
    slots = []

    def look(delivery: TrapDelivery) -> None:
        seen.append(delivery)
        slots.append(ao.process(delivery.target).slots)

    ao.trap(look)
    sent = a.send("Go", data="2", push=True)
    assert [(each.process, each.slot, each.place, each.target, each.depth) for each in seen] == [
        (a.id, 2, 1, b.id, 1),
        (a.id, 2, 2, c.id, 1),
        (b.id, 2, 1, c.id, 2),
    ]
    assert slots == [2, 1, 2]
    assert [each.asked.content["data"] for each in seen] == ["1", "1", "0"]
    delivered = [ao.message(node.view.message) for node in sent.tree[1:] if node.view is not None]
    by_anchor = {(message["from-process"], message["anchor"]): message for message in delivered}
    for each in seen:
        signed = by_anchor[each.message["from-process"], each.message["anchor"]]
        assert {key: value for key, value in signed.items() if key != "commitments"} == each.message


def test_a_look_changes_nothing(ao: FrozenHome, ao_factory: Callable[[], FrozenHome]) -> None:
    other = ao_factory()
    trees = []
    for home, trap in ((ao, None), (other, lambda delivery: None)):
        a, _, _ = start(home)
        home.trap(trap)
        trees.append(a.send("Go", data="2", push=True).tree)
    assert trees[0] == trees[1]
    assert records(ao) == records(other)


def test_no_trap_is_asked_after_it_ends(ao: FrozenHome) -> None:
    a, b, _ = start(ao)
    seen: list[TrapDelivery] = []
    ao.trap(to(b, None, seen))
    a.send("Go", data="1", push=True)
    ao.trap(None)
    a.send("Go", data="1", push=True)
    assert (len(seen), heard(b)) == (1, ["0", "0"])


def test_a_trap_may_send_messages_and_let_time_pass(ao: FrozenHome) -> None:
    a, b, _ = start(ao)

    def trap(delivery: TrapDelivery) -> None:
        if delivery.target == b.id:
            ao.clock.advance(1000)
            b.send("Gossip", data="0", signer="mallory")

    ao.trap(trap)
    now_ms = ao.clock.now_ms
    a.send("Go", data="1", push=True)
    views = list(b.history(2))
    assert [view.sender == ao.address("mallory") for view in views] == [True, False]
    assert [view.timestamp_ms - now_ms for view in views] == [1000, 1000]
    assert list(ao.verify(replay=True)) == []


def test_what_a_trap_raises_comes_out_and_the_next_push_goes_on(ao: FrozenHome) -> None:
    a, _, c = start(ao)

    def trap(delivery: TrapDelivery) -> Verdict:
        if delivery.depth == 2:
            raise ZeroDivisionError
        return None

    ao.trap(trap)
    with pytest.raises(ZeroDivisionError):
        a.send("Go", data="2", push=True)
    assert shape(a.tree()) == [(0, None, 2), (1, "outbox/1", 2), (2, "outbox/1", "pending"), (1, "outbox/2", 1)]
    ao.trap(None)
    ao.push()
    assert shape(a.tree()) == [(0, None, 2), (1, "outbox/1", 2), (2, "outbox/1", 2), (1, "outbox/2", 1)]
    assert heard(c) == ["1", "0"]


# -- hold, release, reorder


def test_what_is_held_waits_and_everything_else_goes_on(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    held: list[TrapDelivery] = []
    ao.trap(to(b, "hold", held))
    sent = a.send("Go", data="2", push=True)
    assert shape(sent.tree) == [(0, None, 2), (1, "outbox/1", "trapped"), (1, "outbox/2", 1)]
    assert (sent.tree[1].process, sent.tree[1].says) == (b.id, "a trap holds it")
    assert (heard(b), heard(c)) == ([], ["1"])
    a.push(sent.slot)
    assert heard(b) == []
    done = ao.release(held[0])
    assert done.delivered == 2  # and what comes of it
    assert shape(sent.tree) == [(0, None, 2), (1, "outbox/1", 2), (2, "outbox/1", 2), (1, "outbox/2", 1)]
    assert not any(node.altered for node in sent.tree)
    assert (heard(b), heard(c), len(held)) == (["1"], ["1", "0"], 1)
    assert list(ao.verify(replay=True)) == []


def test_a_push_of_everything_delivers_what_is_held_and_the_trap_sees_what_comes_of_it(ao: FrozenHome) -> None:
    a, b, _ = start(ao)
    ao.trap(lambda delivery: "hold")
    sent = a.send("Go", data="2", push=True)
    assert shape(sent.tree) == [(0, None, 2), (1, "outbox/1", "trapped"), (1, "outbox/2", "trapped")]
    assert ao.push().delivered == 2
    assert shape(sent.tree) == [(0, None, 2), (1, "outbox/1", 2), (2, "outbox/1", "trapped"), (1, "outbox/2", 1)]
    assert (ao.push().delivered, ao.push().delivered) == (1, 0)
    assert heard(b) == ["1"]


def test_what_is_released_in_another_order_arrives_in_that_order(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    peers(a, b)
    held: list[TrapDelivery] = []
    ao.trap(to(b, "hold", held))
    sent = [a.send("Go", data=number, push=True) for number in "123"]
    assert heard(b) == []
    for number in (2, 0, 1):
        ao.release(held[number])
    assert (heard(b), heard(c)) == (["2", "0", "1"], ["1", "0"])
    assert [each.tree[1].slot for each in sent] == [3, 4, 2]
    for each in sent:
        assert b.path(each.tree[1].slot or 0) == each.tree[:2]
    assert list(ao.verify(replay=True)) == []


def test_what_comes_later_overtakes_what_is_held(ao: FrozenHome) -> None:
    a, b, _ = start(ao)
    held: list[TrapDelivery] = []
    ao.trap(to(b, "hold", held))
    a.send("Go", data="1", push=True)
    ao.trap(None)
    a.send("Go", data="2", push=True)
    assert heard(b) == ["1"]
    ao.release(held[0])
    assert heard(b) == ["1", "0"]


def test_to_release_what_is_not_held_does_nothing(ao: FrozenHome) -> None:
    a, b, _ = start(ao)
    seen: list[TrapDelivery] = []
    ao.trap(to(b, None, seen))
    a.send("Go", data="1", push=True)
    before = records(ao)
    assert ao.release(seen[0]).delivered == 0
    assert records(ao) == before
    held: list[TrapDelivery] = []
    ao.trap(to(b, "hold", held))
    a.send("Go", data="1", push=True)
    assert [ao.release(held[0]).delivered for _ in range(2)] == [1, 0]


# -- drop


def test_what_is_dropped_is_lost_and_the_tree_says_so(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    dropped: list[TrapDelivery] = []
    ao.trap(to(b, "drop", dropped))
    sent = a.send("Go", data="2", push=True)
    expected = [(0, None, 2), (1, "outbox/1", "dropped"), (1, "outbox/2", 1)]
    assert shape(sent.tree) == expected
    assert (sent.tree[1].process, sent.tree[1].says) == (b.id, "a trap dropped it")
    assert sent.tree[1].asked is not None
    assert sent.tree[1].asked["data"] == "1"
    ao.trap(None)
    assert [done.delivered for done in (ao.push(), a.push(), ao.release(dropped[0]))] == [0, 0, 0]
    assert shape(sent.tree) == expected
    assert (heard(b), heard(c)) == ([], ["1"])
    a.send("Go", data="1", push=True)
    assert heard(b) == ["0"]
    assert list(ao.verify(replay=True)) == []


# -- alter


def test_what_is_altered_is_delivered_in_its_place_and_marked(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    peers(a, b)
    ao.trap(lambda delivery: {**delivery.message, "data": "9"} if delivery.depth == 1 else "drop")
    sent = a.send("Go", data="1", push=True)
    assert shape(sent.tree) == [(0, None, 3), (1, "outbox/1", 2), (2, "outbox/1", "dropped")]
    assert [node.altered for node in sent.tree] == [False, True, False]
    assert (heard(b), heard(c)) == (["9"], [])
    assert sent.tree[2].asked is not None
    assert sent.tree[2].asked["data"] == "8"


def test_a_message_given_back_as_it_is_is_not_marked(ao: FrozenHome) -> None:
    a, _, _ = start(ao)
    ao.trap(lambda delivery: dict(delivery.message))
    assert not any(node.altered for node in a.send("Go", data="2", push=True).tree)


@pytest.mark.parametrize("is_returned", [True, False])
def test_a_message_changed_in_place_is_marked_or_not_changed(ao: FrozenHome, is_returned: bool) -> None:
    a, b, _ = start(ao)

    def trap(delivery: TrapDelivery) -> Verdict:
        delivery.message["data"] = "0"
        return delivery.message if is_returned else None

    ao.trap(trap)
    sent = a.send("Go", data="2", push=True)
    assert sent.tree[1].altered == (heard(b) == ["0"])


def test_no_trap_sends_a_message_to_another_process(ao: FrozenHome) -> None:
    a, b, c = start(ao)
    peers(a, b)
    ao.trap(lambda delivery: {**delivery.message, "target": c.id, "data": "0"})
    sent = a.send("Go", data="1", push=True)
    assert [node.process for node in sent.tree] == [a.id, b.id]
    assert (heard(b), heard(c)) == (["0"], [])


def test_what_no_message_can_hold_is_refused_and_the_tree_says_so(ao: FrozenHome) -> None:
    a, b, _ = start(ao)
    peers(a, b)
    limit = ao.settings.message_limit_bytes
    for wrong in ({"note": object()}, {"note": "two\nlines"}, {"data": "x" * limit}):
        ao.trap(lambda delivery, wrong=wrong: {**delivery.message, **wrong})  # type: ignore[misc]
        sent = a.send("Go", data="1", push=True)
        assert shape(sent.tree)[1:] == [(1, "outbox/1", "refused")]
    assert heard(b) == []


# -- the same again


def scenario(home: FrozenHome) -> list[Node]:
    """Do everything that a trap can do, in a system of ten processes; return the trees."""
    processes = gossip.spawn_all(home, 10)
    held: list[TrapDelivery] = []

    def trap(delivery: TrapDelivery) -> Verdict:
        match (delivery.depth + delivery.place + delivery.slot) % 9:
            case 0:
                held.append(delivery)
                return "hold"
            case 1:
                return "drop"
            case 2:
                return {**delivery.message, "data": "0"}
        return None

    home.trap(trap)
    sent = [processes[number].send("Go", data="5", push=True) for number in (0, 5)]
    for delivery in held[::-2]:
        home.clock.advance(10)
        home.release(delivery)
    home.push()
    return [node for each in sent for node in each.tree]


def test_equal_inputs_give_equal_trees_byte_for_byte(ao: FrozenHome, ao_factory: Callable[[], FrozenHome]) -> None:
    other = ao_factory()
    nodes = scenario(ao)
    assert nodes == scenario(other)
    assert repr(nodes).encode() == repr(scenario(ao_factory())).encode()
    assert records(ao) == records(other)
    assert len(nodes) > 100
    assert {node.reason for node in nodes} >= {None, "dropped", "trapped"}
    altered = {(node.process, node.slot) for node in nodes if node.altered}
    assert altered
    found = {(finding.process, finding.slot, finding.part) for finding in ao.verify(replay=True)}
    assert found == {(*place, "data") for place in altered}, "what a trap changed is found, and nothing else"


def test_other_programs_get_the_same_tree_whatever_order_their_sets_have() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import hb; from core.test_traps import scenario; print(scenario(hb.frozen()))"
    printed = set()
    for seed in "12":
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        command = [sys.executable, "-c", code, str(TESTS)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode == 0, ran.stderr
        printed.add(ran.stdout)
    assert len(printed) == 1
    assert len(printed.pop()) > 10_000
