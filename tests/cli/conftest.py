"""Runs the installed `hb` as a user would: as a program, in a clean environment, in a pipe or on a terminal."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


# A program of the AO ABI: it answers by the first character of a message's data, or with "?".
_SPEECH = {
    "1": '{"ok":true,"response":{"Output":{"data":"2"},"Messages":[],"Spawns":[],"Assignments":[]}}',
    "n": '{"ok":true,"response":{"Output":{"data":"0"}}}',  # the digit counts up from message to message
    "e": '{"ok":true,"response":{"Error":"boom\\nstack traceback"}}',
    "p": '{"ok":true,"response":{"Output":{"data":"done"}}}',  # prints "hello" too
    "l": '{"ok":true,"response":{"Output":{"data":"one\\ntwo"}}}',
    "z": '{"ok":true,"response":{"Output":{"data":""}}}',
    "c": '{"ok":true,"response":{"Output":{"data":"\\u001b[32mgreen\\u001b[0m\\u001b[2J\\u001b]0;x\\u0007"}}}',
    "q": '{"ok":true,"response":{"Output":{"data":{"output":"deep"},"prompt":"speaker@2> "}}}',
    "j": '{"ok":true,"response":{"Output":{"data":{"b":1}}}}',
    "w": "",  # never answers
    "m": '{"ok":true,"response":{"Output":{"data":"sent"},"Messages":[{"Target":"bob","Data":"hi","Anchor":"1",'
    '"Tags":[{"name":"Action","value":"Greet"},{"name":"Mood","value":"good"}]},{"Target":"eve","Data":"","Anchor":"2",'
    '"Tags":[]}],"Spawns":[{"Data":"","Anchor":"3","Tags":[]}],"Assignments":[]}}',
    "?": '{"ok":true,"response":{"Output":{"data":"?"}}}',
}


def _speaker() -> str:
    """The text of the program that answers as `_SPEECH` has it."""
    offset, data, cases = 1024, [], []
    for word, answer in _SPEECH.items():
        text = answer.encode() + b"\0"
        data.append(f'(data (i32.const {offset}) "{"".join(f"{chr(92)}{byte:02x}" for byte in text)}")')
        do = ""
        if word == "n":
            digit = offset + answer.index('"0"') + 1
            do = f"(i32.store8 (i32.const {digit}) (i32.add (i32.const 1) (i32.load8_u (i32.const {digit}))))"
        elif word == "p":
            do = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
        elif word == "w":
            do = "(loop $on (br $on))"
        condition = f"(i32.eq (local.get $word) (i32.const {ord(word)}))"
        cases.append(f"(if {condition} (then {do} (return (i32.const {offset}))))")
        offset += len(text)
    return f"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 65536))
  (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 16) "hello\\n")
  (data (i32.const 32) "\\22Data\\22")
  {" ".join(data)}
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "handle") (param $at i32) (param i32) (result i32) (local $word i32)
    (global.set $next (i32.const 65536))
    (loop $look
      (if (i32.or
            (i32.ne (i32.load (local.get $at)) (i32.load (i32.const 32)))
            (i32.ne (i32.load16_u offset=4 (local.get $at)) (i32.load16_u offset=4 (i32.const 32))))
        (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $look))))
    (local.set $at (i32.add (local.get $at) (i32.const 6)))
    (loop $quote
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $quote (i32.ne (i32.load8_u (local.get $at)) (i32.const 34))))
    (local.set $word (i32.load8_u offset=1 (local.get $at)))
    {" ".join(cases)}
    (i32.const {offset - len(_SPEECH["?"].encode()) - 1})))
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
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

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
        program = subprocess.Popen([PROGRAM, *arguments], cwd=self.directory, env=self.environment(), **settings)
        self._started.append(program)
        return program

    def end(self) -> None:
        """Ends what was started and still runs, where a test failed before it ended by itself."""
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

    @contextmanager
    def talk(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Talk]:
        """Runs `hb ARGUMENTS` on a pseudo-terminal that somebody types at."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, PROGRAM, *arguments],
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

        with open_home(self.home).storage.session() as store:
            return dict(store.scan(b"", b"\xff" * 100))


# Makes standard input the terminal that the program is controlled from, so that Ctrl-C there reaches it.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Talk:
    """What is typed at a program, and what it shows in turn."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._process = process
        self._raw = b""
        self._seen = 0

    @property
    def shown(self) -> str:
        """All that was shown so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self._raw.decode("utf-8", "replace")).replace("\r", "")

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._descriptor, keys.encode())

    def wait_for(self, pattern: str) -> str:
        """Waits until what is shown after the last match has `pattern`, and gives what it matched."""
        deadline = monotonic() + TIMEOUT_S / 2
        while (found := re.compile(pattern, re.MULTILINE).search(self.shown, self._seen)) is None:
            assert monotonic() < deadline, f"no {pattern!r} in {self.shown[self._seen :]!r}"
            assert self._read(), f"it ended with no {pattern!r} in {self.shown[self._seen :]!r}"
        self._seen = found.end()
        return found[0]

    def wait_for_prompt(self, prompt: str = "me>") -> None:
        """Waits until the program asks for a line, and has nothing more to show."""
        self.wait_for(prompt)
        shown = b""
        while shown != self._raw:
            shown = self._raw
            assert self._read(), self.shown[self._seen :]
        self._seen = len(self.shown)

    def end(self) -> int:
        """Waits until the program ends by itself, and gives its exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_S)

    def _read(self) -> bool:
        """Takes in what is there to be shown, for a moment; False when there is nobody left to show it."""
        if not select.select([self._descriptor], [], [], 0.2)[0]:
            return self._process.poll() is None
        try:
            part = os.read(self._descriptor, 65536)
        except OSError as error:
            # Linux says so when the other end is closed.
            if error.errno == errno.EIO:
                return False
            raise
        if b"\x1b[6n" in part:
            # A terminal that is asked where its cursor is says so: in the last line.
            os.write(self._descriptor, b"\x1b[40;1R")
        self._raw += part
        return bool(part)


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
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell on a machine where hb was never used."""
    directory = tmp_path / "work"
    directory.mkdir()
    shell = Shell(directory)
    yield shell
    shell.end()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes as `hb` makes them, made once and copied by the tests: `plain`, and with the processes of the fixtures."""
    root = tmp_path_factory.mktemp("templates")
    for name in ("plain", "counter", "playground", "speaker"):
        (root / name).mkdir()
        shell = Shell(root / name)
        shell.ok("init")
        if name == "counter":
            shell.ok("spawn", COUNTER, "--name", "counter", "--initial-state", '{"counter": 0}')
        if name == "playground":
            shell.write("play.wat", PLAYGROUND)
            shell.ok("spawn", "play.wat", "--name", "play")
        if name == "speaker":
            shell.write("speaker.wat", _speaker())
            shell.ok("spawn", "speaker.wat", "--name", "me")
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


@pytest.fixture
def speaker(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `me` of the AO ABI, at slot 0; what it answers stands in `_SPEECH`."""
    shutil.copytree(templates / "speaker" / ".hb", shell.home)
    return shell
