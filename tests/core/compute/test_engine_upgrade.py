"""A home goes on after an upgrade of the engine: gas may differ, everything else must be equal, and it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.files import challenge, staging, transfer
from hb.files import witness as witnesses
from hb.history import fork as forks
from hb.protocol.definition import Limits
from hb.protocol.message import dumps, loads_message
from hb.protocol.request import build_message
from hb.records import cache, keys
from hb.storage.store import Batch
from hb.verify.audit import verify
from hb.wasm import engine
from hb.wasm.instance import Instance

if TYPE_CHECKING:
    from hb.verify.replay import Note

OLD = "wasmtime-49"
PROGRAM = """(module (memory (export "memory") {pages}) (global (export "n") (mut i32) (i32.const 0))
  (func (export "Add") (param i32)
    (global.set 0 (i32.add (global.get 0) (local.get 0)))
    (i32.store (i32.const 4096) (global.get 0)))
  (func (export "Loop") (i32.store (i32.const 4096) (i32.const 99)) (loop (br 0))))"""
SIZES = {"small": 1, "large": 20}
LIMITS = Limits(gas=100_000, memory_pages=100, result_bytes=10_000)
LAST = 8


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes the engine another one, which counts gas otherwise, until the returned function is called."""
    call = Instance.call
    monkeypatch.setattr(engine, "ENGINE", OLD)

    def otherwise(self: Instance, *arguments: Any, **options: Any) -> Any:
        found = call(self, *arguments, **options)
        return found._replace(gas=found.gas + 7)

    monkeypatch.setattr(Instance, "call", otherwise)
    return monkeypatch.undo


def schedule(shell: Any, size: str) -> str:
    """A process with eight messages, one of which runs out of gas."""
    process: str = shell.spawn_text(PROGRAM.format(pages=SIZES[size]), limits=LIMITS, name=size)
    shell.send_all(process, [message(n) for n in range(1, LAST + 1)])
    return process


def message(n: int) -> Any:
    return build_message("Loop", anchor=str(n)) if n == 3 else build_message("Add", [n], anchor=str(n))


def record(shell: Any, process: str, slot: int) -> dict[str, Any]:
    return loads_message(shell.records()[keys.slot_record_key(process, slot)])


def engines(shell: Any, process: str) -> list[Any]:
    with shell.home.storage.session() as store:
        raw = [value for _, value in store.scan(*keys.slot_records(process))]
    return [loads_message(each)["engine"] for each in raw]


def check(shell: Any, process: str) -> list[Note]:
    """Verifies and replays a process, which must have no findings; returns the notes."""
    notes: list[Note] = []
    assert list(verify(shell.node.context, process, replay=True, on_note=notes.append)) == []
    return notes


@pytest.mark.parametrize(("size", "upgraded_at"), [("small", 3), ("large", 2), ("large", 5)])
def test_a_process_goes_on_under_another_engine_wherever_it_is_resumed(shell, old, size: str, upgraded_at: int) -> None:
    process = schedule(shell, size)
    shell.node.compute(process, upgraded_at)
    before = shell.records()
    old()
    shell.node.compute(process)
    assert engines(shell, process) == [OLD] * (upgraded_at + 1) + [engine.ENGINE] * (LAST - upgraded_at)
    assert {key: value for key, value in shell.records().items() if key in before} == before
    assert record(shell, process, LAST)["state"] == {"n": sum(range(1, LAST + 1)) - 3}
    [note] = check(shell, process)
    assert (note.process, note.first, note.last, note.engine) == (process, 0, upgraded_at, OLD)
    assert "gas" in note.sentence


@pytest.mark.parametrize("size", SIZES)
def test_slots_that_are_computed_again_by_another_engine_keep_their_records(shell, old, size: str) -> None:
    process = schedule(shell, size)
    shell.node.compute(process, 6)
    old()
    kept = shell.records()
    with shell.home.storage.session() as store:
        images = {key for key, _ in store.scan(*keys.memory_images(process))}
        store.commit(Batch(deletes=images))
    shell.node.compute(process)
    again = shell.records()
    assert {key: again[key] for key in kept} == kept
    chain = [again[keys.slot_record_key(process, slot)] for slot in range(LAST + 1)]
    assert [loads_message(each)["previous"] for each in chain[1:]] == [ids.digest(each) for each in chain[:-1]]
    assert len(check(shell, process)) == 1
    assert shell.node.state(process).state["n"] == sum(range(1, LAST + 1)) - 3


def test_anything_but_gas_that_differs_is_damage_and_the_engines_are_named(shell, old) -> None:
    process = schedule(shell, "large")
    shell.node.compute(process, 4)
    old()
    changed = dumps({**record(shell, process, 4), "state": {"n": 1000}})
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={keys.slot_record_key(process, 4): changed}))
    with pytest.raises(IntegrityError, match="in state/n .computed by .*wasmtime-49.*, run again by") as damage:
        shell.node.compute(process)
    assert (damage.value.slot, damage.value.expected, damage.value.got) == (4, "1000", "7")


def test_a_message_that_only_another_engine_runs_out_of_gas_keeps_its_outcome_and_a_replay_says_so(shell, old) -> None:
    process = schedule(shell, "large")
    shell.node.compute(process, 4)
    old()
    # As an engine would write it for which message 4 takes more gas than there is.
    results = {**record(shell, process, 3)["results"]}
    state = record(shell, process, 3)["state"]
    changed = dumps({**record(shell, process, 4), "results": results, "state": state, "changed": False})
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={keys.slot_record_key(process, 4): changed}))
    shell.node.compute(process)
    assert record(shell, process, 4)["engine"] == OLD
    assert record(shell, process, LAST)["state"] == {"n": sum(range(1, LAST + 1)) - 3 - 4}
    assert list(verify(shell.node.context, process, replay=False)) == []
    [finding] = verify(shell.node.context, process, replay=True)
    assert finding.slot == 4
    assert "count gas differently" in finding.what


def test_a_fork_leaves_a_slot_that_another_engine_computed(shell, old) -> None:
    process = schedule(shell, "large")
    shell.node.compute(process, 6)
    old()
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f"}
    forked = forks.fork(shell.context(), process, 5, **options).process
    assert shell.call(forked, "Add", 100)["type"] == "ok"
    assert shell.node.state(forked).state["n"] == 1 + 2 + 4 + 5 + 100
    assert [note.engine for note in check(shell, forked)] == [OLD]


@pytest.mark.parametrize("size", SIZES)
def test_a_history_of_another_engine_is_imported_and_one_of_both_too(make_shell, tmp_path, old, size: str) -> None:
    there, here, third = make_shell("there"), make_shell("here"), make_shell("third")
    process = schedule(there, size)
    there.node.compute(process, 5)
    old()
    there.node.compute(process)
    path = tmp_path / "p.history"
    transfer.export(there.context(), process, "now", path)
    assert list(staging.verify(path, staging.bare_machine, replay=True)) == []
    assert transfer.import_history(here.context(), path).records == LAST + 1
    assert engines(here, process) == engines(there, process)
    assert check(here, process)

    # Who computed all of it by another engine keeps that, and takes no record that would not follow from it.
    transfer.export(there.context(), process, 0, tmp_path / "first.history")
    transfer.import_history(third.context(), tmp_path / "first.history")
    computed = {key for key in third.records() if key[:2] in {b"s/", b"v/"}}
    with third.home.storage.session() as store:
        store.commit(Batch(deletes=computed))
    third.node.compute(process)
    imported = transfer.import_history(third.context(), path)
    assert (imported.slots, imported.records) == (LAST, 0)
    third.node.compute(process)
    assert set(engines(third, process)) == {engine.ENGINE}
    assert transfer.import_history(third.context(), path).records == 0
    assert check(third, process) == []


def test_a_witness_of_another_engine_is_no_finding_but_nobody_here_attests_its_gas(shell, old) -> None:
    process = schedule(shell, "large")
    shell.node.compute(process, 5)
    old()
    made = witnesses.make(shell.context(), process, 5)
    found = challenge.challenge(made, staging.bare_machine)
    assert found.findings == []
    assert [note.engine for note in found.notes] == [OLD]
    with pytest.raises(Refused, match="wasmtime-49"):
        challenge.attest(made, shell.key, staging.bare_machine)
    altered = dumps({**loads_message(made.result.record), "state": {"n": 0}})
    assert challenge.challenge(
        made._replace(result=made.result._replace(record=altered)), staging.bare_machine
    ).findings


def test_the_gas_of_equal_engines_is_compared(shell) -> None:
    process = schedule(shell, "small")
    shell.node.compute(process)
    results = {**record(shell, process, LAST)["results"], "gas": 1}
    raw = dumps({**record(shell, process, LAST), "results": results})
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={keys.slot_record_key(process, LAST): raw}))
    [finding] = verify(shell.node.context, process, replay=True)
    assert finding.what == "replay: results/gas"
    assert cache.parse_record(raw, process, LAST).gas == 1
