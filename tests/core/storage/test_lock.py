"""The lock, with real processes and threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hb.cancellation import Cancellation
from hb.errors import HomeBusy, Interrupted, NoHome, Refused
from hb.storage import lock
from hb.storage.lock import hold
from hb.storage.storage import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from hb.storage import lock
from hb.storage.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKE_TURNS = """
import os, sys
from pathlib import Path
from hb.storage.lock import hold
from hb.storage.storage import Patience
history = os.open(Path(sys.argv[1]).with_name("history"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for line in sys.stdin:
    with hold(Path(sys.argv[1]), Patience(float(line) or None)):
        os.write(history, b"x")
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
        with pytest.raises(RuntimeError, match="inside"), hold(path, Patience(timeout_s)):
            raise RuntimeError("inside")
    with hold(path, Patience(0.0)):
        pass


def test_waits_no_longer_than_it_was_told(path: Path) -> None:
    with another_holding(path):
        for timeout_s in (-1.0, 0.0, 0.2):
            asked = time.monotonic()
            with (
                pytest.raises(HomeBusy, match=f"was busy for {timeout_s:g} s") as busy,
                hold(path, Patience(timeout_s)),
            ):
                pass
            assert timeout_s <= time.monotonic() - asked < timeout_s + 2
            assert busy.value.hint is not None


@pytest.mark.parametrize("timeout_s", [None, 30.0, 1e300])
def test_gets_the_lock_when_its_holder_is_killed(path: Path, timeout_s: float | None) -> None:
    with another_holding(path) as holder:
        threading.Timer(0.1, holder.kill).start()
        with hold(path, Patience(timeout_s)):
            assert holder.wait() == -signal.SIGKILL


def test_who_gave_up_does_not_keep_the_lock_when_it_comes_after_all(path: Path) -> None:
    with another_holding(path):
        for _ in range(3):
            with pytest.raises(HomeBusy), hold(path, Patience(0.01)):
                pass
    with hold(path, Patience(5.0)):
        pass
    wait_until(lambda: all(thread.name != "hb-lock" for thread in threading.enumerate()))
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
            with hold(path, Patience(timeout_s)):
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


@pytest.mark.parametrize("timeout_s", [0, 60])
def test_who_lets_go_and_asks_again_at_once_comes_after_who_waits(path: Path, timeout_s: int) -> None:
    with run(TAKE_TURNS, path) as other:
        assert other.stdin is not None
        for turn in range(20):
            with hold(path):
                os.utime(lock.queue_of(path), (0, 0))
                other.stdin.write(b"%d\n" % timeout_s)
                other.stdin.flush()
                wait_until(lambda: lock.queue_of(path).stat().st_mtime != 0)
                assert lock.is_awaited(path)
            with hold(path):
                assert path.with_name("history").read_bytes() == b"x" * (turn + 1)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_ctrl_c_ends_the_wait(path: Path, timeout_s: float | None) -> None:
    with another_holding(path) as holder:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), hold(path, Patience(timeout_s)):
            pass
        assert holder.poll() is None
    with hold(path, Patience(5.0)):
        pass


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_a_cancelled_wait_ends_and_no_other_does(path: Path, timeout_s: float | None) -> None:
    ended: list[str] = []

    def ask(name: str, cancellation: Cancellation) -> None:
        try:
            with hold(path, Patience(timeout_s, cancellation)):
                ended.append(f"{name} has it")
        except Interrupted:
            ended.append(f"{name} was cancelled")

    cancellations = {name: Cancellation() for name in "abc"}
    with another_holding(path) as holder:
        threads = {name: threading.Thread(target=ask, args=(name, each)) for name, each in cancellations.items()}
        for thread in threads.values():
            thread.start()
        for name in "ca":
            cancellations[name].cancel()
            threads[name].join(10)
        assert ended == ["c was cancelled", "a was cancelled"]
        assert holder.poll() is None
    threads["b"].join(10)
    assert ended[2:] == ["b has it"]
    with pytest.raises(Interrupted), another_holding(path), hold(path, Patience(None, cancellations["a"])):
        pass


def test_however_often_a_wait_is_given_up_one_thread_asks_the_kernel(path: Path) -> None:
    with another_holding(path):
        for _ in range(20):
            with pytest.raises(HomeBusy), hold(path, Patience(0.001)):
                pass
        assert [thread.name for thread in threading.enumerate()].count("hb-lock") == 1
    with hold(path, Patience(5.0)):
        assert not lock.is_awaited(path)


def test_a_holder_can_tell_that_somebody_waits(path: Path) -> None:
    with hold(path):
        assert not lock.is_awaited(path)
        touched = lock.queue_of(path).stat().st_mtime_ns
        waiter = run(HOLD, path)
        wait_until(lambda: lock.is_awaited(path) and lock.queue_of(path).stat().st_mtime_ns != touched)
    with waiter:
        waiter.communicate()


def test_a_lock_file_that_was_replaced_while_waiting_is_not_the_lock(path: Path) -> None:
    """Somebody removed the file that we waited on: whoever comes now finds another, and that is the one to hold."""
    with another_holding(path) as holder:

        def replace() -> None:
            path.unlink()
            path.touch()
            holder.kill()

        threading.Timer(0.2, replace).start()
        with hold(path, Patience(30.0)), pytest.raises(HomeBusy), hold(path, Patience(0.0)):
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
