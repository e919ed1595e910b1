"""How fast `hb` is, each time beside a yardstick in the same run. `scripts/bench` runs this and prints the ratios."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import yardstick
from benchmarks.conftest import COUNTER, HB, MODULE, ROOT, SLOTS, Bench, disk_bytes
from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.protocol.request import build_message
from hb.wasm.instance import Instance
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable

EVALS = 300
SHORT, LONG = 1_000, int(os.environ.get("HB_BENCH_SLOTS", "100000"))
PROCESSES = 8
STARTS = 25


def measure(benchmark: Any, work: Callable[..., object], setup: Callable[[], tuple[Any, ...]], rounds: int = 3) -> None:
    benchmark.pedantic(work, setup=lambda: (setup(), {}), rounds=rounds, warmup_rounds=0)


# Many slots


def test_ideal_loop(benchmark: Any, bench: Bench) -> None:
    home = bench.counted()
    process = json.loads(bench.hb(home, "list"))["process"]
    benchmark.extra_info["slots"] = SLOTS

    def run(copy: Path) -> None:
        command = [sys.executable, yardstick.__file__, copy / "store", process, COUNTER, copy / "target"]
        assert int(bench.run(command)) == SLOTS

    measure(benchmark, run, lambda: (bench.copy(home),))


def test_compute(benchmark: Any, bench: Bench) -> None:
    home = bench.counted()
    benchmark.extra_info["slots"] = SLOTS
    used = bench.copy(home)
    before = disk_bytes(used)
    bench.hb(used, "compute", "p0")
    benchmark.extra_info["scheduled_bytes"] = before
    benchmark.extra_info["computed_bytes"] = disk_bytes(used)
    measure(benchmark, lambda copy: bench.hb(copy, "compute", "p0"), lambda: (bench.copy(home),))


def test_batch(benchmark: Any, bench: Bench) -> None:
    home = bench.made("empty", COUNTER)
    batch = bench.directory / "increments.ndjson"
    batch.write_text('{"action":"Increment"}\n' * SLOTS)
    benchmark.extra_info["slots"] = SLOTS
    measure(benchmark, lambda copy: bench.hb(copy, "send", "p0", "--batch", batch), lambda: (bench.copy(home),))


# One command


def test_python(benchmark: Any, bench: Bench) -> None:
    measure(benchmark, lambda: bench.run([sys.executable, "-c", "pass"]), lambda: (), STARTS)


def test_send(benchmark: Any, bench: Bench) -> None:
    home = bench.copy(bench.made("empty", COUNTER))
    measure(benchmark, lambda: bench.hb(home, "send", "p0", "Increment"), lambda: (), STARTS)


def test_state(benchmark: Any, bench: Bench) -> None:
    home = bench.copy(bench.made("empty", COUNTER))
    bench.hb(home, "send", "p0", "Increment", "--wait")
    measure(benchmark, lambda: bench.hb(home, "state", "p0"), lambda: (), STARTS)


# A real module


def test_aos(benchmark: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evals, computed and stored; beside it the time within the calls of `handle` themselves."""
    ran = bench.run([sys.executable, ROOT / "scripts" / "fetch-modules", "modules"])
    [image] = [path for path in _found(ran) if path.name == MODULE]
    lines = [json.dumps({"action": "Eval", "data": f"n = {n}; return n * n"}) for n in range(EVALS)]
    home = bench.made("aos", image, lines)
    within = [0.0]
    call = Instance.call

    def timed(self: Instance, function: str, *arguments: Any, **options: Any) -> Any:
        started = perf_counter()
        outcome = call(self, function, *arguments, **options)
        if function == "handle":
            within[-1] += perf_counter() - started
        return outcome

    monkeypatch.setattr(Instance, "call", timed)

    def prepare() -> tuple[Node]:
        node = Node(homes.open_home(bench.copy(home)))
        node.compute("p0", 1)
        within.append(0.0)
        return (node,)

    measure(benchmark, lambda node: node.compute("p0"), prepare)
    used = bench.copy(home)
    before = disk_bytes(used)
    bench.hb(used, "compute", "p0")
    benchmark.extra_info.update(slots=EVALS, handle_s=median(within[1:]))
    benchmark.extra_info["bytes"] = disk_bytes(used) - before


def _found(directories: str) -> list[Path]:
    return [path for line in directories.splitlines() for path in Path(line).rglob("*.wasm")]


# A long history


@pytest.mark.parametrize("slots", [SHORT, LONG])
@pytest.mark.parametrize("what", ["slot", "send", "state"])
def test_history(benchmark: Any, bench: Bench, what: str, slots: int) -> None:
    home = _history(bench, slots)
    node = Node(home)
    signer, environment = keyring.load(home.keys, homes.DEFAULT_KEY), system_environment()
    benchmark.extra_info["slots"] = slots
    names = iter(range(10**9))

    def send(count: int) -> None:
        messages = [build_message("Increment", anchor=f"{slots}-{what}-{next(names)}") for _ in range(count)]
        node.send("p0", messages, signer=signer, environment=environment)

    if what == "slot":
        measure(benchmark, lambda: node.compute("p0"), lambda: send(2000) or (), 5)
    elif what == "send":
        measure(benchmark, lambda: send(1), lambda: (), STARTS)
    else:
        measure(benchmark, lambda: node.state("p0", slots // 2), lambda: (), STARTS)


def _history(bench: Bench, slots: int) -> homes.Home:
    """A counter with so many computed slots."""
    path = bench.directory / f"history-{slots}"
    if path.exists():
        return homes.open_home(path)
    home = homes.open_home(bench.made(path.name, COUNTER))
    node = Node(home)
    signer, environment = keyring.load(home.keys, homes.DEFAULT_KEY), system_environment()
    for first in range(0, slots, 10_000):
        count = min(10_000, slots - first)
        messages = [build_message("Increment", anchor=f"{first + n}") for n in range(count)]
        node.send("p0", messages, signer=signer, environment=environment)
        node.compute("p0")
    return home


@pytest.mark.parametrize("slots", [SHORT, min(LONG, 100_000)])
def test_memory(benchmark: Any, bench: Bench, slots: int) -> None:
    """The most memory that `hb compute` of so many slots ever had."""
    home = bench.made(f"counter-{slots}-1", COUNTER, ['{"action":"Increment"}'] * slots)
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks: list[int] = []

    def compute(copy: Path) -> None:
        peaks.append(int(bench.run([sys.executable, "-c", program, HB, "--home", copy, "compute", "p0"])))

    measure(benchmark, compute, lambda: (bench.copy(home),), 1)
    benchmark.extra_info.update(slots=slots, peak_kib=max(peaks))


# Several processes


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_all(benchmark: Any, bench: Bench, jobs: str) -> None:
    home = bench.counted(SLOTS // 2, PROCESSES)
    measure(benchmark, lambda copy: bench.hb(copy, "compute", "--all", "--jobs", jobs), lambda: (bench.copy(home),))
