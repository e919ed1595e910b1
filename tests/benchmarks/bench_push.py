"""How fast programs talk to each other, beside the same messages computed without delivering any.

Each of some aos processes passes a ball on to the next, round and round, until each ball was passed on so often. The
yardstick are the same messages in the same slots: their records are deleted and computed again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

import hb
from aowat import says, talker_module
from benchmarks.conftest import MODULE, ROOT, Bench
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from hb.library import Home, Process

CHAIN = int(os.environ.get("HB_BENCH_CHAIN", "10000"))
BALLS = 20
NO_BOUND = 10**9
HANDLER = """
Handlers.add("ball", "Ball", function(m)
  local left = tonumber(m.Data)
  if left > 0 then Send({Target = Next, Action = "Ball", Data = tostring(left - 1)}) end
end)
"""


def _ring(bench: Bench, count: int) -> Path:
    """Return a home with `count` aos processes in a ring, made once."""
    path = bench.directory / f"ring-{count}"
    if not path.exists():
        ran = bench.run([sys.executable, ROOT / "scripts" / "fetch-modules", "modules"])
        [image] = [file for line in ran.splitlines() for file in Path(line).rglob("*.wasm") if file.name == MODULE]
        home = hb.create(path)
        ring = [home.spawn(image, name=f"p{number}") for number in range(count)]
        for number, process in enumerate(ring):
            process.send("Eval", data=f'Next = "{ring[(number + 1) % count].id}"')
            process.send("Eval", data=HANDLER)
            process.compute()
        home.push()
        home.place.close()  # type: ignore[attr-defined]
    return path


def _forget(home: Home, process: Process, first: int) -> None:
    """Delete what was computed of a process from slot `first` on."""
    with home.context.session() as store:
        spans = (keys.slot_records(process.id, first), keys.memory_images(process.id, first))
        store.commit(Batch(deletes={key for span in spans for key, _ in store.scan(*span)}))


@pytest.mark.parametrize("count", [2, 100])
def test_push(benchmark: Any, bench: Bench, count: int) -> None:
    passes = 400 // BALLS if count == 2 else 1000 // BALLS
    ring = _ring(bench, count)
    plain: list[float] = []

    def prepare() -> tuple[tuple[Home], dict[str, object]]:
        home = hb.open(bench.copy(ring))
        for ball in range(BALLS):
            home.process(f"p{ball % count}").send("Ball", data=str(passes))
        return (home,), {}

    def push(home: Home) -> None:
        done = home.push(depth=NO_BOUND, messages=NO_BOUND, gas=1 << 60)
        assert (done.delivered, done.held, done.failed) == (BALLS * passes, 0, 0)

    def compute_again(home: Home) -> None:
        again = hb.open(home.path)
        processes = [again.process(f"p{number}") for number in range(count)]
        for process in processes:
            _forget(again, process, 3)
        started = perf_counter()
        for process in processes:
            process.compute()
        plain.append(perf_counter() - started)

    benchmark.pedantic(push, setup=prepare, teardown=compute_again, rounds=3, warmup_rounds=0)
    benchmark.extra_info.update(slots=BALLS * passes, plain_s=sorted(plain)[1])


def test_chain(benchmark: Any) -> None:
    """A chain of messages, each caused by the one before; beside it, as many that are sent and computed one by one."""
    home = hb.memory()
    module = hb.wat(talker_module())
    one, two, other = (home.spawn(module) for _ in range(3))
    home.push()
    sent = one.send("Go", data=says({"Target": two.id, "Data": "@"}))

    def push() -> None:
        assert one.push(sent.slot, depth=CHAIN, messages=CHAIN + 1).delivered == CHAIN

    benchmark.pedantic(push, rounds=1, warmup_rounds=0)
    started = perf_counter()
    for _ in range(CHAIN):
        other.send("Go", data="@")
        other.compute()
    benchmark.extra_info.update(slots=CHAIN, by_hand_s=perf_counter() - started)
