"""The direct path and the public API must be indistinguishable, but for the time they take."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading

import pytest
import wasmtime

import publicapi as public
from hb.binary.parse import FunctionType, numeric_type
from hb.capi import binding, epochs, fastcall
from hb.errors import HbError
from hb.wasm import engine
from hb.wasm.module import Module, load

CALLS = [
    ("same", (0, 0, 0.0, 0.0)),
    ("same", (-(2**31), -(2**63), -0.0, 5e-324)),
    ("same", (2**31 - 1, 2**63 - 1, math.inf, -1.7976931348623157e308)),
    ("same", (1, 1, math.nan, math.nan)),
    ("none", ()),
    ("one", (7,)),
    ("unreachable", ()),
    ("divide", (0,)),
    ("divide", (3,)),
    ("load", (65536,)),
    ("load", (65532,)),
    ("loop", ()),
    ("recurse", ()),
    ("throw", ()),
    ("none", ()),
]

TEXT = """(module
  (memory 1) (tag $t)
  (func (export "same") (param i32 i64 f32 f64) (result f64 f32 i64 i32) (local.get 3) (local.get 2) (local.get 1) (local.get 0))
  (func (export "none")) (func (export "one") (param i32) (result i32) (local.get 0))
  (func (export "unreachable") (unreachable))
  (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 9) (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "loop") (loop (br 0)))
  (func $r (export "recurse") (call $r) (call $r))
  (func (export "throw") (throw $t)))"""  # fmt: skip


def path(prepare, module: Module) -> list[tuple[str, ...]]:
    """What each call of `CALLS` gives, in one store, through one of the two paths."""
    store = wasmtime.Store(engine.get_engine())
    store.set_fuel(0)
    epochs.guard(store)
    exports = wasmtime.Instance(store, module.compiled, []).exports(store)
    seen = []
    calls = {name: prepare(store, exports[name], module.info.functions[name]) for name, _ in CALLS}
    for name, arguments in CALLS:
        call = calls[name]
        values, fuel, stop = call(arguments, 100_000)
        code = getattr(stop, "trap_code", None)
        seen.append((name, repr(values), str(fuel), type(stop).__name__, str(code)))
    return seen


def test_both_paths_give_the_same_values_gas_and_traps() -> None:
    from hb.wasm.module import from_text

    module = load(from_text(TEXT))
    assert path(fastcall.Call, module) == path(public.Call, module)


@pytest.mark.parametrize("type_", ["i32", "i64", "f32", "f64"])
def test_both_paths_read_and_write_the_same_bits(type_: str) -> None:
    from hb.wasm.module import from_text

    module = load(from_text(f'(module (global (export "g") (mut {type_}) ({type_}.const 1)))'))
    store = wasmtime.Store(engine.get_engine())
    global_ = wasmtime.Instance(store, module.compiled, []).exports(store)["g"]
    private, other = fastcall.Cell(store, global_, type_), public.Cell(store, global_, type_)
    width = 32 if type_.endswith("32") else 64
    quiet_nan = 0x7FC00000 if width == 32 else 0x7FF8000000000000
    assert private.read() == other.read() == fastcall.bits_of(type_, 1)
    for bits in (0, 1, 2 ** (width - 1), 2 ** (width - 1) - 2, 0x3FC00000, quiet_nan, quiet_nan + 5):
        for writer, reader in ((private, other), (other, private)):
            writer.write(bits)
            assert reader.read() == bits
    assert private.read() == quiet_nan + 5


def test_a_binding_of_another_shape_is_refused(monkeypatch) -> None:
    from wasmtime import _ffi

    monkeypatch.delattr(_ffi, "wasmtime_val_t")
    binding.get.cache_clear()
    with pytest.raises(HbError, match="this release of wasmtime is not one that hb can drive"):
        binding.get()


def test_bits_and_numbers_are_each_others_inverse() -> None:
    for type_, number in (("i32", -1), ("i64", -(2**63)), ("f32", 0.5), ("f64", -0.0), ("f64", math.inf)):
        assert repr(fastcall.number_of(type_, fastcall.bits_of(type_, number))) == repr(number)
    assert fastcall.bits_of("i32", -1) == 2**32 - 1


# --- host functions

HOSTED = """(module
  (import "env" "all" (func $all (param i32 i64 f32 f64) (result i64)))
  (import "env" "i32" (func $i32 (result i32))) (import "env" "f32" (func $f32 (result f32)))
  (import "env" "f64" (func $f64 (result f64))) (import "env" "none" (func $none))
  (func (export "all") (param i32 i64 f32 f64) (result i64)
    (call $all (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "i32") (result i32) (call $i32)) (func (export "f32") (result f32) (call $f32))
  (func (export "f64") (result f64) (call $f64)) (func (export "none") (call $none))
  (func (export "trap") unreachable))"""

ARGUMENTS = [
    (0, 0, 0.0, 0.0),
    (-(2**31), -(2**63), -0.0, 5e-324),
    (2**31 - 1, 2**63 - 1, math.inf, -1.7976931348623157e308),
]


class BugError(BaseException):
    """What no handler of ordinary exceptions catches."""


PATHS = [
    (fastcall.host_function, fastcall.Call),
    (public.host_function, public.Call),
    (fastcall.host_function, public.Call),
]


def hosted(host_function, prepare, function) -> dict[str, fastcall.Call]:
    """Every export of `HOSTED` as a call, its imports being `function` with the import's name before the arguments."""
    from hb.wasm.module import from_text

    module = load(from_text(HOSTED))
    store = wasmtime.Store(engine.get_engine())
    store.set_fuel(0)
    epochs.guard(store)

    def named(name: str):
        return lambda *arguments: function(name, *arguments)

    imports = [host_function(store, numeric_type(i.type), named(i.name)) for i in module.info.imports]
    exports = fastcall.instantiate(store, module.compiled, imports).exports(store)
    return {name: prepare(store, exports[name], type_) for name, type_ in module.info.functions.items()}


@pytest.fixture(params=PATHS, ids=["private", "public", "mixed"])
def paths(request):
    return request.param


def test_host_functions_get_what_the_program_gives(paths) -> None:
    seen = []
    calls = hosted(*paths, lambda name, *arguments: seen.append((name, *arguments)) or 0)
    for arguments in ARGUMENTS:
        assert calls["all"](arguments, 100_000)[2] is None
    assert repr(seen) == repr([("all", *arguments) for arguments in ARGUMENTS])


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("i32", 2**31 - 1, 2**31 - 1),
        ("i32", 2**32 - 1, -1),
        ("i32", 2**40 + 3, 3),
        ("i32", -(2**31), -(2**31)),
        ("i32", True, 1),
        ("f32", 0.5, 0.5),
        ("f64", -0.0, -0.0),
        ("f64", math.inf, math.inf),
    ],
)
def test_programs_get_what_a_host_function_gives_and_of_integers_the_low_bits(paths, name, given, taken) -> None:
    values, _, stop = hosted(*paths, lambda name: given)[name]((), 100_000)
    assert stop is None
    assert repr(values) == repr((taken,))


def test_programs_get_64_bits(paths) -> None:
    for given, taken in ((2**63, -(2**63)), (-1, -1), (2**64 + 5, 5)):
        calls = hosted(*paths, lambda name, *arguments, given=given: given)
        assert calls["all"](ARGUMENTS[0], 100_000)[0] == (taken,)


@pytest.mark.parametrize(("name", "given"), [("i32", None), ("i32", 1.5), ("f64", "text"), ("none", 3)])
def test_a_value_of_the_wrong_kind_is_a_bug_that_is_raised(paths, name, given) -> None:
    with pytest.raises((TypeError, wasmtime.WasmtimeError, fastcall.struct.error)):
        hosted(*paths, lambda name: given)[name]((), 100_000)


def test_what_a_host_function_raises_is_raised_once_where_the_call_was_made(paths) -> None:
    def fail(name: str, *arguments: object) -> int:
        if name == "none":
            raise BugError("a bug")
        return 1

    calls = hosted(*paths, fail)
    for _ in range(3):
        with pytest.raises(BugError, match="a bug"):
            calls["none"]((), 100_000)
        assert calls["i32"]((), 100_000)[0] == (1,)
        stop = calls["trap"]((), 100_000)[2]
        assert isinstance(stop, wasmtime.Trap)
        assert stop.trap_code is wasmtime.TrapCode.UNREACHABLE


def test_what_is_raised_on_one_thread_is_not_raised_on_another() -> None:
    inside, gone = threading.Event(), threading.Event()
    caught: list[str] = []

    def fail(name: str) -> None:
        inside.set()
        gone.wait(10)
        raise ZeroDivisionError("a bug")

    def other() -> None:
        try:
            hosted(fastcall.host_function, fastcall.Call, fail)["none"]((), 100_000)
        except ZeroDivisionError:
            caught.append("there")

    calls = hosted(fastcall.host_function, fastcall.Call, lambda name: 1)
    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert isinstance(calls["trap"]((), 100_000)[2], wasmtime.Trap)
    gone.set()
    thread.join()
    assert caught == ["there"]
    assert isinstance(calls["trap"]((), 100_000)[2], wasmtime.Trap)


def test_a_start_that_a_host_function_ends_is_raised(paths) -> None:
    host_function, _ = paths
    from hb.wasm.module import from_text

    module = load(from_text('(module (import "env" "none" (func $none)) (start $none))'))
    store = wasmtime.Store(engine.get_engine())
    store.set_fuel(1000)
    epochs.guard(store)

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    function = host_function(store, FunctionType((), ()), fail)
    with pytest.raises(ZeroDivisionError):
        fastcall.instantiate(store, module.compiled, [function])


def test_host_functions_go_with_their_store() -> None:
    gc.collect()
    before = len(fastcall._hosted)
    calls = hosted(fastcall.host_function, fastcall.Call, lambda name: 1)
    assert len(fastcall._hosted) == before + 5
    del calls
    gc.collect()
    assert len(fastcall._hosted) == before


@pytest.mark.parametrize(
    "type_",
    [
        FunctionType(("externref",), ()),
        FunctionType((), ("funcref",)),
        FunctionType(("v128",), ()),
        FunctionType((), ("i32", "i32")),
    ],
)
def test_a_type_that_no_host_function_has_is_refused(paths, type_) -> None:
    with pytest.raises(ValueError, match="no host function is of type"):
        paths[0](wasmtime.Store(engine.get_engine()), type_, lambda: None)


@pytest.mark.parametrize("tank", [fastcall.Tank, public.Tank])
def test_both_paths_take_the_same_fuel(tank) -> None:
    store = wasmtime.Store(engine.get_engine())
    store.set_fuel(100)
    assert tank(store).take(60)
    assert store.get_fuel() == 40
    assert tank(store).take(40)
    assert not tank(store).take(1)
    store.set_fuel(5)
    assert not tank(store).take(2**63)
    assert store.get_fuel() == 0


def test_both_paths_find_the_same_memory() -> None:
    store = wasmtime.Store(engine.get_engine())
    exported = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, 5)))
    private, other = fastcall.Memory(store, exported), public.Memory(store, exported)
    for pages in (1, 3):
        assert private.size() == other.size() == pages * 65_536
        assert private.address() == other.address() != 0
        exported.grow(store, 2)


def test_a_program_that_ends_with_instances_ends_quietly() -> None:
    """What the engine calls as the last stores go must still be there, whatever of Python has gone."""
    code = """
import sys
from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load
module = load(from_text('(module (import "e" "f" (func $f)) (func (export "F") (call $f)))'))
kept = [Instance(module, Limits(10000, 1, 1), {("e", "f"): lambda host: None}) for _ in range(3)]
kept[0].call("F", [])
sys.kept = kept
kept.append(kept)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
