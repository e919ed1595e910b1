"""Runs the installed `hb` in a Python that has the libraries of others loaded already: a third of the time of a start.

Each run is a process of its own, with its own streams, environment and directory. It is forked from one that has
imported what is not ours, and then runs the program's own file: all of `hb` is loaded anew. What a start costs, what it
loads, and what signals do to it is tested with programs that are started in the usual way.

    HB_TESTS_COLD=1 scripts/test        starts every program in the usual way

Run as a program, this file is the process that is forked: `warm.py DESCRIPTOR PROGRAM`.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LIBRARIES = (
    "typer",
    "typer.main",
    "wasmtime",
    "plyvel",
    "plyvel_next",
    "nacl.signing",
    "tomllib",
    "tomli_w",
    "platformdirs",
    "rich.console",
    "rich.panel",
    "rich.progress",
    "rich.table",
    "rich.tree",
)
# What a library or Python itself may look at when it is loaded is none of these.
VARIABLES = {"PATH", "HOME", "HB_HOME", "HB_DEBUG", "TMPDIR", "TERM"}
_ENDS = "little"


class Warm:
    """The process that is forked, and what is asked of it: one run at a time."""

    def __init__(self, program: Path) -> None:
        self._busy = Lock()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), program],
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ["PATH"]},
                # Python looks once, at its start, whether a stream can be sought in: a pipe and a terminal cannot.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self._answers = self._channel.makefile("rb")
        atexit.register(self.end)

    @contextmanager
    def free(self, environment: Mapping[str, str]) -> Iterator[bool]:
        """Whether a run with these variables can be asked for in the `with` block; else it needs a start of its own."""
        if not environment.keys() <= VARIABLES or not self._busy.acquire(blocking=False):
            yield False
            return
        try:
            yield True
        finally:
            self._busy.release()

    def start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], streams: Sequence[int]) -> int:
        """Start the program on these three streams, which are then its own. Return its process ID."""
        asked = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}).encode()
        try:
            socket.send_fds(self._channel, [len(asked).to_bytes(8, _ENDS)], streams)
            self._channel.sendall(asked)
        finally:
            for descriptor in set(streams):
                os.close(descriptor)
        return int(self._answers.readline())

    def wait(self) -> int:
        """Return the exit code of the program that was started, when it has ended."""
        return int(self._answers.readline())

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], content: bytes, timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program with everything in pipes, and `content` on standard input."""
        given, source = os.pipe()
        out, out_there = os.pipe()
        err, err_there = os.pipe()
        process = self.start(arguments, cwd, environment, (given, out_there, err_there))
        printed = _exchange(process, source, content, (out, err), time.monotonic() + timeout_s)
        code = self.wait()
        if printed is None:
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        return subprocess.CompletedProcess(arguments, code, *printed)

    def end(self) -> None:
        """Let the process end."""
        self._answers.close()
        self._channel.close()
        self._process.communicate()


def _exchange(process: int, source: int, content: bytes, ends: tuple[int, int], deadline: float) -> list[bytes] | None:
    """Write `content` to `source` and read both `ends` to their end; None if the process had to be killed."""
    read: dict[int, list[bytes]] = {end: [] for end in ends}
    is_late = False
    with selectors.DefaultSelector() as selector:
        if content:
            os.set_blocking(source, False)
            selector.register(source, selectors.EVENT_WRITE)
        else:
            os.close(source)
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(None if is_late else max(deadline - time.monotonic(), 0))
            if not ready:
                os.kill(process, signal.SIGKILL)
                is_late = True
            for key, _ in ready:
                if key.fd == source:
                    content = _write_some(source, content)
                    is_done = not content
                else:
                    part = os.read(key.fd, 1 << 16)
                    read[key.fd].append(part)
                    is_done = not part
                if is_done:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return None if is_late else [b"".join(read[end]) for end in ends]


def _write_some(descriptor: int, content: bytes) -> bytes:
    """Write as much as fits; return the rest, or nothing if nobody reads."""
    try:
        return content[os.write(descriptor, content[: 1 << 16]) :]
    except BrokenPipeError:
        return b""


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request, and report how it ended. Return the request in each of them, None at the end."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, 8, 3)
        if not head:
            return None
        length = int.from_bytes(head, _ENDS)
        asked = b""
        while len(asked) < length:
            asked += channel.recv(length - len(asked))
        if not (process := os.fork()):
            for place, descriptor in enumerate(descriptors):
                os.dup2(descriptor, place)
            os.closerange(3, 1024)
            channel.detach()
            return json.loads(asked)  # type: ignore[no-any-return]
        for descriptor in descriptors:
            os.close(descriptor)
        channel.sendall(b"%d\n" % process)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        channel.sendall(b"%d\n" % code)


def _prepare(asked: dict[str, Any], program: str) -> None:
    """Make this process what it would be if it had been started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = [program, *asked["arguments"]]
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    sys.path[0] = os.path.dirname(program)  # noqa: PTH120  as Python has it


if __name__ == "__main__":
    import gc

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the program that started it
    for _library in LIBRARIES:
        with suppress(ModuleNotFoundError):
            import_module(_library)
    gc.freeze()
    _asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    if _asked is not None:
        _prepare(_asked, sys.argv[2])
        with open(sys.argv[0], "rb") as _file:  # noqa: PTH123
            _program = compile(_file.read(), sys.argv[0], "exec")
        exec(_program)
