"""Standing at a slot: the worker is what the process was there, and the store is not touched."""

from __future__ import annotations

import pytest

from hb.cancellation import Cancellation
from hb.compute import transition
from hb.compute.standing import worker_at
from hb.devices.device import Machine
from hb.errors import IntegrityError, Interrupted, NotFound
from hb.protocol.message import dumps, loads
from hb.records import cache, keys, schedules
from hb.storage.store import Batch


@pytest.fixture
def counted(shell) -> str:
    process = shell.spawn("counter.wasm", initial_state={"counter": 10})
    for _ in range(5):
        shell.send(process, "Increment")
    return process


def state(live) -> int:
    return transition.public_state(live.base)["counter"]  # type: ignore[return-value]


@pytest.mark.parametrize("computed", [None, 0, 3, 5])
def test_a_worker_is_at_the_slot_and_nothing_is_stored(shell, counted: str, computed: int | None) -> None:
    if computed is not None:
        shell.node.compute(counted, computed)
    before = shell.records()
    context = shell.node.context
    for slot in (0, 2, 5):
        live = worker_at(context, counted, slot)
        assert (live.slot, state(live)) == (slot, 10 + slot)
    assert shell.records() == before


def test_what_is_done_there_is_not_kept(shell, counted: str) -> None:
    shell.node.compute(counted)
    before = shell.records()
    live = worker_at(shell.node.context, counted, 2)
    with shell.home.storage.session() as store:
        assignment = schedules.get_assignment(store, counted, 3).message
        stored = cache.read_bytes(store, counted, 3)
    assert live.compute_next(assignment).record == stored
    assert state(live) == 13
    assert shell.records() == before


def test_the_slots_on_the_way_are_told_of_and_the_given_machine_runs_them(shell, counted: str) -> None:
    shell.node.compute(counted, 3)
    heard, loaded = [], []
    context = shell.context(on_slot=lambda slot, last: heard.append((slot, last)))
    own = context.machine()

    def load(image: str, cancellation):
        loaded.append(image)
        return own.load(image, cancellation)

    live = worker_at(context, counted, 5, machine=Machine(load))
    assert (state(live), heard) == (15, [(4, 5), (5, 5)])
    assert loaded == [shell.node.definition(counted)["image"]]


def test_a_memory_is_what_it_was(shell) -> None:
    process = shell.spawn("ledger.wasm")
    for amount in (100, 20, 3):
        shell.send(process, "Mint", 1, amount)
    shell.node.compute(process, 2)
    for slot, expected in enumerate((0, 100, 120, 123)):
        live = worker_at(shell.node.context, process, slot)
        assert live.base["priv"].instance.call("Balance", [1]).values == (expected,)
    stood = worker_at(shell.node.context, process, 3)
    state = shell.node.state(process, 3)
    assert (stood.hashpath, stood.base["results"]) == (state.hashpath, state.state["results"])
    assert stood.make_image().record == shell.records()[keys.memory_image_key(process, 3)]


def test_a_record_that_was_altered_is_damage(shell, counted: str) -> None:
    shell.node.compute(counted)
    with shell.home.storage.session() as store:
        record = loads(cache.read_bytes(store, counted, 5))
        record["results"]["gas"] += 1
        images = {keys.memory_image_key(counted, slot) for slot in range(4, 6)}
        store.commit(Batch(puts={keys.slot_record_key(counted, 5): dumps(record)}, deletes=images))
    with pytest.raises(IntegrityError, match="came out differently") as damage:
        worker_at(shell.node.context, counted, 5)
    assert damage.value.slot == 5


def test_who_wants_to_stop_is_heard(shell, counted: str) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Interrupted):
        worker_at(shell.context(cancellation=cancellation), counted, 4)
    with pytest.raises(NotFound):
        worker_at(shell.node.context, "x" * 43, 0)
