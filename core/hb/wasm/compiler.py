"""Compile a module in a child program, whose time and memory are limited and which can be stopped.

A few kilobytes of module can take the compiler minutes and gigabytes. The child (see `child`) gets the module on its
standard input, and one new file to write the compiled form to. It gets no key, no store and no environment. It ends
when its parent does.

Invariants:
    No module runs here.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hb.errors import BeyondThisMachine, HomeUnusable, Refused
from hb.wasm import compiled

if TYPE_CHECKING:
    import wasmtime

    from hb.cancellation import Cancellation

_LOOK_S = 0.05
# The words of the engine, of Python, of the system, and of the engine's threads, which get no memory for their stacks.
_OUT_OF_MEMORY = ("memory allocation of", "MemoryError", "os error 12", "out of memory", "ThreadPoolBuildError")
_NO_ROOM = "the home's cache directory, or $TMPDIR, must be writable and have room"
_MOST_SAID_BYTES = 64 << 20
_VALIDATE = -1
_START = "import sys; sys.path[:] = sys.argv[5:]; from hb.wasm.child import main; main()"
# Python may need these to find its own library.
_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")


class CompileLimits(NamedTuple):
    """Limits for compiling one module: seconds of processor time, all cores together, and megabytes of memory."""

    seconds: int = 60
    megabytes: int = 2048


DEFAULT_LIMITS = CompileLimits()


def compile_apart(
    wasm: bytes, wasm_digest: str, cache: Path | None, limits: CompileLimits, cancellation: Cancellation
) -> tuple[dict[str, Any], wasmtime.Module]:
    """Have a child program compile `wasm`; return its description and its compiled form. Keep both in `cache`.

    If `cache` cannot be used, a temporary directory takes its place.

    Raises:
        Refused: the module is malformed or not valid, or takes more than the limits.
        Interrupted: it was cancelled meanwhile; the child is gone.
        HomeUnusable: the compiled form cannot be written, or the child cannot be started.
    """
    failure = ""
    for directory in (cache, None):
        try:
            with compiled.workplace(directory) as place:
                if place is None:
                    continue
                with compiled.draft(place, wasm_digest) as draft:
                    said, code = _run(wasm, draft.file.fileno(), limits, cancellation)
                    answer = _answer(said, code, limits)
                    if "unwritten" not in answer:
                        return answer["description"], compiled.adopt(draft, answer["description"])
                    failure = answer["unwritten"]
        except OSError as error:
            failure = error.strerror or str(error)
    raise HomeUnusable(f"cannot write the compiled form of the module: {failure}", hint=_NO_ROOM)


def validate_apart(wasm: bytes, limits: CompileLimits, cancellation: Cancellation) -> None:
    """Have a child program validate `wasm`.

    Raises:
        Refused: the module is not valid, or takes more than the limits.
        Interrupted: it was cancelled meanwhile; the child is gone.
        HomeUnusable: the child cannot be started.
    """
    _answer(*_run(wasm, _VALIDATE, limits, cancellation), limits)


def _run(wasm: bytes, target: int, limits: CompileLimits, cancellation: Cancellation) -> tuple[bytes, int]:
    """Run the child; return what it said, and its exit code. `target` is the descriptor that it writes to."""
    import wasmtime

    import hb

    # The child finds packages where this program does. -I and -S run nothing of what a site has.
    roots = [str(Path(each).resolve().parents[1]) for each in (hb.__file__ or __file__, wasmtime.__file__)]
    path = [each for each in sys.path if Path(each).is_absolute()] + roots
    numbers = [str(number) for number in (target, limits.seconds, limits.megabytes, len(wasm))]
    try:
        child = subprocess.Popen(  # noqa: S603 - this Python, with arguments that are ours
            [sys.executable, "-I", "-S", "-c", _START, *numbers, *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if target == _VALIDATE else (target,),
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us to pass on
        )
    except OSError as error:
        raise HomeUnusable(f"cannot start the compiler: {error.strerror}") from error
    with child as process:
        try:
            said = _converse(process, wasm, cancellation)
        except BaseException:
            process.kill()
            raise
        return said, process.wait()


def _converse(process: subprocess.Popen[bytes], wasm: bytes, cancellation: Cancellation) -> bytes:
    """Send the child its module, and return what it says until it ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    said, unsent = bytearray(), memoryview(wasm)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while len(said) < _MOST_SAID_BYTES:
            cancellation.check("compiling the module")
            for key, _ in selector.select(_LOOK_S):
                if key.fileobj is process.stdin:
                    unsent = _send(process.stdin.fileno(), unsent)
                    if not unsent:
                        # It stays open: the child ends when it closes, with this program at the latest.
                        selector.unregister(process.stdin)
                else:
                    part = os.read(process.stdout.fileno(), 1 << 16)
                    if not part:
                        return bytes(said)
                    said += part
    process.kill()
    return bytes(said)


def _send(descriptor: int, content: memoryview) -> memoryview:
    """Send what the pipe takes now; return the rest. A child that has ended takes nothing more."""
    try:
        return content[os.write(descriptor, content[: 1 << 16]) :]
    except BlockingIOError:
        return content
    except BrokenPipeError:
        return content[:0]


def _answer(said: bytes, code: int, limits: CompileLimits) -> dict[str, Any]:
    """Return the child's answer.

    Raises:
        Refused: the module cannot be compiled, or not within the limits.
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
    # Without memory, the compiler aborts its program. If the system runs out of memory, it kills the program.
    if code == -signal.SIGKILL or any(each in text for each in _OUT_OF_MEMORY):
        raise BeyondThisMachine(
            f"compiling the module takes more than the limit of {limits.megabytes} MB of memory",
            hint=_hint("compile-memory"),
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("note:")]
    raise Refused(f"the compiler failed on the module (exit code {code}): {lines[-1][:300] if lines else 'no reason'}")


def _hint(setting: str) -> str:
    return f"if you trust the module, raise {setting} under [host] in the home's config.toml"
