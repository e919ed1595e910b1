"""What might grow with a history, measured while one grows: memory, disk, and how long things take.

One program sends and computes all along, as a library; `hb` is run beside it, as a person would. Not a test: times
are a matter of the machine. `scripts/soak slots N` prints them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.protocol.request import build_message
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.home import Home

PROGRAM = Path(sys.executable).parent / "hb"
COUNTER = Path(__file__).parents[2] / "samples" / "counter.wasm"
MARKS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
BATCH = 1000
COMPUTE_EVERY = 10_000
REPEATS = 9

HEAD = """\
| slots | memory of the program that grows it | memory of `hb state` | disk a slot | open | send | state now | state at a random slot | `hb send` | `hb state` | sent a second | computed a second |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


class Run(NamedTuple):
    """A run of `hb`: how long it took, and how much memory at most."""

    seconds: float
    peak_bytes: int


def grow(directory: Path, slots: int) -> Iterator[str]:
    """Grows a counter to `slots` slots; gives a row at every mark, and at the end."""
    home = homes.create(directory / "home")
    signer = keyring.load(home.keys, homes.DEFAULT_KEY)
    environment = system_environment()
    node = Node(home)
    process = node.spawn(COUNTER.read_bytes(), signer=signer, environment=environment, name="counter").process
    sending = computing = 0.0
    at = since = computed = 0
    for mark in [*(mark for mark in MARKS if mark < slots), slots]:
        while at < mark:
            count = min(BATCH, mark - at)
            messages = [build_message("Increment", [], anchor=f"{at + place}") for place in range(count)]
            started = perf_counter()
            at = node.send(process, messages, signer=signer, environment=environment)[-1].slot
            sending += perf_counter() - started
            if at - computed >= COMPUTE_EVERY or at == mark:
                started = perf_counter()
                node.compute(process)
                computing += perf_counter() - started
                computed = at
        rates = (at - since) / sending, (at - since) / computing
        yield _row(home, node, process, at, rates)
        # What was measured has sent some messages, too.
        at = since = node.process(process).slots - 1
        sending = computing = 0.0


def _row(home: Home, node: Node, process: str, slots: int, rates: tuple[float, float]) -> str:
    signer, environment = keyring.load(home.keys, homes.DEFAULT_KEY), system_environment()
    resident, disk = _resident_bytes(), _disk_bytes(home.storage.store)

    def open_home() -> None:
        with homes.open_home(home.path).storage.session():
            pass

    def send() -> None:
        message = build_message("Increment", [], anchor=os.urandom(8).hex())
        node.send(process, [message], signer=signer, environment=environment)

    def state_then() -> None:
        node.state(process, str(int.from_bytes(os.urandom(8), "big") % (slots + 1)))

    opened, sent = _took(open_home), _took(send)
    node.compute(process)
    now, then = _took(lambda: node.state(process)), _took(state_then)
    program_send = _run(home, "send", "counter", "Increment", times=REPEATS)
    _run(home, "compute", "counter")
    program_state = _run(home, "state", "counter", "counter", times=REPEATS)
    cells = (
        f"{slots:,}",
        _mib(resident),
        _mib(program_state.peak_bytes),
        f"{disk / (slots + 1):,.0f} B",
        *map(_ms, (opened, sent, now, then)),
        _ms(program_send.seconds),
        _ms(program_state.seconds),
        *(f"{rate:,.0f}" for rate in rates),
    )
    return f"| {' | '.join(cells)} |"


def _took(act: Callable[[], object]) -> float:
    """How long `act` takes, in seconds: the best of some, as other programs want the machine, too."""
    seconds = []
    for _ in range(REPEATS):
        started = perf_counter()
        act()
        seconds.append(perf_counter() - started)
    return min(seconds)


def _run(home: Home, *arguments: str, times: int = 1) -> Run:
    """`hb ARGUMENTS`, some times: how long it took at best, and how much memory at most."""
    command = [str(PROGRAM), "--home", str(home.path), *arguments]
    told = subprocess.run(
        [sys.executable, "-I", "-c", _LAUNCHER, str(times), *command], stdout=subprocess.PIPE, text=True, check=True
    )
    *seconds, peak = map(float, told.stdout.split())
    # Kilobytes, but on macOS.
    return Run(min(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024))


# A small program that starts `hb`: a child's peak counts from its parent's, and the one that grows is large.
_LAUNCHER = """
import resource, subprocess, sys, time
for _ in range(int(sys.argv[1])):
    started = time.perf_counter()
    subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=True)
    print(time.perf_counter() - started)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _resident_bytes() -> int:
    """How much memory this program has now."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(told.stdout) * 1024


def _disk_bytes(directory: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in directory.iterdir())


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
