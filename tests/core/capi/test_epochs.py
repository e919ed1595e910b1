"""A call is ended alone: by its own cancellation, from any thread, at once."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hb.cancellation import NEVER, Cancellation
from hb.capi import epochs
from hb.errors import Interrupted
from hb.protocol.definition import Limits
from hb.wasm.halves import Halved
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS = """(module
  (import "env" "_mktime_js" (func $made (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "Loop") (loop (i32.store (i32.const 0) (i32.const 1)) (br 0)))
  (func (export "Nothing"))
  (func (export "_emscripten_tempret_set") (param i32) (loop (i32.store (i32.const 0) (i32.const 1)) (br 0)))
  (func (export "Made") (drop (call $made (i32.const 64)))))"""
MUCH = Limits(2**62, 1, 1)
IMPORTS = {("env", "_mktime_js"): Halved(lambda host, address: 2**40)}


def program(cancellation: Cancellation = NEVER) -> Instance:
    return Instance(load(from_text(LOOPS)), MUCH, IMPORTS, cancellation=cancellation)


class Running:
    """A call of `function` on a thread of its own, that has begun."""

    def __init__(self, function: str = "Loop") -> None:
        self.cancellation = Cancellation()
        self.instance = program(self.cancellation)
        self.raised: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(function,))
        self.thread.start()
        assert self.goes_on()

    def _run(self, function: str) -> None:
        try:
            self.instance.call(function, [])
        except Interrupted as interrupted:
            self.raised = interrupted

    def goes_on(self) -> bool:
        """Whether the program is in its loop: it writes again what is taken away."""
        ctypes.memset(self.instance.memory_address, 0, 1)
        until = time.monotonic() + 10
        while time.monotonic() < until and self.thread.is_alive():
            if ctypes.string_at(self.instance.memory_address, 1) == b"\1":
                return True
            time.sleep(0.001)
        return False

    def end(self) -> float:
        """Cancel it; return the seconds that it took to end."""
        began = time.monotonic()
        self.cancellation.cancel()
        self.thread.join(20)
        return time.monotonic() - began


@contextmanager
def two(*functions: str) -> Iterator[list[Running]]:
    running = [Running(function) for function in functions]
    try:
        yield running
    finally:
        for each in running:
            each.end()


@pytest.mark.parametrize("function", ["Loop", "Made"], ids=["a call", "what takes a high half"])
def test_a_call_is_cancelled_alone(function: str) -> None:
    with two("Loop", function) as (one, other):
        assert one.end() < 2
        assert isinstance(one.raised, Interrupted)
        assert other.goes_on()
        assert other.end() < 2
        assert isinstance(other.raised, Interrupted)


def test_others_who_are_cancelled_again_and_again_do_not_slow_or_end_a_call() -> None:
    with two("Loop") as (one,):
        for _ in range(20):
            cancelled = Cancellation()
            program(cancelled)
            cancelled.cancel()
        assert one.goes_on()


def test_a_cancellation_that_comes_just_after_the_call_looked_is_not_lost(monkeypatch) -> None:
    # As if it came between the look at the cancellation and the next deadline: the look does not see it, and the epoch
    # that it moves is the one that the deadline is counted from.
    with two("Loop") as (one,):
        check, lost = epochs.Guard.check, threading.Event()

        def look(self: epochs.Guard) -> None:
            check(self)
            if not lost.is_set():
                self.cancellation.cancel()
                lost.set()

        monkeypatch.setattr(epochs.Guard, "check", look)
        epochs.wake()
        assert lost.wait(10)
        one.thread.join(10)
        assert isinstance(one.raised, Interrupted)


def test_a_cancelled_call_does_not_begin_and_the_instance_serves_the_next_cancellation() -> None:
    instance = program()
    cancelled = Cancellation()
    cancelled.cancel()
    instance.cancellation = cancelled
    with pytest.raises(Interrupted):
        instance.call("Nothing", [])
    instance.cancellation = Cancellation()
    assert instance.call("Nothing", []).failure is None


def test_a_start_function_is_cancelled() -> None:
    cancellation = Cancellation()
    timer = threading.Timer(0.1, cancellation.cancel)
    timer.start()
    module = load(from_text("(module (start $s) (func $s (loop (br 0))))"))
    with pytest.raises(Interrupted):
        Instance(module, MUCH, cancellation=cancellation)


def test_a_fresh_instance_has_the_same_cancellation() -> None:
    instance = program()
    instance.cancellation = Cancellation()
    assert instance.fresh().cancellation is instance.cancellation


def test_a_guard_goes_with_its_store() -> None:
    gc.collect()
    before = len(epochs._guards)
    instance = program()
    assert len(epochs._guards) == before + 1
    del instance
    gc.collect()
    assert len(epochs._guards) == before
