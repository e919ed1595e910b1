"""Deliveries are proved: made up, altered, untrusted, repeated and lost ones are found, and what pushes remember."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

import hb
from gossip import spawn_all
from hb.errors import IntegrityError, Refused
from hb.protocol import delivery
from hb.protocol.delivery import MESSAGE, SPAWN, SPAWNED, Place
from hb.protocol.message import dumps, loads_message
from hb.records import deliveries as records
from hb.records import keys
from hb.records.deliveries import Cursor, Delivered, Held, Queued, Used
from hb.storage.memory import MemoryStore
from hb.verify import deliveries, queued, retrace, senders, tracks
from hb.verify.evidence import Kind
from talking import NOBODY, TALKER, System, altered

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM = System().talk()


@pytest.fixture
def system() -> System:
    return SYSTEM.same()


ONE, TWO, CHILD = SYSTEM.one, SYSTEM.two, SYSTEM.child
TOLD = SYSTEM.slot_from(ONE, Place(ONE, 3, SPAWNED, 1))
LAST = SYSTEM.home.process("two").slots - 1
"""The slot of `two` with the last message from slot 6 of `one`."""


def test_a_system_that_nobody_altered_is_clean_with_and_without_replay(system: System) -> None:
    before = system.records()
    assert system.found() == []
    assert system.found(replay=True) == []
    for process in (ONE, TWO, CHILD):
        assert list(system.home.process(process).find_damage(replay=True)) == []
    assert system.repair() == []
    assert system.records() == before


def test_what_a_process_has_yet_to_deliver_is_no_finding(system: System) -> None:
    system.home.process("one").send("Go", data=f"{{'Messages':[{{'Target':'{TWO}'}}]}}").result()
    assert system.found() == []


def message_to_two(place: int, **fields: Any) -> Any:
    """What says that it is from a place in slot 6 of `one`, where `two` was sent three messages."""
    sent = SYSTEM.message(TWO, LAST)
    return altered(sent, **{"anchor": delivery.anchor(6, MESSAGE, place), **fields})


# How each kind of lie gets into a schedule, and what is found of it: where, what, and words of what was expected.
LIES: dict[str, tuple[Callable[[System], Any], str, int, str, str]] = {
    "made-up": (lambda s: s.forge(TWO, message_to_two(4)), TWO, LAST + 1, "delivered message", "outbox/4 of slot 6"),
    "made-up-of-a-slot-that-asks-for-nothing": (
        lambda s: s.forge(TWO, message_to_two(1, anchor=delivery.anchor(5, MESSAGE, 1))),
        TWO, LAST + 1, "delivered message", "outbox/1 of slot 5",
    ),
    "made-up-spawn-in-a-message": (
        lambda s: s.forge(TWO, message_to_two(1, anchor=delivery.anchor(3, SPAWN, 1))),
        TWO, LAST + 1, "delivered message", "spawns/1 of slot 3",
    ),
    "from-itself-and-later": (
        lambda s: s.forge(ONE, altered(s.message(ONE, 2), anchor=delivery.anchor(9, MESSAGE, 1))),
        ONE, 7, "delivered message", "an earlier slot",
    ),
    "data-altered": (
        lambda s: s.reassign(TWO, message_to_two(3, data="more")), TWO, LAST, "delivered message's data", '""',
    ),
    "action-altered": (
        lambda s: s.reassign(TWO, message_to_two(3, action="b2")), TWO, LAST, "delivered message's action", "B2",
    ),
    "a-key-too-many": (
        lambda s: s.reassign(TWO, message_to_two(3, odd=1)), TWO, LAST, "delivered message's odd", "nothing",
    ),
    "a-key-too-few": (
        lambda s: s.reassign(TWO, message_to_two(3, from_image=None)),
        TWO, LAST, "delivered message's from-image", str(SYSTEM.home.process("one").definition["image"]),
    ),
    "root-altered": (
        lambda s: s.reassign(TWO, message_to_two(3, pushed_for=NOBODY)),
        TWO, LAST, "delivered message's pushed-for", "",
    ),
    "twice": (
        lambda s: s.forge(TWO, message_to_two(3), "other"),
        TWO, LAST + 1, "delivered message", f"the only message from outbox/3 of slot 6 of {ONE}",
    ),
    "untrusted": (
        lambda s: s.forge(TWO, message_to_two(3, from_process=NOBODY), "stranger"),
        TWO, LAST + 1, "delivered message's signer", "an authority of the process",
    ),
    "untrusted-root": (
        lambda s: s.forge(TWO, {"action": "X", "anchor": "x", "target": TWO, "pushed-for": NOBODY}, "stranger"),
        TWO, LAST + 1, "delivered message's signer", "an authority of the process",
    ),
    "untrusted-by-a-process-without-authority": (
        lambda s: s.forge(
            s.home.spawn(TALKER, name="proud", anchor="proud", authority=[]).id,
            {"action": "X", "anchor": "x", "from-process": NOBODY},
        ),
        "proud", 1, "delivered message's signer", "no authority",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_lie_in_a_schedule_is_found_where_it_is_and_never_mended(system: System, name: str) -> None:
    lie, process, slot, what, expected = LIES[name]
    lie(system)
    process = system.home.process(process).id
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.what) == (process, slot, what)
    assert expected in str(finding.expected)
    assert finding.expected != finding.got
    assert list(system.home.process(process).find_damage()) == [finding]
    before = system.records()
    with pytest.raises(Refused, match="nothing was mended: the delivered message"):
        system.home.process(process).repair()
    assert system.records() == before
    others = [each for each in system.home.processes() if each.id != process]
    assert [line for each in others for line in each.repair()] == []


def test_the_message_that_tells_of_a_spawn_must_name_the_process_that_was_spawned(system: System) -> None:
    told = system.message(ONE, TOLD)
    system.forge(ONE, altered(told, process=TWO, reference="8"), "other")
    parts = {(finding.slot, finding.part) for finding in system.found()}
    assert parts == {(7, "process"), (7, "reference"), (7, None)}


def test_a_process_is_spawned_for_a_place_only_if_the_results_ask_for_one_there(system: System) -> None:
    definition = system.message(CHILD, 0)
    made = system.forge_process(altered(definition, anchor=delivery.anchor(3, SPAWN, 2)))
    system.forge_process(altered(definition, anchor="another"))  # says nothing of a place
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.what) == (made, 0, "delivered message")
    assert finding.expected == f"a spawned process that the results ask for at spawns/2 of slot 3 of {ONE}"


@pytest.mark.parametrize(
    "fields",
    [
        {"gas-limit": 5}, {"memory-limit": 5}, {"authority": NOBODY}, {"reference": "8"}, {"pushed-for": NOBODY},
        {"odd": "key"}, {"initial-state": {"n": 1}}, {"passes": 3}, {"authority": None}, {"reference": None},
        {"image": NOBODY},
    ],
)  # fmt: skip
def test_each_key_of_the_definition_of_a_spawned_process_is_compared(system: System, fields: dict[str, Any]) -> None:
    made = system.forge_process(altered(system.message(CHILD, 0), **fields))
    found = [each for each in system.home.process(made).find_damage() if each.kind is Kind.DELIVERY]
    assert [(each.process, each.slot, each.part) for each in found] == [(made, 0, key) for key in fields]


def test_the_definition_of_a_spawned_process_is_signed_by_the_home_of_its_parent(system: System) -> None:
    made = system.forge_process(system.message(CHILD, 0), "other")
    [finding] = system.found()
    assert (finding.process, finding.what) == (made, "delivered message's signer")
    assert finding.expected == system.home.address()


def test_a_child_with_another_image_runs_as_its_image_asks_for(system: System) -> None:
    image = system.home.spawn("samples/counter.wasm", name="counter").definition["image"]
    from talking import spawning

    system.home.process("one").send("Spawn", data=spawning(image), push=True)
    children = {process.id for process in system.home.processes()} - {
        ONE,
        TWO,
        CHILD,
        system.home.process("counter").id,
    }
    assert len(children) == 1
    assert system.found(replay=True) == []
    [child] = children
    definition = system.message(child, 0)
    assert deliveries.devices_of(system.records()[keys.image_key(str(image))]) == (
        [definition["execution-device"]],
        None,
    )


# -- what pushes remember

D1 = keys.delivered_key(ONE, 1, 0)
SPAWNED_KEY = keys.delivered_key(ONE, 3, 0)
ASSIGNING_KEY = keys.delivered_key(TWO, 3, 0)
W1 = keys.held_key(ONE, 1, 1)
U1 = keys.assigned_key(ONE, 5)

# Each way to damage what pushes remember; the finding: whose, slot, what; and whether a repair brings back the bytes.
DAMAGE: dict[str, tuple[Callable[[System], Any], str, int | None, str, bool]] = {
    "delivery-lost": (lambda s: s.delete(D1), ONE, 1, "record of the delivery outbox/1", True),
    "delivery-unreadable": (lambda s: s.put(D1, b"["), ONE, 1, "record of the delivery outbox/1", True),
    "delivery-without-a-slot": (
        lambda s: s.put(D1, dumps({"process": TWO})), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-to-another-slot": (
        lambda s: s.put(D1, Delivered(TWO, 2).encode()), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-to-no-slot": (
        lambda s: s.put(D1, Delivered(TWO, 99).encode()), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-to-another-process": (
        lambda s: s.put(D1, Delivered(ONE, 2).encode()), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-that-tells": (
        lambda s: s.put(D1, Delivered(TWO, 1, 2).encode()), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-said-to-be-altered": (
        lambda s: s.put(D1, Delivered(TWO, 1, altered=True).encode()), ONE, 1, "record of the delivery outbox/1", True,
    ),
    "delivery-of-nothing": (
        lambda s: s.put(keys.delivered_key(ONE, 1, 4), Delivered(TWO, 1).encode()), ONE, 1, "record of the delivery 4", True,
    ),
    "delivery-of-a-slot-that-asks-for-nothing": (
        lambda s: s.put(keys.delivered_key(ONE, 2, 0), Delivered(TWO, 1).encode()), ONE, 2, "record of the delivery 0", True,
    ),
    "delivery-of-no-slot": (
        lambda s: s.put(keys.delivered_key(ONE, 77, 0), Delivered(TWO, 1).encode()), ONE, 77, "record of the delivery 0", True,
    ),
    "delivery-with-an-odd-key": (lambda s: s.put(D1 + b"\xff\xff", b"{}"), ONE, None, "record of the delivery", True),
    "spawn-lost": (lambda s: s.delete(SPAWNED_KEY), ONE, 3, "record of the delivery spawns/1", True),
    "spawn-of-another": (
        lambda s: s.change(SPAWNED_KEY, process=TWO), ONE, 3, "record of the delivery spawns/1", True,
    ),
    "spawn-told-elsewhere": (lambda s: s.change(SPAWNED_KEY, told=2), ONE, 3, "record of the delivery spawns/1", True),
    "spawn-told-nowhere": (
        lambda s: s.put(SPAWNED_KEY, Delivered(CHILD, 0).encode()), ONE, 3, "record of the delivery spawns/1", True,
    ),
    "assignment-lost": (lambda s: s.delete(ASSIGNING_KEY), TWO, 3, "record of the delivery assignments/1", True),
    "assignment-to-another-slot": (
        lambda s: s.change(ASSIGNING_KEY, slot=2), TWO, 3, "record of the delivery assignments/1", True,
    ),
    "giver-lost": (lambda s: s.delete(U1), TWO, 3, "record of the assignment by a program assignments/1", True),
    "giver-unreadable": (lambda s: s.put(U1, b"{}"), ONE, 5, "record of the assignment by a program", True),
    "giver-asked-for-no-such-thing": (
        lambda s: s.put(U1, records.encode_assigned(ONE, 1, 0)), ONE, 5, "record of the assignment by a program", True,
    ),
    "giver-not-here": (
        lambda s: s.put(U1, records.encode_assigned(NOBODY, 1, 0)), ONE, 5, "record of the assignment by a program", True,
    ),
    "giver-of-another-slot": (
        lambda s: s.put(keys.assigned_key(ONE, 2), records.encode_assigned(TWO, 3, 0)),
        ONE, 2, "record of the assignment by a program", True,
    ),
    "giver-of-no-slot": (
        lambda s: s.put(keys.assigned_key(ONE, 9), records.encode_assigned(TWO, 3, 0)),
        ONE, 9, "record of the assignment by a program", True,
    ),
    "giver-with-an-odd-key": (
        lambda s: s.put(U1 + b"\0", b"{}"), ONE, None, "record of the assignment by a program", True,
    ),
    "held-lost": (lambda s: s.delete(W1), ONE, 1, "record of the delivery outbox/2", False),
    "held-unreadable": (lambda s: s.put(W1, b"\xff"), ONE, 1, "record of the held delivery outbox/2", False),
    "held-for-no-known-reason": (
        lambda s: s.change(W1, reason="sulking"), ONE, 1, "record of the held delivery outbox/2", False,
    ),
    "held-for-another-target": (
        lambda s: s.change(W1, target=TWO), ONE, 1, "record of the held delivery outbox/2", False,
    ),
    "held-though-delivered": (
        lambda s: s.put(keys.held_key(ONE, 1, 0), Held("missing", "no", TWO).encode()),
        ONE, 1, "record of the held delivery outbox/1", True,
    ),
    "held-of-nothing": (
        lambda s: s.put(keys.held_key(ONE, 1, 9), Held("missing", "no", TWO).encode()),
        ONE, 1, "record of the held delivery 9", True,
    ),
    "cursor-lost": (lambda s: s.delete(keys.cursor_key(ONE)), ONE, None, "cursor of deliveries", True),
    "cursor-unreadable": (lambda s: s.put(keys.cursor_key(ONE), b"7"), ONE, None, "cursor of deliveries", True),
    "cursor-behind": (lambda s: s.put(keys.cursor_key(ONE), Cursor(6, 1).encode()), ONE, None, "cursor of deliveries", True),
    "cursor-beyond-the-schedule": (
        lambda s: s.put(keys.cursor_key(ONE), Cursor(8).encode()), ONE, None, "cursor of deliveries", True,
    ),
    "cursor-far-beyond": (
        lambda s: s.put(keys.cursor_key(ONE), Cursor(keys.LAST_SLOT, 5).encode()), ONE, None, "cursor of deliveries", True,
    ),
    "entry-unreadable": (lambda s: s.put(keys.queued_key(3), b"["), None, None, "entry of the queue of deliveries 3", True),
    "entry-of-no-process": (
        lambda s: s.put(keys.queued_key(3), Queued(NOBODY, 1, NOBODY).encode()),
        None, None, "entry of the queue of deliveries 3", True,
    ),
    "entry-of-no-slot": (
        lambda s: s.put(keys.queued_key(3), Queued(ONE, 7, NOBODY).encode()),
        None, None, "entry of the queue of deliveries 3", True,
    ),
    "budget-unreadable": (lambda s: s.put(keys.root_key(NOBODY), b"{}"), None, None, f"budget of a push {NOBODY}", True),
    "budget-of-no-root": (
        lambda s: s.put(keys.root_key("root"), Used().encode()), None, None, "budget of a push root", True,
    ),
    "delivery-of-a-process-that-is-not-here": (
        lambda s: s.commit(puts={keys.delivered_key(NOBODY, slot, 0): b"{}" for slot in range(3)}),
        NOBODY, None, "record of the delivery", True,
    ),
    "cursor-of-a-process-that-is-not-here": (
        lambda s: s.put(keys.cursor_key(NOBODY), Cursor(1).encode()), NOBODY, None, "cursor of deliveries", True,
    ),
    "giver-for-a-process-that-is-not-here": (
        lambda s: s.put(keys.assigned_key(NOBODY, 1), b"{}"), NOBODY, None, "record of the assignment by a program", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_to_what_pushes_remember_is_found_and_mended(system: System, name: str) -> None:
    intact = system.records()
    damage, process, slot, what, is_same = DAMAGE[name]
    damage(system)
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.what) == (process, slot, what)
    assert None not in (finding.expected, finding.got)
    assert finding.expected != finding.got
    assert finding.is_derived
    if process not in (None, NOBODY):
        assert list(system.home.process(process).find_damage()) == [finding]
        assert len(system.home.process(process).repair()) == 1
    else:
        assert len(system.repair()) == 1
    assert system.found() == []
    assert system.repair() == []
    after = system.records()
    if is_same:
        assert after == intact
    else:
        assert {key for key in after.keys() | intact.keys() if after.get(key) != intact.get(key)} == {W1}


def test_what_was_lost_is_held_and_the_next_push_makes_it_again(system: System) -> None:
    intact = system.records()
    gone = {key for key, raw in intact.items() if key[:2] == b"d/" or key == W1}
    system.delete(*gone)
    # The last message of `two` is gone from its schedule, too: as if it had never been.
    system.cut(TWO)
    assert system.repair()
    assert system.found() == []
    assert system.home.process("two").slots == LAST
    system.home.push()
    assert system.home.process("two").slots == LAST + 1
    assert system.found(replay=True) == []
    records = system.records()
    assert {key: records[key] for key in gone - {W1}} == {key: intact[key] for key in gone - {W1}}


def test_a_cursor_that_is_too_far_leaves_a_finding_for_each_delivery_that_it_skipped(system: System) -> None:
    system.home.process("one").send("Go", data=f"{{'Messages':[{{'Target':'{TWO}'}},{{'Target':'{TWO}'}}]}}").result()
    system.put(keys.cursor_key(ONE), Cursor(8).encode())
    assert [(each.slot, each.what) for each in system.found()] == [
        (7, "record of the delivery outbox/1"),
        (7, "record of the delivery outbox/2"),
    ]
    assert len(system.home.process("one").repair()) == 2
    assert system.found() == []
    assert system.home.push().delivered == 2
    assert system.found() == []


def test_a_delivery_that_a_trap_altered_is_a_finding_and_stays_one() -> None:
    system = System()
    one, two = (system.home.spawn(TALKER, name=name) for name in ("one", "two"))
    system.home.trap(lambda sent: {**sent.message, "action": "Altered"})
    one.send("Go", data=f"{{'Messages':[{{'Target':'{two.id}'}}]}}", push=True)
    assert records.parse_delivered(system.records()[keys.delivered_key(one.id, 1, 0)], one.id, 1).altered
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.what) == (two.id, 1, "delivered message's action")
    assert (finding.expected, finding.got) == ("nothing", '"Altered"')
    assert one.repair() == []
    with pytest.raises(Refused, match="nothing was mended"):
        two.repair()


def test_results_that_are_damaged_are_not_what_messages_are_held_to(system: System) -> None:
    """The record of `one` has its own finding. What was sent because of it is right, and comes back with it."""
    intact = system.records()
    key = keys.slot_record_key(ONE, 1)
    record = loads_message(intact[key])
    system.put(key, dumps({**record, "results": {**record["results"], "outbox": {}}}))  # type: ignore[dict-item]
    assert {(each.process, each.kind) for each in system.found()} == {(ONE, Kind.RECORD)}
    assert list(system.home.process("two").find_damage()) == []
    assert system.home.process("one").repair()
    assert system.records() == intact


def test_results_of_the_newest_slot_that_are_a_lie_contradict_what_was_sent_because_of_them(system: System) -> None:
    intact = system.records()
    key = keys.slot_record_key(ONE, 6)
    record: Any = loads_message(intact[key])
    record["results"]["outbox"]["3"]["action"] = "Other"
    system.put(key, dumps(record))
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.part) == (TWO, LAST, "action")
    assert (finding.expected, finding.got) == ('"Other"', '"B2"')
    assert {each.kind for each in system.found(replay=True)} == {Kind.REPLAY, Kind.DELIVERY}
    assert system.home.process("one").repair(replay=True)
    assert system.records() == intact


def test_shared_slots_of_a_fork_deliver_for_the_process_that_owns_them(system: System) -> None:
    fork = system.home.process("one").fork(3, anchor="f", name="fork")
    fork.send("Go", data=f"{{'Messages':[{{'Target':'{TWO}'}}]}}", push=True)
    assert system.found(replay=True) == []
    assert list(fork.find_damage(replay=True)) == []
    assert loads_message(system.records()[keys.cursor_key(fork.id)])["slot"] == 6
    intact = system.records()
    sent = system.message(TWO, LAST + 1)
    assert delivery.origin(sent) == (fork.id, 5, MESSAGE, 1)
    # What a shared slot asks for is not the fork's to deliver.
    shared = system.message(TWO, 1)
    lie = altered(sent, anchor=shared["anchor"], action=shared["action"])
    system.forge(TWO, lie)
    [finding] = system.found()
    assert (finding.process, finding.slot, finding.part) == (TWO, LAST + 2, None)
    again = System()
    for key, raw in (
        (keys.delivered_key(fork.id, 1, 0), Delivered(TWO, 1).encode()),
        (keys.held_key(fork.id, 3, 0), Held("missing", "", "").encode()),
        (keys.assigned_key(fork.id, 2), records.encode_assigned(ONE, 1, 0)),
    ):
        again = System()
        again.commit(puts={**intact, key: raw})
        [finding] = again.found()
        assert (finding.process, finding.got) == (fork.id, "one")
        assert "another process owns the slot" in str(finding.expected)
        assert len(again.home.process("fork").repair()) == 1
        assert again.records() == intact
    again.put(keys.cursor_key(fork.id), Cursor(2).encode())
    [finding] = again.found()
    assert (finding.process, finding.kind) == (fork.id, Kind.CURSOR)
    assert again.home.process("fork").repair()
    assert again.records() == intact


def test_messages_that_came_in_another_order_are_not_taken_for_repeated_ones() -> None:
    system = System()
    one, two = (system.home.spawn(TALKER, name=name) for name in ("one", "two"))
    held: list[Any] = []
    system.home.trap(lambda sent: "hold" if not held.append(sent) else None)  # type: ignore[func-returns-value]
    messages = ",".join(f"{{'Target':'{two.id}'}}" for _ in range(3))
    one.send("Go", data=f"{{'Messages':[{messages}]}}", push=True)
    system.home.trap(None)
    for each in (held[2], held[0], held[1]):
        system.home.release(each)
    places = [delivery.origin(system.message(two.id, slot)) for slot in (1, 2, 3)]
    assert [place and place.place for place in places] == [3, 1, 2]
    assert system.found() == []


def test_the_store_is_held_for_short_slices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (deliveries, "WINDOW_BYTES"), (tracks, "WINDOW_SLOTS"), (tracks, "WINDOW_DELIVERIES"), (queued, "WINDOW_KEYS"),
        (retrace, "WINDOW_KEYS"), (senders, "KNOWN_SLOTS"), (senders, "KNOWN_SENDERS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)
    system = SYSTEM.same()
    intact = system.records()
    assert system.found(replay=True) == []
    for name in (
        "delivery-lost",
        "spawn-lost",
        "giver-unreadable",
        "cursor-lost",
        "held-of-nothing",
        "entry-of-no-process",
    ):
        DAMAGE[name][0](system)
    assert len(system.found()) == 6
    assert system.repair()
    assert system.found() == []
    assert system.records() == intact


def test_a_push_that_goes_on_meanwhile_makes_no_findings(system: System) -> None:
    home = system.home
    processes = spawn_all(home, 4)
    rounds = iter(range(20))

    def meanwhile(slot: int, last: int) -> None:
        if (number := next(rounds, None)) is not None:
            processes[number % 4].send("Gossip", data="2", push=True)

    assert list(home.bound(on_slot=meanwhile).verify()) == []
    assert next(rounds, None) is None
    assert system.found() == []


def test_the_process_that_a_delivery_comes_from_need_not_be_here(system: System) -> None:
    """Without the sender and without a proof, a message is believed; its signature is not."""
    system.delete(
        *(key for key in system.records() if ONE.encode() in key[2:45] and key[:2] not in (b"m/", b"i/", b"n/"))
    )
    system.delete(*(key for key in system.records() if key[:2] == b"m/" and keys.process_of(key) == ONE))
    system.delete(keys.name_key("one"), ASSIGNING_KEY, keys.cursor_key(TWO))
    assert system.found() == []
    assert system.forge(TWO, message_to_two(9)) == LAST + 1
    assert system.found() == []


@pytest.mark.parametrize("kind", [b"d/", b"w/", b"u/", b"c/", b"q/", b"b/"])
def test_what_cannot_be_read_is_a_finding(system: System, kind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore
    scan, get = store.scan, store.get

    def torn_scan(self: MemoryStore, start: bytes, stop: bytes, *, reverse: bool = False) -> Any:
        if start.startswith(kind):
            raise IntegrityError("the store is damaged: block checksum mismatch")
        return scan(self, start, stop, reverse=reverse)

    def torn_get(self: MemoryStore, key: bytes) -> bytes | None:
        if key.startswith(kind):
            raise IntegrityError("the store is damaged: block checksum mismatch")
        return get(self, key)

    monkeypatch.setattr(store, "scan", torn_scan)
    monkeypatch.setattr(store, "get", torn_get)
    for found in (system.found(), list(system.home.process("one").find_damage())):
        assert Kind.STORE in {finding.kind for finding in found} or kind == b"c/"
        assert "checksum" in str([finding.got for finding in found])


@pytest.mark.parametrize("damaged", ["definition", "head", "record", "assignment", "gone"])
def test_other_damage_has_its_own_findings_alone(system: System, damaged: str) -> None:
    key = {
        "definition": keys.definition_key(ONE), "head": keys.head_key(ONE), "record": keys.slot_record_key(ONE, 1),
        "assignment": keys.assignment_key(ONE, 2), "gone": keys.assignment_key(TWO, LAST),
    }[damaged]  # fmt: skip
    intact = system.records()
    system.delete(key) if damaged == "gone" else system.put(key, b"{}")
    kinds = {finding.kind for finding in system.found()}
    assert kinds
    assert kinds <= {Kind.DEFINITION, Kind.HEAD, Kind.RECORD, Kind.ASSIGNMENT, Kind.MEMORY_IMAGE, Kind.INDEX}, kinds
    if damaged in ("head", "record"):
        assert system.home.process("one").repair()
        assert system.records() == intact


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_found_and_a_repair_leaves_nothing_to_find(seed: int) -> None:
    chance, system = random.Random(seed), SYSTEM.same()
    for name in chance.sample(sorted(DAMAGE), 6):
        DAMAGE[name][0](system)
    assert system.found()
    for _ in range(3):
        system.repair()
    assert system.found() == []
    assert system.home.push().troubles == {}
    assert system.found() == []


def test_the_words_of_findings_follow_from_their_fields() -> None:
    words = {
        "delivered message": (Kind.DELIVERY, None),
        "delivered message's data": (Kind.DELIVERY, "data"),
        "proof of a delivered message's definition's ID": (Kind.PROOF, "definition's ID"),
        "record of the delivery outbox/1": (Kind.DELIVERED, "outbox/1"),
        "record of the held delivery 4": (Kind.HELD, "4"),
        "cursor of deliveries": (Kind.CURSOR, None),
        "entry of the queue of deliveries 3": (Kind.QUEUED, "3"),
    }
    for what, (kind, part) in words.items():
        finding = hb.Finding("P", 1, kind, part, "a", "b")
        assert (finding.what, finding.is_derived) == (what, kind not in (Kind.DELIVERY, Kind.PROOF))
