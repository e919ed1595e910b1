from __future__ import annotations

import gc
import math
import struct
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.wasm.engine import PAGE_BYTES
from hb.wasm.host import Failure, Host, HostTrap
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load

if TYPE_CHECKING:
    from collections.abc import Callable


def pages_of(instance: Instance) -> dict[int, bytes]:
    every = {index: instance.page(index) for index in range(instance.memory_pages)}
    return {index: page for index, page in every.items() if any(page)}


def twin(instance: Instance) -> Instance:
    """A fresh instance that was given the other's state."""
    fresh = instance.fresh()
    fresh.load(instance.raw_globals(), instance.memory_pages, pages_of(instance))
    return fresh


# --- calls


def test_the_counter_counts(start, sample) -> None:
    counter = start(sample("counter"))
    assert counter.read_globals() == {"counter": 0}
    assert counter.call("Increment", []).values == ()
    assert counter.call("Add", [-3]).failure is None
    outcome = counter.call("ReadValue", [])
    assert (outcome.values, outcome.failure) == ((-2,), None)
    assert counter.read_globals() == {"counter": -2}


def test_gas_is_the_same_every_time_and_in_every_instance(start, sample) -> None:
    first, second = start(sample("ledger")), start(sample("ledger"), gas=77_777)
    gas = [[i.call("Mint", [account, 5]).gas for account in range(20)] for i in (first, second)]
    assert gas[0] == gas[1]
    assert gas[0] == sorted(gas[0])
    assert gas[0][0] < gas[0][-1]


FAILURES = [
    ("loop", "Loop", "out-of-gas"),
    ("recurse", "Recurse", "stack-overflow"),
    ("trap", "Unreachable", "trap"),
    ("trap", "DivideByZero", "trap"),
    ("trap", "OutOfBounds", "trap"),
    ("trap", "GrowAndTrap", "trap"),
]


@pytest.mark.parametrize(("module", "function", "kind"), FAILURES)
def test_a_failure_is_a_value_and_the_instance_goes_on(start, sample, module: str, function: str, kind: str) -> None:
    instance = start(sample(module), gas=100_000)
    outcomes = [instance.call(function, []) for _ in range(2)]
    for outcome in outcomes:
        assert outcome.values == ()
        assert outcome.failure is not None
        assert outcome.failure.kind == kind
        assert outcome.failure.message.startswith(("the program", "an integer"))
    assert instance.call("Increment", []).failure is None


def test_running_out_of_gas_uses_all_of_it(start, sample) -> None:
    assert start(sample("loop"), gas=12_345).call("Loop", []).gas == 12_345
    needed = start(sample("grow")).call("Grow", []).gas
    assert start(sample("grow"), gas=needed).call("Grow", []).failure is None
    short = start(sample("grow"), gas=needed // 2).call("Grow", [])
    assert short.failure is not None
    assert (short.failure.kind, short.gas) == ("out-of-gas", needed // 2)


def test_an_exception_that_nobody_catches_is_a_failure(start, everything) -> None:
    instance = start(everything)
    for _ in range(2):
        assert instance.call("throw", [3]).failure == Failure(
            "trap", "the program threw an exception that it did not catch"
        )
        assert instance.call("catch", [3]).values == (3,)


def test_every_trap_has_a_sentence() -> None:
    import wasmtime

    from hb.wasm.traps import _TRAPS

    # Those that a core module under the fixed configuration can cause; the rest are of components and threads.
    ours = {"STACK_OVERFLOW", "MEMORY_OUT_OF_BOUNDS", "TABLE_OUT_OF_BOUNDS", "INDIRECT_CALL_TO_NULL", "BAD_SIGNATURE"}
    ours |= {"INTEGER_OVERFLOW", "INTEGER_DIVISION_BY_ZERO", "BAD_CONVERSION_TO_INTEGER", "UNREACHABLE", "OUT_OF_FUEL"}
    assert ours <= _TRAPS.keys() <= {code.name for code in wasmtime.TrapCode}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "an integer operation overflowed"),
        ("(drop (i32.rem_u (i32.const 1) (i32.const 0)))", "divided an integer by zero"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "a float that no integer can hold"),
        ("(call_indirect (i32.const 0))", "called a null function"),
        ("(call_indirect (i32.const 9))", "accessed a table out of bounds"),
        ("(call_indirect (i32.const 1))", "called a function of another type"),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 65537))", "accessed memory out of bounds"),
    ],
)
def test_a_trap_says_what_happened(start, body: str, sentence: str) -> None:
    text = f'(module (memory 1) (table 2 funcref) (elem (i32.const 1) $i) (func $i (param i32)) (func (export "f") {body}))'
    failure = start(text).call("f", []).failure
    assert failure is not None
    assert failure.kind == "trap"
    assert sentence in failure.message


@pytest.mark.parametrize("signature", ["(param externref)", "(result funcref) (ref.null func)", "(param v128)"])
def test_a_function_of_types_that_no_message_carries_is_a_failure(start, signature: str) -> None:
    instance = start(f'(module (func (export "f") {signature}))')
    failure = instance.call("f", [1]).failure
    assert failure is not None
    assert failure.kind == "unsupported-type"


def test_there_is_no_call_of_what_is_not_exported(start, sample) -> None:
    with pytest.raises(KeyError):
        start(sample("counter")).call("Missing", [])


# --- limits


def test_memory_grows_to_the_limit_and_not_beyond(start, sample) -> None:
    grow = start(sample("grow"), memory_pages=5)
    outcome = grow.call("Grow", [])
    assert (outcome.values, outcome.failure) == ((5,), None)
    assert grow.memory_pages == 5
    assert start(sample("grow"), memory_pages=1).call("Grow", []).values == (1,)


def test_memory_of_64_bits_grows_to_the_limit_and_not_beyond(start, everything) -> None:
    instance = start(everything, memory_pages=3)
    assert instance.call("grow", [3]).values == (-1,)
    assert instance.call("grow", [2]).values == (1,)
    assert instance.call("grow", [1]).values == (-1,)
    assert instance.call("grow", [2**63 - 1]).values == (-1,)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("(memory 17)", "17 pages"),
        ("(memory i64 0x1000000000000)", "281474976710656 pages"),
        ("(table 1000001 funcref)", "1000001 elements"),
        ("(table 600000 funcref) (table 600000 funcref)", "1200000 elements"),
        ('(import "env" "f" (func))', "env.f"),
    ],
)
def test_a_module_that_wants_more_than_the_limits_is_refused(start, fields: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        start(f"(module {fields})", memory_pages=16)


def test_a_table_grows_to_the_limit_and_not_beyond(start) -> None:
    # Such a module makes no process, since its table cannot be saved; it must not take the host's memory all the same.
    text = """(module (table 1 funcref)
      (func (export "grow") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"""
    instance = start(text)
    assert [instance.call("grow", [by]).values for by in (2_000_000, 10)] == [(-1,), (1,)]


def test_limits_beyond_what_the_engine_takes_are_as_good_as_none(start, sample) -> None:
    counter = start(sample("counter"), gas=2**80, memory_pages=2**80)
    assert 0 < counter.call("Increment", []).gas < 100


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ("(start 0) (func (unreachable))", "trap"),
        ("(start 0) (func (loop (br 0)))", "out-of-gas"),
        ("(start 0) (func $r (call $r) (call $r))", "stack-overflow"),
        ('(memory 1) (data (i32.const 65536) "x")', "trap"),
    ],
)
def test_a_module_that_fails_as_it_starts_says_how(start, fields: str, kind: str) -> None:
    instance = start(f"(module {fields})", gas=50_000)
    assert instance.start_failure is not None
    assert instance.start_failure.kind == kind


def test_a_start_function_runs_and_costs(start, everything, sample) -> None:
    instance = start(everything)
    assert instance.start_failure is None
    assert 0 < instance.start_gas < 20
    assert instance.call("peek", [0]).values == (9,)
    assert start(sample("counter")).start_gas == 0


# --- values


IDENTITY = """(module
  (global $f (export "f") (mut f32) (f32.const 0)) (global $d (export "d") (mut f64) (f64.const 0))
  (global $i (export "i") (mut i32) (i32.const 0)) (global $l (export "l") (mut i64) (i64.const 0))
  (func (export "same") (param i32 i64 f32 f64) (result i32 i64 f32 f64) (local.get 0) (local.get 1) (local.get 2) (local.get 3))
  (func (export "f_bits") (result i32) (i32.reinterpret_f32 (global.get $f)))
  (func (export "d_bits") (result i64) (i64.reinterpret_f64 (global.get $d)))
  (func (export "set_f_bits") (param i32) (global.set $f (f32.reinterpret_i32 (local.get 0))))
  (func (export "set_d_bits") (param i64) (global.set $d (f64.reinterpret_i64 (local.get 0))))
  (func (export "add_f") (global.set $f (f32.add (global.get $f) (f32.const 1))))
)"""  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        (0, 0, 0.0, 0.0),
        (-(2**31), -(2**63), -0.0, 5e-324),
        (2**31 - 1, 2**63 - 1, 1.5, 1.7976931348623157e308),
        (-1, -1, math.inf, -math.inf),
        (1, 2**53 + 1, struct.unpack("<f", b"\xff\xff\x7f\x7f")[0], 0.1),
    ],
)
def test_values_go_in_and_come_out_whole(start, values: tuple[float, ...]) -> None:
    returned = start(IDENTITY).call("same", values).values
    assert returned == values
    assert [type(v) for v in returned] == [type(v) for v in values]
    assert [math.copysign(1, v) for v in returned] == [math.copysign(1, v) for v in values]


SIGNALLING_F32 = -(2**32) + 0xFFA00001  # a negative signalling NaN with a payload
SIGNALLING_F64 = 0x7FF4000000000123


def test_every_bit_of_a_nan_in_a_global_is_kept(start) -> None:
    instance = start(IDENTITY)
    instance.call("set_f_bits", [SIGNALLING_F32])
    instance.call("set_d_bits", [SIGNALLING_F64])
    assert instance.raw_globals()[:2] == [["f32", 0xFFA00001], ["f64", SIGNALLING_F64]]
    other = twin(instance)
    assert other.call("f_bits", []).values == (SIGNALLING_F32,)
    assert other.call("d_bits", []).values == (SIGNALLING_F64,)
    assert math.isnan(other.read_globals()["f"])


def test_arithmetic_on_a_nan_gives_the_one_nan(start) -> None:
    bits = []
    for payload in (SIGNALLING_F32, 0x7FC00000, 0x7F800001):
        instance = start(IDENTITY)
        instance.call("set_f_bits", [payload])
        instance.call("add_f", [])
        bits.append(instance.call("f_bits", []).values)
    assert bits == [(0x7FC00000,)] * 3


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("i", -(2**31), -(2**31)),
        ("i", 2**32 - 1, -1),
        ("l", 2**64 - 1, -1),
        ("l", -(2**63), -(2**63)),
        ("f", 1, 1.0),
        ("f", 0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("d", 0.1, 0.1),
        ("d", math.inf, math.inf),
    ],
)
def test_a_public_global_is_written_and_read(start, name: str, value: float, read: float) -> None:
    instance = start(IDENTITY)
    instance.write_global(name, value)
    assert instance.read_globals()[name] == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("i", 2**32),
        ("i", -(2**31) - 1),
        ("i", 1.0),
        ("i", True),
        ("i", "1"),
        ("l", 2**64),
        ("l", math.nan),
        ("f", 1e39),
        ("f", 2**24 + 1),
        ("d", 2**53 + 1),
        ("d", 10**400),
        ("d", None),
    ],
)
def test_a_public_global_refuses_what_its_type_cannot_hold(start, name: str, value: object) -> None:
    instance = start(IDENTITY)
    before = instance.raw_globals()
    with pytest.raises(ValueError, match=f"the global '{name}' is of type"):
        instance.write_global(name, value)
    assert instance.raw_globals() == before


def test_only_what_the_author_exported_is_public(start, everything, sample) -> None:
    assert start(everything).read_globals() == {"g": 1.5}
    ledger = start(sample("ledger"))
    assert ledger.read_globals() == {}
    for name in ("constant", ledger.module.state.globals[0][0]):
        with pytest.raises(KeyError):
            ledger.write_global(name, 1)


# --- state


def behaviour(instance: Instance) -> list[object]:
    """What a ledger answers to a run of messages, gas and all."""
    asked = [
        ("Supply", []),
        ("Balance", [3]),
        ("Transfer", [3, 90_001, 7]),
        ("Transfer", [1, 2, 10**9]),
        ("Mint", [77, 5]),
    ]
    asked += [("Balance", [n]) for n in (3, 77, 90_001)] + [("Transfer", [1, 2, -1]), ("Supply", [])]
    return [instance.call(function, arguments) for function, arguments in asked]


@pytest.mark.parametrize("accounts", [1, 200, 4_200])
def test_a_fresh_instance_with_a_ledgers_state_is_that_ledger(start, sample, accounts: int) -> None:
    live = start(sample("ledger"), gas=10**8)
    for account in range(0, accounts, 7 if accounts < 1000 else 1):
        live.call("Mint", [account, 2**62 // accounts])
    other = twin(live)
    # 4096 entries fill a page: the largest ledger's memory has grown.
    assert (other.memory_pages, other.raw_globals()) == (live.memory_pages, live.raw_globals())
    assert live.memory_pages == (2 if accounts > 4096 else 1)
    assert behaviour(live) == behaviour(other)
    assert (pages_of(live), live.raw_globals()) == (pages_of(other), other.raw_globals())


def test_a_fresh_instance_with_state_of_every_kind_is_the_same(start, everything) -> None:
    live = start(everything)
    live.call("grow", [3])
    live.call("poke", [3 * PAGE_BYTES + 5, -(2**63)])
    live.call("poke", [0, 0])
    live.call("bulk", [])
    live.call("set_g", [-0.0])
    live.call("throw", [1])
    other = twin(live)
    assert other.raw_globals() == live.raw_globals()
    assert other.raw_globals()[1] == ["f32", 0x7FA00001]
    assert pages_of(other) == pages_of(live)
    calls = [
        ("indirect", [1]),
        ("catch", [5]),
        ("branch", [1]),
        ("vector", []),
        ("select", [0]),
        ("truncate", [math.nan]),
    ]
    calls += [("peek", [0]), ("scale_nan", []), ("grow", [9]), ("grow", [1]), ("tail", [1]), ("throw", [0])]
    for function, arguments in calls:
        assert live.call(function, arguments) == other.call(function, arguments)
    assert other.raw_globals() == live.raw_globals()


def test_what_data_segments_wrote_does_not_come_back(start, everything) -> None:
    fresh = start(everything)
    assert fresh.page(0)[8:13] == b"hello"
    fresh.load(fresh.raw_globals(), 1, {})
    assert not any(fresh.page(0))


def test_state_that_the_module_cannot_have_is_a_value_error(start, everything, sample) -> None:
    good = start(everything).raw_globals()
    page = bytes(PAGE_BYTES)
    bad = [
        (good[:-1], 1, {}),
        ([["i32", 0], *good[1:]], 1, {}),
        ([["f64", 2**64], *good[1:]], 1, {}),
        ([["f64", -1], *good[1:]], 1, {}),
        (good, 0, {}),
        (good, 10, {}),
        (good, 2**40, {}),
        (good, 1, {1: page}),
        (good, 1, {-1: page}),
        (good, 1, {0: page[:-1]}),
    ]
    for raw_globals, pages, contents in bad:
        with pytest.raises(ValueError, match=r"global|page|memory"):
            start(everything).load(raw_globals, pages, contents)
    with pytest.raises(ValueError, match="no memory"):
        start(sample("counter")).load([["i32", 0]], 1, {})


def test_a_module_without_memory_has_no_pages(start, sample) -> None:
    counter = start(sample("counter"))
    assert (counter.memory_pages, counter.memory_address) == (0, 0)
    with pytest.raises(IndexError):
        counter.page(0)
    other = counter.fresh()
    other.load([["i32", 7]], 0, {})
    assert other.read_globals() == {"counter": 7}


# --- host functions


HOST = """(module
  (import "env" "add" (func $add (param i32 i64) (result i64))) (import "env" "fail" (func $fail))
  (memory (export "memory") 1)
  (func (export "Add") (param i32 i64) (result i64) (call $add (local.get 0) (local.get 1)))
  (func (export "Fail") (call $fail)))"""


def host(fail: Callable[[Host], None]) -> dict[tuple[str, str], object]:
    return {("env", "add"): lambda host, a, b: a + b + host.memory_bytes // 65536, ("env", "fail"): fail}


def test_a_host_function_gets_its_host_and_its_arguments(start) -> None:
    instance = start(HOST, imports=host(lambda host: None))
    assert instance.call("Add", [2, 2**40]).values == (2**40 + 3,)
    assert instance.fresh().call("Add", [2, 2**40]).values == (2**40 + 3,)


def test_a_host_function_can_end_the_call_as_a_failure(start) -> None:
    def fail(host: Host) -> None:
        raise HostTrap(Failure("exit", "the program left with status 3"))

    instance = start(HOST, imports=host(fail))
    outcome = instance.call("Fail", [])
    assert outcome.failure == Failure("exit", "the program left with status 3")
    assert outcome.gas > 0
    assert instance.call("Add", [1, 1]).values == (3,)


def test_a_bug_in_a_host_function_is_no_outcome(start) -> None:
    def bug(host: Host) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        start(HOST, imports=host(bug)).call("Fail", [])


def test_instances_go_when_nobody_holds_them() -> None:
    module = load(from_text(HOST))
    limits = Limits(1000, 4, 10)
    instance = Instance(module, limits, host(lambda host: None))
    instance.call("Add", [1, 1])
    gone = ref(instance)
    del instance
    gc.collect()
    assert gone() is None
