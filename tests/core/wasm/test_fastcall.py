"""The direct path and the public API must be indistinguishable, but for the time they take."""

from __future__ import annotations

import math

import pytest
import wasmtime

from hb.wasm import engine, fastcall
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
    store.set_epoch_deadline(1)
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
    assert fastcall._binding is not None, "this release of the binding has the direct path"
    assert path(fastcall.PrivateCall, module) == path(fastcall.PublicCall, module)


@pytest.mark.parametrize("type_", ["i32", "i64", "f32", "f64"])
def test_both_paths_read_and_write_the_same_bits(type_: str) -> None:
    from hb.wasm.module import from_text

    module = load(from_text(f'(module (global (export "g") (mut {type_}) ({type_}.const 1)))'))
    store = wasmtime.Store(engine.get_engine())
    global_ = wasmtime.Instance(store, module.compiled, []).exports(store)["g"]
    private, public = fastcall.PrivateCell(store, global_, type_), fastcall.PublicCell(store, global_, type_)
    width = 32 if type_.endswith("32") else 64
    quiet_nan = 0x7FC00000 if width == 32 else 0x7FF8000000000000
    assert private.read() == public.read() == fastcall.bits_of(type_, 1)
    for bits in (0, 1, 2 ** (width - 1), 2 ** (width - 1) - 2, 0x3FC00000, quiet_nan, quiet_nan + 5):
        for writer, reader in ((private, public), (public, private)):
            writer.write(bits)
            assert reader.read() == bits
    assert private.read() == quiet_nan + 5


def test_without_the_private_parts_the_public_ones_are_taken(monkeypatch, start, everything) -> None:
    monkeypatch.setattr(fastcall, "_binding", None)
    instance = start(everything)
    assert instance.call("poke", [8, -1]).failure is None
    assert instance.call("peek", [8]).values == (-1,)
    assert instance.read_globals() == {"g": 1.5}
    failure = instance.call("throw", [1]).failure
    assert failure is not None


def test_a_binding_of_another_shape_is_noticed(monkeypatch) -> None:
    from wasmtime import _ffi

    monkeypatch.delattr(_ffi, "wasmtime_val_t")
    with pytest.raises(AttributeError):
        fastcall._bind()


def test_bits_and_numbers_are_each_others_inverse() -> None:
    for type_, number in (("i32", -1), ("i64", -(2**63)), ("f32", 0.5), ("f64", -0.0), ("f64", math.inf)):
        assert repr(fastcall.number_of(type_, fastcall.bits_of(type_, number))) == repr(number)
    assert fastcall.bits_of("i32", -1) == 2**32 - 1
