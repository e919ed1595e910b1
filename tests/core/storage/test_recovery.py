"""What a power loss leaves of a store, byte by byte: all that was synced is served, and going on works.

A scripted run commits to a real store. After each commit, its files are copied. What a power loss leaves is made from
such a copy: the bytes of the log that were synced are as they were, and those after them are cut, zeros, or pages that
got to the disk in any order.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from disk import quick_directory
from hb.errors import HomeBusy, IntegrityError
from hb.records.keys import EVERYTHING
from hb.storage import logs, recovery
from hb.storage.leveldb import open_store, repair_store
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGE_BYTES = 4096


class Moment(NamedTuple):
    """A moment of the run: the files, how much of the log is synced, and how many commits that are."""

    files: Path
    log: str
    bytes: int
    commits: int
    synced_bytes: int
    synced_commits: int


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


SCRIPT = [
    Batch(puts={b"a": b"1", b"b": b"2"}, sync=True),
    Batch(puts={b"%d" % at: content(at, 3000) for at in range(4)}),
    Batch(puts={b"a": b"3", b"c": content(9, 100)}, deletes={b"b"}, sync=True),
    Batch(puts={b"big": content(10, 70_000)}, sync=True),
    Batch(puts={b"5": content(11, 20_000)}),
    Batch(puts={b"6": content(12, 20_000)}, deletes={b"5"}),
    Batch(deletes={b"6", b"2"}),
    Batch(puts={b"7": content(13, 500)}, sync=True),
    Batch(puts={b"8": content(14, 9)}, sync=True),
]


def after(commits: int, script: list[Batch] = SCRIPT) -> dict[bytes, bytes]:
    """What is in the store after so many commits of the script."""
    held: dict[bytes, bytes] = {}
    for batch in script[:commits]:
        held = {key: value for key, value in (held | batch.puts).items() if key not in batch.deletes}
    return held


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    root = tmp_path_factory.mktemp("run")
    path = root / "store"
    open_store(path, create=True).close()
    found: list[Moment] = []
    synced_bytes = synced_commits = 0
    with open_store(path) as store:
        (log,) = path.glob("*.log")
        for commits, batch in enumerate(SCRIPT, 1):
            before = log.stat().st_size
            store.commit(batch)
            if batch.sync:
                synced_bytes, synced_commits = before, commits - 1  # by itself, before it writes the batch
            files, size = root / f"{commits}", log.stat().st_size
            shutil.copytree(path, files)
            found.append(Moment(files, log.name, size, commits, synced_bytes, synced_commits))
            if batch.sync:
                synced_bytes, synced_commits = size, commits
    return found


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with quick_directory() as found:
        yield found


def cut(data: bytes, offset: int) -> bytes:
    return data[:offset]


def cut_and_zeros(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes(len(data) - offset)


def zeros_beyond(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes(len(data) - offset + 3 * PAGE_BYTES)


def one_page_lost(data: bytes, offset: int) -> bytes:
    """The page from `offset` on never got to the disk; the end is there."""
    end = min(len(data), (offset // PAGE_BYTES + 1) * PAGE_BYTES)
    return data[:offset] + bytes(end - offset) + data[end:]


def old_bytes(data: bytes, offset: int) -> bytes:
    """The file has its length, and from `offset` on what was on the disk before."""
    return data[:offset] + content(offset, len(data) - offset)


def torn(moments: list[Moment], tear: Callable[[bytes, int], bytes], samples: int) -> Iterator[tuple[Moment, bytes]]:
    chosen = random.Random(tear.__name__)
    for moment in moments:
        whole = (moment.files / moment.log).read_bytes()
        first = max(moment.synced_bytes, 0)
        near = {first + 1, first + 7, len(whole) - 1}
        for offset in sorted({*near, *(chosen.randrange(first, len(whole)) for _ in range(samples))}):
            if first <= offset < len(whole):
                yield moment, tear(whole, offset)


@pytest.mark.parametrize("tear", [cut, cut_and_zeros, zeros_beyond, one_page_lost, old_bytes])
def test_after_a_power_loss_all_that_was_synced_is_there_and_going_on_works(
    moments: list[Moment], directory: Path, tear: Callable[[bytes, int], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    warned = 0
    samples = 400 if os.environ.get("HB_LONG") else 2
    for number, (moment, left) in enumerate(torn(moments, tear, samples)):
        path = directory / f"{number}" / "store"
        shutil.copytree(moment.files, path)
        (path / moment.log).write_bytes(left)
        caplog.clear()
        with open_store(path) as store:
            found = dict(store.scan(*EVERYTHING))
            # A batch is there only if all before it are.
            possible = [
                commits for commits in range(moment.synced_commits, moment.commits + 1) if after(commits) == found
            ]
            assert possible, (moment, len(left))
            store.commit(Batch(puts={b"more": b"1"}, sync=True))
        aside = list(path.parent.glob("set-aside/*"))
        assert len(aside) == len(caplog.messages) <= 1
        warned += len(aside)
        for file in aside:
            assert str(file) in caplog.messages[0]
            assert left.endswith(file.read_bytes())
        with open_store(path) as store:
            assert dict(store.scan(*EVERYTHING)) == found | {b"more": b"1"}
        shutil.rmtree(path.parent)
    assert warned > 10


def test_what_is_zeros_only_needs_no_warning(
    moments: list[Moment], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    shutil.copytree(moments[2].files, path)
    with (path / moments[2].log).open("ab") as log:
        log.write(bytes(100_000))
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == after(3)
    assert not caplog.messages
    assert not (tmp_path / "set-aside").exists()


def records_of(moment: Moment) -> list[tuple[int, int]]:
    """Where each record of the log begins and ends."""
    found, _ = logs.records((moment.files / moment.log).read_bytes())
    ends = [record.end for record in found]
    return list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("place", [4, 6, 8, 200], ids=["length", "kind", "number", "content"])
@pytest.mark.parametrize("broken", [0, 1, 2, 3, 4, 6])
def test_a_break_before_a_synced_batch_is_damage_and_repair_keeps_every_whole_record(
    moments: list[Moment], tmp_path: Path, broken: int, place: int
) -> None:
    path = tmp_path / "store"
    shutil.copytree(moments[-1].files, path)
    start, end = records_of(moments[-1])[broken]
    damaged = bytearray((path / moments[-1].log).read_bytes())
    damaged[min(start + place, end - 1)] ^= 0x55
    (path / moments[-1].log).write_bytes(damaged)
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.name.endswith(".log")}
    for _ in range(2):
        with pytest.raises(IntegrityError, match="is damaged: .* whole ones come after it") as told:
            open_store(path)
        assert told.value.hint is not None
        assert "hb verify --all --repair" in told.value.hint
        assert {file.name: file.read_bytes() for file in path.iterdir() if file.name.endswith(".log")} == before
    (said,) = repair_store(path)
    (aside,) = (tmp_path / "set-aside").iterdir()
    assert str(aside) in said
    assert aside.read_bytes() == damaged
    with open_store(path) as store:
        found = dict(store.scan(*EVERYTHING))
        store.commit(Batch(puts={b"more": b"1"}, sync=True))
    # If its length cannot be believed, the rest of its block goes too: what looks like a record there may be none.
    ends = range(broken + 1, len(SCRIPT) + 1 if place == 4 else broken + 2)
    assert found in [after(len(SCRIPT), SCRIPT[:broken] + SCRIPT[end:]) for end in ends]
    assert repair_store(path) == []


def test_a_break_that_only_unsynced_batches_follow_is_what_a_crash_leaves(
    moments: list[Moment], tmp_path: Path
) -> None:
    path = tmp_path / "store"
    shutil.copytree(moments[6].files, path)
    start, _ = records_of(moments[6])[4]
    damaged = bytearray((path / moments[6].log).read_bytes())
    damaged[start + 50] ^= 0x55
    (path / moments[6].log).write_bytes(damaged)
    with open_store(path) as store:
        assert dict(store.scan(*EVERYTHING)) == after(4)


def test_what_a_stranger_sent_is_never_taken_for_a_record(tmp_path: Path) -> None:
    """A value holds a whole record, with a right checksum, that would overwrite another key."""
    path = tmp_path / "store"
    open_store(path, create=True).close()
    forged = (1000).to_bytes(8, "little") + (1).to_bytes(4, "little") + b"\1\1a\6forged"
    value = b"x" * 400 + logs.frame([forged]) * 3 + b"x" * 400
    with open_store(path) as store:
        for batch in (Batch(puts={b"a": b"mine"}, sync=True), Batch(puts={b"image": value}, sync=True)):
            store.commit(batch)
        store.commit(Batch(puts={b"last": b"1"}, sync=True))
        (log,) = path.glob("*.log")
        whole = log.read_bytes()
        copy = shutil.copytree(path, tmp_path / "copy" / "store")
    position = whole.index(b"image")
    (copy / log.name).write_bytes(whole[:position] + b"I" + whole[position + 1 :])
    repair_store(copy)
    with open_store(copy) as store:
        assert dict(store.scan(*EVERYTHING)) == {b"a": b"mine", b"last": b"1"}


def test_a_torn_end_of_the_manifest_is_set_aside_and_the_store_is_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "store"
    open_store(path, create=True).close()
    with open_store(path) as store:
        store.commit(Batch(puts={b"a": b"1"}, sync=True))
    (manifest,) = path.glob("MANIFEST-*")
    whole = manifest.read_bytes()
    for number, end in enumerate((b"\x12\x34\x56\x78\x20\x00\x01" + bytes(32), b"\xff" * 40, whole[:20])):
        copy = tmp_path / f"copy-{number}" / "store"
        shutil.copytree(path, copy)
        (copy / manifest.name).write_bytes(whole + end)
        with open_store(copy) as store:
            assert dict(store.scan(*EVERYTHING)) == {b"a": b"1"}
        open_store(copy).close()


def test_a_store_that_another_program_is_writing_to_is_busy_and_not_mended(tmp_path: Path) -> None:
    path = tmp_path / "store"
    program = (
        "import sys; from pathlib import Path; from hb.storage.leveldb import open_store\n"
        "store = open_store(Path(sys.argv[1]), create=True); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (log,) = path.glob("*.log")
        log.write_bytes(b"half")
        with pytest.raises(HomeBusy):
            open_store(path)
        assert log.read_bytes() == b"half"
        holder.communicate()


def test_what_was_not_synced_is_on_the_disk_before_a_synced_batch_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    path = tmp_path / "store"
    with open_store(path, create=True) as store:
        (log,) = path.glob("*.log")
        for sync in (True, True):
            store.commit(Batch(puts={b"a": b"1"}, sync=sync))
        assert synced == []
        store.commit(Batch(puts={b"b": b"2"}))
        before = log.stat().st_size
        for sync in (True, True):
            store.commit(Batch(puts={b"c": b"3"}, sync=sync))
        assert synced == [before]


def test_logs_are_read_as_leveldb_wrote_them_and_written_as_it_reads_them(moments: list[Moment]) -> None:
    whole = (moments[-1].files / moments[-1].log).read_bytes()
    found, end = logs.records(whole)
    assert (len(found), end) == (len(SCRIPT), len(whole))
    assert logs.is_whole(whole)
    assert logs.frame([record.payload for record in found]) == whole
    assert [logs.is_marked(record.payload) for record in found] == [not batch.sync for batch in SCRIPT]
    exact = [content(size, size) for size in (32768 - 7, 0, 32768 - 7 - 6, 1, 32768 * 2 - 14, 40_000, 3)]
    assert [record.payload for record in logs.records(logs.frame(exact))[0]] == exact
    assert logs._checksum(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_looking_at_a_sound_store_computes_no_checksum(
    moments: list[Moment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take a second for a log of 16 MiB, at every opening."""
    path = tmp_path / "store"
    shutil.copytree(moments[-1].files, path)
    monkeypatch.delattr(logs, "_checksum")
    assert recovery.look(path) is False
    open_store(path).close()
