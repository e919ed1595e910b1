"""Standing at a slot: the worker is what the process was there, and the store is not touched."""

from __future__ import annotations

import pytest

from hb.errors import Interrupted, NotFound
from hb.process import cache, scheduler, transition
from hb.process.standing import stand


@pytest.fixture
def counted(shell) -> str:
    process = shell.spawn("counter.wasm", initial_state={"counter": 10})
    for _ in range(5):
        shell.send(process, "Increment")
    return process


def state(live) -> int:
    return transition.public_state(live._base)["counter"]  # type: ignore[return-value]


@pytest.mark.parametrize("computed", [None, 0, 3, 5])
def test_a_worker_is_at_the_slot_and_nothing_is_stored(shell, counted: str, computed: int | None) -> None:
    if computed is not None:
        shell.node.compute(counted, computed)
    before = shell.records()
    premises = shell.node.premises()
    for slot in (0, 2, 5):
        live = stand(premises, counted, slot)
        assert (live.slot, state(live)) == (slot, 10 + slot)
    assert shell.records() == before


def test_what_is_done_there_is_not_kept(shell, counted: str) -> None:
    shell.node.compute(counted)
    before = shell.records()
    live = stand(shell.node.premises(), counted, 2)
    with shell.home.slice() as store:
        assignment = scheduler.get_assignment(store, counted, 3)
        stored = cache.read_bytes(store, counted, 3)
    assert live.step(assignment).record == stored
    assert state(live) == 13
    assert shell.records() == before


def test_who_wants_to_stop_is_heard(shell, counted: str) -> None:
    with pytest.raises(Interrupted):
        stand(shell.node.premises(), counted, 4, lambda: True)
    with pytest.raises(NotFound):
        stand(shell.node.premises(), "x" * 43, 0)
