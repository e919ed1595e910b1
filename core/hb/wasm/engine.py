"""The one engine that modules run in, and work that Ctrl-C or another thread can stop.

Invariants:
    wasmtime is imported when an engine is first asked for, not before.
    There is one configuration: gas and results are equal between equal engines only, and some combinations abort the
    program.
"""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, TypeVar

from hb.cancellation import NEVER, Cancellation
from hb.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

Result = TypeVar("Result")

ENGINE = "wasmtime-50"
"""The engine's name and major version, as slot records have it. Gas is compared between equal engines only."""

PAGE_BYTES = 65536

MAX_WASM_STACK_BYTES = 1 << 20
THREAD_STACK_BYTES = 16 << 20  # the wasm stack lives on the thread's own: leave room for both, on every system

# What holds for every module. What is off would bring state that no memory image can hold (garbage-collected objects,
# several memories), or outcomes that differ from run to run (threads).
CONFIG: tuple[tuple[str, bool | int], ...] = (
    ("consume_fuel", True),
    ("epoch_interruption", True),
    ("cranelift_nan_canonicalization", True),
    ("wasm_relaxed_simd", True),
    ("wasm_relaxed_simd_deterministic", True),
    ("wasm_simd", True),
    ("wasm_bulk_memory", True),
    ("wasm_reference_types", True),
    ("wasm_multi_value", True),
    ("wasm_tail_call", True),
    ("wasm_memory64", True),
    ("wasm_exceptions", True),
    ("wasm_threads", False),
    ("shared_memory", False),
    ("wasm_multi_memory", False),
    ("wasm_function_references", False),
    ("wasm_gc", False),
    ("wasm_stack_switching", False),
    ("wasm_wide_arithmetic", False),
    ("wasm_custom_page_sizes", False),
    ("max_wasm_stack", MAX_WASM_STACK_BYTES),
    ("memory_init_cow", False),  # memories are our own: see `allocation`
)


class _Shared:
    """What all threads of the program share."""

    lock = threading.Lock()
    engine: wasmtime.Engine | None = None


# How often the waiting thread looks for Ctrl-C.
_LOOK_S = 0.05


def get_engine() -> wasmtime.Engine:
    """Return the engine: the same one for the life of the program. Safe from any thread.

    Raises:
        HbError: this release of wasmtime is not one that can be driven.
    """
    with _Shared.lock:
        if _Shared.engine is None:
            import wasmtime

            from hb.capi import allocation

            config = wasmtime.Config()
            for name, value in CONFIG:
                setattr(config, name, value)
            allocation.install(config)
            _Shared.engine = wasmtime.Engine(config)
        return _Shared.engine


def run_interruptibly(work: Callable[[Cancellation], Result], cancellation: Cancellation = NEVER) -> Result:
    """Return what `work` returns, or raise what it raises. Ctrl-C and `cancellation` stop it.

    `work` runs on a thread of its own, with a cancellation of its own. It gives that to the calls that it makes, and
    checks it between them. A second Ctrl-C is raised at once and leaves `work` behind.

    Raises:
        Interrupted: Ctrl-C came or `cancellation` was cancelled, and `work` ended because of it.
    """
    # Plain locks and lists throughout: Ctrl-C raises between any two steps of this thread, and the events and threads
    # of `threading` are themselves Python, which it can leave locked for good.
    stop, begun, ended = Cancellation(), threading.Lock(), threading.Lock()
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            results.append(work(stop))
        except BaseException as failure:  # raised again on the caller's thread
            failures.append(failure)
        ended.release()

    ended.acquire()
    with cancellation.calling(stop.cancel):
        try:
            _start_thread(run)
            # The system may give the signal to the other thread, and then nothing but time wakes this one to notice.
            while not (results or failures):
                ended.acquire(timeout=_LOOK_S)
        except KeyboardInterrupt as interrupted:
            # It may have come as the thread was started: whoever gets the lock decides whether the work begins.
            if begun.acquire(blocking=False):
                raise Interrupted("interrupted before it began") from interrupted
            stop.cancel()
            while not (results or failures):
                ended.acquire(timeout=_LOOK_S)
    if failures:
        raise failures[0]
    return results[0]


def _start_thread(run: Callable[[], None]) -> None:
    with _Shared.lock:
        before = threading.stack_size(THREAD_STACK_BYTES)
        try:
            _thread.start_new_thread(run, ())
        finally:
            threading.stack_size(before)
