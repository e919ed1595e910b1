"""Compiles a module in a program of its own, which may take so much time and memory and can be stopped.

A few kilobytes of module can take the compiler minutes and gigabytes. Responsible for running it apart: the child gets
the module as its standard input and one new file to write the compiled form to, and is handed no key, no store and no
environment. Must never run a module, and never take a child's word for what is in the module's compiled form.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from hb.errors import BeyondThisMachine, HbError, HomeUnusable, Refused
from hb.wasm import compiled, engine

if TYPE_CHECKING:
    import wasmtime

    from hb.cancellation import Cancellation

SMALL_BYTES = 4096
"""A module of so many bytes is compiled in this program: the worst of them takes a fraction of a second."""

_LOOK_S = 0.05
_MOST_SAID_BYTES = 64 << 20
_MEGABYTE = 1 << 20
_START = "import sys; sys.path[:] = sys.argv[4:]; from hb.wasm.compiler import child; child()"
# What a Python may need to find its own library.
_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")


class CompileLimits(NamedTuple):
    """What compiling one module may take: seconds of processor time, all cores together, and megabytes of memory."""

    seconds: int = 60
    megabytes: int = 2048


DEFAULT_LIMITS = CompileLimits()


def compile_apart(
    wasm: bytes, wasm_digest: str, cache: Path | None, limits: CompileLimits, cancellation: Cancellation
) -> tuple[dict[str, Any], wasmtime.Module]:
    """The description and the compiled form of `wasm`, made by a child program and kept in `cache`, if that can be.

    Raises:
        Refused: the module is malformed or not valid, or takes more than the limits.
        Interrupted: it was cancelled meanwhile; the child is gone.
        HomeUnusable: the compiled form can be written nowhere.
    """
    failure = ""
    for directory in (cache, None):
        with compiled.workplace(directory) as place:
            if place is None:
                continue
            try:
                draft = compiled.begin_draft(place, wasm_digest)
            except OSError as error:
                failure = str(error.strerror)
                continue
            with compiled.dropping(draft.path):
                with draft.file:
                    said, code = _run(wasm, draft.file, limits, cancellation)
                answer = _answer(said, code, limits)
                if "unwritten" not in answer:
                    return answer["description"], compiled.adopt(draft, answer["description"])
                failure = answer["unwritten"]
    raise HomeUnusable(f"cannot write the compiled form of the module: {failure}")


def _run(wasm: bytes, target: IO[bytes], limits: CompileLimits, cancellation: Cancellation) -> tuple[bytes, int]:
    """What the child said, and its exit code."""
    import wasmtime

    import hb

    # As this program finds them, whatever way that is; -I and -S run nothing that stands in a site's files.
    roots = [str(Path(each).resolve().parents[1]) for each in (hb.__file__ or __file__, wasmtime.__file__)]
    path = [each for each in sys.path if Path(each).is_absolute()] + roots
    numbers = [str(number) for number in (target.fileno(), limits.seconds, limits.megabytes)]
    with TemporaryFile() as source:
        source.write(wasm)
        source.seek(0)
        with subprocess.Popen(  # noqa: S603 - this Python, with arguments that are ours
            [sys.executable, "-I", "-S", "-c", _START, *numbers, *path],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(target.fileno(),),
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us to pass on
        ) as process:
            try:
                said = _listen(process, cancellation)
            except BaseException:
                process.kill()
                raise
            return said, process.wait()


def _listen(process: subprocess.Popen[bytes], cancellation: Cancellation) -> bytes:
    assert process.stdout is not None
    said = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(said) < _MOST_SAID_BYTES:
            cancellation.check("compiling the module")
            if selector.select(_LOOK_S):
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    break
                said += part
        else:
            process.kill()
    return bytes(said)


def _answer(said: bytes, code: int, limits: CompileLimits) -> dict[str, Any]:
    """The child's answer, if it gave one that is no refusal.

    Raises:
        Refused: the module cannot be compiled, within the limits or at all.
    """
    answer: Any = None
    with suppress(ValueError):
        answer = json.loads(said)
    if code == 0 and isinstance(answer, dict):
        if "refused" in answer:
            raise Refused(answer["refused"], hint=answer["hint"])
        return answer
    if code == -signal.SIGXCPU:
        raise BeyondThisMachine(
            f"compiling the module takes more than the limit of {limits.seconds} s of processor time",
            hint=_hint("compile-seconds"),
        )
    text = said.decode("utf-8", "replace")
    # The compiler ends the program where it gets no memory; the system does where it has none.
    if code == -signal.SIGKILL or "memory allocation of" in text or "MemoryError" in text or "os error 12" in text:
        raise BeyondThisMachine(
            f"compiling the module takes more than the limit of {limits.megabytes} MB of memory",
            hint=_hint("compile-memory"),
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raise Refused(f"the compiler failed on the module (exit code {code}): {lines[-1][:300] if lines else 'no reason'}")


def _hint(setting: str) -> str:
    return f"if you trust the module, raise {setting} under [host] in the home's config.toml"


def child() -> None:
    """The child program: compiles its standard input, within limits, and says on standard output what came of it."""
    import wasmtime  # noqa: F401 - loaded while files can still be opened

    from hb.wasm import module

    descriptor, seconds, megabytes = map(int, sys.argv[1:4])
    engine.get_engine()
    wasm = sys.stdin.buffer.read()
    _bound(seconds, megabytes * _MEGABYTE)
    try:
        description, native = module.make(wasm)
        answer: dict[str, Any] = {"description": description}
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(native.serialize())
        except OSError as error:
            answer = {"unwritten": error.strerror}
    except HbError as refusal:
        if "allocate memory" in refusal.message:
            raise MemoryError from refusal
        answer = {"refused": refusal.message, "hint": refusal.hint}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def _bound(seconds: int, size: int) -> None:
    # The data segment is what is really written to; the address space has large reservations that cost nothing.
    for what, soft, most in (
        # At the soft limit comes the signal that says why; at the hard one comes one that says nothing.
        (resource.RLIMIT_CPU, seconds, seconds + 5),
        (resource.RLIMIT_DATA, size, size),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 3, 3),  # no file is opened from here on
    ):
        allowed = resource.getrlimit(what)[1]
        hard = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        # There are systems that do not know all of them; Ctrl-C reaches those too.
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (min(soft, hard), hard))
