"""Real modules in their compiled form: made once, and kept in `.modules` of the clone for as long as it suits.

It suits while the compiler and all that prepares a module for it are the same, byte by byte.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hb.wasm import module

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".modules" / "compiled"
MAKERS = ("wasm", "binary")


def compiled(image: Path) -> Path:
    """Return the directory that has the compiled form of the module in the file `image`, and nothing else."""
    directory = KEPT / _makers() / image.name
    with locked(KEPT.with_name("compiled.lock")):
        for old in KEPT.glob("*"):
            if old.name != _makers():
                shutil.rmtree(old)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(directory.glob("*.json")):  # the last that is written
            module.load(image.read_bytes(), directory)
    return directory


def put(image: Path, cache: Path) -> None:
    """Put the compiled form of the module in the file `image` into the directory `cache`, made if need be."""
    cache.mkdir(mode=0o700, exist_ok=True)
    for file in compiled(image).iterdir():
        if not (cache / file.name).exists():
            try:
                os.link(file, cache / file.name)
            except OSError:  # another file system
                shutil.copy2(file, cache)


@cache
def _makers() -> str:
    """Return a name for what makes the compiled forms: it changes with any of it."""
    digest = sha256(version("wasmtime").encode())
    for room in MAKERS:
        for source in sorted((ROOT / "core" / "hb" / room).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one of several programs in the `with` block."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
