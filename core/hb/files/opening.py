"""Open files of histories and witnesses to read and to write.

Invariants:
    A file that is written is there as a whole, or not at all.
    Only plain files are read: a pipe or a device could keep a reader waiting for ever.
    What a file holds is not looked at here.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hb import atomic
from hb.errors import HbError, HomeUnusable, IntegrityError, NotFound, Refused
from hb.files import archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".history", ".witness")


def is_file(path: Path) -> bool:
    """Whether `path` is a plain file that begins as a history or a witness does."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as stream:
            return stream.read(len(archive.MARK)) == archive.MARK
    except (OSError, ValueError):
        return False


@contextmanager
def reading(path: Path) -> Iterator[archive.Archive]:
    """Open the file at `path` for a `with` block; its digest is right.

    What is refused or damaged inside the block is raised with the name of the file.

    Raises:
        NotFound: there is no such file.
        Refused: it is not a history or witness, or is beyond a limit.
        IntegrityError: it is cut or altered.
        HomeUnusable: the operating system does not let it be read.
    """
    try:
        # O_NONBLOCK: opening a pipe waits for a writer otherwise.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"no file {path}") from None
    except (OSError, ValueError) as error:
        raise HomeUnusable(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{path} is no plain file")
    with os.fdopen(descriptor, "rb") as stream:
        try:
            yield archive.Archive(stream)
        except OSError as error:
            raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error
        except (Refused, IntegrityError) as error:
            raise _of_file(error, path) from error


def _of_file(error: Refused | IntegrityError, path: Path) -> HbError:
    """Return `error` as one that says which file it is about."""
    if isinstance(error, Refused):
        return type(error)(f"{path}: {error.message}", hint=error.hint)
    return IntegrityError(
        f"{path}: {error.what}",
        process=error.process,
        slot=error.slot,
        expected=error.expected,
        got=error.got,
        hint=error.hint,
    )


@contextmanager
def writing(path: Path, form: str, version: int = 1) -> Iterator[archive.Writer]:
    """A writer of what is at `path`, whole and on the disk, once the `with` block ends; nothing is there if it fails.

    A file with proofs needs version 2.

    Raises:
        HomeUnusable: the operating system would not let it be written.
        Refused: there is something else than a plain file.
    """
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise Refused(f"{path} is no plain file, and is not written over")
        with atomic.replacing(path, private=False) as stream:
            writer = archive.Writer(stream, form, version)
            yield writer
            writer.close()
    except (OSError, ValueError) as error:
        raise HomeUnusable(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
