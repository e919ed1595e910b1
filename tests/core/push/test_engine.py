"""What a push delivers, in which order, and what becomes of what it cannot deliver."""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING

import pytest

import hb
from aowat import says, talker_module
from faulty import FaultyStore
from gossip import spawn_all
from hb.errors import HomeUnusable, Interrupted, Refused
from hb.protocol import delivery
from hb.records import deliveries, keys
from hb.storage.memory import MemoryStorage
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.history.tree import Node
    from hb.library import FrozenHome, Home, Process

NOBODY = "N" * 43
TALKER = hb.wat(talker_module())


@pytest.fixture
def home() -> FrozenHome:
    return hb.frozen()


def talker(home: Home, name: str, **options: object) -> Process:
    return home.spawn(TALKER, name=name, **options)  # type: ignore[arg-type]


def drawn(tree: list[Node]) -> list[str]:
    """Return a tree as lines: how deep, where the message is, and why it is not."""
    return [f"{'  ' * node.depth}{node.place}: {node.slot if node.slot is not None else node.reason}" for node in tree]


def records(home: Home) -> dict[bytes, bytes]:
    """Return all records that do not name an image of memory: which slots have one depends on who computed them."""
    with home.context.session() as store:
        return {key: raw for key, raw in store.scan(*keys.EVERYTHING) if key[:2] not in (b"v/", b"g/")}


def actions(process: Process, first: int = 1) -> list[object]:
    return [view.action for view in process.history(first)]


# What is delivered


def test_what_a_program_sends_arrives_and_says_where_it_is_from(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    sent = one.send("Begin", data=says({"Target": two.id, "Action": "Hello", "Data": "there"}), push=True)
    (view,) = two.history(1)
    message = home.message(view.message)
    definition = one.definition
    assert (message["action"], message["data"], message["target"]) == ("Hello", "there", two.id)
    assert {key: message[key] for key in ("data-protocol", "variant", "type")} == {
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "type": "Message",
    }
    assert message["from-process"] == one.id
    assert message["from-scheduler"] == message["from-authority"] == definition["scheduler"] == view.sender
    assert message["from-image"] == definition["image"]
    assert message["pushed-for"] == sent.message
    assert delivery.origin(message) == (one.id, sent.slot, "message", 1)
    assert drawn(sent.tree) == ["None: 1", "  outbox/1: 1"]
    assert two.result().raw["data"] == "fine"


def test_a_program_cannot_say_that_it_is_another(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    forged = {
        "Target": two.id,
        "Tags": [{"name": "From-Process", "value": NOBODY}, {"name": "Type", "value": "Process"}],
    }
    forged["Tags"] += [
        {"name": key, "value": NOBODY} for key in ("Pushed-For", "From-Base", "From-Authority", "Signature")
    ]
    sent = one.send("Begin", data=json.dumps({"Messages": [forged]}).replace('"', "'"), push=True)
    message = home.message(next(two.history(1)).message)
    assert (message["from-process"], message["pushed-for"], message["type"]) == (one.id, sent.message, "Message")
    assert NOBODY not in json.dumps({key: value for key, value in message.items() if key != "commitments"})


def test_messages_are_delivered_in_the_order_of_slots_and_of_places(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    for first in (0, 3):
        one.send("Go", data=says(*({"Target": two.id, "Action": f"A{n}"} for n in range(first, first + 3))))
    done = one.push()
    assert (done.delivered, done.held, done.failed) == (6, 0, 0)
    assert actions(two) == [f"A{n}" for n in range(6)]


def test_what_is_before_a_slot_goes_first(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    one.send("Go", data=says({"Target": two.id, "Action": "First"}))
    one.send("Go", data=says({"Target": two.id, "Action": "Second"}), push=True)
    assert actions(two) == ["First", "Second"]


def test_a_push_again_delivers_nothing_again(home: FrozenHome) -> None:
    processes = spawn_all(home, 4)
    processes[0].send("Gossip", data="3", push=True)
    before = records(home)
    done = processes[0].push()
    assert (done.delivered, done.held) == (0, 0)
    assert home.push().delivered == 0
    assert records(home) == before
    assert not [key for key in before if key[:2] in (b"q/", b"b/", b"w/")], "nothing is left of a push that is done"


def test_a_process_may_send_to_itself_and_answers_to_a_sender_are_not_delivered(home: FrozenHome) -> None:
    one = talker(home, "one")
    sent = one.send(
        "Go", data=says({"Target": one.id, "Action": "Myself"}, {"Target": home.address(), "Action": "You"})
    )
    done = one.push(sent.slot)
    assert (done.delivered, done.held) == (1, 0)
    assert drawn(sent.tree) == ["None: 1", "  outbox/1: 2", "  outbox/2: answer"]


def test_a_failed_slot_sends_nothing_and_the_next_goes_on(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    bad = says({"Target": two.id, "Action": "Bad"}, Error="no")
    one.send("Go", data=bad)
    sent = one.send("Go", data=says({"Target": two.id, "Action": "Good", "Data": bad}), push=True)
    assert actions(two) == ["Good"]
    assert [node.view.results["type"] for node in sent.tree if node.view and node.view.results] == ["ok", "error"]
    assert one.push().failed == 0


# Spawns and assignments


def spawning(module: str, **tags: str) -> str:
    named = [{"name": key, "value": value} for key, value in tags.items()]
    entry = {"Tags": [{"name": "Module", "value": module}, {"name": "Reference", "value": "7"}, *named], "Data": "x"}
    return json.dumps({"Spawns": [entry]}).replace('"', "'")


def test_a_process_spawns_another_and_is_told(home: FrozenHome) -> None:
    one = talker(home, "one", gas_limit=123_456_789)
    sent = one.send("Go", data=spawning(str(one.definition["image"]), Color="red"))
    done = one.push(sent.slot)
    assert (done.spawned, done.held) == (1, 0)
    (told,) = one.history(2)
    message = home.message(told.message)
    assert (message["action"], message["reference"], message["color"], message["from-process"]) == (
        "Spawned",
        "7",
        "red",
        one.id,
    )
    child = home.process(str(message["process"]))
    made, parent = child.definition, one.definition
    assert (made["from-process"], made["pushed-for"], made["color"]) == (one.id, sent.message, "red")
    assert (made["authority"], made["image"], made["gas-limit"]) == (parent["authority"], parent["image"], 123_456_789)
    assert made["device-stack"] == parent["device-stack"]
    assert drawn(sent.tree) == ["None: 1", "  spawns/1: 0", "  spawned/1: 2"]
    assert child.send("Hello").result().ok
    assert list(home.verify(replay=True)) == []


def test_a_spawn_names_an_image_by_its_id_or_by_a_name_in_the_settings(tmp_path: object) -> None:
    home = hb.create(f"{tmp_path}/home")
    one = talker(home, "one")
    image = str(one.definition["image"])
    config = home.path / "config.toml"  # type: ignore[operator]
    config.write_text(config.read_text() + f'\n[modules]\ntalker = "{image}"\n')
    home = hb.open(home.path)
    one = home.process("one")
    sent = one.send("Go", data=spawning("talker"))
    assert one.push(sent.slot).spawned == 1
    assert {process.definition["image"] for process in home.processes()} == {image}


def test_a_spawn_of_an_unknown_image_is_held_until_the_image_is_there(home: FrozenHome) -> None:
    counter = hb.wat('(module (global (export "n") (mut i32) (i32.const 3)) (func (export "F")))')
    image = hb.frozen().spawn(counter).definition["image"]
    one = talker(home, "one")
    sent = one.send("Go", data=spawning(str(image)))
    assert (one.push(sent.slot).held, sent.tree[1].reason) == (1, deliveries.IMAGE)
    assert "no image" in str(sent.tree[1].says)
    home.spawn(counter)
    assert one.push().spawned == 1
    child = home.process(sent.tree[1].process)
    assert child.state()["n"] == 3
    assert child.definition["execution-device"] == "wasm64@1.0"


def test_a_message_is_assigned_to_another_process_as_it_is(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    letter = two.send("Letter", data="read me", signer="alice")
    assign = json.dumps({"Assignments": [{"Processes": [one.id], "Message": letter.message}]}).replace('"', "'")
    sent = two.send("Share", data=assign, push=True)
    (view,) = one.history(1)
    assert (view.message, view.sender) == (letter.message, home.address("alice"))
    assert drawn(sent.tree) == ["None: 2", "  assignments/1: 1"]
    assert [(node.process, node.slot) for node in one.path(1)] == [(two.id, 2), (one.id, 1)]
    assert two.send("Share", data=assign, push=True).tree[1].slot == 1, "it has its slot already"


def test_an_assignment_of_an_unknown_message_is_held(home: FrozenHome) -> None:
    one = talker(home, "one")
    assign = json.dumps({"Assignments": [{"Processes": [one.id], "Message": NOBODY}]}).replace('"', "'")
    sent = one.send("Share", data=assign, push=True)
    assert sent.tree[1].reason == deliveries.MISSING


# Who is not there


def test_a_missing_target_is_a_leaf_and_gets_its_messages_in_order_once_it_comes(home: FrozenHome) -> None:
    one = talker(home, "one")
    other = hb.frozen()
    two = other.spawn(TALKER, anchor="later")  # the same keys and the same anchor: the same process
    first = one.send(
        "Go", data=says({"Target": two.id, "Action": "First"}, {"Target": one.id, "Action": "Here"}), push=True
    )
    one.send("Go", data=says({"Target": two.id, "Action": "Second"}), push=True)
    assert drawn(first.tree) == ["None: 1", "  outbox/1: missing", "  outbox/2: 2"], "nobody else waits"
    assert home.spawn(TALKER, anchor="later").id == two.id
    third = one.send("Go", data=says({"Target": two.id, "Action": "Third"}), push=True)
    assert actions(home.process(two.id)) == ["First", "Second", "Third"]
    assert drawn(third.tree) == ["None: 4", "  outbox/1: 3"]
    assert list(home.verify()) == []


def test_a_push_of_the_target_delivers_what_waits_for_it(home: FrozenHome) -> None:
    one = talker(home, "one")
    target = hb.frozen().spawn(TALKER, anchor="later").id
    one.send("Go", data=says({"Target": target, "Action": "Early"}), push=True)
    two = home.spawn(TALKER, anchor="later")
    assert two.push().delivered == 1
    assert actions(two) == ["Early"]


def test_a_target_of_another_home_or_that_trusts_nobody_here_is_a_leaf(tmp_path: object) -> None:
    home, other = hb.create(f"{tmp_path}/a"), hb.create(f"{tmp_path}/b")
    one = talker(home, "one")
    theirs = other.spawn(TALKER)
    theirs.export(f"{tmp_path}/theirs")
    home.import_history(f"{tmp_path}/theirs")
    distrustful = home.spawn(TALKER, authority=[NOBODY])
    sent = one.send("Go", data=says({"Target": theirs.id}, {"Target": distrustful.id}, {"Target": "?"}), push=True)
    assert [node.reason for node in sent.tree[1:]] == [deliveries.ELSEWHERE, deliveries.UNTRUSTED, deliveries.REFUSED]
    with pytest.raises(Refused, match="is scheduled by"):
        home.process(theirs.id).push()
    assert home.push().delivered == 0


def test_the_key_that_the_target_trusts_signs(tmp_path: object) -> None:
    home = hb.create(f"{tmp_path}/a")
    address = home.new_key("courier")
    one, two = talker(home, "one"), home.spawn(TALKER, authority=[address])
    one.send("Go", data=says({"Target": two.id, "Action": "Hello"}), push=True)
    (view,) = two.history(1)
    assert view.sender == address


def test_a_message_that_no_signature_covers_is_held_with_the_reason(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    sent = one.send(
        "Go", data=says({"Target": two.id, "Action": "trailing "}, {"Target": two.id, "Action": "Fine"}), push=True
    )
    assert [node.reason for node in sent.tree[1:]] == [deliveries.REFUSED, None]
    assert "which a signature does not cover" in str(sent.tree[1].says)


# Budgets


def looping(home: Home) -> tuple[Process, Process, object]:
    one, two = talker(home, "one"), talker(home, "two")
    return one, two, says({"Target": two.id, "Data": "@"})


@pytest.mark.parametrize(
    ("budget", "reason", "delivered"),
    [({"depth": 5}, deliveries.DEPTH, 5), ({"messages": 7}, deliveries.MESSAGES, 7), ({"gas": 1}, deliveries.GAS, 0)],
)
def test_a_loop_ends_within_its_budget_and_a_later_push_goes_on(
    home: FrozenHome, budget: dict[str, int], reason: str, delivered: int
) -> None:
    one, _, data = looping(home)
    sent = one.send("Go", data=data)
    done = one.push(sent.slot, **budget)
    assert (done.delivered, done.held) == (delivered, 1)
    (stop,) = done.stops.values()
    assert (stop.root, stop.reason) == (sent.message, reason)
    assert sent.tree[-1].reason == reason
    assert one.push(sent.slot).delivered == 0, "only a push of everything takes up what is held"
    again = home.push(depth=3)
    assert again.delivered == 3
    assert len(sent.tree) == 1 + delivered + 3 + 1


def test_the_budget_of_one_root_is_not_that_of_another(home: FrozenHome) -> None:
    one, two, data = looping(home)
    one.send("Go", data=data)
    quiet = one.send("Go", data=says({"Target": two.id, "Action": "Quiet"}))
    done = one.push(depth=10)
    assert done.delivered == 10 + 1
    assert len(done.stops) == 1
    assert drawn(quiet.tree) == ["None: 2", "  outbox/1: 2"], "it did not wait for the loop"


def test_a_fan_out_is_delivered_up_to_the_budget_and_the_rest_is_held(home: FrozenHome) -> None:
    one, two = talker(home, "one"), talker(home, "two")
    one.send("Go", data=says(*({"Target": two.id, "Action": f"A{n}"} for n in range(2500))))
    done = one.push(messages=1200)
    assert (done.delivered, done.held) == (1200, 1300)
    assert one.push(messages=10_000).delivered == 1300
    assert actions(two) == [f"A{n}" for n in range(2500)]


def test_the_budget_holds_over_an_interruption(home: FrozenHome) -> None:
    one, _, data = looping(home)
    sent = one.send("Go", data=data)
    calls: list[object] = []

    def stop(*call: object) -> None:
        calls.append(call)
        if len(calls) == 4:
            cancellation.cancel()

    cancellation = hb.Cancellation()
    with pytest.raises(Interrupted):
        home.bound(cancellation=cancellation).process("one").push(sent.slot, depth=10, on_delivery=stop)
    assert one.push(sent.slot, depth=10).delivered == 6
    assert len(sent.tree) == 12


# One push after another, and at once


class _FailingStorage(MemoryStorage):
    """A storage that fails from its commit `fail_at` on."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_at = 1 << 60
        self.lost_answer = False
        self.commits = 0

    def session(self, *patience: object) -> object:  # type: ignore[override]
        from contextlib import contextmanager

        @contextmanager
        def opened() -> Iterator[object]:
            with MemoryStorage.session(self, *patience) as store:  # type: ignore[arg-type]
                faulty = FaultyStore(store, fail_at=self.fail_at, lost_answer=self.lost_answer)
                faulty.commits = self.commits
                try:
                    yield faulty
                finally:
                    self.commits = faulty.commits

        return opened()


def failing_home() -> FrozenHome:
    home = hb.frozen()
    home.place.storage = _FailingStorage()  # type: ignore[misc]
    return home


@pytest.mark.parametrize("lost_answer", [False, True])
def test_a_push_that_fails_at_any_write_is_gone_on_with_and_ends_the_same(lost_answer: bool) -> None:
    def system() -> tuple[FrozenHome, hb.Process]:
        home = failing_home()
        processes = spawn_all(home, 4)
        first = processes[0].send("Gossip", data="2")
        processes[2].send("Gossip", data="1")
        home.context.storage.commits = 0  # type: ignore[attr-defined]
        assert first.slot == 2
        return home, processes[0]

    home, process = system()
    home.push()
    expected, commits = records(home), home.context.storage.commits  # type: ignore[attr-defined]
    assert commits > 20
    for fail_at in range(1, commits):
        home, process = system()
        storage = home.context.storage
        storage.fail_at, storage.lost_answer = fail_at, lost_answer  # type: ignore[attr-defined]
        with suppress(HomeUnusable):
            home.push()
        storage.fail_at = 1 << 60  # type: ignore[attr-defined]
        home.push()
        assert records(home) == expected, fail_at
    assert process.push().delivered == 0


def test_two_pushes_at_once_deliver_each_message_once_in_the_same_order() -> None:
    def system() -> FrozenHome:
        home = hb.frozen()
        for process in spawn_all(home, 10):
            process.send("Gossip", data="2")
        return home

    alone = system()
    alone.push()
    home = system()
    threads = [Thread(target=home.push) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records(home) == records(alone)


def test_a_target_that_is_slow_to_compute_is_overtaken() -> None:
    spin = hb.wat("""(module (memory (export "memory") 2) (global $heap (mut i32) (i32.const 60000))
      (func (export "malloc") (param i32) (result i32)
        global.get $heap (global.set $heap (i32.add (global.get $heap) (local.get 0))))
      (func (export "handle") (param i32 i32) (result i32) (local i64)
        (loop (local.set 2 (i64.add (local.get 2) (i64.const 1)))
          (br_if 0 (i64.lt_u (local.get 2) (i64.const 40000000000))))
        (i32.const 0)))""")
    home = hb.memory()
    home.push_patience_s = 0.2
    one, two = talker(home, "one"), talker(home, "two")
    slow = home.spawn(spin, gas_limit=10**12)
    cancellation = hb.Cancellation()
    there = Event()
    told = {"Target": two.id, "Action": "Quick", "Data": says({"Target": one.id, "Action": "Back"})}
    one.send("Go", data=says({"Target": slow.id}, told))

    def push() -> None:
        with pytest.raises(Interrupted):
            home.bound(cancellation=cancellation).process("one").push()
        there.set()

    Thread(target=push).start()
    for _ in range(100):
        if actions(one)[1:] == ["Back"]:
            break
        sleep(0.05)
    assert not there.is_set(), "the slow one is still at work"
    cancellation.cancel()
    assert there.wait(10)
    assert actions(one)[1:] == ["Back"]


def test_a_process_that_cannot_be_computed_keeps_nobody_else_waiting(home: FrozenHome) -> None:
    one, two, broken = talker(home, "one"), talker(home, "two"), talker(home, "broken")
    with home.context.session() as store:
        store.commit(Batch(puts={keys.assignment_key(broken.id, 0): b"{}"}))
    sent = one.send("Go", data=says({"Target": broken.id}, {"Target": two.id, "Action": "Hello"}))
    done = one.push(sent.slot)
    assert actions(two) == ["Hello"]
    assert list(done.troubles) == [broken.id]
    assert "assignment" in done.troubles[broken.id].message
    assert one.push(sent.slot).delivered == 0


def test_a_chain_costs_no_more_memory_the_longer_it_is(home: FrozenHome) -> None:
    one, two, data = looping(home)
    sent = one.send("Go", data=data)
    assert one.push(sent.slot, depth=2000, messages=10_000).delivered == 2000
    assert (one.slots, two.slots) == (1 + 1 + 1000, 1 + 1000)
    tree = sent.tree
    assert (len(tree), tree[-2].depth, tree[-1].reason) == (2002, 2000, deliveries.DEPTH)
    assert len(two.path("now")) == 2000
