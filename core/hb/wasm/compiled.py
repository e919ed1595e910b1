"""Compiled modules at rest: files in a directory that may be deleted at any time.

Responsible for never handing the engine native code that someone else may have written, or that is not whole: such a
file is passed over, compiled anew and replaced. A cache that cannot be read or written is no cache, and no error.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from functools import cache as once
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb.wasm import rewrite
from hb.wasm.engine import CONFIG, ENGINE, get_engine

if TYPE_CHECKING:
    import wasmtime

# A file: MAGIC, the sha256 of all that follows it, a line of JSON (what the module is), the engine's native code.
MAGIC = b"hb-compiled 1\n"
_DIGEST_BYTES = 32


def find(cache: Path, wasm_digest: str) -> tuple[dict[str, Any], wasmtime.Module] | None:
    """The description and the compiled form kept for the module of ID `wasm_digest`, if there is one to trust."""
    import wasmtime

    try:
        raw = _read_private(_path(cache, wasm_digest))
    except OSError:
        return None
    if raw is None or not raw.startswith(MAGIC):
        return None
    digest, rest = raw[len(MAGIC) : len(MAGIC) + _DIGEST_BYTES], memoryview(raw)[len(MAGIC) + _DIGEST_BYTES :]
    if sha256(rest).digest() != digest:
        return None
    line_end = raw.index(b"\n", len(MAGIC) + _DIGEST_BYTES)
    try:
        # Taken from the bytes that were just hashed, not from the file, which may be another by now.
        native = wasmtime.Module.deserialize(get_engine(), raw[line_end + 1 :])
    except wasmtime.WasmtimeError:
        return None  # made for another processor
    description: dict[str, Any] = json.loads(raw[len(MAGIC) + _DIGEST_BYTES : line_end])
    return description, native


def keep(cache: Path, wasm_digest: str, description: dict[str, Any], native: wasmtime.Module) -> None:
    """Puts the compiled form into the cache, if there can be one there."""
    rest = json.dumps(description, separators=(",", ":")).encode() + b"\n" + bytes(native.serialize())
    path = _path(cache, wasm_digest)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        cache.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(cache.lstat(), stat.S_ISDIR):
            return
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + sha256(rest).digest())
            file.write(rest)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def _read_private(path: Path) -> bytes | None:
    if not _is_private(path.parent.lstat(), stat.S_ISDIR):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if _is_private(os.fstat(descriptor), stat.S_ISREG) else None


def _is_private(status: os.stat_result, is_kind: Any) -> bool:
    return (
        is_kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _path(cache: Path, wasm_digest: str) -> Path:
    key = sha256(f"{wasm_digest} {_maker()}".encode()).hexdigest()
    return cache / f"{key}.compiled"


@once
def _maker() -> str:
    """What a compiled form depends on besides the module."""
    import wasmtime

    # The library's own file stands for its exact release: asking the package's metadata costs 25 ms.
    libraries = [path.stat() for path in sorted(Path(wasmtime.__file__).parent.glob("*/*wasmtime.*"))]
    release = [(status.st_size, status.st_mtime_ns) for status in libraries]
    return f"{ENGINE} {release} {CONFIG!r} rewriter {rewrite.VERSION}"
