"""Measures the `hb` of two clones in turns, command by command, so that both meet the same minutes of the machine.

Each clone makes its own homes, with its own program: formats may differ. Only whole commands are compared: what stands
behind them may differ in every way.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from itertools import count
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SLOTS = 4_000
EVALS = 100
PROCESSES = 4
TOLERANCE = 0.05
HISTORY = "counted.history"


class Time(NamedTuple):
    """What a command took: seconds on the clock, and seconds of processor time."""

    wall_s: float
    cpu_s: float


@dataclass
class Side:
    """One clone, and the homes that its program has made."""

    program: Path
    directory: Path
    _numbers: count[int] = field(default_factory=count)

    def hb(self, home: Path, *words: str) -> Time:
        """Run `hb WORDS` in `home`."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        command = [self.program, "--home", home, *words]
        said = self.directory / "stderr"
        with said.open("wb") as err:
            started = perf_counter()
            process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=subprocess.DEVNULL, stderr=err
            )
            _, status, used = os.wait4(process.pid, 0)
            wall_s = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}: {said.read_text()}")
        return Time(wall_s, used.ru_utime + used.ru_stime)

    def home(self, name: str) -> Path:
        """Return the path of the home `name`."""
        return self.directory / name

    def copy(self, name: str) -> Path:
        """Return a new copy of the home `name`."""
        path = self.directory / f"{name}-{next(self._numbers)}"
        shutil.copytree(self.home(name), path)
        return path


class Row(NamedTuple):
    """A command to measure: in the home `home`, or in a new copy of it each time if it `changes` it."""

    what: str
    home: str
    words: str
    changes: bool = False


ROWS = (
    Row("start: --version", "small", "--version"),
    Row("--help", "small", "--help"),
    Row("list", "small", "list"),
    Row("state", "small", "state p0"),
    Row("state of slot 0", "small", "state p0 --slot 0 counter"),
    Row("inspect, 4 slots", "small", "inspect p0"),
    Row("call", "small", "call p0 ReadValue"),
    Row("send", "small", "send p0 Increment", changes=True),
    Row("send --wait", "small", "send p0 Increment --wait", changes=True),
    Row("spawn", "small", "spawn ../counter.wasm", changes=True),
    Row("fork", "small", "fork p0 --slot 1", changes=True),
    Row(f"send --batch of {SLOTS:,}", "small", "send p0 --batch ../batch.ndjson", changes=True),
    Row(f"compute {SLOTS:,} slots", "scheduled", "compute p0", changes=True),
    Row(f"inspect {SLOTS:,} slots", "counted", "inspect p0"),
    Row(f"verify {SLOTS:,} slots", "counted", "verify p0"),
    Row(f"verify --replay {SLOTS:,} slots", "counted", "verify p0 --replay"),
    Row(f"export {SLOTS:,} slots", "counted", "export p0 -o out.history"),
    Row(f"import {SLOTS:,} slots", "empty", f"import {HISTORY}", changes=True),
    Row(f"compute --all --jobs 2, {PROCESSES} processes", "several", "compute --all --jobs 2", changes=True),
)
AOS_ROWS = (
    Row("aos: state", "aos", "state p0"),
    Row("aos: eval", "aos", "eval p0 x", changes=True),
    Row(f"aos: compute {EVALS} evals", "aos-scheduled", "compute p0", changes=True),
)


def prepare(side: Side, counter: Path, aos: Path | None) -> None:
    """Make the homes of all rows."""
    side.directory.mkdir()
    shutil.copy(counter, side.directory.parent / "counter.wasm")
    batch, evals = side.directory.parent / "batch.ndjson", side.directory.parent / "evals.ndjson"
    batch.write_text('{"action":"Increment"}\n' * SLOTS)
    evals.write_text(
        "".join(json.dumps({"action": "Eval", "data": f"n = {n}; return n * n"}) + "\n" for n in range(EVALS))
    )

    def made(name: str, image: Path | None, file: Path | None = None, processes: int = 1) -> Path:
        home = side.home(name)
        side.hb(home, "init")
        for number in range(processes if image else 0):
            side.hb(home, "spawn", str(image), "--name", f"p{number}")
            if file is not None:
                side.hb(home, "send", f"p{number}", "--batch", str(file))
        return home

    made("empty", None)
    small = made("small", counter)
    for _ in range(3):
        side.hb(small, "send", "p0", "Increment", "--wait")
    made("scheduled", counter, batch)
    counted = made("counted", counter, batch)
    side.hb(counted, "compute", "p0")
    side.hb(counted, "export", "p0", "-o", HISTORY)
    made("several", counter, batch, PROCESSES)
    if aos is not None:
        home = made("aos", aos)
        side.hb(home, "eval", "p0", "x = 1")
        made("aos-scheduled", aos, evals)


def measure(
    sides: Sequence[Side], rows: Sequence[Row], rounds: int, tell: Callable[[str], None]
) -> dict[str, list[list[Time]]]:
    """Measure each row in turns; return, for each, the times of each round, in the order of `sides`."""
    found: dict[str, list[list[Time]]] = {row.what: [] for row in rows}
    for number in range(-1, rounds):  # the first round warms up and is not kept
        tell(f"round {number + 1} of {rounds}")
        for row in rows:
            times: dict[int, Time] = {}
            for place in range(len(sides)) if number % 2 else reversed(range(len(sides))):
                times[place] = _once(sides[place], row)
            if number >= 0:
                found[row.what].append([times[place] for place in range(len(sides))])
    return found


def _once(side: Side, row: Row) -> Time:
    home = side.copy(row.home) if row.changes else side.home(row.home)
    taken = side.hb(home, *row.words.split())
    if row.changes:
        shutil.rmtree(home)
    return taken


def table(found: dict[str, list[list[Time]]]) -> list[str]:
    """Return the lines of a table.

    A ratio is the median of the rounds' own ratios, with half of their middle spread. What other programs take adds to
    a time and never takes from it: so the ratio of the best times stands beside it, by the clock and of the processor.
    """
    lines = ["| hb | before, ms | now, ms | now / before | ± | at best | processor, at best |", f"|---|{'--:|' * 6}"]
    slower = []
    for what, rounds in found.items():
        before, now = ([each[place] for each in rounds] for place in (0, 1))
        ratios = [late.wall_s / early.wall_s for early, late in zip(before, now, strict=True)]
        best = min(time.wall_s for time in now) / min(time.wall_s for time in before)
        best_cpu = min(time.cpu_s for time in now) / min(time.cpu_s for time in before)
        cells = [what, *(f"{median(time.wall_s for time in side) * 1000:,.0f}" for side in (before, now))]
        cells += [f"{number:.3f}" for number in (median(ratios), spread(ratios), best, best_cpu)]
        lines.append("| " + " | ".join(cells) + " |")
        if min(median(ratios), best) > 1 + TOLERANCE:
            slower.append(what)
    names = ", ".join(slower) or "none"
    return [*lines, "", f"Slower by more than {TOLERANCE:.0%}, in the middle and at best: {names}"]


def spread(ratios: Sequence[float]) -> float:
    """Return half the distance between the quartiles."""
    if len(ratios) < 2:
        return 0.0
    low, _, high = quantiles(ratios, n=4)
    return (high - low) / 2
