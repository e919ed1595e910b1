"""A schedule run against other code: what differs, what does not count, and that nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aowat import FINE, ao_module
from hb.cancellation import Cancellation
from hb.compute.comparison import Difference, differences
from hb.errors import IntegrityError, Interrupted, NotFound, Refused
from hb.history import fork as forks
from hb.history.rerun import rerun
from hb.records import keys
from hb.storage.store import Batch
from hb.wasm import module

if TYPE_CHECKING:
    from hb.history.rerun import Change, Rerun

SAMPLES = Path(__file__).parents[3] / "samples"
COUNTER = (SAMPLES / "counter.wat").read_text(encoding="utf-8")
TWICE = (SAMPLES / "counter2.wat").read_text(encoding="utf-8")


def against(shell: Any, process: str, text: str, **options: Any) -> tuple[Rerun, list[Change]]:
    changes: list[Change] = []
    found = rerun(shell.node.context, process, module.from_text(text), on_change=changes.append, **options)
    return found, changes


@pytest.fixture
def counted(shell: Any) -> str:
    """A counter: spawned, read, incremented, added to, a failure."""
    process: str = shell.spawn("counter.wasm", name="counter", initial_state={"counter": 7})
    shell.send(process, "ReadValue")
    shell.send(process, "Increment")
    shell.send(process, "Add", 10)
    shell.send(process, "Nothing")
    shell.node.compute(process)
    return process


def test_the_first_slot_that_differs_is_named_with_both_outcomes(shell, counted) -> None:
    before = shell.records()
    found, [change] = against(shell, counted, TWICE)
    assert (change.slot, change.differences) == (2, [Difference("state/counter", 8, 9)])
    assert (found.process, found.last, found.first, found.changes) == (counted, 2, 2, 1)
    assert shell.records() == before


def test_every_slot_that_differs_is_named_if_asked_for(shell, counted) -> None:
    found, changes = against(shell, counted, TWICE, every=True)
    assert [(change.slot, change.differences[0].after) for change in changes] == [(2, 9), (3, 19), (4, 19)]
    assert (found.last, found.first, found.changes) == (4, 2, 3)
    assert found.gas_before == found.gas_after == sum(view.gas or 0 for view in shell.node.history(counted))


def test_the_same_code_in_another_form_differs_in_nothing(shell, counted) -> None:
    heard: list[tuple[int, int]] = []
    context = shell.context(on_slot=lambda slot, last: heard.append((slot, last)))
    again = module.from_text(COUNTER.replace('"ReadValue"', '"ReadValue") (export "Read"'))
    found = rerun(context, "counter", again, 2, on_change=lambda change: pytest.fail(str(change)))
    assert (found.changes, found.first, found.last) == (0, None, 2)
    assert heard == [(0, 2), (1, 2), (2, 2)]


def test_gas_alone_is_no_difference_and_is_summed(shell, counted) -> None:
    dearer = COUNTER.replace(
        "(global.get $counter)))", "(drop (i32.const 1)) (drop (i32.const 2)) (global.get $counter)))"
    )
    assert dearer != COUNTER
    found, changes = against(shell, counted, dearer)
    assert changes == []
    assert found.gas_after > found.gas_before


def test_results_are_compared_and_whole_answers_may_be_missing(shell, counted) -> None:
    found, [change] = against(shell, counted, COUNTER.replace('"ReadValue"', '"Value"'))
    assert change.slot == 1
    assert [difference.path for difference in change.differences] == [
        "results/error",
        "results/kind",
        "results/output",
        "results/type",
    ]
    assert change.differences[2] == Difference("results/output", [7], None)
    assert change.differences[3] == Difference("results/type", "ok", "error")
    assert found.first == 1


def test_slots_that_are_not_computed_are_in_memory_alone(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    shell.node.compute(process, 1)
    before = shell.records()
    found, changes = against(shell, process, TWICE, every=True)
    assert (found.last, [change.slot for change in changes]) == (3, [1, 2, 3])
    assert shell.records() == before


def test_a_fork_is_run_from_where_its_history_began(shell, counted) -> None:
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f"}
    forked = forks.fork(shell.node.context, counted, 3, module=module.from_text(TWICE), **options).process
    shell.send(forked, "Increment")
    shell.node.compute(forked)
    _, changes = against(shell, forked, COUNTER, every=True)
    assert [(change.slot, change.differences) for change in changes] == [(5, [Difference("state/counter", 20, 19)])]
    _, changes = against(shell, forked, TWICE, every=True)
    assert [change.slot for change in changes] == [2, 3, 4, 5]


def test_an_ao_program_is_told_the_same_of_itself(shell) -> None:
    process = shell.spawn_text(ao_module())
    shell.send(process, "Eval", data="1")
    shell.node.compute(process)
    assert against(shell, process, ao_module())[1] == []
    _, [change] = against(shell, process, ao_module(answer=FINE.replace(b"fine", b"good")))
    assert [(found.path, found.before, found.after) for found in change.differences] == [
        ("results/data", "fine", "good"),
        ("results/output/data", "fine", "good"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ao_module(), "the module has the AO ABI, the process has plain functions"),
        ((SAMPLES / "ledger.wat").read_text(encoding="utf-8"), "initial-state sets 'counter'"),
        ('(module (import "env" "f" (func)))', "imports what none of its devices provides"),
    ],
)
def test_code_that_cannot_run_it_is_refused(shell, counted, text, says) -> None:
    before = shell.records()
    with pytest.raises(Refused) as refusal:
        against(shell, counted, text)
    assert says in refusal.value.message
    assert shell.records() == before


def test_slots_and_processes_that_are_not_there_are_not_found(shell, counted) -> None:
    for process, to in ((counted, 5), ("nobody", "now")):
        with pytest.raises(NotFound):
            against(shell, process, TWICE, to=to)


def test_damage_on_the_way_is_damage(shell, counted) -> None:
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes={keys.slot_record_key(counted, 1)}))
    with pytest.raises(IntegrityError):
        against(shell, counted, TWICE)


def test_it_can_be_stopped(shell, counted) -> None:
    cancellation = Cancellation()
    context = shell.context(on_slot=lambda slot, last: cancellation.cancel(), cancellation=cancellation)
    with pytest.raises(Interrupted, match="interrupted at slot 0 of 4"):
        rerun(context, counted, module.from_text(TWICE), on_change=lambda change: None)


def test_values_differ_by_what_they_are_encoded_as() -> None:
    assert list(differences({"a": 1, "b": [1, 2]}, {"a": 1.0, "b": [1, 3], "c": {}}, "r")) == [
        Difference("r/a", 1, 1.0),
        Difference("r/b", [1, 2], [1, 3]),
        Difference("r/c", None, {}),
    ]
    nan = float("nan")
    assert list(differences({"a": nan}, {"a": float("nan")}, "r")) == []
