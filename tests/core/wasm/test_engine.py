from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from hb.cancellation import Cancellation
from hb.errors import Interrupted
from hb.wasm import engine

ENDLESS = '(module (func (export "Loop") (loop (br 0))) (func (export "Nothing")))'
MUCH_GAS = 2**62


def test_the_fixed_configuration_makes_an_engine_in_a_process_of_its_own() -> None:
    # A bad combination of flags aborts the process that tries it, so this one is not it.
    code = (
        "from hb.wasm.module import from_text, load; from hb.wasm.engine import get_engine; get_engine();"
        "print(load(from_text('(module (memory i64 1) (tag $t) (func (export \"f\") (throw $t)))')).info.abi)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "function\n", "")


def test_inspecting_a_module_loads_no_engine() -> None:
    code = (
        "import sys; from hb.wasm.module import inspect; inspect(b'\\0asm\\1\\0\\0\\0');"
        "import hb.wasm.engine; sys.exit('wasmtime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_engine_is_one_for_all_threads() -> None:
    engines = []
    threads = [threading.Thread(target=lambda: engines.append(engine.get_engine())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engines) == 8
    assert len({id(e) for e in engines}) == 1


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ("threads", "(module (memory 1 1 shared))"),
        ("several memories", "(module (memory 1) (memory 1))"),
        ("garbage-collected types", "(module (type (struct (field i32))))"),
        ("function references", "(module (type $f (func)) (func (param (ref $f))))"),
        (
            "wide arithmetic",
            "(module (func (result i64 i64) (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))",
        ),
        ("custom page sizes", "(module (memory 1 (pagesize 1)))"),
    ],
)
def test_what_cannot_be_saved_or_repeated_is_off_in_the_engine_too(feature: str, text: str) -> None:
    import wasmtime

    wasm = wasmtime.wat2wasm(text)
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.validate(engine.get_engine(), wasm)


@pytest.mark.parametrize(
    "looks", [True, False], ids=["the work checks its cancellation", "the work is in an endless call"]
)
def test_ctrl_c_ends_the_work_on_its_thread(looks: bool) -> None:
    code = f"""
from hb.cancellation import Cancellation
from hb.errors import Interrupted
from hb.protocol.definition import Limits
from hb.wasm import engine
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load
instance = Instance(load(from_text({ENDLESS!r})), Limits({MUCH_GAS}, 1, 1))
def work(stop):
    print("ready", flush=True)
    while {looks}:
        instance.call("Nothing", [])
        stop.check()
    instance.cancellation = stop
    instance.call("Loop", [])
try:
    engine.run_interruptibly(work)
except Interrupted as interrupted:
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("interrupted\n", "")


def test_work_gives_its_result_and_raises_its_own_errors_on_the_callers_thread() -> None:
    def fail(_: Cancellation) -> None:
        raise KeyError("its own")

    assert engine.run_interruptibly(
        lambda stop: (stop.is_cancelled, threading.current_thread() is threading.main_thread())
    ) == (
        False,
        False,
    )
    with pytest.raises(KeyError, match="its own"):
        engine.run_interruptibly(fail)


@pytest.mark.parametrize("early", [True, False], ids=["before it begins", "while it runs"])
def test_another_thread_ends_the_work_by_the_cancellation_that_was_given(start, early: bool) -> None:
    instance, cancellation, began = start(ENDLESS, gas=MUCH_GAS), Cancellation(), threading.Event()
    raised: list[BaseException] = []

    def work(stop: Cancellation) -> None:
        instance.cancellation = stop
        began.set()
        instance.call("Loop", [])

    def run() -> None:
        try:
            engine.run_interruptibly(work, cancellation)
        except Interrupted as interrupted:
            raised.append(interrupted)

    if early:
        cancellation.cancel()
    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(10)
    cancellation.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert len(raised) == 1


def test_work_that_ends_by_itself_is_not_cancelled_with_the_one_who_asked_for_it() -> None:
    cancellation = Cancellation()
    inner = engine.run_interruptibly(lambda stop: stop, cancellation)
    cancellation.cancel()
    assert not inner.is_cancelled
