"""A result of 64 bits in two halves: the same gas as any host call, and the same stack on every Python."""

from __future__ import annotations

import pytest

from hb.protocol.definition import Limits
from hb.wasm.halves import Halved
from hb.wasm.host import Failure
from hb.wasm.instance import HOST_CALL_GAS, Instance
from hb.wasm.module import from_text, load
from hb.wasm.tracing import Recorder

LIMITS = Limits(10**7, 4, 10)
TEXT = """(module
  (import "env" "made" (func $made (param i32 i32) (result i32)))
  (import "env" "other" (func $other (result i32)))
  (global $high (export "high") (mut i32) (i32.const 7))
  (global $depth (export "depth") (mut i32) (i32.const 0))
  (func $deep (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $deep))
  (func (export "_emscripten_tempret_set") {setter})
  (func (export "Made") (param i32 i32) (result i32) (call $made (local.get 0) (local.get 1)))
  (func (export "Both") (param i32 i32) (result i32)
    (i32.add (call $made (local.get 0) (local.get 1)) (call $other))))"""
SETS = "(param i32) (global.set $high (local.get 0))"
IMPORTS = {
    ("env", "made"): Halved(lambda host, low, high: (high << 32) | (low & 0xFFFFFFFF)),
    ("env", "other"): Halved(lambda host: -1),
}


def program(setter: str = SETS, gas: int = LIMITS.gas) -> Instance:
    return Instance(load(from_text(TEXT.format(setter=setter))), LIMITS._replace(gas=gas), IMPORTS)


def test_the_halves_are_the_result_and_what_the_program_is_handed() -> None:
    instance = program()
    for low, high in ((0, 0), (-1, -1), (-(2**31), 2**31 - 1), (5, -3)):
        assert instance.call("Made", [low, high]).values == (low,)
        assert instance.read_globals()["high"] == high
    assert instance.call("Both", [3, 9]).values == (2,)
    assert instance.read_globals()["high"] == -1


def test_the_gas_is_that_of_a_host_call_and_of_what_the_program_does() -> None:
    # Entered, two arguments, the call; and, in the program, entered, an argument, the global.
    needed = HOST_CALL_GAS + 4 + 3
    outcome = program().call("Made", [1, 2])
    assert (outcome.gas, outcome.failure) == (needed, None)
    assert program(gas=needed).call("Made", [1, 2]).failure is None
    short = program(gas=HOST_CALL_GAS).call("Made", [1, 2])
    assert short.failure is not None
    assert (short.failure.kind, short.gas) == ("out-of-gas", HOST_CALL_GAS)
    assert program("(param i32) unreachable").call("Made", [1, 2]).gas == HOST_CALL_GAS + 4 + 1


def deepest(instance: Instance) -> int:
    outcome = instance.call("Made", [1, 2])
    assert outcome.failure is not None
    assert outcome.failure.kind == "stack-overflow"
    depth = instance.read_globals()["depth"]
    assert isinstance(depth, int)
    return depth


def test_the_stack_below_a_host_call_is_the_same_whoever_watches() -> None:
    deep = "(param i32) (call $deep)"
    recorder = Recorder(10)
    recorder.on = True
    plain = program(deep)
    watched = recorder.make_instance(plain.module, LIMITS, IMPORTS)
    assert deepest(plain) == deepest(watched) > 10_000
    assert [call.function for call in recorder.calls[0].host_calls] == ["env.made"]
    assert {frame.function for frame in recorder.calls[0].backtrace} <= {
        None,
        "deep",
        "Made",
        "_emscripten_tempret_set",
    }


@pytest.mark.parametrize("setter", ["", "(param i64)", "(param i32) (result i32) (i32.const 1)"])
def test_a_program_that_takes_no_high_half_fails_when_it_asks_for_one(setter: str) -> None:
    assert program(setter).call("Made", [1, 2]).failure == Failure(
        "trap", "the host cannot call the program's '_emscripten_tempret_set' now"
    )


def test_a_start_function_cannot_ask_for_one() -> None:
    text = TEXT.format(setter=SETS).replace(
        "(global $high", "(start $start) (func $start (drop (call $other))) (global $high"
    )
    failure = Instance(load(from_text(text)), LIMITS, IMPORTS).start_failure
    assert failure is not None
    assert failure.kind == "trap"
