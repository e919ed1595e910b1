"""Run the installed `hb` as a user would: as a program, in a clean environment, in a pipe or on a terminal."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from warm import Warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = Path(sys.executable).parent / "hb"
SAMPLES = Path(__file__).parents[1] / "samples"
COUNTER = SAMPLES / "counter.wasm"
TIMEOUT_S = 60
# From where the cursor is hidden until it is shown again and the line is erased.
_PROGRESS_BAR = re.compile(r"\x1b\[\?25l.*?\x1b\[\?25h(?:\r?\x1b\[1A\x1b\[2K)?", re.DOTALL)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")


@dataclass(frozen=True)
class Outcome:
    """The result of a run of `hb`. On a terminal, `out` has stderr too."""

    code: int
    out: str
    err: str = ""

    @property
    def text(self) -> str:
        """Return `out` without colours and cursor movements."""
        return _ESCAPES.sub("", self.out).replace("\r\n", "\n")

    def json(self) -> Any:
        """Return `out`, which must be one line, as a JSON value."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Return `out` as JSON values, one for each line."""
        return [json.loads(line) for line in self.out.splitlines()]


def read_terminal(descriptor: int) -> str:
    """Return everything that a pseudo-terminal shows until the last program that uses it has ended."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError as error:
            # Linux says so when the other end is closed.
            if error.errno == errno.EIO:
                break
            raise
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()


@cache
def warm() -> Warm:
    """Return what runs the program, once it is needed."""
    return Warm(PROGRAM)


@dataclass
class Shell:
    """A user's shell: a home directory, a working directory, and a minimal environment."""

    directory: Path
    variables: dict[str, str] = field(default_factory=dict)
    program: Path = PROGRAM
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    counter_wasm = COUNTER
    samples = SAMPLES

    @property
    def home(self) -> Path:
        """Return the path of the home that `hb init` makes in the working directory."""
        return self.directory / ".hb"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment variables of a run."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory / "user"), **self.variables, **(more or {})}

    def hb(self, *arguments: str | Path, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        """Run `hb ARGUMENTS` with pipes for stdin, stdout and stderr."""
        content = stdin.encode() if isinstance(stdin, str) else stdin
        environment = self.environment(env)
        with self._warm(environment) as warm:
            if warm is not None:
                ran = warm.run([str(word) for word in arguments], self.directory, environment, content, TIMEOUT_S)
            else:
                ran = subprocess.run(
                    [self.program, *arguments],
                    cwd=self.directory,
                    env=environment,
                    input=content,
                    capture_output=True,
                    timeout=TIMEOUT_S,
                    check=False,
                )
        return Outcome(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def ok(self, *arguments: str | Path, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        """Run `hb ARGUMENTS` as `hb` does. The run must succeed."""
        outcome = self.hb(*arguments, stdin=stdin, env=env)
        assert outcome.code == 0, outcome
        return outcome

    def start(self, *arguments: str | Path, **settings: Any) -> subprocess.Popen[bytes]:
        """Start `hb ARGUMENTS` and do not wait for its end."""
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        program = subprocess.Popen([self.program, *arguments], cwd=self.directory, env=self.environment(), **settings)
        self._started.append(program)
        return program

    def end(self) -> None:
        """End the programs that were started and still run. A failed test leaves them behind."""
        for program in self._started:
            if program.poll() is None:
                program.kill()
                program.communicate()

    def terminal(
        self,
        *arguments: str | Path,
        columns: int = 120,
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> Outcome:
        """Run `hb ARGUMENTS` on a pseudo-terminal of `columns`. Unless `stderr` is given, stderr goes there too.

        A progress bar is left out of what is shown: whether there is one depends on what else the machine does.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = self.environment({"TERM": "xterm-256color", **(env or {})})
        with self._warm(environment) as warm:
            if warm is not None and stderr is None:
                warm.start([str(word) for word in arguments], self.directory, environment, (theirs, theirs, theirs))
                shown, said = read_terminal(ours), b""
                code = warm.wait()
            else:
                process = subprocess.Popen(
                    [self.program, *arguments],
                    cwd=self.directory,
                    env=environment,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs if stderr is None else stderr,
                )
                os.close(theirs)
                shown = read_terminal(ours)
                _, said = process.communicate(timeout=TIMEOUT_S)
                code = process.returncode
        os.close(ours)
        return Outcome(code, _PROGRESS_BAR.sub("", shown), (said or b"").decode())

    @contextmanager
    def _warm(self, environment: Mapping[str, str]) -> Iterator[Warm | None]:
        """What runs the program with this environment without a start; None where it must be started."""
        if self.program != PROGRAM or os.environ.get("HB_TESTS_COLD"):
            yield None
            return
        with warm().free(environment) as is_free:
            yield warm() if is_free else None

    @contextmanager
    def talk(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Talk]:
        """Run `hb ARGUMENTS` on a pseudo-terminal that a test can type into."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, self.program, *arguments],
            cwd=self.directory,
            env=self.environment({"TERM": "xterm-256color", **(env or {})}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Talk(ours, process)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    outcome = Outcome

    read_terminal = staticmethod(read_terminal)

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file in the working directory. Return its path."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def records(self) -> dict[bytes, bytes]:
        """Return every record of the home's store."""
        from hb.home import open_home

        with open_home(self.home).storage.session() as store:
            return dict(store.scan(b"", b"\xff" * 100))


# Makes standard input the terminal that the program is controlled from, so that Ctrl-C there reaches it.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Talk:
    """A program on a terminal: type keys, and read what it shows."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.descriptor = descriptor
        self._process = process
        self._raw = b""
        self._seen = 0

    @property
    def shown(self) -> str:
        """Return everything shown so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self._raw.decode("utf-8", "replace")).replace("\r", "")

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self.descriptor, keys.encode())

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self._process.send_signal(number)

    def wait_for(self, pattern: str) -> str:
        """Wait until the text after the last match contains `pattern`. Return the match."""
        deadline = monotonic() + TIMEOUT_S / 2
        while (found := re.compile(pattern, re.MULTILINE).search(self.shown, self._seen)) is None:
            assert monotonic() < deadline, f"no {pattern!r} in {self.shown[self._seen :]!r}"
            assert self._read(), f"it ended with no {pattern!r} in {self.shown[self._seen :]!r}"
        self._seen = found.end()
        return found[0]

    def wait_for_prompt(self, prompt: str = "me>") -> None:
        """Wait until the program asks for a line and shows nothing more."""
        self.wait_for(prompt)
        shown = b""
        while shown != self._raw:
            shown = self._raw
            assert self._read(), self.shown[self._seen :]
        self._seen = len(self.shown)

    def end(self) -> int:
        """Wait until the program ends by itself. Return its exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_S)

    def _read(self) -> bool:
        """Takes in what is there to be shown, for a moment; False when there is nobody left to show it."""
        if not select.select([self.descriptor], [], [], 0.2)[0]:
            return self._process.poll() is None
        try:
            part = os.read(self.descriptor, 65536)
        except OSError as error:
            # Linux says so when the other end is closed.
            if error.errno == errno.EIO:
                return False
            raise
        if b"\x1b[6n" in part:
            # A terminal that is asked where its cursor is says so: in the last line.
            os.write(self.descriptor, b"\x1b[40;1R")
        self._raw += part
        return bool(part)
