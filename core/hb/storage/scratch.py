"""Temporary directories for what comes in files, and what killed runs left of theirs.

A directory has a lock file, which is locked while its program lives. Whoever makes the next directory deletes those
that have such a file and whose program is gone.

Invariants:
    A directory is never deleted because of its name alone: it could be a user's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from time import time
from typing import TYPE_CHECKING

from hb.errors import HomeUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import Store

PREFIX = "hb-history-"
LOCK = "hb-scratch.lock"
ABANDONED_SECONDS = 60.0
"""A directory younger than this is left alone, even if nobody has it locked: it may just have been made."""


@contextmanager
def directory() -> Iterator[Path]:
    """Make a new temporary directory for a `with` block.

    Raises:
        HomeUnusable: it cannot be made.
    """
    try:
        _sweep(Path(gettempdir()))
        made = TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise HomeUnusable(f"cannot make a temporary directory: {error.strerror}") from error
    with made as path:
        lock = os.open(Path(path) / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with suppress(OSError):  # where nothing can be locked, nothing is swept
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(path)
        finally:
            os.close(lock)


@contextmanager
def store() -> Iterator[Store]:
    """Make an empty store in a temporary directory for a `with` block.

    Raises:
        HomeUnusable: the operating system does not let it be made.
    """
    from hb.storage.leveldb import open_store

    with directory() as path, open_store(path / "store", create=True) as made:
        yield made


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _delete_if_abandoned(path, directory)
            finally:
                os.close(directory)


def _delete_if_abandoned(path: Path, directory: int) -> None:
    lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        found = os.fstat(lock)
        is_ours = os.fstat(directory).st_uid == found.st_uid == os.getuid()
        if is_ours and found.st_mtime < time() - ABANDONED_SECONDS:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
