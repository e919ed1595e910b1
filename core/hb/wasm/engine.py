"""The one engine that modules run in, and how a running call is stopped from outside.

Responsible for the fixed configuration (what is metered, what is deterministic, which proposals are on), and for
interruption. Imports wasmtime when an engine is first asked for; must never be given another configuration: some
combinations abort the whole process, and gas and results are only equal between equal engines.
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
"""The engine's name and major version, as slot records state it: gas is compared between equal engines only."""

PAGE_BYTES = 65536

MAX_WASM_STACK_BYTES = 1 << 20
THREAD_STACK_BYTES = 16 << 20  # the wasm stack lives on the thread's own: leave room for both, on every system

# What holds for every module. Off is what would bring state that no memory image can hold (garbage-collected objects,
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
)


class _Shared:
    """What all threads of the program share."""

    lock = threading.Lock()
    engine: wasmtime.Engine | None = None
    interrupts = 0


# How often the waiting thread looks for Ctrl-C, and then how often it repeats the interrupt until the work notices: a
# call may start between its loop's last look at `stop` and ours.
_LOOK_S = 0.05


def get_engine() -> wasmtime.Engine:
    """The engine; the same one for the life of the program. Safe from any thread."""
    with _Shared.lock:
        if _Shared.engine is None:
            import wasmtime

            config = wasmtime.Config()
            for name, value in CONFIG:
                setattr(config, name, value)
            _Shared.engine = wasmtime.Engine(config)
        return _Shared.engine


def interrupt() -> None:
    """Ends every call that is running, on any thread, in `errors.Interrupted`.

    A call that starts after this has returned runs as usual. May be called at any time, from any thread, repeatedly.
    """
    # The count first: a call that has begun but not yet set its deadline would miss the epoch, and sees the count.
    _Shared.interrupts += 1
    if _Shared.engine is not None:
        _Shared.engine.increment_epoch()


def interrupts() -> int:
    """How many interrupts there have been: equal before and after means that none came between."""
    return _Shared.interrupts


def run_interruptibly(work: Callable[[Cancellation], Result], outer: Cancellation = NEVER) -> Result:
    """What `work` returns or raises; it runs on a thread of its own, so that Ctrl-C reaches this one meanwhile.

    `work` gets a cancellation and must check it between calls. On Ctrl-C, and when `outer` is cancelled, it is
    cancelled, and running calls are interrupted until `work` has ended. A second Ctrl-C is raised at once and leaves
    `work` behind.

    Raises:
        Interrupted: Ctrl-C came, and `work` ended because of it.
    """
    # Plain locks and lists throughout: Ctrl-C raises between any two steps of this thread, and the events and threads
    # of `threading` are themselves Python, which it can leave locked for good.
    cancellation, begun, ended = Cancellation(), threading.Lock(), threading.Lock()
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            with outer.calling(cancellation.cancel), cancellation.calling(interrupt):
                results.append(work(cancellation))
        except BaseException as failure:  # raised again on the caller's thread
            failures.append(failure)
        ended.release()

    ended.acquire()
    try:
        _start_thread(run)
        # The system may give the signal to the other thread, and then nothing but time wakes this one to notice.
        while not (results or failures):
            ended.acquire(timeout=_LOOK_S)
    except KeyboardInterrupt as interrupted:
        # It may have come as the thread was started: whoever gets the lock decides whether the work begins.
        if begun.acquire(blocking=False):
            raise Interrupted("interrupted before it began") from interrupted
        cancellation.cancel()
        while not (results or failures):
            interrupt()
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
