"""Waits until a program that was started has come to a certain point, however long that takes on a busy machine."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 60


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Wait until `is_so()` is true; fail with `what` if that never comes."""
    deadline = monotonic() + LIMIT_S
    while not is_so():
        assert monotonic() < deadline, f"it never came that {what}"
        sleep(0.005)


def children(process: int) -> list[int]:
    """Return the IDs of the processes that the process with this ID has started and that still run."""
    listed = subprocess.run(["pgrep", "-P", str(process)], stdout=subprocess.PIPE, text=True, check=False)
    return [int(word) for word in listed.stdout.split() if is_running(int(word))]


def is_running(process: int) -> bool:
    """Whether the process is there and not only its exit code."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], stdout=subprocess.PIPE, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


def is_locked(path: Path) -> bool:
    """Whether another program holds `flock` on the file."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until_it_works(process: subprocess.Popen[bytes]) -> None:
    """Wait until `hb` has begun to run a module, which it does on a thread of its own."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        sleep(2)  # a system that does not tell
        return
    wait_until(lambda: process.poll() is not None or len(list(tasks.iterdir())) > 1, "it has a second thread")
