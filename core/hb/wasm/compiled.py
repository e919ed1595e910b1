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
from contextlib import closing, contextmanager, suppress
from functools import cache as once
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from hb.binary import rewrite
from hb.errors import HomeUnusable
from hb.wasm.engine import CONFIG, ENGINE, get_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    import wasmtime


class Draft(NamedTuple):
    """A native file that is being written: its name while it is, the one that it gets, and itself, open to write."""

    path: Path
    final: Path
    file: IO[bytes]


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
    with suppress(OSError):
        if _is_usable(cache):
            _replace(path, native)
            _describe(path, sha256(native).hexdigest(), description)


@contextmanager
def workplace(cache: Path | None) -> Iterator[Path | None]:
    """The directory `cache`, made if need be, or None if it is not ours alone; without `cache`, one that goes again."""
    if cache is None:
        # Made for its owner only.
        with TemporaryDirectory(prefix="hb-compiled-") as directory:
            yield Path(directory)
        return
    usable = False
    with suppress(OSError):
        usable = _is_usable(cache)
    yield cache if usable else None


def begin_draft(place: Path, wasm_digest: str) -> Draft:
    """A new file in `place`, for the compiled form of the module of ID `wasm_digest`.

    Raises:
        OSError: it cannot be made.
    """
    final = _path(place, wasm_digest)
    path, descriptor = _new_beside(final)
    return Draft(path, final, os.fdopen(descriptor, "wb"))


@contextmanager
def dropping(path: Path) -> Iterator[None]:
    """In the end of the `with` block there is no file `path`."""
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def adopt(draft: Draft, description: dict[str, Any]) -> wasmtime.Module:
    """The compiled form that was written to `draft`, which gets its place and its description.

    Raises:
        HomeUnusable: it cannot be read, or is none.
    """
    import wasmtime

    try:
        with draft.path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)) as native:
            digest = sha256(native).hexdigest()
        module = wasmtime.Module.deserialize_file(get_engine(), str(draft.path))
    except (OSError, ValueError, wasmtime.WasmtimeError) as error:
        raise HomeUnusable(f"cannot read the compiled module {draft.path}: {error}") from error
    with suppress(OSError):
        draft.path.replace(draft.final)
        _describe(draft.final, digest, description)
    return module


def _is_usable(cache: Path) -> bool:
    cache.mkdir(mode=0o700, exist_ok=True)
    return _is_private(cache.lstat(), stat.S_ISDIR)


def _describe(native: Path, digest: str, description: dict[str, Any]) -> None:
    kept = {"description": description, "native": digest}
    _replace(native.with_suffix(".json"), json.dumps(kept, separators=(",", ":")).encode())


def _replace(path: Path, content: bytes) -> None:
    """Writes the file whole, or leaves it as it was."""
    temporary, descriptor = _new_beside(path)
    with dropping(temporary):
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)


def _new_beside(path: Path) -> tuple[Path, int]:
    """A new file in the directory of `path`, open to write, for its owner only."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


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
