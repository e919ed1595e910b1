"""Compiled modules at rest: files in a directory that may be deleted at any time.

Responsible for never handing the engine native code that someone else may have written, or that is not whole: such a
file is passed over, compiled anew and replaced. A cache that cannot be read or written is no cache, and no error.

A module has two files: `KEY.native`, the engine's own form, and `KEY.json`, one object with what the module is
(`description`) and the sha256 of the native file (`native`, hex).
"""

from __future__ import annotations

import json
import mmap
import os
import stat
from contextlib import closing, suppress
from functools import cache as once
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb.wasm import rewrite
from hb.wasm.engine import CONFIG, ENGINE, get_engine

if TYPE_CHECKING:
    import wasmtime


def find(cache: Path, wasm_digest: str) -> tuple[dict[str, Any], wasmtime.Module] | None:
    """The description and the compiled form kept for the module of ID `wasm_digest`, if there is one to trust."""
    import wasmtime

    path = _path(cache, wasm_digest)
    try:
        if not _is_private(cache.lstat(), stat.S_ISDIR):
            return None
        with _open_private(path.with_suffix(".json")) as file:
            kept = json.loads(file.read())
        with _open_private(path) as file, closing(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)) as native:
            if sha256(native).hexdigest() != kept["native"]:
                return None
        # Mapped, not copied: twenty times as fast. Files here are only ever replaced whole, never written to.
        module = wasmtime.Module.deserialize_file(get_engine(), str(path))
    except (OSError, ValueError, TypeError, KeyError, wasmtime.WasmtimeError):
        return None  # not there, not ours, not whole, or made for another processor
    description: dict[str, Any] = kept["description"]
    return description, module


def keep(cache: Path, wasm_digest: str, description: dict[str, Any], module: wasmtime.Module) -> None:
    """Puts the compiled form into the cache, if there can be one there."""
    path = _path(cache, wasm_digest)
    native = bytes(module.serialize())
    kept = {"description": description, "native": sha256(native).hexdigest()}
    try:
        cache.mkdir(mode=0o700, exist_ok=True)
        if _is_private(cache.lstat(), stat.S_ISDIR):
            _replace(path, native)
            _replace(path.with_suffix(".json"), json.dumps(kept, separators=(",", ":")).encode())
    except OSError:
        return


def _replace(path: Path, content: bytes) -> None:
    """Writes the file whole, or leaves it as it was."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _open_private(path: Path) -> Any:
    """The file, open to read.

    Raises:
        OSError: it cannot be read, is no plain file, or someone other than its owner, who we are, can write to it.
    """
    # Not to wait for a writer, where it is a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not _is_private(os.fstat(descriptor), stat.S_ISREG):
        file.close()
        raise PermissionError(f"{path} is not ours alone")
    return file


def _is_private(status: os.stat_result, is_kind: Any) -> bool:
    return (
        is_kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _path(cache: Path, wasm_digest: str) -> Path:
    key = sha256(f"{wasm_digest} {_maker()}".encode()).hexdigest()
    return cache / f"{key}.native"


@once
def _maker() -> str:
    """What a compiled form depends on besides the module."""
    import wasmtime

    # The library's own file stands for its exact release: asking the package's metadata costs 25 ms.
    libraries = [path.stat() for path in sorted(Path(wasmtime.__file__).parent.glob("*/*wasmtime.*"))]
    release = [(status.st_size, status.st_mtime_ns) for status in libraries]
    return f"{ENGINE} {release} {CONFIG!r} rewriter {rewrite.VERSION}"
