"""The store on LevelDB.

LevelDB lets in one program at a time, so whoever opens a store here holds the home's lock.

Invariants:
    No other module knows plyvel.
    A store is never made anew where one was lost.
    Damaged bytes are never passed over in silence.
"""

from __future__ import annotations

import sys
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from hb.errors import HomeBusy, HomeUnusable, IntegrityError, NoHome
from hb.storage import recovery
from hb.storage.store import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from hb.errors import HbError
    from hb.storage.store import Batch

if sys.version_info >= (3, 13):
    import plyvel_next as plyvel
else:
    import plyvel

# Assignments of 1.83 KB take 869 bytes on the disk with blocks of 4 KiB, 685 with 16, 631 with 32, 618 with 64,
# 605 with 256: they look alike, and compress together.
_BLOCK_BYTES = 32 * 1024
# 100 MB of pages are written in 1.2 s with 4 MiB, in 0.3 s with 16 or more.
_WRITE_BUFFER_BYTES = 16 * 1024 * 1024
# Every opening reads and writes the list of tables: of a million slots there were 400 of the usual 2 MiB. But what is
# merged at once is larger with them, and a slice may wait for that: 0.4 s at the most with 2 or 4, 0.7 with 16.
_TABLE_BYTES = 4 * 1024 * 1024
# What is not yet in a table when a store is closed, the next one to open it sorts into one: 10 ms a MiB. A bulk
# writer does that itself, so that a reader after it need not.
_FLUSH_BYTES = 1024 * 1024
# Every store that is opened after a write adds a table to level 0, and every read asks all of those. LevelDB merges
# them in the background, but drops what it has not finished when the store is closed, and slices are shorter than
# that: a million slots left 354 of them. So who wrote waits for the merge, if there are so many, but not for long.
_YOUNG_TABLES = 8
_MERGE_SECONDS = 0.4
# LevelDB counts a look-up that goes into a second table against the first, and after 100 of them, or one for 16 KiB of
# it, merges that table with all that it overlaps: in a store of 800 MB it wrote 43 MB anew for each thousand look-ups.
# What a cursor looks up does not count, but takes 50 µs where the other takes 5.
_COUNTED_GETS = 90
_DEEP = b"leveldb.num-files-at-level3"
# Ten bits a key spare a read of nearly every table that lacks the key.
_BLOOM_BITS = 10


class LevelStore:
    """A store in one directory. Safe to use from several threads; to be closed, or used as a context manager."""

    def __init__(self, path: Path, database: Any) -> None:
        self._path = path
        self._database = database
        self._lock = Lock()
        self._failed = False
        self._has_written = False
        self._has_unsynced = False
        self._unflushed_bytes = 0
        self._gets = 0
        self._depth: int | None = None
        self._cursor: Any = None
        self._scans: set[Any] = set()

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is none.

        Raises:
            IntegrityError: the stored bytes are damaged.
            HomeUnusable: the operating system does not let it be read.
        """
        with self._lock:
            return self._get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order.

        Raises:
            IntegrityError, HomeUnusable: as `get`.
        """
        with self._lock:
            return [self._get(key) for key in keys]

    def _get(self, key: bytes) -> bytes | None:
        self._gets += 1
        try:
            if self._gets > _COUNTED_GETS and self._is_deep():
                return self._look_up(key)
            value: bytes | None = self._database.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _told(error, self._path) from error
        return value

    def _is_deep(self) -> bool:
        if self._depth is None:
            self._depth = int(self._database.get_property(_DEEP))
        return self._depth > 0

    def _look_up(self, key: bytes) -> bytes | None:
        try:
            if self._cursor is None:
                self._cursor = self._database.raw_iterator(verify_checksums=True)
            self._cursor.seek(key)
            found = self._cursor.valid() and self._cursor.key() == key
            value: bytes | None = self._cursor.value() if found else None
        except plyvel.Error:
            # Damage near the key, in a table that may not even have it.
            self._drop_cursor()
            value = self._database.get(key, verify_checksums=True)
        return value

    def _drop_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Return keys and values with start <= key < stop, as of now, in order, or against it if `reverse`.

        Raises:
            IntegrityError, HomeUnusable: as `get`; also while iterating.
        """
        try:
            # Not plyvel's own iterator: that one ends in silence where damage hides the last records of a range, and
            # against the order it leaves out a record that is alone at its start.
            cursor = self._database.raw_iterator(verify_checksums=True)
        except plyvel.Error as error:
            raise _told(error, self._path) from error
        self._scans.add(cursor)
        return self._down(cursor, start, stop) if reverse else self._up(cursor, start, stop)

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once.

        After a write that failed, what the log ends with is not known, and anything appended to it might be lost:
        this store takes no further batch then, until it is opened again.

        Raises:
            Conflict: an expectation of the batch does not hold; nothing was written.
            ValueError: a key is both put and deleted; nothing was written.
            HomeUnusable: the operating system does not let it be written.
        """
        with self._lock:
            if self._failed:
                raise HomeUnusable(f"{self._path} failed to write before, and takes no more until it is opened again")
            check(batch, self._get)
            self._drop_cursor()
            try:
                if batch.sync and self._has_unsynced:
                    recovery.sync_logs(self._path)
                with self._database.write_batch(sync=batch.sync) as writes:
                    first = None if batch.sync else next(iter(batch.deletes or batch.puts), None)
                    if first is not None:
                        writes.delete(first)  # the mark: see `logs.is_marked`
                    for key in batch.deletes:
                        writes.delete(key)
                    for key, value in batch.puts.items():
                        writes.put(key, value)
            except HomeUnusable:
                self._failed = True
                raise
            except plyvel.Error as error:
                self._failed = True
                raise _told(error, self._path) from error
            self._has_unsynced = not batch.sync
            self._unflushed_bytes += sum(map(len, batch.puts.values()))
            self._has_written = True

    @property
    def has_failed(self) -> bool:
        """Whether a write failed, so that this store takes no further batch."""
        return self._failed

    def end_session(self) -> None:
        """End all scans, for a store that stays open. Whoever goes on with one gets a RuntimeError."""
        with self._lock:
            self._drop_cursor()
            scans, self._scans = self._scans, set()
            for cursor in scans:
                cursor.close()

    def close(self) -> None:
        """Let go of the directory. What reads later, iterators included, raises RuntimeError."""
        self.end_session()
        if self._unflushed_bytes >= _FLUSH_BYTES and not self._failed:
            # Compacting a range without keys does nothing but write the table.
            self._database.compact_range(start=b"\xff", stop=b"\xff")
            self._unflushed_bytes = 0
        if self._has_written and not self._failed:
            self._wait_for_merge()
        self._database.close()

    def _wait_for_merge(self) -> None:
        until = monotonic() + _MERGE_SECONDS
        while int(self._database.get_property(b"leveldb.num-files-at-level0")) >= _YOUNG_TABLES and monotonic() < until:
            sleep(0.002)
        self._has_written = False

    def __enter__(self) -> LevelStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _up(self, cursor: Any, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            cursor.seek(start)
            while cursor.valid() and cursor.key() < stop:
                yield cursor.item()
                cursor.next()
        except plyvel.Error as error:
            raise _told(error, self._path) from error
        finally:
            self._scans.discard(cursor)
            cursor.close()

    def _down(self, cursor: Any, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            cursor.seek(stop)
            if cursor.valid():
                cursor.prev()
            else:
                cursor.seek_to_last()
            while cursor.valid() and start <= cursor.key() < stop:
                yield cursor.item()
                cursor.prev()
        except plyvel.Error as error:
            raise _told(error, self._path) from error
        finally:
            self._scans.discard(cursor)
            cursor.close()


def open_store(path: Path, *, create: bool = False) -> LevelStore:
    """Open the store in the directory `path`; make it first if `create`, where there must be none yet.

    What a crash left of a write that it cut off is set aside, and a warning is logged.

    Raises:
        IntegrityError: there is no store, or what is there is damaged.
        Refused: it leads out of its directory.
        HomeBusy: another program has it open, past the home's lock.
        HomeUnusable: the operating system does not let it be opened.
    """
    if create:
        return LevelStore(path, _open(path, create=True))
    mended = recovery.mend(path) if recovery.look(path) else []
    try:
        return LevelStore(path, _open(path))
    except IntegrityError:
        # LevelDB takes an unfinished write for damage.
        mended = mended or recovery.mend(path)
        if not mended:
            raise
    try:
        return LevelStore(path, _open(path))
    except IntegrityError:
        recovery.restore(mended)
        raise


def repair_store(path: Path) -> list[str]:
    """Bring the store in the directory `path` to where it can be opened. Return what was done, a line each.

    Every record of its logs that is whole is kept. The damaged files are set aside as they were.

    Raises:
        IntegrityError: what is damaged cannot be made again from what is whole.
        Refused, HomeBusy, HomeUnusable: as `open_store`.
    """
    recovery.look(path)
    done = recovery.repair(path)
    open_store(path).close()
    return done


def _open(path: Path, *, create: bool = False) -> Any:
    try:
        return plyvel.DB(
            str(path),
            create_if_missing=create,
            error_if_exists=create,
            paranoid_checks=True,
            block_size=_BLOCK_BYTES,
            write_buffer_size=_WRITE_BUFFER_BYTES,
            max_file_size=_TABLE_BYTES,
            bloom_filter_bits=_BLOOM_BITS,
        )
    except plyvel.Error as error:
        raise _told(error, path) from error


def _told(error: Exception, path: Path) -> HbError:
    """Return what LevelDB said as the kind of failure that it is."""
    if not path.is_dir():
        return NoHome(f"no home at {path.parent}")
    raw = error.args[0] if error.args else b""
    said = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    # A table cut short is an "Invalid argument", one that is gone "No such file".
    if isinstance(error, plyvel.IOError) and not said.endswith(("Invalid argument", "No such file or directory")):
        if "/LOCK: " in said and ("already held" in said or "temporarily unavailable" in said):
            return HomeBusy(f"another program has {path} open", hint="a program that uses the store past its lock?")
        return HomeUnusable(f"cannot use {path}: {said.removeprefix('IO error: ')}")
    return IntegrityError(
        f"the store {path} is damaged: {said.removeprefix('Corruption: ').removeprefix('IO error: ')}"
    )
