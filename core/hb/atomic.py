"""Write a file so that it appears whole and on the disk, or not at all.

The file is written beside its place under another name, synced, and renamed; then its directory is synced. What a
killed program left of an earlier attempt is removed by the next write of the same file.

Invariants:
    Imports nothing else of this program.
    Changes no setting of the program: the umask stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import contextmanager, suppress
from time import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABANDONED_SECONDS = 60.0
"""A draft younger than this is left alone, even if nobody has it locked: its program may just have made it."""

_SUFFIX = ".hb-draft"
_NAME_CHARACTERS = 100


def write(path: Path, content: bytes, *, private: bool = True, overwrite: bool = True) -> None:
    """Write the file `path`; see `replacing`.

    Raises:
        FileExistsError: the file is there, and `overwrite` is False.
        OSError: the operating system does not let it be written.
    """
    with replacing(path, private=private, overwrite=overwrite) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, private: bool = True, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the `with` block ends. If the block fails, nothing changes.

    A `private` file is for its owner only; another gets the permissions that the program's umask allows.

    Raises:
        FileExistsError: the file is there, and `overwrite` is False.
        OSError: the operating system does not let it be written.
    """
    _remove_abandoned(path)
    draft = path.with_name(f"{_prefix(path)}{os.urandom(8).hex()}{_SUFFIX}")
    mode = 0o600 if private else 0o666
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with suppress(OSError):  # where nothing can be locked, nothing is removed later
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(descriptor)
            if overwrite:
                draft.replace(path)
            else:
                path.hardlink_to(draft)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in `directory` are on the disk.

    Raises:
        OSError: the operating system does not let it be synced.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(path: Path) -> str:
    # A name has at most 255 bytes; one that begins with a dot is no key's.
    short = path.name.encode()[:_NAME_CHARACTERS].decode("utf-8", "ignore")
    return f".{short}."


def _remove_abandoned(path: Path) -> None:
    """Remove drafts of `path` whose program is gone: they are old, ours, and nobody has them locked."""
    is_draft = re.compile(re.escape(_prefix(path)) + r"[0-9a-f]{16}" + re.escape(_SUFFIX))
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if is_draft.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_abandoned(path.with_name(entry.name))


def _remove_if_abandoned(draft: Path) -> None:
    descriptor = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if is_ours and found.st_mtime < time() - ABANDONED_SECONDS:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()
    finally:
        os.close(descriptor)
