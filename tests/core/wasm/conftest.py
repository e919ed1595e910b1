"""What the tests of the wasm rooms share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(__file__).resolve().parents[3] / "samples"

# One of every shape that an instruction's immediates have, on a 64-bit memory; state of every kind that can be saved.
EVERYTHING = """(module
  (tag $t (param i32))
  (memory (export "mem") i64 1 9)
  (table 4 funcref) (elem (i32.const 0) $one $two)
  (type $number (func (result i32)))
  (global $g (export "g") (mut f64) (f64.const 1.5))
  (global (export "constant") i32 (i32.const 7))
  (global $nan (mut f32) (f32.const nan:0x200001))
  (global (mut i64) (i64.const 0x8000000000000000))
  (global (mut i32) (i32.add (i32.const 5) (i32.const 2)))
  (data (i64.const 8) "hello") (data $passive "passive")
  (func $one (result i32) i32.const 1) (func $two (result i32) i32.const 2)
  (start $start) (func $start (i32.store (i64.const 0) (i32.const 9)))
  (func (export "indirect") (param i32) (result i32) (call_indirect (type $number) (local.get 0)))
  (func (export "throw") (param i32) (throw $t (local.get 0)))
  (func (export "catch") (param i32) (result i32)
    (block $h (result i32)
      (block $ref (result exnref)
        (try_table (catch $t $h) (catch_all_ref $ref) (throw $t (local.get 0))) (return (i32.const -1)))
      throw_ref))
  (func (export "branch") (param i32) (result i32)
    (block $x (block $y (block $z (br_table $x $y $z (local.get 0))) (return (i32.const 1))) (return (i32.const 2)))
    i32.const 3)
  (func (export "vector") (result i64)
    (i64x2.extract_lane 1 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
      (v128.load64_lane offset=8 1 (i64.const 0) (v128.load32_zero (i64.const 4)))
      (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 1 2)))))
  (func (export "bulk")
    (memory.init $passive (i64.const 100) (i32.const 0) (i32.const 3))
    (memory.fill (i64.const 0) (i32.const 1) (i64.const 9))
    (memory.copy (i64.const 0) (i64.const 3) (i64.const 4)))
  (func (export "select") (param i32) (result f32)
    (select (result f32) (f32.const 1) (f32.const 2) (local.get 0)))
  (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
  (func (export "truncate") (param f64) (result i64) (i64.trunc_sat_f64_s (local.get 0)))
  (func (export "tail") (param i32) (result i32) (return_call $one))
  (func (export "peek") (param i64) (result i64) (i64.load (local.get 0)))
  (func (export "poke") (param i64 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "set_g") (param f64) (global.set $g (local.get 0)))
  (func (export "scale_nan") (global.set $nan (f32.add (global.get $nan) (f32.const 1))))
)"""


@pytest.fixture
def everything() -> bytes:
    return from_text(EVERYTHING)


@pytest.fixture
def sample() -> Callable[[str], bytes]:
    """The built bytes of a sample, by name."""
    return lambda name: (SAMPLES / f"{name}.wasm").read_bytes()


@pytest.fixture
def start() -> Callable[..., Instance]:
    """An instance of a module, given as text or bytes, under small limits that can be set."""

    def run(module: str | bytes, *, gas: int = 1_000_000, memory_pages: int = 16, imports: object = None) -> Instance:
        wasm = from_text(module) if isinstance(module, str) else module
        return Instance(load(wasm), Limits(gas=gas, memory_pages=memory_pages, result_bytes=1000), imports)

    return run
