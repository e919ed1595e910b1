"""What a module of the AO ABI may do wrong: each an outcome of its slot, with a sentence, and the process goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from aowat import MANY_BYTES, ao_module
from hb.errors import Refused
from hb.protocol.definition import Limits

if TYPE_CHECKING:
    from conftest import Shell

SMALL = Limits(gas=2_000_000, memory_pages=20, result_bytes=2000)
GROW = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
IF_LONG = f"(if (i32.gt_u (local.get $size) (i32.const {MANY_BYTES}))"
PROC_EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'


def fails_once(
    shell: Shell, wat: str, *, bad: str = "Bad!", limits: Limits = SMALL, **fields: object
) -> dict[str, object]:
    """The results of the bad one of three messages, the others having gone well and left the only traces."""
    process = shell.spawn_text(wat, limits=limits)
    assert shell.call(process, "Good")["data"] == "fine"
    pages = shell.node.state(process, 1).record.image
    slot = shell.send(process, bad, **fields)
    results = shell.results(process, slot)
    state = shell.node.state(process, slot)
    assert state.state["count"] == 2, "the spawn and the first message"
    assert state.record.changed is False
    assert state.record.image == pages
    assert shell.call(process, "Good")["data"] == "fine"
    assert shell.node.state(process).state["count"] == 3
    return results


IN_HANDLE = {
    "the end of its memory": ("(i32.const 262144) return", "result", "gave an address outside its memory"),
    "minus one": ("(i32.const -1) return", "result", "gave an address outside its memory"),
    "an unreachable instruction": ("unreachable", "trap", "executed an unreachable instruction"),
    "a loop without end": ("(loop $again br $again)", "out-of-gas", "used up its gas"),
    "a text without end": (
        "(memory.fill (i32.const 261144) (i32.const 32) (i32.const 1000)) (i32.const 261144) return",
        "result",
        "no NUL comes after it",
    ),
    "a text beyond the limit": (
        "(memory.fill (i32.const 65536) (i32.const 32) (i32.const 3000)) (i32.const 65536) return",
        "result",
        "longer than the limit of 2000 bytes",
    ),
    "memory to the limit, and a trap": (f"{GROW} unreachable", "trap", "executed an unreachable instruction"),
    "its own heap overwritten": (
        "(memory.fill (i32.const 0) (i32.const 255) (i32.const 262143)) (i32.const 16) return",
        "result",
        "longer than the limit",
    ),
    "a null function pointer": ("(call_indirect (i32.const 0)) unreachable", "trap", "called a null function"),
    "a division by zero": ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap", "divided an integer by zero"),
}


@pytest.mark.parametrize("does", IN_HANDLE)
def test_what_handle_does_wrong_fails_its_slot_alone(shell: Shell, does: str) -> None:
    code, kind, sentence = IN_HANDLE[does]
    wat = ao_module(bad=code)
    if "indirect" in code:
        wat = wat.replace("(memory (export", "(table 1 funcref) (memory (export", 1)
    results = fails_once(shell, wat)
    assert results["type"] == "error"
    assert results["kind"] == kind
    assert sentence in str(results["error"])
    assert results["gas"] > 0  # type: ignore[operator]


def test_recursion_without_end_fails_its_slot_alone(shell: Shell) -> None:
    wat = ao_module(bad="(drop (call $deeper (i64.const 0))) unreachable")
    recurse = "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))"
    wat = wat.replace("(func $is_bad", recurse + " (func $is_bad", 1)
    results = fails_once(shell, wat, limits=SMALL._replace(gas=100_000_000))
    assert results["kind"] == "stack-overflow"
    assert results["error"] == "the program used up its stack"


def test_memory_grown_to_the_limit_is_an_outcome_like_another(shell: Shell) -> None:
    process = shell.spawn_text(ao_module(bad=GROW), limits=SMALL)
    assert shell.call(process, "Bad!")["data"] == "fine"
    assert shell.call(process, "Good")["data"] == "fine"
    assert shell.node.state(process).state["count"] == 3


def test_an_exit_is_an_error(shell: Shell) -> None:
    results = fails_once(shell, ao_module(bad="(call $exit (i32.const 7))", imports=PROC_EXIT))
    assert results["type"] == "error"
    assert re.search(r"exit.*7|7.*exit", str(results["error"]))


def test_an_exit_with_status_zero_is_no_answer_either(shell: Shell) -> None:
    assert fails_once(shell, ao_module(bad="(call $exit (i32.const 0))", imports=PROC_EXIT))["type"] == "error"


MALLOCS = {
    "gives zero": ("(i32.const 0) return", "allocation", "malloc gave no memory for the [0-9]+ bytes of its message"),
    "gives minus one": ("(i32.const -1) return", "allocation", "an address outside its memory"),
    "gives the last byte": ("(i32.const 262143) return", "allocation", "an address outside its memory"),
    "traps": ("unreachable", "trap", "in its malloc, the program executed an unreachable instruction"),
    "loops": ("(loop $again br $again)", "out-of-gas", "in its malloc, the program used up its gas"),
}


@pytest.mark.parametrize("does", MALLOCS)
def test_a_malloc_that_fails_fails_the_slot(shell: Shell, does: str) -> None:
    code, kind, sentence = MALLOCS[does]
    wat = ao_module(malloc=f"{IF_LONG} (then {code}))")
    results = fails_once(shell, wat, bad="Long", data="x" * MANY_BYTES)
    assert results["kind"] == kind
    assert re.search(sentence, str(results["error"]))


def test_a_program_that_answers_with_its_own_message_has_not_said_that_it_went_well(shell: Shell) -> None:
    results = fails_once(shell, ao_module(bad="(local.get $message) return"))
    assert results["kind"] == "program"


def test_a_free_that_traps_fails_the_slot(shell: Shell) -> None:
    results = fails_once(shell, ao_module(free="(if (global.get $was_bad) (then unreachable))", bad=""))
    assert results["kind"] == "trap"
    assert results["error"] == "in its free, the program executed an unreachable instruction"


def test_allocator_and_handle_share_one_gas_limit(shell: Shell) -> None:
    # Each of the five calls of a message burns a third of the gas: no message can be paid for.
    burn = "(local $n i32) (local.set $n (i32.const 100000)) (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    process = shell.spawn_text(ao_module(malloc=burn, free=burn), limits=SMALL._replace(gas=1_000_000))
    results = shell.call(process, "Good")
    assert results["kind"] == "out-of-gas"
    assert results["gas"] == 1_000_000


BAD_ANSWERS = {
    b"": ("result", "is not JSON; it begins ''"),
    b"hello": ("result", "is not JSON; it begins 'hello'"),
    b'{"ok":true,"response":{}': ("result", "is not JSON"),
    b'{"ok":true,"response":{}} {}': ("result", "is not JSON"),
    b"{'ok':true}": ("result", "is not JSON"),
    b'{"ok":true,"response":{"Output":NaN}}': ("result", "NaN, which is not JSON"),
    b'{"ok":true,"response":{"Output":-Infinity}}': ("result", "-Infinity, which is not JSON"),
    b'{"ok":true,"response":{"Output":1e999}}': ("result", "beyond what a float can hold"),
    b'{"ok":true,"response":{"Output":1' + b"0" * 309 + b"}}": ("result", "beyond what a float can hold"),
    b'{"ok":true,"response":{"Output":' + b"[" * 100 + b"]" * 100 + b"}}": ("result", "nests deeper than 64 levels"),
    b"[" * 1990: ("result", "nests deeper than 64 levels"),
    b'{"a":' * 390: ("result", "nests deeper than 64 levels"),
    b'{"ok":true,"response":{"Output":{"A":1,"a":2}}}': ("result", "the same key twice"),
    b'{"ok":true,"response":{"Output":1,"output":2}}': ("result", "the same key twice"),
    b"[]": ("program", "it failed, and not why"),
    b"[1]": ("result", "answer must be an object, it is a list"),
    b'"ok"': ("result", "answer must be an object, it is text"),
    b"null": ("result", "answer must be an object, it is null"),
    b"{}": ("program", "it failed, and not why"),
    b'{"ok":false}': ("program", "it failed, and not why"),
    b'{"ok":false,"response":"why"}': ("program", "why"),
    b'{"ok":false,"error":"why else"}': ("program", "why else"),
    b'{"ok":false,"response":{"A":[1]}}': ("program", '{"a":[1]}'),
    b'{"ok":true}': ("result", "has no response"),
    b'{"ok":true,"response":null}': ("result", "has no response"),
    b'{"ok":true,"response":"text"}': ("result", "response must be an object, it is text"),
    b'{"ok":true,"response":7}': ("result", "response must be an object, it is a number"),
    b'{"ok":true,"response":{"Error":"no such thing"}}': ("program", "no such thing"),
    b'{"ok":true,"response":{"Error":{"code":7}}}': ("program", '{"code":7}'),
    b'{"ok":true,"response":{"Messages":"x"}}': ("result", "Messages must be a list, it is text"),
    b'{"ok":true,"response":{"Messages":{"1":{}}}}': ("result", "Messages must be a list, it is an object"),
    b'{"ok":true,"response":{"Messages":[7]}}': ("result", "entry 1 of Messages must be an object"),
    b'{"ok":true,"response":{"Messages":[{},{"Tags":"x"}]}}': ("result", "Tags must be a list"),
    b'{"ok":true,"response":{"Messages":[{"Tags":[1]}]}}': ("result", "each tag of entry 1 of Messages"),
    b'{"ok":true,"response":{"Messages":[{"Tags":[{"value":1}]}]}}': ("result", "an object with a name"),
    b'{"ok":true,"response":{"Spawns":true}}': ("result", "Spawns must be a list, it is a boolean"),
    b'{"ok":true,"response":{"Assignments":[1]}}': ("result", "an assignment must be an object"),
    b'{"ok":true,"response":{"Patches":[[1]]}}': ("result", "entry 1 of Patches must be an object"),
}  # fmt: skip


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=lambda answer: answer[:40].decode())
def test_an_answer_that_is_none_fails_its_slot_alone(shell: Shell, answer: bytes) -> None:
    kind, sentence = BAD_ANSWERS[answer]
    results = fails_once(shell, ao_module(bad_answer=answer), limits=SMALL._replace(result_bytes=8000))
    assert results["type"] == "error"
    assert results["kind"] == kind
    assert sentence in str(results["error"])


FIFTY_MB = 50 * 1024 * 1024


def fifty_megabytes(item: bytes) -> str:
    """Instructions that write an answer of 50 MB at 1 MB: a list of `item`s."""
    start = b'{"ok":true,"response":{"Output":['
    count = FIFTY_MB // len(item)
    stores = "".join(
        f"(i32.store8 (i32.const {1_048_576 + i}) (i32.const {byte}))" for i, byte in enumerate(start)
    ) + "".join(
        f"(i32.store8 (i32.const {1_048_576 + len(start) + i}) (i32.const {byte}))" for i, byte in enumerate(item)
    )
    end = 1_048_576 + len(start) + len(item) * count
    # Each step copies what is there already: the item doubles until all are there.
    return f"""(drop (memory.grow (i32.const 820))) {stores} (local.set $environment (i32.const {len(item)}))
      (loop $double
        (memory.copy (i32.add (i32.const {1_048_576 + len(start)}) (local.get $environment))
          (i32.const {1_048_576 + len(start)}) (local.get $environment))
        (local.set $environment (i32.shl (local.get $environment) (i32.const 1)))
        (br_if $double (i32.lt_u (local.get $environment) (i32.const {FIFTY_MB // 2}))))
      (i32.store8 (i32.const {end}) (i32.const 0))
      (i32.const 1048576) return"""


def test_fifty_megabytes_of_json_are_too_many(shell: Shell) -> None:
    wide = Limits(gas=1_000_000_000, memory_pages=1000, result_bytes=16 * 1024 * 1024)
    results = fails_once(shell, ao_module(bad=fifty_megabytes(b"1,")), limits=wide)
    assert results["error"] == "the program's answer is longer than the limit of 16777216 bytes"


def test_fifty_megabytes_of_brackets_are_refused_soon(shell: Shell) -> None:
    wide = Limits(gas=1_000_000_000, memory_pages=1000, result_bytes=64 * 1024 * 1024)
    results = fails_once(shell, ao_module(bad=fifty_megabytes(b"[[")), limits=wide)
    assert "nests deeper than 64 levels" in str(results["error"])


REFUSED = {
    "a handle of one": (
        (
            '(module (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) i32.const 0)'
            ' (func (export "handle") (param i32) (result i32) i32.const 0))'
        ),
        "exports 'handle' of type (i32, i32) -> (i32); this one's is (i32) -> (i32)",
    ),
    "a handle of another width": (
        (
            '(module (memory (export "memory") i64 1) (func (export "malloc") (param i64) (result i64) i64.const 0)'
            ' (func (export "handle") (param i32 i32) (result i32) i32.const 0))'
        ),
        "exports 'handle' of type (i64, i64) -> (i64); this one's is (i32, i32) -> (i32)",
    ),
    "a malloc without result": (
        (
            '(module (memory (export "memory") 1) (func (export "malloc") (param i32))'
            ' (func (export "handle") (param i32 i32) (result i32) i32.const 0))'
        ),
        "exports 'malloc' of type (i32) -> (i32); this one's is (i32) -> ()",
    ),
    "no memory": (
        (
            '(module (func (export "malloc") (param i32) (result i32) i32.const 0)'
            ' (func (export "handle") (param i32 i32) (result i32) i32.const 0))'
        ),
        "has a memory; this one has none",
    ),
    "an import that nothing has": (
        ao_module(imports='(import "env" "launch_missiles" (func (param i32)))'),
        "launch_missiles",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_a_module_that_is_not_of_the_abi_is_refused_at_the_spawn(shell: Shell, which: str) -> None:
    wat, sentence = REFUSED[which]
    before = shell.records()
    with pytest.raises(Refused, match=re.escape(sentence)):
        shell.spawn_text(wat)
    assert shell.records() == before


def test_a_module_without_handle_is_refused_as_the_interface_that_was_asked_for(shell: Shell) -> None:
    with pytest.raises(Refused, match="exports 'handle'; this one does not"):
        shell.spawn_text('(module (memory (export "memory") 1))', devices=["json-iface@1.0"])
