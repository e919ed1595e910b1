"""Runs the installed `hb` as a user would: as a program, in a clean environment, in a pipe or on a terminal."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(sys.executable).parent / "hb"
SAMPLES = Path(__file__).parents[2] / "samples"
COUNTER = SAMPLES / "counter.wasm"
TIMEOUT_S = 60
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")

# A process whose functions fail, print strangers' text, and do what the counter does.
PLAYGROUND = """
(module
  (global $n (export "n") (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "Set") (param i32) (global.set $n (local.get 0)))
  (func (export "Get") (result i32) (global.get $n))
  (func (export "Pair") (param i64 f64) (result f64 i64) (local.get 1) (local.get 0))
  (func (export "Trap") unreachable)
  (func (export "Loop") (loop $again (br $again))))
"""


@dataclass(frozen=True)
class Outcome:
    """What a run of `hb` came to. On a terminal, stderr is in `out` too."""

    code: int
    out: str
    err: str = ""

    @property
    def text(self) -> str:
        """`out` without colours and cursor movements."""
        return _ESCAPES.sub("", self.out).replace("\r\n", "\n")

    def json(self) -> Any:
        """`out` as the one JSON value that it must be, on one line."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """`out` as JSON values, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """A user's shell: a home directory, a working directory, and nothing in the environment but what is needed."""

    directory: Path
    variables: dict[str, str] = field(default_factory=dict)

    program = PROGRAM
    counter_wasm = COUNTER
    samples = SAMPLES

    @property
    def home(self) -> Path:
        """The home that `hb init` makes in the working directory."""
        return self.directory / ".hb"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment variables of a run."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory / "user"), **self.variables, **(more or {})}

    def hb(self, *arguments: str | Path, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        """Runs `hb ARGUMENTS` with everything in pipes."""
        ran = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env=self.environment(env),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Outcome(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def ok(self, *arguments: str | Path, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        """As `hb`, of a run that must succeed."""
        outcome = self.hb(*arguments, stdin=stdin, env=env)
        assert outcome.code == 0, outcome
        return outcome

    def start(self, *arguments: str | Path, **settings: Any) -> subprocess.Popen[bytes]:
        """Starts `hb ARGUMENTS` and does not wait."""
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen([PROGRAM, *arguments], cwd=self.directory, env=self.environment(), **settings)

    def terminal(
        self,
        *arguments: str | Path,
        columns: int = 120,
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> Outcome:
        """Runs `hb ARGUMENTS` on a pseudo-terminal of `columns`; stderr goes there too unless `stderr` is given."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env=self.environment({"TERM": "xterm-256color", **(env or {})}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if stderr is None else stderr,
        )
        os.close(theirs)
        shown = _read_terminal(ours)
        os.close(ours)
        _, err = process.communicate(timeout=TIMEOUT_S)
        return Outcome(process.returncode, shown, (err or b"").decode())

    outcome = Outcome

    @staticmethod
    def read_terminal(descriptor: int) -> str:
        """All that is shown on a pseudo-terminal until its last user is gone."""
        return _read_terminal(descriptor)

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes a file in the working directory."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def records(self) -> dict[bytes, bytes]:
        """Every record of the home's store."""
        from hb.home import open_home

        with open_home(self.home).slice() as store:
            return dict(store.scan(b"", b"\xff" * 100))


def _read_terminal(descriptor: int) -> str:
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


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell on a machine where hb was never used."""
    directory = tmp_path / "work"
    directory.mkdir()
    return Shell(directory)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes as `hb` makes them, made once and copied by the tests: `plain`, and with the processes of the fixtures."""
    root = tmp_path_factory.mktemp("templates")
    for name in ("plain", "counter", "playground"):
        (root / name).mkdir()
        shell = Shell(root / name)
        shell.ok("init")
        if name == "counter":
            shell.ok("spawn", COUNTER, "--name", "counter", "--initial-state", '{"counter": 0}')
        if name == "playground":
            shell.write("play.wat", PLAYGROUND)
            shell.ok("spawn", "play.wat", "--name", "play")
    return root


@pytest.fixture
def home(shell: Shell, templates: Path) -> Shell:
    """A shell in a directory that has a home."""
    shutil.copytree(templates / "plain" / ".hb", shell.home)
    return shell


@pytest.fixture
def counter(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `counter`, at slot 0."""
    shutil.copytree(templates / "counter" / ".hb", shell.home)
    return shell


@pytest.fixture
def playground(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `play`, at slot 0."""
    shutil.copytree(templates / "playground" / ".hb", shell.home)
    return shell
