"""A process computed slot by slot: states, results, failures, and memory that survives."""

from __future__ import annotations

import pytest

from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import hashpath as hashpaths
from hb.protocol.message import loads
from hb.protocol.request import build_message
from hb.records import cache, keys, links, schedules
from hb.storage.store import Batch


def test_the_chapters_counter(shell) -> None:
    process = shell.spawn("counter.wasm", name="counter", initial_state={"counter": 0})
    assert shell.send(process, "Increment") == 1
    assert shell.send(process, "Increment") == 2
    assert shell.call("counter", "ReadValue") == {"type": "ok", "output": [2], "gas": shell.results(process, 3)["gas"]}
    assert [shell.node.state("counter", slot).state["counter"] for slot in range(4)] == [0, 1, 2, 2]
    changed = [view.changed for view in shell.node.history("counter")]
    assert changed == [True, True, True, False]


def test_state_names_the_process_the_slot_and_the_device(shell) -> None:
    process = shell.spawn("counter.wasm", initial_state={"counter": 41})
    shell.send(process, "Increment")
    state = shell.node.state(process).state
    assert state["device"] == "process@1.0"
    assert state["at-slot"] == 1
    assert state["process"] == shell.node.definition(process)
    assert state["counter"] == 42


def test_hashpaths_link_every_slot_to_the_definition_and_the_assignments(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(5):
        shell.send(process, "Increment")
    shell.node.compute(process)

    with shell.home.storage.session() as store:
        expected = hashpaths.base(shell_definition(store, process))
        for record in links.records(store, process, 0, 5):
            expected = hashpaths.step(expected, schedules.get_assignment(store, process, record.slot).message)
            assert record.hashpath == expected


def shell_definition(store, process):
    return loads(store.get(keys.definition_key(process)))


def test_each_record_names_the_digest_of_the_one_before(shell) -> None:
    from hb import ids

    process = shell.spawn("ledger.wasm")
    shell.send(process, "ReadNothing")
    shell.send(process, "AlsoNothing")
    shell.node.compute(process)
    with shell.home.storage.session() as store:
        raw = [cache.read_bytes(store, process, slot) for slot in range(3)]
    assert [loads(record)["previous"] for record in raw] == ["", ids.digest(raw[0]), ids.digest(raw[1])]


@pytest.mark.parametrize(
    ("action", "parameters", "kind", "says"),
    [
        ("Decrement", [], "unknown-function", "there are: Add, Increment, ReadValue"),
        ("Add", [], "wrong-arguments", "takes 1 argument (i32), got 0"),
        ("Add", [1, 2], "wrong-arguments", "got 2"),
        ("Add", ["five"], "wrong-arguments", "expected i32, got the text 'five'"),
        ("Add", [1.5], "wrong-arguments", "got 1.5"),
        ("Add", [2**40], "wrong-arguments", "from -2147483648 to 4294967295"),
        ("Add", [True], "wrong-arguments", "got a boolean"),
    ],
)
def test_a_message_that_asks_wrongly_has_an_outcome_and_changes_nothing(shell, action, parameters, kind, says) -> None:
    process = shell.spawn("counter.wasm", initial_state={"counter": 7})
    results = shell.call(process, action, *parameters)
    assert (results["type"], results["kind"]) == ("error", kind)
    assert says in results["error"]
    assert shell.call(process, "ReadValue")["output"] == [7]


def test_a_message_without_an_action_has_an_outcome(shell) -> None:
    process = shell.spawn("counter.wasm")
    (scheduled,) = shell.send_all(process, [build_message(data="hello")])
    assert shell.results(process, scheduled.slot)["kind"] == "no-function"


def test_a_whole_float_stands_for_an_integer(shell) -> None:
    process = shell.spawn("counter.wasm")
    assert shell.call(process, "Add", 5.0)["type"] == "ok"
    assert shell.node.state(process).state["counter"] == 5


HOSTILE = """
(module
  (memory (export "memory") 1)
  (global $hidden (mut i32) (i32.const 0))
  (global (export "seen") (mut i32) (i32.const 0))
  (func (export "Touch") (param i32)
    (i32.store (i32.const 0) (local.get 0)) (global.set $hidden (local.get 0)) (global.set 1 (local.get 0)))
  (func (export "TouchAndTrap") (param i32)
    (i32.store (i32.const 0) (local.get 0)) (global.set $hidden (local.get 0)) (global.set 1 (local.get 0)) unreachable)
  (func (export "TouchAndLoop")
    (i32.store (i32.const 0) (i32.const 99)) (global.set $hidden (i32.const 99)) (loop (br 0)))
  (func (export "GrowAndTrap") (drop (memory.grow (i32.const 2))) unreachable)
  (func (export "Grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "Read") (result i32 i32 i32 i32)
    (i32.load (i32.const 0)) (global.get $hidden) (global.get 1) (memory.size)))
"""


@pytest.mark.parametrize("pages", ["1", "40"])
@pytest.mark.parametrize(
    ("action", "parameters", "kind"),
    [("TouchAndTrap", [5], "trap"), ("TouchAndLoop", [], "out-of-gas"), ("GrowAndTrap", [], "trap")],
)
def test_a_failed_message_leaves_memory_and_globals_as_they_were(shell, pages, action, parameters, kind) -> None:
    from hb.protocol.definition import Limits

    wat = HOSTILE.replace('"memory") 1', f'"memory") {pages}')
    process = shell.spawn_text(wat, limits=Limits(gas=1_000_000, memory_pages=100, result_bytes=1000))
    shell.send(process, "Touch", 3)
    shell.send(process, action, *parameters)
    shell.send(process, "Read")
    shell.send(process, "Touch", 4)
    shell.send(process, action, *parameters)
    shell.send(process, action, *parameters)
    shell.send(process, "Read")
    assert shell.results(process, 7)["output"] == [4, 4, 4, int(pages)]
    assert shell.results(process, 3)["output"] == [3, 3, 3, int(pages)]
    assert shell.results(process, 2)["kind"] == kind
    assert shell.node.state(process, 2).state["seen"] == 3
    assert [view.changed for view in shell.node.history(process, 1, 2)] == [True, False]


@pytest.mark.parametrize("pages", ["1", "40"])
def test_computing_in_one_go_or_slot_by_slot_in_new_nodes_gives_the_same_records(make_shell, pages) -> None:
    wat = HOSTILE.replace('"memory") 1', f'"memory") {pages}')
    actions = [
        ("Touch", 1),
        ("Grow", 1),
        ("TouchAndTrap", 9),
        ("Touch", 2),
        ("Read",),
        ("Nothing",),
        ("Touch", 3),
        ("Read",),
    ]
    at_once, stepwise = make_shell("at-once"), make_shell("stepwise")
    for shell in (at_once, stepwise):
        process = shell.spawn_text(wat)
        for action in actions:
            shell.send(process, *action)
    at_once.node.compute(process)
    for slot in range(len(actions) + 1):
        stepwise.node.compute(process, slot)
    slot_records = [
        {key: raw for key, raw in shell.records().items() if key.startswith(b"s/")} for shell in (at_once, stepwise)
    ]
    assert len(slot_records[0]) == len(actions) + 1
    assert slot_records[0] == slot_records[1]


def test_memory_and_hidden_globals_survive_from_one_node_to_the_next(shell) -> None:
    process = shell.spawn_text(HOSTILE)
    shell.call(process, "Touch", 77)
    shell.call(process, "Grow", 3)
    assert shell.call(process, "Read")["output"] == [77, 77, 77, 4]


def test_a_slot_that_is_computed_again_must_come_out_the_same(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(4):
        shell.send(process, "Increment")
    shell.node.compute(process)
    with shell.home.storage.session() as store:
        record = loads(cache.read_bytes(store, process, 2))
        batch = Batch(
            deletes={keys.slot_record_key(process, 4)} | {keys.memory_image_key(process, n) for n in range(1, 5)}
        )
        from hb.protocol.message import dumps

        batch.puts[keys.slot_record_key(process, 2)] = dumps({**record, "state": {"counter": 1000}})
        store.commit(batch)
    with pytest.raises(IntegrityError, match="slot 2") as damage:
        shell.node.compute(process)
    assert damage.value.slot == 2


def test_computing_goes_on_from_the_latest_image_and_not_from_the_start(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    shell.node.compute(process)
    shell.send(process, "Increment")
    from verbs import Node

    computed = []
    Node(shell.home, on_slot=lambda slot, target: computed.append((slot, target))).compute(process)
    assert computed == [(4, 4)]


def test_a_damaged_page_is_found_when_it_is_needed(shell) -> None:
    process = shell.spawn_text(HOSTILE)
    shell.call(process, "Touch", 5)
    with shell.home.storage.session() as store:
        (key, _raw), *_ = store.scan(b"g/", b"g0")
        store.commit(Batch(puts={key: cache.compress(b"x" * cache.PAGE_BYTES)}))
    shell.send(process, "Read")
    with pytest.raises(IntegrityError, match="memory page 0 is not what it was"):
        shell.node.compute(process)


def test_a_gap_in_the_schedule_is_damage(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes={keys.assignment_key(process, 2)}))
    with pytest.raises(IntegrityError, match="an assignment is gone") as damage:
        shell.node.compute(process)
    assert (damage.value.process, damage.value.slot) == (process, 2)


def test_an_assignment_of_another_slot_is_damage(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={keys.assignment_key(process, 2): store.get(keys.assignment_key(process, 3))}))
    with pytest.raises(IntegrityError, match="not this slot's"):
        shell.node.compute(process)


@pytest.mark.parametrize("reference", ["9", "now~9", "A" * 43])
def test_slots_beyond_the_schedule_are_not_found(shell, reference) -> None:
    process = shell.spawn("counter.wasm")
    with pytest.raises(NotFound):
        shell.node.state(process, reference)


@pytest.mark.parametrize("reference", ["", "-1", "now~", "later", "1.0", "٣"])
def test_what_is_no_reference_is_refused(shell, reference) -> None:
    process = shell.spawn("counter.wasm")
    with pytest.raises(Refused, match="a slot is a number"):
        shell.node.state(process, reference)


def test_references_by_now_and_by_message(shell) -> None:
    process = shell.spawn("counter.wasm")
    scheduled = shell.send_all(process, [build_message("Increment", anchor=str(n)) for n in range(3)])
    assert shell.node.state(process, "now").slot == 3
    assert shell.node.state(process, "now~2").slot == 1
    assert shell.node.state(process, scheduled[1].message).slot == 2


def test_a_stack_folds_over_its_devices(shell) -> None:
    process = shell.spawn("counter.wasm", devices=["wasm64@1.0", "~WASM-64@1.0"])
    assert shell.node.definition(process)["device-stack"] == ["wasm64@1.0", "wasm64@1.0"]
    shell.call(process, "Increment")
    assert shell.node.state(process).state["counter"] == 2
    assert shell.call(process, "Nothing")["kind"] == "unknown-function"
    assert shell.node.state(process).state["counter"] == 2


def test_a_public_key_is_spelled_as_keys_are(shell) -> None:
    wat = """(module (global (export "Total-Sum") (mut i64) (i64.const 0))
      (func (export "Add") (param i64) (global.set 0 (i64.add (global.get 0) (local.get 0)))))"""
    process = shell.spawn_text(wat, initial_state={"Total-Sum": 40})
    shell.call(process, "Add", 1)
    shell.call(process, "Add", 1)
    assert shell.node.state(process).record.state == {"total-sum": 42}


def test_floats_survive_as_they_are(shell) -> None:
    wat = """(module (global (export "f") (mut f64) (f64.const nan:0x4000000000001)) (global (export "g") (mut f32) (f32.const -0))
      (func (export "Bits") (result i64 i32) (i64.reinterpret_f64 (global.get 0)) (i32.reinterpret_f32 (global.get 1)))
      (func (export "Nothing")))"""
    process = shell.spawn_text(wat)
    first = shell.call(process, "Bits")["output"]
    assert shell.call(process, "Bits")["output"] == first == [0x7FF4000000000001, -(2**31)]
    shell.call(process, "Nothing")
    assert [view.changed for view in shell.node.history(process)] == [True, False, False, False]


def test_a_function_with_values_that_no_message_carries_has_an_outcome(shell) -> None:
    wat = (
        '(module (func (export "Give") (result externref) (ref.null extern)) (func (export "Take") (param externref)))'
    )
    process = shell.spawn_text(wat)
    assert shell.call(process, "Give")["kind"] == "wrong-results"
    assert shell.call(process, "Take", 1)["kind"] == "wrong-arguments"
