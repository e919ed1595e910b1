"""Look at a LevelDB store before LevelDB does, and bring it to where it can be opened after a crash.

A power loss leaves the end of the newest log unfinished: a part of a record, zeros, or pages of a file that were
written in another order. LevelDB takes some of that for damage and passes over some of it without a word. Here, the
unfinished end is moved to `set-aside/` beside the store, and what was synced is served. A record that is not whole
although a synced one comes after it is damage.

Invariants:
    No whole record is dropped unless it was never synced.
    Nothing is cut off before it is on the disk in `set-aside/`.

Source: LevelDB's `db/log_reader.cc` and `db/db_impl.cc` (`Recover`, `RecoverLogFile`).
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HomeBusy, HomeUnusable, IntegrityError, NoHome, Refused
from hb.storage import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SET_ASIDE = "set-aside"
_CURRENT_BYTES = 4096
_LOG = r"([0-9]+)\.log"


class Mended(NamedTuple):
    """A file whose end was cut off: what it had before, and where that end is now."""

    file: Path
    before: bytes
    aside: Path


def look(path: Path) -> bool:
    """Return whether a log of the store at `path` has an unfinished end. This is quick: checksums are not looked at.

    Raises:
        NoHome: the directory that the store is in is gone.
        IntegrityError: the store lacks a file that LevelDB would not miss, or would make anew.
        Refused: the store leads out of its directory.
        HomeUnusable: the operating system does not let it be read.
    """
    current = path / "CURRENT"
    try:
        current.stat()
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise NoHome(f"no home at {path.parent}") from error
        raise IntegrityError(
            f"the store {path} has lost its CURRENT file",
            hint="put it back from a copy of the home; nothing was changed",
        ) from error
    except OSError as error:
        raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error
    try:
        with os.scandir(path) as found:
            entries = list(found)
        odd = [each.name for each in entries if not each.is_file(follow_symlinks=False) and not _is_lost(each)]
        if odd:
            raise Refused(f"the store {path} has what no store has, a link or a directory: {min(odd)!r}")
        return not all(logs.is_whole(log.read_bytes()) for log in _logs_needed(path))
    except OSError as error:
        raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error


def mend(path: Path) -> list[Mended]:
    """Move the unfinished ends of the newest log and of the MANIFEST out of the store at `path`. Return what was cut.

    A warning is logged for each.

    Raises:
        IntegrityError: a log is damaged before its end.
        HomeBusy: another program has the store open.
        HomeUnusable: the operating system does not let it be done.
    """
    try:
        with _alone(path):
            return [*_mend_manifest(path), *_mend_logs(path)]
    except OSError as error:
        raise HomeUnusable(f"cannot set aside the unfinished end of a file in {path}: {error.strerror}") from error


def restore(mended: list[Mended]) -> None:
    """Give each MANIFEST its end back, where the store could not be opened without it."""
    from hb import atomic

    for each in mended:
        if each.file.suffix != ".log":
            with suppress(OSError):
                atomic.write(each.file, each.before)


def repair(path: Path) -> list[str]:
    """Write each damaged log of the store at `path` anew with its whole records. Return what was done, a line each.

    Raises:
        HomeBusy, HomeUnusable: as `mend`.
    """
    from hb import atomic

    done = []
    try:
        with _alone(path):
            _mend_manifest(path)
            for log in _logs_needed(path):
                data = log.read_bytes()
                found, end = logs.records(data)
                if not data[end:].strip(b"\0"):
                    continue
                kept = [record.payload for record in (*found, *logs.records_after(data, end))]
                aside = _set_aside(path, log.name, data)
                atomic.write(log, logs.frame(kept))
                done.append(f"wrote {log.name} anew with its {len(kept)} whole records; as it was, it is {aside}")
    except OSError as error:
        raise HomeUnusable(f"cannot repair {path}: {error.strerror}") from error
    return done


def sync_logs(path: Path) -> None:
    """Wait until everything in the logs of the open store at `path` is on the disk.

    LevelDB itself syncs the newest log only, and in no order: a batch could be on the disk before those it follows.

    Raises:
        HomeUnusable: the operating system does not let them be synced.
    """
    for log in path.glob("*.log"):
        try:
            descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # what was in there is in a table now, and that is synced
        except OSError as error:
            raise HomeUnusable(f"cannot sync {log}: {error.strerror}") from error
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise HomeUnusable(f"cannot sync {log}: {error.strerror}") from error
        finally:
            os.close(descriptor)


def _logs_needed(path: Path) -> list[Path]:
    """Return the logs that LevelDB will read, the oldest first.

    Raises:
        IntegrityError: the log that the MANIFEST names is gone. LevelDB would not miss what was only in there.
    """
    manifest = _manifest(path)
    needed = logs.log_number(manifest.read_bytes()) if manifest.is_file() else None
    found = sorted((int(match[1]), file) for file in path.iterdir() if (match := re.fullmatch(_LOG, file.name)))
    there = [file for number, file in found if needed is not None and number >= needed]
    if needed is not None and not any(number == needed for number, _ in found):
        raise _lost(path, needed, manifest)
    return there


def _lost(path: Path, log: int, manifest: Path) -> IntegrityError:
    return IntegrityError(
        f"the store {path} has lost its log {log:06}.log, or the end of its {manifest.name}",
        hint="put it back from a copy of the home; nothing was changed",
    )


def _manifest(path: Path) -> Path:
    """Return the MANIFEST that CURRENT names, which may be missing.

    Raises:
        IntegrityError: CURRENT names something outside of the store.
    """
    with (path / "CURRENT").open("rb") as file:
        current = file.read(_CURRENT_BYTES)
    if b"/" in current:
        raise IntegrityError(f"the store {path} is damaged: its CURRENT names a file outside of it")
    try:
        return path / os.fsdecode(current.strip() or b"no MANIFEST")
    except ValueError:
        return path / "no MANIFEST"


def _mend_manifest(path: Path) -> list[Mended]:
    manifest = _manifest(path)
    if not manifest.is_file():
        return []
    data = manifest.read_bytes()
    found, end = logs.records(data)
    # Each record of a MANIFEST is synced, so a whole one after another proves damage. LevelDB tells of that.
    if not found or not data[end:].strip(b"\0") or logs.records_after(data, end):
        return []
    needed = logs.log_number(data[:end])
    if needed is None or not (path / f"{needed:06}.log").is_file():
        return []
    return [_cut(path, manifest, data, end)]


def _mend_logs(path: Path) -> list[Mended]:
    files = [(log, log.read_bytes()) for log in _logs_needed(path)]
    ends = [logs.records(data)[1] for _, data in files]
    broken = next((at for at, (_, data) in enumerate(files) if data[ends[at] :].strip(b"\0")), None)
    if broken is None:
        return []
    log, data = files[broken]
    later = [logs.batches_after(data, ends[broken]), *(logs.batches_after(more, 0) for _, more in files[broken + 1 :])]
    if not all(logs.is_marked(payload) for payloads in later for payload in payloads):
        raise IntegrityError(
            f"the store {path} is damaged: {log.name} has a record that is not whole at byte {ends[broken]}, "
            "and whole ones come after it",
            hint="`hb verify --all --repair` keeps every record that is whole, and sets the damaged file aside",
        )
    # What was never synced and comes after the break goes too: a batch is there only if all before it are.
    mended = [_cut(path, more, more_data, 0) for more, more_data in reversed(files[broken + 1 :]) if more_data]
    return [*mended, _cut(path, log, data, ends[broken])]


def _cut(path: Path, file: Path, data: bytes, end: int) -> Mended:
    from logging import getLogger

    aside = _set_aside(path, f"{file.name}-from-{end}", data[end:])
    with file.open("r+b") as stream:
        stream.truncate(end)
        os.fsync(stream.fileno())
    getLogger("hb").warning(
        "hb: a crash cut off the last write to %s; all that was synced is there, and the %d bytes after it are in %s",
        file.name,
        len(data) - end,
        aside,
    )
    return Mended(file, data, aside)


def _set_aside(path: Path, name: str, content: bytes) -> Path:
    from hb import atomic

    directory = path.parent / SET_ASIDE
    directory.mkdir(mode=0o700, exist_ok=True)
    atomic.sync_directory(path.parent)
    atomic.write(directory / name, content)
    return directory / name


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold LevelDB's own lock: no program may have the store open, not even past the home's lock."""
    descriptor = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeBusy(
                f"another program has {path} open", hint="a program that uses the store past its lock?"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _is_lost(entry: os.DirEntry[str]) -> bool:
    """Whether it is the one directory that LevelDB knows: where its own repair puts files."""
    return entry.name == "lost" and entry.is_dir(follow_symlinks=False)
