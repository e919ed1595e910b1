"""Runs commands of `hb` and writes down what each one does: its exit code, its output and its errors.

Two recordings of the same program are the same text. Keys, anchors, times and paths are fixed for that.

Invariants:
    Nothing of `hb` is imported: the program that is recorded may be any version of it.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from itertools import count
from threading import Timer
from typing import TYPE_CHECKING, TextIO

from shell import SAMPLES, Shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The seed and the public part of each key.
KEYS = {
    "default": ("N6juwc4ZaH0TL-KQUdymKdFk4sSVi6FB1fQTOjPwaI8", "Ex31NHONzo4wYKzEV-lr4k0y6GjEygNtr_S2YnWoL7k"),
    "alice": ("K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA", "1b9KP8znF7A4i8wnSevBSK2ZabI_Re4bYF_Vh3hXasQ"),
    "bob": ("gbY32PzSxtpjWeaWMROhFw3nleS3JbhNHgtM_Z7FjOk", "7MG1hyfz8SsxlIgansud4LKM57IHIw2Okw_hvOdeJWw"),
}
FIRST_MS = 1_700_000_000_000
FOLLOW_S = 60
UNKNOWN_ID = "A" * 43
_ID = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")


class Recorder:
    """Where a recording is written, and what all its places share."""

    def __init__(self, directory: Path, program: Path, to: TextIO, modules: Path | None) -> None:
        self.directory = directory
        self.program = program
        self.modules = modules
        self._to = to

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.write(f"\n######## {title}\n")

    def write(self, text: str) -> None:
        """Write `text` and a line end."""
        self._to.write(text + "\n")

    def bare(self, name: str) -> Place:
        """Return a directory with the samples in it, and no home."""
        directory = self.directory / name
        (directory / "user").mkdir(parents=True)
        for sample in SAMPLES.glob("*.wasm"):
            shutil.copy(sample, directory)
        return Place(self, Shell(directory, {"TZ": "UTC"}, self.program))

    def place(self, name: str) -> Place:
        """Return a directory with the samples and a home whose keys are those of `KEYS`."""
        place = self.bare(name)
        place.shell.ok("init")
        place.fix_keys()
        return place


class Place:
    """A working directory, and the commands that are run there."""

    def __init__(self, recorder: Recorder, shell: Shell) -> None:
        self.recorder = recorder
        self.shell = shell
        self._numbers = count(1)

    def fix_keys(self) -> None:
        """Give the home the keys of `KEYS`, whatever it had."""
        for name, (seed, public) in KEYS.items():
            path = self.shell.home / "keys" / f"{name}.json"
            path.write_text(json.dumps({"crv": "Ed25519", "d": seed, "kty": "OKP", "x": public}))
            path.chmod(0o600)

    def hb(
        self, words: str, stdin: str | bytes = b"", env: dict[str, str] | None = None, *, hide_ids: bool = False
    ) -> str:
        """Run `hb WORDS` in pipes. With `hide_ids`, IDs are random and are written as `<ID>`. Return its output."""
        outcome = self.shell.hb(*shlex.split(words), stdin=stdin, env=env)
        self._note("$", words, env, outcome.code, outcome.out, outcome.err, hide_ids=hide_ids)
        return outcome.out

    def fixed(self, words: str, stdin: str | bytes = b"", *, anchor: bool = True) -> str:
        """Run `hb WORDS` with a time, and an anchor, that are the next of this place. Return its output."""
        number = next(self._numbers)
        more = f" --anchor a{number}" if anchor else ""
        return self.hb(f"{words}{more} --timestamp {FIRST_MS + 1000 * number}", stdin)

    def tty(self, words: str, columns: int = 120, *, with_stderr: bool = False) -> None:
        """Run `hb WORDS` on a terminal. Its errors go there too if `with_stderr`."""
        outcome = self.shell.terminal(
            *shlex.split(words), columns=columns, stderr=None if with_stderr else subprocess.PIPE
        )
        out = outcome.out.replace("\r\n", "\n").replace("\x1b", "␛")
        self._note(f"[{columns} columns] $", words, None, outcome.code, out, outcome.err)

    def everywhere(self, words: str, *, columns: int = 120) -> None:
        """Run `hb WORDS` in pipes, with --json, and on a terminal."""
        self.hb(words)
        self.hb(f"{words} --json")
        self.tty(words, columns)

    def follow(self, words: str, lines: int, meanwhile: Callable[[], object]) -> None:
        """Run `hb WORDS` until it has printed `lines` lines, do `meanwhile` after the first, then press Ctrl-C."""
        program = self.shell.start(*shlex.split(words))
        assert program.stdout is not None
        # A program that prints fewer lines than expected must not keep the recording waiting.
        limit = Timer(FOLLOW_S, program.kill)
        limit.start()
        seen = [program.stdout.readline()]
        meanwhile()
        seen += [program.stdout.readline() for _ in range(lines - 1)]
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
        limit.cancel()
        self._note("[Ctrl-C] $", words, None, program.returncode, (b"".join(seen) + out).decode(), err.decode())

    def file(self, name: str) -> None:
        """Write down the size and the digest of a file."""
        content = (self.shell.directory / name).read_bytes()
        self.recorder.write(f"    file {name}: {len(content)} bytes, sha256 {sha256(content).hexdigest()}")

    def records(self) -> None:
        """Write down how many records the store has of each kind, and a digest of them."""
        kinds: dict[str, list[bytes]] = {}
        for key, value in sorted(self.stored().items()):
            kind = key.split(b"/")[0].decode()
            kinds.setdefault(kind, []).append(b"%d %s %d %s" % (len(key), key, len(value), value))
        for kind, records in kinds.items():
            self.recorder.write(f"    store {kind}: {len(records)}, sha256 {sha256(b''.join(records)).hexdigest()}")

    def stored(self) -> dict[bytes, bytes]:
        """Return every record of the home's store."""
        store = open_store(self.shell.home / "store")
        try:
            return dict(store)
        finally:
            store.close()

    def damage(self, kind: bytes, place: int = -1) -> bytes:
        """Flip a bit of the record at `place` among those whose keys begin with `kind`. Return its key."""
        key = sorted(key for key in self.stored() if key.startswith(kind))[place]
        store = open_store(self.shell.home / "store")
        try:
            value = bytearray(store.get(key))
            value[len(value) // 2] ^= 1
            store.put(key, bytes(value), sync=True)
        finally:
            store.close()
        return key

    def _note(
        self,
        prompt: str,
        words: str,
        env: dict[str, str] | None,
        code: int,
        out: str,
        err: str,
        *,
        hide_ids: bool = False,
    ) -> None:
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in (env or {}).items())
        text = f"\n{prompt} {variables}hb {words}\nexit {code}\n"
        for name, stream in (("out", out), ("err", err)):
            shown = _ID.sub("<ID>", stream) if hide_ids else stream
            lines = shown.split("\n")
            last = lines.pop()
            text += "".join(f"{name}| {line}\n" for line in lines) + (f"{name}| {last} (no line end)\n" if last else "")
        self.recorder.write(text.rstrip("\n"))


def counter_home(recorder: Recorder, name: str) -> Place:
    """Return a place with a counter that was sent something by three keys; nothing is computed."""
    place = recorder.place(name)
    place.fixed("spawn counter.wasm --name counter --initial-state '{\"counter\": 0}'")
    place.fixed("send counter Increment --as alice")
    place.fixed("send counter Add 5 --as bob")
    place.fixed("send counter Nonsense")
    place.fixed("send counter Add five --tag Subject=Hello --data text")
    place.fixed("send counter Increment --block-height 7")
    return place


def open_store(path: Path):  # type: ignore[no-untyped-def]  # plyvel has no types
    """Open the LevelDB database at `path`."""
    if sys.version_info >= (3, 13):
        import plyvel_next as plyvel
    else:
        import plyvel
    return plyvel.DB(str(path))
