"""Other code for a process that has come some way: what it takes over, and what is refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aowat import ao_module
from hb.errors import Refused
from hb.history import fork as forks
from hb.protocol import definition as definitions
from hb.records import keys
from hb.wasm import module

SAMPLES = Path(__file__).parents[3] / "samples"

# One page of memory that an active segment fills, a public global, and a hidden one.
NOTES = """
(module
  (memory (export "memory") 1 4)
  (data (i32.const 0) "first")
  (global $notes (export "Notes") (mut i32) (i32.const 0))
  (global $hidden (mut i64) (i64.const 7))
  (func (export "Note") (param i32)
    (i32.store (i32.const 0) (local.get 0))
    (global.set $hidden (i64.add (global.get $hidden) (i64.const 1)))
    (global.set $notes (i32.add (global.get $notes) (i32.const 1))))
  (func (export "Grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "Read") (result i32 i64) (i32.load (i32.const 0)) (global.get $hidden)))
"""


def changed(*pairs: tuple[str, str]) -> str:
    text = NOTES
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def fork(shell: Any, process: str, slot: str | int, wasm: bytes | str, *, force: bool = False) -> str:
    return forks.fork(
        shell.node.context,
        process,
        slot,
        signer=shell.key,
        environment=shell.environment,
        anchor="f",
        module=module.from_text(wasm) if isinstance(wasm, str) else wasm,
        force=force,
    ).process


@pytest.fixture
def notes(shell: Any) -> str:
    """A process at slot 3, which has two pages of memory."""
    process: str = shell.spawn_text(NOTES)
    shell.send(process, "Note", 65)
    shell.send(process, "Grow")
    shell.send(process, "Note", 66)
    shell.node.compute(process)
    return process


def test_other_code_goes_on_from_there(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    forked = fork(shell, process, 2, (SAMPLES / "counter2.wasm").read_bytes())
    shell.send(forked, "Increment")
    assert [shell.node.state(forked, slot).state["counter"] for slot in range(5)] == [0, 1, 2, 2, 4]
    assert shell.node.state(process).state["counter"] == 3
    image = shell.node.definition(forked)["image"]
    assert image != shell.node.definition(process)["image"]
    assert shell.records()[keys.image_key(image)] == (SAMPLES / "counter2.wasm").read_bytes()
    assert list(shell.node.verify(forked, replay=True)) == []


def test_memory_and_globals_are_carried_over_and_no_segment_is_written_over_them(shell, notes) -> None:
    upgraded = changed(('"first"', '"FIRST AND MORE"'), ("(i64.const 7)", "(i64.const 70)"), ('"Read"', '"ReadAgain"'))
    forked = fork(shell, notes, 3, upgraded, force=True)
    # "first" begins with "f"; its first four bytes were written over.
    assert shell.call(forked, "ReadAgain")["output"] == [66, 9]
    assert shell.node.state(forked).state["notes"] == 2
    assert shell.call(forked, "Read")["kind"] == "unknown-function"
    assert shell.call(forked, "Grow")["output"] == [2]
    assert shell.call(notes, "Read")["output"] == [66, 9]
    assert list(shell.node.verify(forked, replay=True)) == []
    assert not shell.node.repair(forked)


def test_a_fork_of_an_upgraded_fork_keeps_the_upgrade(shell) -> None:
    process = shell.spawn("counter.wasm")
    first = fork(shell, process, 0, (SAMPLES / "counter2.wasm").read_bytes())
    shell.send(first, "Increment")
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "g"}
    second = forks.fork(shell.node.context, first, 2, **options).process
    shell.send(second, "Increment")
    assert shell.node.state(second).state["counter"] == 4
    assert list(shell.node.verify(second, replay=True)) == []


FROM_ONE_TO_TWO = '(memory (export "memory") 1 4)'

MISFITS = {
    "longer data": (
        changed(('"first"', '"FIRST AND MORE"')),
        "has its data in other places (14 bytes; the process 5)",
    ),
    "data at another address": (changed(('(i32.const 0) "first"', '(i32.const 8) "first"')), "has its data in other"),
    "passive data": (changed(('(data (i32.const 0) "first")', '(data "first")')), "has its data in other places"),
    "a table": (
        changed(("(global $notes", "(table 3 funcref) (global $notes")),
        "the module's tables hold 3 functions, those of the process no functions",
    ),
    "no wasm at all": (b"not wasm", "not a"),
    "another ABI": (ao_module(), "the module has the AO ABI, the process has plain functions"),
    "no memory": (
        '(module (global (export "Notes") (mut i32) (i32.const 0)) (global (mut i64) (i64.const 0)))',
        "the module has no memory",
    ),
    "a wider memory": (
        '(module (memory i64 1) (global (export "Notes") (mut i32) (i32.const 0)) (global (mut i64) (i64.const 0)))',
        "the module's memory has 64-bit addresses, that of the process 32-bit ones",
    ),
    "more memory than there is": (
        changed((FROM_ONE_TO_TWO, '(memory (export "memory") 3 4)')),
        "the module wants 3 pages of memory to start with, the process has 2",
    ),
    "less memory than there is": (
        changed((FROM_ONE_TO_TWO, '(memory (export "memory") 1 1)')),
        "the module allows 1 pages of memory at the most, the process has 2",
    ),
    "a memory that grows as it starts": (
        changed((FROM_ONE_TO_TWO, f"{FROM_ONE_TO_TWO} (func $s (drop (memory.grow (i32.const 2)))) (start $s)")),
        "the module cannot take over the state of the process",
    ),
    "one global more": (
        changed(('(func (export "Grow")', '(global (export "more") (mut i32) (i32.const 0)) (func (export "Grow")')),
        "the module has 3 mutable globals (exported: notes, more), the process has 2 mutable globals (exported: notes)",
    ),
    "one global less": (
        '(module (memory 1 4) (global (export "Notes") (mut i32) (i32.const 0)))',
        "the module has 1 mutable globals (exported: notes), the process has 2",
    ),
    "a global of another type": (
        '(module (memory 1 4) (global (export "Notes") (mut i64) (i64.const 0)) (global (mut i64) (i64.const 0)))',
        "mutable global 1 of 2 is of type i64, exported as notes in the module, and of type i32, exported as notes in",
    ),
    "a global of another name": (
        changed(('"Notes"', '"scraps"')),
        "mutable global 1 of 2 is of type i32, exported as scraps in the module, and of type i32, exported as notes in",
    ),
    "a hidden global that is public": (
        changed(("(global $hidden", '(global $hidden (export "seen")')),
        "mutable global 2 of 2 is of type i64, exported as seen in the module, and of type i64, not exported in",
    ),
    "imports that nothing provides": (
        changed(('(memory (export "memory") 1 4)', '(import "env" "f" (func)) (memory (export "memory") 1 4)')),
        "the module imports what none of its devices provides",
    ),
    "a start that traps": (
        changed((FROM_ONE_TO_TWO, f"{FROM_ONE_TO_TWO} (func $s unreachable) (start $s)")),
        "the module fails when it starts",
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_refused_before_anything_is_made(shell, notes, what) -> None:
    wasm, says = MISFITS[what]
    before = shell.records()
    with pytest.raises(Refused) as refusal:
        fork(shell, notes, 3, wasm)
    assert says in refusal.value.message
    assert shell.records() == before


def test_the_devices_are_those_of_the_other_code_unless_others_were_asked_for(shell) -> None:
    imports = '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'
    text = (SAMPLES / "counter.wat").read_text(encoding="utf-8")
    importing = text.replace("(module", f"(module {imports}", 1)
    plain = shell.spawn("counter.wasm")
    forked = fork(shell, plain, 0, importing)
    stack = ["wasi@1.0", "emscripten@1.0", "wasm64@1.0"]
    assert definitions.execution_devices(shell.node.definition(forked)) == stack
    back = fork(shell, forked, 1, text)
    assert definitions.execution_devices(shell.node.definition(back)) == ["wasm64@1.0"]
    assert shell.call(back, "ReadValue")["output"] == [0]
    asked = shell.spawn("counter.wasm", devices=["wasi@1.0", "wasm64@1.0"])
    kept = fork(shell, asked, 0, text.replace("(i32.const 1)", "(i32.const 2)"))
    assert definitions.execution_devices(shell.node.definition(kept)) == ["wasi@1.0", "wasm64@1.0"]


def test_other_words_in_the_same_places_need_no_force(shell, notes) -> None:
    forked = fork(shell, notes, 3, changed(('"first"', '"other"')))
    assert shell.call(forked, "Read")["output"] == [66, 9]
