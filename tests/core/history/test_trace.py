"""A slot executed again under watch: what it tells, that it is what computing does, and that nothing is stored."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING

import pytest

from hb.errors import Interrupted, NotFound
from hb.history.fork import fork
from hb.history.trace import Difference, KeyChange, Trace, trace
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.storage.store import Batch
from hb.wasm.tracing import GlobalChange, PageChange

if TYPE_CHECKING:
    from collections.abc import Callable

# Talks to its host: Hello prints three times and ends; Exit leaves from two functions down; Draw takes random bytes.
TALKING = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1 4)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")
  (func $say (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "Hello") (call $say) (call $say) (call $say))
  (func $leave (param i32) (call $exit (local.get 0)))
  (func $through (param i32) (call $leave (local.get 0)))
  (func (export "Exit") (param i32) (call $say) (call $through (local.get 0)))
  (func (export "Draw") (result i32) (call $random (i32.const 64) (i32.const 100)))
  (func (export "Grow") (result i32)
    (i32.store8 (i32.mul (memory.grow (i32.const 2)) (i32.const 65536)) (i32.const 7))
    (i32.store8 (i32.const 131071) (i32.const 7))
    (memory.size)))
"""


def traced(shell, process: str, reference: str | int = "now", **options: int) -> Trace:
    return trace(shell.node.context, process, reference, **options)


def test_it_tells_of_the_call_and_of_what_it_changed(shell) -> None:
    counter = shell.spawn("counter.wasm", initial_state={"counter": 3})
    shell.call(counter, "Add", 4)
    found = traced(shell, counter)
    (call,) = found.calls
    assert (call.function, call.arguments, call.results, call.failure) == ("Add", [4], [], None)
    assert found.results == shell.results(counter, 1)
    assert call.gas == found.results["gas"]
    assert found.keys == [KeyChange("counter", 3, 7)]
    assert found.globals == [GlobalChange(0, "counter", "i32", 3, 7)]
    assert (found.pages, found.pages_before, found.pages_after) == ([], 0, 0)
    assert (found.undone, found.left_out, found.differences) == (False, 0, [])


def test_any_slot_can_be_traced_by_any_reference(shell) -> None:
    counter = shell.spawn("counter.wasm")
    for _ in range(4):
        shell.send(counter, "Increment")
    shell.node.compute(counter)
    message = next(iter(shell.node.history(counter, 2, 2))).message
    for reference, slot in ((1, 1), ("now~2", 2), (message, 2), ("now", 4)):
        found = traced(shell, counter, reference)
        assert (found.slot, found.keys) == (slot, [KeyChange("counter", slot - 1, slot)])
    assert traced(shell, counter, 0).keys == [KeyChange("counter", None, 0)]
    for nothing in (5, "now~5", "x" * 43):
        with pytest.raises(NotFound):
            traced(shell, counter, nothing)


def test_memory_is_told_by_the_page_and_hidden_globals_by_their_number(shell) -> None:
    ledger = shell.spawn("ledger.wasm")
    shell.call(ledger, "Mint", 1, 100)
    found = traced(shell, ledger)
    assert found.pages == [PageChange(0, 2)]
    assert [(each.name, each.before, each.after) for each in found.globals] == [(None, 0, 1), (None, 0, 100)]
    talking = shell.spawn_text(TALKING)
    shell.call(talking, "Grow")
    found = traced(shell, talking)
    assert (found.pages_before, found.pages_after) == (1, 3)
    assert found.pages == [PageChange(1, 2)]
    assert found.differences == []


def test_a_trap_has_a_backtrace_with_names_and_its_changes_are_told_though_undone(shell) -> None:
    trap = shell.spawn("trap.wasm")
    shell.call(trap, "OutOfBounds")
    found = traced(shell, trap)
    (call,) = found.calls
    assert call.failure is not None
    assert call.failure.message == "the program accessed memory out of bounds"
    # It has no name of its own: that of its export stands for it.
    assert [(frame.function, frame.index) for frame in call.backtrace] == [("OutOfBounds", 3 + 1)]
    assert (call.backtrace[0].offset or 0) > 0
    assert found.undone
    assert (found.keys, len(found.globals), found.pages) == ([], 2, [PageChange(0, 1)])
    assert found.differences == []


def test_a_stack_that_is_used_up_shows_its_innermost_functions(shell) -> None:
    recurse = shell.spawn("recurse.wasm")
    shell.call(recurse, "Recurse")
    (call,) = traced(shell, recurse).calls
    assert call.failure is not None
    assert call.failure.kind == "stack-overflow"
    assert {frame.function for frame in call.backtrace} == {"deeper"}
    assert 10 <= len(call.backtrace) <= 100


def test_host_calls_come_in_order_with_what_they_print_and_cost(shell) -> None:
    talking = shell.spawn_text(TALKING)
    shell.call(talking, "Hello")
    found = traced(shell, talking)
    (call,) = found.calls
    write = "wasi_snapshot_preview1.fd_write"
    seen = [(each.function, each.arguments, each.result, each.printed) for each in call.host_calls]
    assert seen == [(write, [1, 0, 1, 8], 0, "hello\n")] * 3
    assert found.results["print"] == "hello\n" * 3
    assert call.host_gas[write] == sum(each.gas for each in call.host_calls) == 3000
    assert call.gas > call.host_gas[write]
    shell.call(talking, "Draw")
    (draw,) = traced(shell, talking).calls[0].host_calls
    # A unit for each random byte, beside what each host call costs.
    assert (draw.arguments, draw.result, draw.gas) == ([64, 100], 0, 1100)


def test_of_many_host_calls_the_first_are_shown_and_all_are_counted(shell) -> None:
    talking = shell.spawn_text(TALKING)
    shell.call(talking, "Hello")
    for most, shown in ((0, 0), (2, 2), (3, 3), (10**9, 3)):
        (call,) = traced(shell, talking, host_calls=most).calls
        assert len(call.host_calls) == shown
        assert dict(call.host_counts) == {"wasi_snapshot_preview1.fd_write": 3}
        assert call.host_gas.total() == 3000


def test_a_host_function_that_ends_the_program_is_the_last_and_says_from_where(shell) -> None:
    talking = shell.spawn_text(TALKING)
    results = shell.call(talking, "Exit", 3)
    found = traced(shell, talking)
    (call,) = found.calls
    last = call.host_calls[-1]
    assert (last.function, last.arguments) == ("wasi_snapshot_preview1.proc_exit", [3])
    assert last.failure == call.failure
    assert call.failure is not None
    assert call.failure.message == results["error"]
    assert [frame.function for frame in call.backtrace] == ["leave", "through", "Exit"]
    assert found.differences == []


def test_a_message_that_calls_nothing_has_no_calls(shell) -> None:
    counter = shell.spawn("counter.wasm")
    shell.call(counter, "Nonsense")
    found = traced(shell, counter)
    assert (found.calls, found.results["kind"], found.differences) == ([], "unknown-function", [])


def play(shell) -> list[str]:
    """Processes that count, trap, grow, print, run out of gas and use their memory up."""
    trap, ledger, grow = (shell.spawn(f"{name}.wasm") for name in ("trap", "ledger", "grow"))
    talking, loop = shell.spawn_text(TALKING), shell.spawn("loop.wasm")
    for action in ("Increment", "GrowAndTrap", "Increment", "Unreachable", "Read"):
        shell.send(trap, action)
    for account in range(3):
        shell.send(ledger, "Mint", account, 5)
    shell.send(ledger, "Transfer", 1, 2, 3)
    for action in ("Hello", "Draw", "Grow", "Exit"):
        shell.send(talking, action, *([0] if action == "Exit" else []))
    shell.send(grow, "Size")
    return [trap, ledger, grow, talking, loop]


def every_trace(shell, processes: list[str]) -> list[Trace]:
    return [traced(shell, each, slot) for each in processes for slot in range(shell.node.process(each).slots)]


def test_every_record_stays_as_it_was_computed_or_not(shell) -> None:
    processes = play(shell)
    before = shell.records()
    pending = every_trace(shell, processes)
    assert {found.differences is None for found in pending} == {True}
    assert shell.records() == before
    for each in processes:
        shell.node.compute(each)
    before = shell.records()
    computed = every_trace(shell, processes)
    assert [found.differences for found in computed] == [[]] * len(computed)
    assert [found.results for found in computed] == [found.results for found in pending]
    assert shell.records() == before


def altered(change: Callable[[dict], None]) -> Callable[[object, str, int], None]:
    def alter(shell, process: str, slot: int) -> None:
        with shell.home.storage.session() as store:
            key = keys.slot_record_key(process, slot)
            record = loads_message(store.get(key))
            change(record)
            store.commit(Batch(puts={key: dumps(record)}))

    return alter


def test_what_is_stored_otherwise_than_it_comes_out_is_told(shell) -> None:
    counter = shell.spawn("counter.wasm")
    shell.call(counter, "Increment")
    altered(lambda record: record["results"].update(gas=6))(shell, counter, 1)
    (found,) = traced(shell, counter).differences or []
    assert found == Difference("results", '{"gas":6,"output":[],"type":"ok"}', '{"gas":5,"output":[],"type":"ok"}')
    # Of another engine, gas is no evidence; the state is.
    altered(lambda record: record.update(engine="wasmtime-1", state={"counter": 9}))(shell, counter, 1)
    (found,) = traced(shell, counter).differences or []
    assert found == Difference("state", '{"counter":9}', '{"counter":1}')


def test_a_memory_image_that_is_another_is_told(shell) -> None:
    ledger = shell.spawn("ledger.wasm")
    shell.call(ledger, "Mint", 1, 100)
    shell.call(ledger, "Mint", 1, 100)
    with shell.home.storage.session() as store:
        other = store.get(keys.memory_image_key(ledger, 1))
        store.commit(Batch(puts={keys.memory_image_key(ledger, 2): other}))
    assert [found.what for found in traced(shell, ledger).differences or []] == ["globals", "memory page 0"]


def test_a_fork_is_traced_in_what_it_shares_where_it_left_and_in_its_own(shell) -> None:
    counter = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.call(counter, "Increment")
    environment = shell.environment
    process = fork(shell.node.context, counter, 2, signer=shell.key, environment=environment, anchor="f").process
    shell.call(process, "Add", 10)
    before = shell.records()
    shared, left, own = (traced(shell, process, slot) for slot in (1, 3, 4))
    assert (shared.keys, shared.differences) == ([KeyChange("counter", 0, 1)], [])
    assert (left.calls, left.keys, left.results, left.differences) == ([], [], {}, [])
    assert (own.keys, own.differences) == ([KeyChange("counter", 2, 12)], [])
    assert traced(shell, process, 0).keys == [KeyChange("counter", None, 0)]
    assert shell.records() == before


def test_it_can_be_interrupted(shell) -> None:
    loop = shell.spawn("loop.wasm")
    shell.send(loop, "Loop")
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(Interrupted):
        traced(shell, loop)
    timer.join()
