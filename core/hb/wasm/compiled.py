"""Keep compiled modules in files of a directory that may be deleted at any time.

A module has two files. `KEY.native` is the engine's own form. `KEY.json` is one object: `description` says what the
module is, and `native` is the sha256 of the native file, in hex. While a file is written it has a name of its own and
a lock; a draft without a lock was left behind by a program that was killed, and a later program removes it.

Invariants:
    The engine never gets native code that someone else may have written, or that is not whole. Such a file is
    ignored, compiled again and replaced.
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
    """A native file that is being written: its name until it is whole, its final name, and the file, open to write."""

    path: Path
    final: Path
    file: IO[bytes]


def find(cache: Path, wasm_digest: str) -> tuple[dict[str, Any], wasmtime.Module] | None:
    """Return the description and the compiled form of the module of that ID; None if no trusted one is kept."""
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
        # Mapping is twenty times as fast as copying. It is safe: files here are replaced whole, never written to.
        module = wasmtime.Module.deserialize_file(get_engine(), str(path))
    except (OSError, ValueError, TypeError, KeyError, wasmtime.WasmtimeError):
        return None  # it is missing, not ours, not whole, or made for another processor
    description: dict[str, Any] = kept["description"]
    return description, module


def keep(cache: Path, wasm_digest: str, description: dict[str, Any], module: wasmtime.Module) -> None:
    """Put the compiled form into the cache, if the cache can be used."""
    path = _path(cache, wasm_digest)
    native = bytes(module.serialize())
    with suppress(OSError):
        if _is_usable(cache):
            _replace(path, native)
            _describe(path, sha256(native).hexdigest(), description)


@contextmanager
def workplace(cache: Path | None) -> Iterator[Path | None]:
    """Give the directory `cache`, made if needed; None if it is not ours alone. Without `cache`, give a temporary one.

    Raises:
        OSError: no temporary directory can be made.
    """
    if cache is None:
        # Made for its owner only.
        with TemporaryDirectory(prefix="hb-compiled-") as directory:
            yield Path(directory)
        return
    usable = False
    with suppress(OSError):
        usable = _is_usable(cache)
    yield cache if usable else None


@contextmanager
def draft(place: Path, wasm_digest: str) -> Iterator[Draft]:
    """Give a new file in `place` for the compiled form of a module. At the end of the `with` block its draft is gone.

    Raises:
        OSError: the file cannot be made.
    """
    _remove_leftovers(place)
    final = _path(place, wasm_digest)
    with _new_beside(final) as (path, file):
        yield Draft(path, final, file)


def adopt(draft: Draft, description: dict[str, Any]) -> wasmtime.Module:
    """Return the compiled form that was written to `draft`. Give its file its final name and its description.

    Raises:
        HomeUnusable: the file cannot be read, or holds no compiled form.
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
    """Write the file whole, or leave it as it was."""
    with _new_beside(path) as (temporary, file):
        file.write(content)
        file.flush()
        temporary.replace(path)


@contextmanager
def _new_beside(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Give a new, locked file in the directory of `path`, open to write, for its owner only.

    At the end of the `with` block it is closed, and removed if it still has its first name.
    """
    while True:
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not os.fstat(descriptor).st_nlink:
                continue  # another program took it for a leftover before it had its lock
            try:
                yield temporary, file
            finally:
                with suppress(OSError):
                    temporary.unlink()
            return


def _remove_leftovers(place: Path) -> None:
    """Remove the drafts of programs that were killed: those that nobody has locked."""
    with suppress(OSError):
        for path in place.iterdir():
            if _DRAFT_NAME.fullmatch(path.name):
                with suppress(OSError), _open_private(path) as file:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _open_private(path: Path) -> Any:
    """Open the file to read.

    Raises:
        OSError: it cannot be read, is not a plain file, is not ours, or others can write to it.
    """
    # O_NONBLOCK: opening a pipe must not wait for a writer.
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
    """Return what a compiled form depends on besides the module."""
    import wasmtime

    # The library's file tells its exact release. Asking the package's metadata would cost 25 ms.
    libraries = [path.stat() for path in sorted(Path(wasmtime.__file__).parent.glob("*/*wasmtime.*"))]
    release = [(status.st_size, status.st_mtime_ns) for status in libraries]
    return f"{ENGINE} {release} {CONFIG!r} rewriter {rewrite.VERSION}"
