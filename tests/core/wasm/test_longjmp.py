"""longjmp for modules that emscripten made: what `invoke_*` must do when what it calls jumps, returns or traps."""

from __future__ import annotations

import pytest

from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.wasm import longjmp
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, inspect, load
from hb.wasm.tracing import Recorder

LIMITS = Limits(10_000_000, 10, 1000)

PROGRAM = """(module
  (import "env" "invoke_{letters}" (func $invoke (param {p} {p} {p}) {result}))
  (import "env" "_emscripten_throw_longjmp" (func $jump))
  (table (export "__indirect_function_table") 3 funcref)
  (elem (i32.const 1) $callee)
  (memory (export "memory") 1)
  (global $stack (mut {p}) ({p}.const 1000))
  (global $threw (export "threw") (mut {p}) ({p}.const 0))
  (func (export "emscripten_stack_get_current") (result {p}) (global.get $stack))
  (func (export "_emscripten_stack_restore") (param {p}) (global.set $stack (local.get 0)))
  (func (export "setThrew") (param {p} i32) (global.set $threw (local.get 0)))
  (func $callee (param {p} {p}) {result}
    (global.set $stack ({p}.const 5))
    (if ({p}.eq (local.get 0) ({p}.const 1)) (then (call $jump)))
    (if ({p}.eq (local.get 0) ({p}.const 2)) (then unreachable))
    (if ({p}.eq (local.get 0) ({p}.const 3)) (then (loop (br 0))))
    (if ({p}.eq (local.get 0) ({p}.const 4)) (then (drop_result (call $invoke ({p}.const 1) ({p}.const 1) ({p}.const 0)))))
    (global.set $stack ({p}.const 900))
    {value})
  (func (export "Run") (param {p}) {result}
    (global.set $threw ({p}.const 0))
    (global.set $stack ({p}.const 1000))
    (call $invoke ({p}.const 1) (local.get 0) ({p}.const 7)))
  (func (export "Missing") {result} (call $invoke ({p}.const 2) ({p}.const 0) ({p}.const 0)))
  (func (export "Jump") (call $jump))
  (func (export "Stack") (result {p}) (global.get $stack)))"""


def program(pointer: str, *, gives: bool) -> Instance:
    letter = "i" if pointer == "i32" else "j"
    text = PROGRAM.format(
        p=pointer,
        letters=("i" if gives else "v") + letter * 2,
        result="(result i32)" if gives else "",
        value="(i32.add (i32.const 40) (i32.const 2))" if gives else "",
    )
    text = text.replace("(drop_result (call", "(drop (call" if gives else "(block (call")
    return Instance(load(from_text(text)), LIMITS)


@pytest.fixture(params=["i32", "i64"])
def pointer(request) -> str:
    return request.param


@pytest.fixture(params=[True, False])
def gives(request) -> bool:
    return request.param


def test_what_returns_gives_its_value_and_keeps_its_stack(pointer, gives) -> None:
    instance = program(pointer, gives=gives)
    outcome = instance.call("Run", [0])
    assert outcome.failure is None
    assert outcome.values == ((42,) if gives else ())
    assert instance.read_globals() == {"threw": 0}
    assert instance.call("Stack", []).values == (900,)


def test_what_jumps_is_caught_the_stack_restored_and_the_program_told(pointer, gives) -> None:
    instance = program(pointer, gives=gives)
    outcome = instance.call("Run", [1])
    assert outcome.failure is None
    assert outcome.values == ((0,) if gives else ())
    assert instance.read_globals() == {"threw": 1}
    assert instance.call("Stack", []).values == (1000,)


def test_a_jump_is_caught_by_the_nearest(pointer, gives) -> None:
    instance = program(pointer, gives=gives)
    assert instance.call("Run", [4]).values == ((42,) if gives else ())
    assert instance.call("Stack", []).values == (900,)


@pytest.mark.parametrize(("argument", "kind"), [(2, "trap"), (3, "out-of-gas")])
def test_a_trap_below_is_not_caught(pointer, gives, argument, kind) -> None:
    outcome = program(pointer, gives=gives).call("Run", [argument])
    assert outcome.failure is not None
    assert outcome.failure.kind == kind


def test_a_function_that_is_not_there_and_a_jump_that_nobody_catches_are_traps(pointer, gives) -> None:
    instance = program(pointer, gives=gives)
    for function in ("Missing", "Jump"):
        failure = instance.call(function, []).failure
        assert failure is not None
        assert failure.kind == "trap"


def test_gas_is_the_same_every_time(pointer, gives) -> None:
    assert len({program(pointer, gives=gives).call("Run", [1]).gas for _ in range(3)}) == 1


def test_a_fresh_instance_jumps_too(pointer, gives) -> None:
    fresh = program(pointer, gives=gives).fresh()
    fresh.call("Run", [1])
    assert fresh.read_globals() == {"threw": 1}


@pytest.mark.parametrize(
    "missing",
    ["setThrew", "emscripten_stack_get_current", "_emscripten_stack_restore", '(export "__indirect_function_table")'],
)
def test_a_program_that_does_not_export_what_it_takes_is_not_provided_for(missing) -> None:
    text = PROGRAM.format(p="i32", letters="vii", result="", value="").replace("(drop_result (call", "(block (call")
    wasm = from_text(text.replace(f'"{missing}"', '"another"').replace(missing, ""))
    assert longjmp.find(inspect(wasm)) is None
    assert longjmp.provided(inspect(wasm)) == set()
    with pytest.raises(Refused, match=r"env\.invoke_vii"):
        Instance(load(wasm), LIMITS)


def test_what_is_provided_is_named() -> None:
    text = PROGRAM.format(p="i64", letters="vjj", result="", value="").replace("(drop_result (call", "(block (call")
    assert longjmp.provided(inspect(from_text(text))) == {("env", "invoke_vjj"), ("env", "_emscripten_throw_longjmp")}


def test_an_invoke_of_another_pointer_type_is_not_provided() -> None:
    text = PROGRAM.format(p="i64", letters="vjj", result="", value="").replace("(drop_result (call", "(block (call")
    info = inspect(
        from_text(
            text.replace(
                '(import "env" "invoke_vjj"', '(import "env" "invoke_vi" (func (param i32))) (import "env" "invoke_vjj"'
            )
        )
    )
    assert longjmp.find(info) is None


def test_a_backtrace_has_none_of_the_functions_that_are_put_in_between(pointer, gives) -> None:
    recorder = Recorder(10)
    plain = program(pointer, gives=gives)
    watched = recorder.make_instance(plain.module, LIMITS, {})
    recorder.on = True
    outcome = watched.call("Run", [2])
    assert outcome == plain.call("Run", [2])
    assert outcome.failure is not None
    (call,) = recorder.calls
    assert [frame.function for frame in call.backtrace] == ["callee", "Run"]
