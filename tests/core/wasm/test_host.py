"""What a host function sees of a program, and what it can do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.errors import Refused
from hb.wasm.host import OUT_OF_GAS, Failure, Host, HostTrap
from hb.wasm.instance import HOST_CALL_GAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.wasm.instance import Instance

TEXT = """(module
  (import "env" "work" (func $work))
  (memory (export "memory") {index} 1 3)
  (global $count (export "count") (mut i32) (i32.const 0))
  (func (export "Work") (call $work))
  (func (export "Add") (param i32) (result i32)
    (global.set $count (i32.add (global.get $count) (local.get 0))) (global.get $count))
  (func (export "Trap") unreachable))"""


@pytest.fixture(params=[4, 8])
def pointer_bytes(request) -> int:
    return request.param


@pytest.fixture
def during(start, pointer_bytes) -> Callable[..., Instance]:
    """An instance, and its host with it, whose `Work` does what is given."""

    kept = []

    def run(work: Callable[[Host], object] = lambda host: None, **limits: int) -> Instance:
        def quiet(host: Host) -> None:
            work(host)

        text = TEXT.format(index="i64" if pointer_bytes == 8 else "")
        kept.append(start(text, imports={("env", "work"): quiet}, **limits))
        return kept[-1]

    return run


def test_memory_is_read_and_written_at_addresses_without_sign(during, pointer_bytes) -> None:
    host = during().host
    assert host.pointer_bytes == pointer_bytes
    host.write(65_530, b"abcdef")
    assert host.read(65_530, 6) == b"abcdef"
    assert host.read(65_536, 0) == b""
    host.write_int(8, -2, 4)
    assert host.read_int(8, 4) == 2**32 - 2
    assert host.read_int(8, 4, signed=True) == -2
    host.move(9, 8, 4)
    assert host.read(8, 5) == b"\xfe\xfe\xff\xff\xff"
    assert host.unsigned(-1) == 2 ** (8 * pointer_bytes) - 1
    assert host.span(65_000, 536) == (65_000, 536)


@pytest.mark.parametrize(
    "touch",
    [
        lambda host: host.read(65_536, 1),
        lambda host: host.read(-1, 1),
        lambda host: host.read(-1, 2),
        lambda host: host.read(0, -1),
        lambda host: host.write(65_535, b"ab"),
        lambda host: host.move(65_535, 0, 2),
        lambda host: host.move(0, 65_535, 2),
        lambda host: host.text(65_536),
        lambda host: host.text(-1),
        lambda host: host.span(1, -1),
        lambda host: host.print_memory(65_530, 7),
    ],
)
def test_what_is_outside_the_memory_is_a_trap_of_the_program(during, touch) -> None:
    instance = during(touch)
    instance.host.prepare(now_ms=0, seed=b"", output_bytes=100)
    failure = instance.call("Work", []).failure
    assert failure == Failure("trap", "the program gave its host an address outside its memory")


def test_texts_end_at_the_first_nul_wherever_it_is(during) -> None:
    host = during().host
    host.write(0, b"x" * 65_536)
    for end in (0, 1, 4095, 4096, 4097, 9000, 65_535):
        host.write(end, b"\0")
        assert host.text(0) == b"x" * end
        host.write(end, b"x")
    with pytest.raises(HostTrap, match="outside its memory"):
        host.text(0)


def test_texts_are_bounded(during) -> None:
    host = during().host
    host.write(0, b"x" * 11 + b"\0")
    assert host.text(1, 10) == b"x" * 10
    with pytest.raises(HostTrap, match="a text of more than 10 bytes"):
        host.text(0, 10)


def test_printing_is_bounded_and_begins_anew_with_each_message(during) -> None:
    host = during().host
    host.prepare(now_ms=1, seed=b"", output_bytes=5)
    host.write(8, b"lo")
    host.print(b"hel")
    host.print_memory(8, 2)
    with pytest.raises(HostTrap, match="more than 5 bytes"):
        host.print(b"!")
    with pytest.raises(HostTrap, match="more than 5 bytes"):
        host.print_memory(8, 2**63)
    assert bytes(host.printed) == b"hello"
    host.prepare(now_ms=1, seed=b"", output_bytes=5)
    assert bytes(host.printed) == b""


def test_randomness_is_the_seeds_and_never_the_same_twice(during) -> None:
    host = during().host
    host.prepare(now_ms=1, seed=b"one", output_bytes=0)
    first, second = host.random(40), host.random(40)
    assert len(first) == 40
    assert first != second
    host.prepare(now_ms=2, seed=b"one", output_bytes=9)
    assert (host.random(40), host.random(40)) == (first, second)
    host.prepare(now_ms=1, seed=b"two", output_bytes=0)
    assert host.random(40) != first
    assert host.random(0) == b""


def test_the_memory_grows_to_the_lesser_limit(during) -> None:
    host = during().host
    assert (host.memory_bytes, host.limit_bytes) == (65_536, 3 * 65_536)
    assert not host.grow(3)
    assert host.grow(2)
    assert host.memory_bytes == 3 * 65_536
    host.write(3 * 65_536 - 1, b"x")
    tight = during(memory_pages=2).host
    assert tight.limit_bytes == 2 * 65_536
    assert not tight.grow(2)


def test_a_host_function_and_what_it_spends_are_gas(during) -> None:
    free, dear = (during(lambda host, cost=cost: host.spend(cost)).call("Work", []).gas for cost in (0, 5000))
    assert dear - free == 5000
    assert free > HOST_CALL_GAS


@pytest.mark.parametrize("cost", [1_000_000, 2**62])
def test_spending_more_than_there_is_ends_the_call_with_all_of_it_used(during, cost) -> None:
    instance = during(lambda host: host.spend(cost))
    outcome = instance.call("Work", [])
    assert (outcome.failure, outcome.gas) == (OUT_OF_GAS, 1_000_000)
    assert instance.call("Add", [3]).values == (3,)


def test_a_host_function_is_not_called_without_gas_for_it(during) -> None:
    called = []
    outcome = during(called.append, gas=HOST_CALL_GAS // 2).call("Work", [])
    assert (outcome.failure, outcome.gas) == (OUT_OF_GAS, HOST_CALL_GAS // 2)
    assert called == []


@pytest.mark.parametrize(
    "import_",
    [
        "(func (param v128))",
        "(func (param externref))",
        "(func (result i32 i32))",
        "(global i32)",
        "(table 1 funcref)",
    ],
)
def test_an_import_that_no_host_function_can_be_is_refused(start, import_) -> None:
    with pytest.raises(Refused, match=r"the module imports env\.work"):
        start(f'(module (import "env" "work" {import_}))', imports={("env", "work"): lambda host: None})
