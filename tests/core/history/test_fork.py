"""Forks: what they share, what is theirs, and what other code may take over."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from hb import home as homes
from hb import ids
from hb.compute.standing import worker_at
from hb.compute.worker import Worker
from hb.errors import IntegrityError, NotFound, Refused
from hb.files import transfer
from hb.history import fork as forks
from hb.protocol import definition as definitions
from hb.records import keys, lineage, schedules
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

# A memory that is too large to be imaged at every slot.
LARGE = """
(module
  (memory (export "memory") 20)
  (global $n (export "n") (mut i32) (i32.const 0))
  (func (export "Add") (param i32)
    (global.set $n (i32.add (global.get $n) (local.get 0)))
    (i32.store (i32.mul (i32.const 65536) (global.get $n)) (global.get $n)))
  (func (export "At") (param i32) (result i32)
    (i32.load (i32.mul (i32.const 65536) (local.get 0)))))
"""


def fork(shell: Any, process: str, slot: str | int, **options: Any) -> str:
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f", **options}
    return forks.fork(shell.node.context, process, slot, **options).process


def counted(shell: Any, times: int = 5) -> str:
    """A counter that was incremented so often, and computed."""
    process: str = shell.spawn("counter.wasm", name="counter")
    for _ in range(times):
        shell.send(process, "Increment")
    shell.node.compute(process)
    return process


def values(shell: Any, process: str) -> list[Any]:
    head = shell.node.process(process).slots
    return [shell.node.state(process, slot).state["counter"] for slot in range(head)]


def of(process: str, records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Those records whose keys name a process."""
    return {key: raw for key, raw in records.items() if process.encode() in key}


def clean(shell: Any, process: str) -> None:
    for replay in (False, True):
        assert list(shell.node.verify(process, replay=replay)) == []


# -- what is shared


def test_a_fork_shares_what_was_and_goes_its_own_way(shell) -> None:
    process = counted(shell)
    before = of(process, shell.records())
    forked = fork(shell, process, 3, name="forked")
    shell.send(forked, "Add", 100)
    assert values(shell, forked) == [0, 1, 2, 3, 3, 103]
    assert values(shell, process) == [0, 1, 2, 3, 4, 5]
    clean(shell, forked)
    clean(shell, process)
    assert of(process, shell.records()) == before
    assert shell.node.resolve("forked") == forked


def test_the_shared_slots_are_the_origins_and_nothing_of_them_is_stored_twice(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    shell.node.compute(forked)
    for slot in range(4):
        assert shell.node.state(forked, slot)._replace(process=process) == shell.node.state(process, slot)
    mine = of(forked, shell.records())
    slotted = sorted(keys.slot_of(key) for key in mine if key[:2] in keys.SLOTTED)
    assert slotted == [4, 4, 4]
    assert not [key for key in shell.records() if key.startswith(b"g/")]


def test_the_first_slot_of_its_own_is_its_definition_with_the_state_before_it(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, "now~2")
    views = list(shell.node.history(forked))
    assert [view.slot for view in views] == [0, 1, 2, 3, 4]
    assert [view.action for view in views] == [None, "Increment", "Increment", "Increment", None]
    own = views[4]
    origin = definitions.Origin(process, 3, shell.node.state(process, 3).hashpath)
    assert (own.message, own.origin, own.computed) == (forked, origin, False)
    assert [view.origin for view in views[:4]] == [None] * 4
    shell.node.compute(forked)
    [own] = shell.node.history(forked, 4, 4)
    assert (own.results, own.changed, own.image) == ({}, False, True)
    assert own.state == shell.node.state(process, 3).record.state
    assert shell.node.process(forked).origin == origin
    assert shell.node.process(process).origin is None
    state = shell.node.state(forked).state
    assert state["process"] == shell.node.definition(forked)
    assert definitions.origin(shell.node.definition(forked)) == origin


def test_its_chain_and_its_hashpath_go_on_from_the_origins(shell) -> None:
    from hb.protocol import assignment as assignments
    from hb.protocol import hashpath as hashpaths

    process = counted(shell)
    forked = fork(shell, process, 2)
    hashpath = shell.node.state(forked, 3).hashpath
    with shell.node.context.session() as store:
        left, own = (schedules.get_assignment(store, forked, slot).message for slot in (2, 3))
    assert (left["process"], own["process"]) == (process, forked)
    chain = assignments.chain(ids.decode(left["hash-chain"]), forked)
    assert own["hash-chain"] == ids.encode(chain)
    assert hashpath == hashpaths.step(shell.node.state(process, 2).hashpath, own)


def test_an_origin_that_is_not_computed_is_computed_up_to_there_first(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(4):
        shell.send(process, "Increment")
    forked = fork(shell, process, 2)
    assert shell.node.process(process).computed == 2
    assert values(shell, forked) == [0, 1, 2, 2]


def test_a_fork_of_a_fork(shell) -> None:
    process = counted(shell)
    first = fork(shell, process, 3)
    shell.send(first, "Add", 10)
    shell.send(first, "Add", 10)
    second = fork(shell, first, 5)
    shell.send(second, "Add", 100)
    assert values(shell, second) == [0, 1, 2, 3, 3, 13, 13, 113]
    clean(shell, second)
    with shell.node.context.session() as store:
        assert [tuple(segment) for segment in lineage.segments(store, second)] == [
            (process, 0, 3),
            (first, 4, 5),
            (second, 6, keys.LAST_SLOT),
        ]


def test_a_fork_of_a_slot_that_a_fork_shares_is_one_of_the_process_that_has_it(shell) -> None:
    process = counted(shell)
    first = fork(shell, process, 3)
    second = fork(shell, first, 1, anchor="other")
    assert shell.node.process(second).origin.process == process
    assert fork(shell, process, 1, anchor="other") == second
    assert values(shell, second) == [0, 1, 1]
    third = fork(shell, first, 4)
    assert shell.node.process(third).origin[:2] == (first, 4)
    assert values(shell, third) == [0, 1, 2, 3, 3, 3]
    clean(shell, third)


def test_a_message_of_a_shared_slot_stands_for_that_slot(shell) -> None:
    process = counted(shell)
    messages = [view.message for view in shell.node.history(process)]
    forked = fork(shell, process, 3)
    assert [shell.node.state(forked, message).slot for message in messages[:4]] == [0, 1, 2, 3]
    with pytest.raises(NotFound):
        shell.node.state(forked, messages[4])
    assert shell.node.state(forked, forked).slot == 4


def test_a_fork_that_is_repeated_is_the_same_and_is_made_once(shell) -> None:
    process = counted(shell)
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f"}
    once = forks.fork(shell.node.context, process, 3, **options)
    records = shell.records()
    again = forks.fork(shell.node.context, process, "3", **options)
    assert (again.process, again.slot, again.fresh, once.fresh) == (once.process, 4, False, True)
    assert shell.records() == records
    assert fork(shell, process, 3, anchor="other") != once.process
    assert fork(shell, process, 2) != once.process
    forks.fork(shell.node.context, process, 3, name="late", **options)
    assert shell.node.resolve("late") == once.process


def test_tags_are_kept_and_may_be_set(shell) -> None:
    process = shell.spawn("counter.wasm", tags={"app": "one", "mood": "good"}, initial_state={"counter": 5})
    forked = fork(shell, process, 0, tags={"mood": "better"})
    definition = shell.node.definition(forked)
    assert definitions.tags(definition) == {"app": "one", "mood": "better", "authority": shell.key.address}
    assert "initial-state" not in definition
    assert values(shell, forked) == [5, 5]


def test_an_authority_is_kept_and_may_be_set(shell) -> None:
    trusting = shell.spawn("counter.wasm", tags={"authority": "A" * 43})
    closed = shell.spawn("counter.wasm", authority=[])
    assert shell.node.definition(fork(shell, trusting, 0))["authority"] == "A" * 43
    assert "authority" not in shell.node.definition(fork(shell, closed, 0))
    for process in (trusting, closed, shell.spawn("counter.wasm")):
        forked = fork(shell, process, 0, tags={"Authority": "B" * 43})
        assert shell.node.definition(forked)["authority"] == "B" * 43
        clean(shell, forked)


def test_a_fork_of_anothers_process_is_delivered_to_by_who_schedules_it(shell, tmp_path) -> None:
    theirs = type(shell)(homes.create(tmp_path / "theirs", seed=b"t" * 32))
    process = theirs.spawn("counter.wasm")
    transfer.export(theirs.context(), process, "now", tmp_path / "history")
    transfer.import_history(shell.context(), tmp_path / "history", replay=False)
    assert shell.node.definition(process)["authority"] == theirs.key.address != shell.key.address
    forked = shell.node.definition(fork(shell, process, 0))
    assert forked["authority"] == forked["scheduler"] == shell.key.address


def test_large_memories_are_carried_over_from_between_two_images(shell) -> None:
    process = shell.spawn_text(LARGE)
    for _ in range(6):
        shell.send(process, "Add", 2)
    shell.node.compute(process)
    before = of(process, shell.records())
    assert [key for key in before if key.startswith(b"v/")] == [keys.memory_image_key(process, 0)]
    forked = fork(shell, process, 4)
    assert shell.call(forked, "At", 8)["output"] == [8]
    assert shell.call(forked, "At", 10)["output"] == [0]
    assert keys.memory_image_key(forked, 5) in shell.records()
    assert of(process, shell.records()) == before
    clean(shell, forked)


def test_a_program_of_the_ao_abi_goes_on_in_a_fork_under_its_own_id(shell) -> None:
    from aowat import echo_module

    process = shell.spawn_text(echo_module(environment=True))
    shell.send(process, "Eval", data="1")
    forked = fork(shell, process, 1)
    assert shell.results(forked, 2) == {}
    told = shell.call(forked, "Eval")["output"]["process"]
    assert told["id"] == forked
    assert shell.call(process, "Eval")["output"]["process"]["id"] == process
    clean(shell, forked)


# -- what is refused


@pytest.mark.parametrize("slot", [6, "now~9", ids.digest(b"no message")])
def test_a_slot_that_is_not_scheduled_is_not_found(shell, slot) -> None:
    process = counted(shell)
    before = shell.records()
    with pytest.raises(NotFound):
        fork(shell, process, slot)
    with pytest.raises(NotFound):
        fork(shell, "nobody", 1)
    assert shell.records() == before


@pytest.mark.parametrize("options", [{"name": "counter"}, {"name": "no name"}, {"tags": {"fork-of": "x"}}])
def test_a_name_or_a_tag_that_cannot_be_is_refused(shell, options) -> None:
    process = counted(shell)
    before = shell.records()
    with pytest.raises(Refused):
        fork(shell, process, 3, **options)
    assert shell.records() == before


# -- what was lost is made again, and what is damaged is found


def delete(shell: Any, *gone: bytes) -> None:
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes=set(gone)))


def test_the_first_slot_of_its_own_is_computed_again_when_it_is_lost(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    shell.send(forked, "Add", 100)
    shell.node.compute(forked)
    whole = shell.records()
    lost = [key for key in whole if key[:2] in (b"s/", b"v/")]
    delete(shell, *lost)
    assert shell.node.state(forked).state["counter"] == 103
    assert shell.records() == {
        key: raw
        for key, raw in whole.items()
        if key not in lost or keys.owner_of(key) == forked or keys.slot_of(key) < 4
    }
    clean(shell, forked)


DAMAGE: dict[str, Callable[[str], bytes]] = {
    "assignment": lambda process: keys.assignment_key(process, 2),
    "slot record": lambda process: keys.slot_record_key(process, 2),
    "memory image": lambda process: keys.memory_image_key(process, 2),
    "definition": keys.definition_key,
    "newest shared record": lambda process: keys.slot_record_key(process, 3),
    "newest shared assignment": lambda process: keys.assignment_key(process, 3),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_of_the_origin_is_found_through_the_fork_and_is_not_its_to_mend(shell, what) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    shell.node.compute(forked)
    key = DAMAGE[what](process)
    raw = bytearray(shell.records()[key])
    raw[len(raw) // 2] ^= 1
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: bytes(raw)}))
    findings = list(shell.node.verify(forked))
    assert process in {finding.process for finding in findings}
    before = shell.records()
    with pytest.raises(Refused):
        shell.node.repair(forked)
    assert shell.records() == before


def test_whatever_record_is_altered_is_found_by_those_who_have_it_and_by_nobody_else(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3, name="forked")
    shell.send(forked, "Increment")
    for pid in (process, forked):
        shell.node.compute(pid)
    whole = shell.records()
    for key, raw in whole.items():
        if key[:2] not in (b"p/", b"h/", b"a/", b"m/", b"s/", b"v/"):
            continue
        altered = bytearray(raw)
        altered[len(raw) // 2] ^= 1
        with shell.home.storage.session() as store:
            store.commit(Batch(puts={key: bytes(altered)}))
        found = [bool(list(shell.node.verify(pid))) for pid in (process, forked)]
        slot = keys.slot_of(key) if key[:2] in keys.SLOTTED else None
        if key[:2] == b"m/" and key.endswith(process.encode()):
            slot = keys.decode_slot(raw)
        is_origins = process.encode() in key and not key.endswith(forked.encode())
        is_shared = is_origins and key[:2] != b"h/" and (slot is None or slot <= 3)
        assert found == [is_origins, not is_origins or is_shared], key
        apart = bool(list(shell.node.verify(forked, shared=False)))
        assert apart or is_origins, "what is the fork's alone is found without what it shares"
        assert not (apart and is_shared and slot in (0, 1, 2)), "what it shares is not looked at"
        with shell.home.storage.session() as store:
            store.commit(Batch(puts={key: raw}))
    clean(shell, forked)


def test_what_is_damaged_of_its_own_is_mended_and_the_origin_left_alone(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    for _ in range(3):
        shell.send(forked, "Increment")
    shell.node.compute(forked)
    whole = shell.records()
    for slot in (4, 5, 7):
        with shell.home.storage.session() as store:
            store.commit(Batch(puts={keys.slot_record_key(forked, slot): b"{}"}))
        assert {finding.process for finding in shell.node.verify(forked)} == {forked}
        shell.node.repair(forked, replay=slot == 4)
        assert shell.records() == whole
    clean(shell, forked)


def test_a_first_record_that_names_another_before_it_is_mended_only_by_a_replay(shell) -> None:
    from hb.protocol.message import dumps, loads_message

    process = counted(shell)
    forked = fork(shell, process, 3)
    shell.node.compute(forked)
    whole = shell.records()
    key = keys.slot_record_key(forked, 4)
    altered = dumps({**loads_message(whole[key]), "previous": ids.digest(b"another")})
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: altered}))
    with pytest.raises(Refused):
        shell.node.repair(forked)
    shell.node.repair(forked, replay=True)
    assert shell.records() == whole


def test_an_origin_that_is_gone_is_damage(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    delete(shell, *of(process, of(process, shell.records())))
    delete(shell, keys.head_key(process), keys.definition_key(process))
    with pytest.raises(IntegrityError):
        shell.node.state(forked)
    assert list(shell.node.verify(forked))


# -- other code


def test_one_can_stand_at_any_slot_of_a_fork_and_nothing_is_stored(shell) -> None:
    process = counted(shell)
    forked = fork(shell, process, 3)
    shell.send(forked, "Add", 100)
    before = shell.records()
    for slot in (2, 4, 5):
        live = worker_at(shell.node.context, forked, slot)
        assert live.slot == slot
    assert shell.records() == before


def forget(shell: Any) -> None:
    """Deletes all that was computed."""
    computed = {key for key in shell.records() if key[:2] in (b"s/", b"v/")}
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes=computed))


def test_a_long_line_of_forks_is_computed_one_after_the_other(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    process = counted(shell, 1)
    for _ in range(6):
        process = fork(shell, process, "now")
        shell.send(process, "Increment")
    shell.node.compute(process)
    newest = shell.node.process(process).slots - 1
    before = shell.records()
    forget(shell)
    depths: list[int] = []
    branch = Worker.start_fork

    def counting(*arguments: Any) -> Any:
        depths.append(len(inspect.stack(0)))
        return branch(*arguments)

    monkeypatch.setattr(Worker, "start_fork", counting)
    assert worker_at(shell.node.context, process, newest).slot == newest
    shell.node.compute(process)
    assert len(depths) == 12
    assert len(set(depths[:6])) <= 2, "the stack grows with the line of forks"
    assert len(set(depths[6:])) <= 2
    assert shell.records() == before


def test_no_fork_is_made_of_what_comes_from_too_many(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_ORIGINS", 1)
    first = fork(shell, counted(shell, 1), "now")
    before = shell.records()
    with pytest.raises(Refused, match="comes from 1 others at the most"):
        fork(shell, first, "now")
    assert shell.records() == before
