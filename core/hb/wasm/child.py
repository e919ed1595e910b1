"""The child program that compiles or validates one module.

It reads the module from standard input, works within its limits, writes the compiled form to a file that its parent
opened, and says on standard output what came of it. Standard input stays open as long as the parent lives: when it
ends, the child ends too.

Invariants:
    No file is opened after the module was read.
    The module never runs here.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from hb.errors import HbError
from hb.wasm import engine, native

_MEGABYTE = 1 << 20


def main() -> None:
    """Do what the arguments say: the target's descriptor (-1: only validate), seconds, megabytes, module bytes."""
    import wasmtime  # noqa: F401 - loaded while files can still be opened

    target, seconds, megabytes, size = map(int, sys.argv[1:5])
    engine.get_engine()
    wasm = _read(size)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bound(seconds, megabytes * _MEGABYTE)
    try:
        answer = _validated(wasm) if target < 0 else _compiled(wasm, target)
    except HbError as refusal:
        if "allocate memory" in refusal.message or "out of memory" in refusal.message:
            raise MemoryError from refusal
        answer = {"refused": refusal.message, "hint": refusal.hint}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def _validated(wasm: bytes) -> dict[str, Any]:
    native.validate(wasm)
    return {"description": {}}


def _compiled(wasm: bytes, target: int) -> dict[str, Any]:
    description, compiled = native.make(wasm)
    try:
        with os.fdopen(target, "wb") as file:
            file.write(compiled.serialize())
    except OSError as error:
        return {"unwritten": error.strerror}
    return {"description": description}


def _read(size: int) -> bytes:
    wasm = bytearray()
    while len(wasm) < size:
        part = os.read(0, min(size - len(wasm), _MEGABYTE))
        if not part:
            sys.exit("the parent ended")
        wasm += part
    return bytes(wasm)


def _end_with_parent() -> None:
    """Wait for the end of standard input, which nobody but the parent holds open, and end this program."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _bound(seconds: int, size: int) -> None:
    # RLIMIT_DATA counts memory that is written to. RLIMIT_AS would count large reservations, which cost nothing.
    for what, soft, most in (
        # The soft limit sends SIGXCPU, which says why; the hard limit sends SIGKILL, which does not.
        (resource.RLIMIT_CPU, seconds, seconds + 5),
        (resource.RLIMIT_DATA, size, size),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 3, 3),  # no file is opened from here on
    ):
        allowed = resource.getrlimit(what)[1]
        hard = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        # Some systems do not have all of these limits. Ctrl-C works there too.
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (min(soft, hard), hard))
