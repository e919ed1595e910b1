"""What this machine refuses is raised and never an outcome; what the program's own limit forbids is -1, as wasm has it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from hb.capi import allocation
from hb.errors import BeyondThisMachine
from hb.protocol.definition import Limits
from hb.wasm.engine import PAGE_BYTES
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load

GROWS = """(module
  (import "e" "grow" (func $host (param i32) (result i32)))
  (memory (export "memory") {type} 1 {most}) (data ({type}.const 0) "hello")
  (func (export "Grow") (param {type}) (result {type}) (memory.grow (local.get 0)))
  (func (export "GrowTwice") (param {type}) (result {type})
    (drop (memory.grow (local.get 0))) (memory.grow ({type}.const 1)))
  (func (export "GrowAndTrap") (param {type}) (drop (memory.grow (local.get 0))) unreachable)
  (func (export "Host") (param i32) (result i32) (call $host (local.get 0)))
  (func (export "Read") (param {type}) (result i32) (i32.load (local.get 0)))
  (func (export "Write") (param {type} i32) (i32.store (local.get 0) (local.get 1))))"""
IMPORTS = {("e", "grow"): lambda host, pages: int(host.grow(pages))}
GAS = 10**9


def grows(type_: str = "i32", most: str = "", *, limit: int = 1000, bound: int | None = None) -> Instance:
    module = load(from_text(GROWS.format(type=type_, most=most)))
    return Instance(module, Limits(GAS, limit, 1), IMPORTS, host_memory_pages=bound)


@pytest.mark.parametrize("type_", ["i32", "i64"])
def test_growth_within_the_limit_is_given_and_beyond_it_is_minus_one(type_: str) -> None:
    instance = grows(type_, limit=10)
    assert [instance.call("Grow", [pages]).values for pages in (4, 6, 5, 1)] == [(1,), (-1,), (5,), (-1,)]
    assert instance.memory_pages == 10
    assert instance.call("Read", [10 * PAGE_BYTES - 4]).values == (0,)
    assert instance.call("Read", [10 * PAGE_BYTES]).failure is not None
    assert grows(type_, most="3").call("Grow", [3]).values == (-1,), "the module's own maximum"


@pytest.mark.parametrize("function", ["Grow", "GrowTwice", "GrowAndTrap", "Host"])
def test_growth_beyond_this_machines_bound_is_refused_whatever_the_program_does(function: str) -> None:
    instance = grows(bound=10)
    assert instance.call("Grow", [9]).values == (1,)
    instance = grows(bound=10)
    with pytest.raises(BeyondThisMachine, match="this machine allows 0 MiB") as refusal:
        instance.call(function, [10])
    assert refusal.value.hint
    with pytest.raises(BeyondThisMachine):
        instance.call("Grow", [1])
    # The program's own limit, where that is smaller, is an outcome still.
    assert grows(limit=10, bound=10).call("Grow", [10]).values == (-1,)


def test_a_module_and_a_state_that_need_more_than_this_machine_allows_are_refused() -> None:
    module = load(from_text("(module (memory 5))"))
    with pytest.raises(BeyondThisMachine):
        Instance(module, Limits(GAS, 10, 1), host_memory_pages=4)
    starting = load(from_text("(module (memory 1) (start $s) (func $s (drop (memory.grow (i32.const 4)))))"))
    with pytest.raises(BeyondThisMachine):
        Instance(starting, Limits(GAS, 10, 1), host_memory_pages=4)
    with pytest.raises(BeyondThisMachine):
        grows(bound=4).load([], 5, {})
    assert grows(bound=4).fresh().host_memory_pages == 4


def test_a_64_bit_memory_grows_beyond_what_was_reserved_for_it() -> None:
    instance = grows("i64", limit=2**17)
    instance.call("Write", [4096, 7])
    assert instance.call("Grow", [2**16]).values == (1,)
    far = 2**16 * PAGE_BYTES + 100
    assert instance.call("Write", [far, 9]).failure is None
    assert [instance.call("Read", [at]).values for at in (4096, far)] == [(7,), (9,)]
    assert instance.call("Read", [(2**16 + 1) * PAGE_BYTES - 3]).failure is not None


def test_a_memory_that_shrinks_is_as_one_that_never_grew() -> None:
    instance = grows()
    for page in (4, 2):
        assert instance.call("Grow", [page]).values == (1,)
        instance.call("Write", [page * PAGE_BYTES, 7])
        assert instance.shrink(1)
        assert instance.memory_pages == 1
        assert instance.call("Read", [PAGE_BYTES]).failure is not None
        assert instance.call("Read", [0]).values == (int.from_bytes(b"hell", "little"),)
    assert instance.call("Grow", [4]).values == (1,)
    assert [instance.call("Read", [page * PAGE_BYTES]).values for page in (2, 4)] == [(0,), (0,)]


def test_memories_go_with_their_store() -> None:
    gc.collect()
    before = len(allocation._memories)
    instance = grows()
    assert len(allocation._memories) == before + 1
    del instance
    gc.collect()
    assert len(allocation._memories) == before


SYSTEM = """
import resource
from hb.errors import OutOfMemory
from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.memory import Mirror
from hb.wasm.module import from_text, load
module = load(from_text('''(module (memory (export "m") 1)
  (func (export "Grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "GrowOn") (param i32) (drop (memory.grow (local.get 0))) (loop (br 0))))'''))
large = load(from_text("(module (memory 12000))"))
limits = Limits(2**62, 16384, 1)
made = [Instance(module, limits) for _ in range(4)]
resource.setrlimit(resource.{limit}, ({size}, {size}))
def said(work):
    try:
        return work()
    except OutOfMemory as error:
        return type(error).__name__
print(said(lambda: made[0].call("Grow", [100]).values), said(lambda: made[1].call("Grow", [{pages}]).values))
print(said(lambda: made[2].call("GrowOn", [{pages}])), said(lambda: made[3].load([], {pages}, {{}})))
print(said(lambda: Instance(large, limits)))
print(said(lambda: made[0].call("Grow", [20000]).values))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
def test_what_the_operating_system_refuses_ends_the_compute() -> None:
    code = SYSTEM.format(limit="RLIMIT_DATA", size=700_000 << 10, pages=12_000)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.split("\n") == [
        "(1,) OutOfMemory",
        "OutOfMemory OutOfMemory",
        "OutOfMemory",
        "(-1,)",
        "",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
def test_an_instance_for_which_there_are_no_addresses_left_is_no_refusal_of_its_module() -> None:
    code = SYSTEM.format(limit="RLIMIT_AS", size=20 << 30, pages=10)
    code = (
        code.partition("def said")[0]
        + """
from hb.errors import HbError, Refused
kept = []
try:
    while True:
        kept.append(Instance(module, limits))
except HbError as error:
    print(type(error).__name__)
"""
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout, ran.stderr) == ("OutOfMemory\n", "")
