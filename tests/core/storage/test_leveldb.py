"""What LevelDB's store does beyond the suite: opening, damage, a disk that is full or closed to us."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

from disk import fill, small_disk
from hb.errors import Conflict, HbError, HomeBusy, HomeUnusable, IntegrityError
from hb.records.keys import EVERYTHING
from hb.storage import leveldb
from hb.storage.leveldb import open_store
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65_534


def numbered(count: int, size: int = 100) -> dict[bytes, bytes]:
    return {b"%06d" % number: b"%d." % number * (size // 4) for number in range(count)}


def listing(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A store of 2000 records, all of them in a table, closed."""
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts=numbered(2000), sync=True))
    open_store(path).close()  # opening writes the log out into a table
    return path


def the_file(directory: Path, pattern: str) -> Path:
    return max(directory.glob(pattern), key=lambda file: file.stat().st_size)


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts={b"a": b"1", b"b": b"2"}))
    with open_store(path) as store:
        store.commit(Batch(puts={b"c": b"3"}, deletes={b"a"}, sync=True))
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == {b"b": b"2", b"c": b"3"}


def test_a_closed_store_answers_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "store", create=True) as store:
        store.commit(Batch(puts={b"a": b"1"}))
        scan = store.scan(*EVERYTHING)
        store.close()
        for ask in (lambda: store.get(b"a"), lambda: next(scan), lambda: store.commit(Batch(puts={b"a": b"2"}))):
            with pytest.raises(RuntimeError, match="closed"):
                ask()


def test_opening_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="has lost its CURRENT file"):
        open_store(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_making_does_not_replace_a_store(full: Path) -> None:
    with pytest.raises(IntegrityError, match="exists"):
        open_store(full, create=True)
    with open_store(full) as store:
        assert dict(store.scan(*EVERYTHING)) == numbered(2000)


def test_a_store_without_current_is_damage_and_stays_as_it_is(full: Path) -> None:
    (full / "CURRENT").unlink()
    before = listing(full)
    with pytest.raises(IntegrityError, match="has lost its CURRENT file"):
        open_store(full)
    assert listing(full) == before


@pytest.mark.parametrize("content", [b"", b"xx", b"MANIFEST-999999\n", b"\0" * 20])
def test_garbage_in_current_is_damage(full: Path, content: bytes) -> None:
    (full / "CURRENT").write_bytes(content)
    with pytest.raises(IntegrityError, match="is damaged"):
        open_store(full)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 4096])
def test_garbage_in_the_manifest_is_damage(full: Path, content: bytes) -> None:
    the_file(full, "MANIFEST-*").write_bytes(content)
    with pytest.raises(IntegrityError, match="is damaged"):
        open_store(full)


def test_a_table_gone_is_damage(full: Path) -> None:
    the_file(full, "*.ldb").unlink()
    with pytest.raises(IntegrityError, match="missing files"):
        open_store(full)


def test_a_table_cut_short_is_damage(full: Path) -> None:
    table = the_file(full, "*.ldb")
    os.truncate(table, table.stat().st_size // 2)
    with pytest.raises(IntegrityError), open_store(full) as store:
        list(store.scan(*EVERYTHING))


def test_no_flipped_byte_of_a_table_goes_unseen(full: Path) -> None:
    """Reads give the right bytes or say that they are damaged: never other bytes, never one record less."""
    table = the_file(full, "*.ldb")
    sound, expected = table.read_bytes(), numbered(2000)
    damaged = 0
    for position in range(0, len(sound), len(sound) // 60):
        broken = bytearray(sound)
        broken[position] ^= 0xFF
        table.write_bytes(broken)
        try:
            with open_store(full) as store:
                assert dict(store.scan(*EVERYTHING)) == expected
                assert dict(store.scan(*EVERYTHING, reverse=True)) == expected
                assert all(store.get(key) == expected[key] for key in list(expected)[::97])
        except IntegrityError:
            damaged += 1
    assert damaged > 50


@pytest.mark.parametrize("reverse", [False, True])
def test_damage_at_the_end_of_a_range_does_not_pass_for_its_end(full: Path, *, reverse: bool) -> None:
    table = the_file(full, "*.ldb")
    broken = bytearray(table.read_bytes())
    broken[100] ^= 0xFF  # the first block of records
    table.write_bytes(broken)
    with open_store(full) as store, pytest.raises(IntegrityError, match="checksum"):
        list(store.scan(b"000000", b"000010", reverse=reverse))


def test_a_flipped_byte_of_the_log_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        for key, value in numbered(200).items():
            store.commit(Batch(puts={key: value}, sync=True))
    log = the_file(path, "*.log")
    broken = bytearray(log.read_bytes())
    broken[len(broken) // 2] ^= 0xFF
    log.write_bytes(broken)
    with pytest.raises(IntegrityError, match="is damaged"):
        open_store(path)


def test_a_torn_tail_of_the_log_loses_that_batch_whole(tmp_path: Path) -> None:
    """A crash in the middle of a write: the batch that was being written never was, those before it are there."""
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts={b"first": b"1", b"both": b"1"}, sync=True))
        store.commit(Batch(puts={b"second": b"2", b"both": b"2"}, sync=True))
    log = the_file(path, "*.log")
    os.truncate(log, log.stat().st_size - 3)
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == {b"first": b"1", b"both": b"1"}


def test_a_bulk_writer_leaves_no_log_for_the_next_to_sort(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts=numbered(200, size=10_000)))
    assert the_file(path, "*.log").stat().st_size == 0
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == numbered(200, size=10_000)


def test_a_store_that_another_program_has_open_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "store"
    open_store(path, create=True).close()
    program = (
        "import sys, pathlib; from hb.storage.leveldb import open_store; store = open_store(pathlib.Path(sys.argv[1]))"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{program}; print('open', flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(HomeBusy, match="another program has"):
            open_store(path)
        holder.communicate()
    open_store(path).close()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that other users can look into, unlike tmp_path."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(path: Path, answers: object) -> None:
    """Tries to open the store as another user, and sends what came of it."""
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        open_store(path).close()
    except HbError as error:
        answers.send((type(error).__name__, error.message))  # type: ignore[attr-defined]
    else:
        answers.send(("none", ""))  # type: ignore[attr-defined]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
@pytest.mark.parametrize("closed", ["directory", "files"])
def test_without_permission_it_says_so(open_path: Path, closed: str) -> None:
    path = open_path / "store"
    open_store(path, create=True).close()
    path.chmod(0o700 if closed == "directory" else 0o755)
    context = get_context("fork")
    answers, theirs = context.Pipe()
    child = context.Process(target=as_nobody, args=(path, theirs))
    child.start()
    theirs.close()
    kind, sentence = answers.recv()
    child.join()
    assert kind == "HomeUnusable"
    assert "Permission denied" in sentence
    assert str(path) in sentence


def test_a_full_disk_loses_nothing_that_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = disk / "store"
        with open_store(path, create=True) as store:
            store.commit(Batch(puts=numbered(100), sync=True))
            fill(disk / "filler")
            with pytest.raises(HomeUnusable, match="No space left on device"):
                store.commit(Batch(puts={b"new": os.urandom(100_000)}, sync=True))
            # There is room again, but this log may end in half a batch: what were appended might be lost.
            (disk / "filler").unlink()
            assert dict(store.scan(*EVERYTHING)) == numbered(100)
            with pytest.raises(HomeUnusable, match="takes no more until it is opened again"):
                store.commit(Batch(puts={b"next": b"1"}, sync=True))
        with open_store(path) as store:
            assert dict(store.scan(*EVERYTHING)) == numbered(100)
            store.commit(Batch(puts={b"next": b"1"}, sync=True))
        with open_store(path) as store:
            assert dict(store.scan(*EVERYTHING)) == numbered(100) | {b"next": b"1"}


def test_a_disk_that_is_full_at_opening_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = disk / "store"
        with open_store(path, create=True) as store:
            store.commit(Batch(puts=numbered(100), sync=True))
        fill(disk / "filler")
        for _ in range(3):
            with pytest.raises(HomeUnusable, match="No space left on device"):
                open_store(path)
        (disk / "filler").unlink()
        with open_store(path) as store:
            assert dict(store.scan(*EVERYTHING)) == numbered(100)


def test_a_lost_log_or_end_of_a_manifest_is_damage_and_never_a_store_of_before(tmp_path: Path) -> None:
    """LevelDB itself would open such a store without a word, and remove the table that it no longer knows of."""
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts={b"first": b"1"}, sync=True))
    with open_store(path) as store:
        store.commit(Batch(puts=numbered(200, size=10_000), sync=True))  # goes into a table as the store is closed
    manifest = the_file(path, "MANIFEST-*")
    sound = manifest.read_bytes()
    for end in range(len(sound)):
        manifest.write_bytes(sound[:end])
        with pytest.raises(IntegrityError):
            open_store(path)
    for position in range(len(sound)):
        manifest.write_bytes(sound[:position] + bytes([sound[position] ^ 0x80]) + sound[position + 1 :])
        with pytest.raises(IntegrityError):
            open_store(path)
    manifest.write_bytes(sound)
    log = the_file(path, "*.log")
    log.rename(tmp_path / "log")
    with pytest.raises(IntegrityError, match="lost its log"):
        open_store(path)
    (tmp_path / "log").rename(log)
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == {b"first": b"1"} | numbered(200, size=10_000)


def test_many_short_writes_leave_few_young_tables(tmp_path: Path) -> None:
    # Each opening adds one. Reads would ask them all, and LevelDB drops a merge that a close interrupts.
    open_store(tmp_path / "store", create=True).close()
    for number in range(60):
        with open_store(tmp_path / "store") as store:
            # Spread over all keys, so that every table overlaps with every other.
            store.commit(Batch(puts={b"%03d %03d" % (place, number): os.urandom(1000) for place in range(300)}))
    with open_store(tmp_path / "store") as store:
        assert int(store._database.get_property(b"leveldb.num-files-at-level0")) <= 8


@pytest.fixture
def looking_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every key looked for in the way of a deep store: by a cursor."""
    monkeypatch.setattr(leveldb, "_COUNTED_GETS", 0)
    monkeypatch.setattr(leveldb, "_DEEP", b"leveldb.num-files-at-level0")


@pytest.mark.usefixtures("looking_up")
def test_a_cursor_finds_what_is_there_now_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        store.commit(Batch(puts=numbered(50)))
    with open_store(path) as store:
        assert int(store._database.get_property(b"leveldb.num-files-at-level0")) > 0
        for key, value in numbered(50).items():
            assert store.get(key) == value
            assert store.get(key + b"0") is None
        assert store._cursor is not None
        last = max(numbered(50))
        assert store.get(last + b"~") is None
        store.commit(Batch(puts={last + b"~": b"new"}, deletes={last}, expects={last: numbered(50)[last]}))
        assert (store.get(last), store.get(last + b"~")) == (None, b"new")
        with pytest.raises(Conflict):
            store.commit(Batch(puts={b"x": b"x"}, expects={last + b"~": b"old"}))


@pytest.mark.parametrize("is_deep", [False, True])
def test_many_look_ups_merge_nothing_in_a_deep_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deep: bool
) -> None:
    # A thousand keys that are not there, between keys that are, in tables of two levels that overlap.
    path = tmp_path / "store"
    monkeypatch.setattr(leveldb, "_DEEP", b"leveldb.num-files-at-level%d" % (2 if is_deep else 6))
    open_store(path, create=True).close()
    for half in range(2):
        with open_store(path) as store:
            store.commit(Batch(puts={b"%06d" % place: os.urandom(1000) for place in range(half, 6000, 2)}))
    with open_store(path) as store:
        before = store._database.get_property(b"leveldb.sstables")
        assert all(store.get(b"%06d." % place) is None for place in range(0, 6000, 6))
        until = monotonic() + (0.5 if is_deep else 30)
        while store._database.get_property(b"leveldb.sstables") == before and monotonic() < until:
            sleep(0.01)
        is_same = store._database.get_property(b"leveldb.sstables") == before
    assert is_same == is_deep, "LevelDB merges what it looks into by keys, and not what a cursor looks into"
