"""Keep compiled modules in the files of a cache directory. The directory can be deleted at any time.

Each module has two files:

- `KEY.native` is the module in the engine's compiled form.
- `KEY.json` is one object: `description` describes the module, and `native` is the sha256 of the native file, in hex.

A file that is being written is a draft: it has a temporary name, and its writer holds a lock on it. A draft without a
lock was left by a program that was killed, and the next program removes it.

Invariants:
    Native code that someone else can have written, or that is not complete, never reaches the engine. Such a file is
    ignored; the module is compiled again, and the file replaced.
    A cache that cannot be read or written is not an error.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import re
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


_DRAFT_NAME = re.compile(r"[0-9a-f]{64}\.(?:native|json)\.[0-9]+-[0-9a-f]{8}")


class Draft(NamedTuple):
    """A native file that is being written: its temporary path, its final path, and the file, open for writing."""

    path: Path
    final: Path
    file: IO[bytes]


def find(cache: Path, wasm_digest: str) -> tuple[dict[str, Any], wasmtime.Module] | None:
    """Return the description and the compiled form of a module, or None if the cache has no trusted one.

    `wasm_digest` identifies the module.
    """
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
        # The file is mapped, which is twenty times as fast as copying it. That is safe because a file here never
        # changes: it is only replaced by a new one.
        module = wasmtime.Module.deserialize_file(get_engine(), str(path))
    except (OSError, ValueError, TypeError, KeyError, wasmtime.WasmtimeError):
        return None  # it is missing, not private, not complete, or made for another processor
    description: dict[str, Any] = kept["description"]
    return description, module


def keep(cache: Path, wasm_digest: str, description: dict[str, Any], module: wasmtime.Module) -> None:
    """Put the compiled form into the cache, if the cache can be used."""
    path = _path(cache, wasm_digest)
    native = bytes(module.serialize())
    with suppress(OSError):
        if _is_usable(cache):
            _replace(path, native)
            _write_description(path, sha256(native).hexdigest(), description)


@contextmanager
def workplace(cache: Path | None) -> Iterator[Path | None]:
    """Give the directory `cache`, made if needed, or None if it is not private. Without `cache`, give a temporary one.

    Raises:
        OSError: no temporary directory can be made.
    """
    if cache is None:
        # Only its owner can read or write it.
        with TemporaryDirectory(prefix="hb-compiled-") as directory:
            yield Path(directory)
        return
    usable = False
    with suppress(OSError):
        usable = _is_usable(cache)
    yield cache if usable else None


@contextmanager
def draft(place: Path, wasm_digest: str) -> Iterator[Draft]:
    """Give a new draft in `place` for a module. It is removed at the end of the `with` block, unless it was adopted.

    Raises:
        OSError: the file cannot be made.
    """
    _remove_leftovers(place)
    final = _path(place, wasm_digest)
    with _new_beside(final) as (path, file):
        yield Draft(path, final, file)


def adopt(draft: Draft, description: dict[str, Any]) -> wasmtime.Module:
    """Return the compiled module that was written to `draft`. Give the file its final name, and write its description.

    Raises:
        HomeUnusable: the file cannot be read, or is not a compiled module.
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
        _write_description(draft.final, digest, description)
    return module


def _is_usable(cache: Path) -> bool:
    """Make the directory if needed. Return whether it is private."""
    cache.mkdir(mode=0o700, exist_ok=True)
    return _is_private(cache.lstat(), stat.S_ISDIR)


def _write_description(native: Path, digest: str, description: dict[str, Any]) -> None:
    """Write the JSON file of a native file."""
    kept = {"description": description, "native": digest}
    _replace(native.with_suffix(".json"), json.dumps(kept, separators=(",", ":")).encode())


def _replace(path: Path, content: bytes) -> None:
    """Replace the file by one with the new content. If that fails, the old file stays."""
    with _new_beside(path) as (temporary, file):
        file.write(content)
        file.flush()
        temporary.replace(path)


@contextmanager
def _new_beside(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Give a new, locked, private file in the directory of `path`, and its temporary path.

    At the end of the `with` block it is closed. It is removed if it still has its temporary name.
    """
    while True:
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not os.fstat(descriptor).st_nlink:
                continue  # another program removed it before it was locked
            try:
                yield temporary, file
            finally:
                with suppress(OSError):
                    temporary.unlink()
            return


def _remove_leftovers(place: Path) -> None:
    """Remove drafts that are not locked. Programs that were killed left them."""
    with suppress(OSError):
        for path in place.iterdir():
            if _DRAFT_NAME.fullmatch(path.name):
                with suppress(OSError), _open_private(path) as file:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _open_private(path: Path) -> Any:
    """Open a private file for reading.

    Raises:
        OSError: the file cannot be read, or is not private.
    """
    # With O_NONBLOCK, opening a pipe does not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not _is_private(os.fstat(descriptor), stat.S_ISREG):
        file.close()
        raise PermissionError(f"{path} is not ours alone")
    return file


def _is_private(status: os.stat_result, is_kind: Any) -> bool:
    """Return whether a file is of the right kind, belongs to this user, and cannot be written by others."""
    return (
        is_kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _path(cache: Path, wasm_digest: str) -> Path:
    """Return the path of a module's native file."""
    key = sha256(f"{wasm_digest} {_maker()}".encode()).hexdigest()
    return cache / f"{key}.native"


@once
def _maker() -> str:
    """Return a text with everything that a compiled form depends on, except the module."""
    import wasmtime

    # The size and time of the engine's library identify its release. Reading the package's metadata would take 25 ms.
    libraries = [path.stat() for path in sorted(Path(wasmtime.__file__).parent.glob("*/*wasmtime.*"))]
    release = [(status.st_size, status.st_mtime_ns) for status in libraries]
    return f"{ENGINE} {release} {CONFIG!r} rewriter {rewrite.VERSION}"
