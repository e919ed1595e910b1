"""The lock, with real processes and threads."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hb.errors import HomeBusy, NoHome, Refused
from hb.storage.lock import hold, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from hb.storage.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKE_TURNS = """
import sys
from pathlib import Path
from hb.storage.lock import hold
path, timeout_s = Path(sys.argv[1]), float(sys.argv[2]) or None
with open(path.with_name("turns"), "ab", buffering=0) as turns:
    while True:
        with hold(path, timeout_s):
            turns.write(b".")
"""


def run(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@contextmanager
def another_holding(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until the block ends."""
    with run(HOLD, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_makes_its_file_for_its_owner_only(path: Path) -> None:
    with hold(path):
        assert path.stat().st_mode & 0o7777 == 0o600
    assert path.exists()


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_lets_go_after_the_block_even_if_it_fails(path: Path, timeout_s: float | None) -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="inside"), hold(path, timeout_s):
            raise RuntimeError("inside")
    with hold(path, 0.0):
        pass


def test_waits_no_longer_than_it_was_told(path: Path) -> None:
    with another_holding(path):
        for timeout_s in (-1.0, 0.0, 0.2):
            asked = time.monotonic()
            with pytest.raises(HomeBusy, match=f"was busy for {timeout_s:g} s") as busy, hold(path, timeout_s):
                pass
            assert timeout_s <= time.monotonic() - asked < timeout_s + 2
            assert busy.value.hint is not None


@pytest.mark.parametrize("timeout_s", [None, 30.0, 1e300])
def test_gets_the_lock_when_its_holder_is_killed(path: Path, timeout_s: float | None) -> None:
    with another_holding(path) as holder:
        threading.Timer(0.1, holder.kill).start()
        with hold(path, timeout_s):
            assert holder.wait() == -signal.SIGKILL


def test_who_gave_up_does_not_keep_the_lock_when_it_comes_after_all(path: Path) -> None:
    with another_holding(path):
        for _ in range(3):
            with pytest.raises(HomeBusy), hold(path, 0.01):
                pass
    with hold(path, 5.0):
        pass
    deadline = time.monotonic() + 60
    while any(thread.name == "hb-lock" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [thread.name for thread in threading.enumerate() if thread.name == "hb-lock"] == []
    assert locked_descriptors(path) == []


def locked_descriptors(path: Path) -> list[str]:
    """Which of this process's descriptors are of `path`, as far as the system tells."""
    descriptors = "/proc/self/fd"
    if not os.path.isdir(descriptors):  # noqa: PTH112
        return []
    found = []
    for name in os.listdir(descriptors):  # noqa: PTH208
        try:
            target = os.readlink(f"{descriptors}/{name}")  # noqa: PTH115
        except OSError:  # the descriptor of the listing itself
            continue
        if target == str(path):
            found.append(name)
    return found


def test_threads_of_one_process_take_turns_too(path: Path) -> None:
    inside, most, turns = [0], [0], []

    def work(timeout_s: float | None) -> None:
        for _ in range(20):
            with hold(path, timeout_s):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1
                turns.append(timeout_s)

    threads = [threading.Thread(target=work, args=(timeout_s,)) for timeout_s in (None, 30.0, None, 30.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 80
    assert most == [1]


@pytest.mark.parametrize("timeout_s", [0, 30])
def test_who_waits_has_a_turn_before_who_lets_go_and_asks_again(path: Path, timeout_s: int) -> None:
    turns = path.with_name("turns")
    turns.touch()
    before = -1
    with run(TAKE_TURNS, path, timeout_s) as other:
        try:
            for _ in range(50):
                with hold(path, timeout_s or None):
                    after = turns.stat().st_size
                    assert after > before
                    before = after
                    wait_until_somebody_queues(path, other)
        finally:
            other.kill()


def wait_until_somebody_queues(path: Path, other: subprocess.Popen[bytes]) -> None:
    """Wait until another program is the next to have the lock."""
    deadline = time.monotonic() + 60
    with queue_of(path).open("rb") as queue:
        while other.poll() is None and time.monotonic() < deadline:
            try:
                fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(queue, fcntl.LOCK_UN)
            time.sleep(0.001)
    raise AssertionError("nobody asks for the lock")


def test_ctrl_c_ends_the_wait(path: Path) -> None:
    for timeout_s in (None, 30.0):
        with another_holding(path):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            asked = time.monotonic()
            with pytest.raises(KeyboardInterrupt), hold(path, timeout_s):
                pass
            assert time.monotonic() - asked < 5
        with hold(path, 5.0):
            pass


def test_a_lock_file_that_was_replaced_while_waiting_is_not_the_lock(path: Path) -> None:
    """Somebody removed the file that we waited on: whoever comes now finds another, and that is the one to hold."""
    with another_holding(path) as holder:

        def replace() -> None:
            path.unlink()
            path.touch()
            holder.kill()

        threading.Timer(0.2, replace).start()
        with hold(path, 30.0), pytest.raises(HomeBusy), hold(path, 0.0):
            pass


def test_without_the_directory_there_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(NoHome, match="no home at"), hold(tmp_path / "nothing" / "lock"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(NoHome), hold(tmp_path / "file" / "lock"):
        pass


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_refuses_what_is_not_a_plain_file(path: Path, kind: str) -> None:
    elsewhere = path.parent / "elsewhere"
    {"link": lambda: path.symlink_to(elsewhere), "directory": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(Refused, match="must be a plain file"), hold(path):
        pass
    assert not elsewhere.exists()
