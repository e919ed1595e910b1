"""How long a send or a state waits while another program computes. `scripts/soak wait N` prints it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from hb.wasm.module import from_text
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).parent / "hb"
SAMPLES = Path(__file__).parents[2] / "samples"
COUNTER = SAMPLES / "counter.wasm"
GAS_WITHOUT_END = 2**60
BUSY_SLOTS = 20_000

# A message takes some ten milliseconds, and changes some memory.
BUSY = """
(module
  (memory 200)
  (func (export "Work") (local $left i32)
    (local.set $left (i32.const 3000000))
    (loop $on
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (i32.store (i32.and (i32.mul (local.get $left) (i32.const 65536)) (i32.const 0x7FFFFF)) (local.get $left))
      (br_if $on (local.get $left)))))
"""

HEAD = "| while another computes | times | in the middle | at most |\n|---|--:|--:|--:|"


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts `hb` in a pipe."""
    return subprocess.Popen(
        [PROGRAM, "--home", home, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home.parent)},
    )


def hb(home: Path, *arguments: str) -> str:
    """What `hb` prints; it must be content."""
    process = start(home, *arguments)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, (arguments, said)
    return out


@contextmanager
def endless(directory: Path) -> Iterator[Path]:
    """A home in which `hb compute endless` runs a message that does not end: its slot 2. `counter` is idle."""
    home = homes.create(directory / "home")
    key, environment = keyring.load(home.keys, homes.DEFAULT_KEY), system_environment()
    node = Node(home)
    limits = node.default_limits()
    patient = Limits(GAS_WITHOUT_END, limits.memory_pages, limits.result_bytes)
    loop = (SAMPLES / "loop.wasm").read_bytes()
    process = node.spawn(loop, signer=key, environment=environment, name="endless", limits=patient).process
    node.spawn(COUNTER.read_bytes(), signer=key, environment=environment, name="counter")
    sent = [build_message(action, [], anchor=action) for action in ("Increment", "Loop")]
    node.send(process, sent, signer=key, environment=environment)
    node.compute(process, 1)
    computing = start(home.path, "compute", process)
    try:
        _wait_for_lock(home.cache / f"computing-{process}.lock")
        yield home.path
        assert computing.poll() is None, computing.communicate()
    finally:
        computing.kill()
        computing.communicate()


@contextmanager
def busy(directory: Path) -> Iterator[Path]:
    """A home in which `hb compute busy` computes slot after slot, minutes of them. `counter` is idle."""
    home = homes.create(directory / "home")
    key, environment = keyring.load(home.keys, homes.DEFAULT_KEY), system_environment()
    node = Node(home)
    for name, image in (("busy", from_text(BUSY)), ("counter", COUNTER.read_bytes())):
        node.spawn(image, signer=key, environment=environment, name=name)
    sent = [build_message("Work", [], anchor=f"{number}") for number in range(BUSY_SLOTS)]
    node.send("busy", sent, signer=key, environment=environment)
    computing = start(home.path, "compute", "busy")
    try:
        _wait_for_lock(home.cache / f"computing-{node.resolve('busy')}.lock")
        yield home.path
        assert computing.poll() is None, "it was too quick"
    finally:
        computing.kill()
        computing.communicate()


def rows(directory: Path, times: int) -> Iterator[str]:
    """How long `times` sends and states take, beside a message without end, beside many messages, and beside nobody."""
    for what, scene in (("one message without end", endless), ("slot after slot", busy)):
        with scene(directory / scene.__name__) as home:
            yield from _rows(home, what, times)
    yield from _rows(directory / "endless" / "home", "nobody", times)


def _rows(home: Path, what: str, times: int) -> Iterator[str]:
    for arguments in (("send", "counter", "Increment"), ("state", "counter", "--slot", "0", "counter")):
        hb(home, "state", "counter", "--slot", "0")
        seconds = []
        for _ in range(times):
            started = perf_counter()
            hb(home, *arguments)
            seconds.append(perf_counter() - started)
        middle, most = (f"{value * 1000:,.0f} ms" for value in (median(seconds), max(seconds)))
        yield f"| {what}: `hb {arguments[0]}` | {times} | {middle} | {most} |"


def _wait_for_lock(path: Path) -> None:
    """Waits until somebody holds the lock file `path`."""
    import fcntl

    for _ in range(600):
        if path.exists():
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
        sleep(0.1)
    raise AssertionError("nobody computes")
