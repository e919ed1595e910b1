"""Files that appear whole: with real kills, permissions and leftovers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from hb import atomic

if TYPE_CHECKING:
    from pathlib import Path

HALF = """
import os, sys
from pathlib import Path
from hb import atomic
with atomic.replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_has_its_content_and_nothing_is_left_beside_it(tmp_path: Path, overwrite: bool) -> None:
    atomic.write(tmp_path / "file", b"content", overwrite=overwrite)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert names(tmp_path) == ["file"]


def test_what_is_there_is_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    atomic.write(tmp_path / "file", b"old")
    with pytest.raises(FileExistsError):
        atomic.write(tmp_path / "file", b"new", overwrite=False)
    assert (tmp_path / "file").read_bytes() == b"old"
    atomic.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    atomic.write(tmp_path / "file", b"old")
    with pytest.raises(TypeError), atomic.replacing(tmp_path / "file") as file:
        file.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_permissions_are_those_of_the_umask_which_no_thread_ever_sees_changed(tmp_path: Path) -> None:
    before, done, seen = os.umask(0o027), threading.Event(), set()
    try:

        def make_files() -> None:
            while not done.is_set():
                probe = os.open(tmp_path / "probe", os.O_CREAT | os.O_WRONLY, 0o777)
                seen.add(os.fstat(probe).st_mode & 0o777)
                os.close(probe)
                (tmp_path / "probe").unlink()

        thread = threading.Thread(target=make_files)
        thread.start()
        for number in range(20):
            atomic.write(tmp_path / f"open-{number}", b"", private=False)
        atomic.write(tmp_path / "private", b"")
        done.set()
        thread.join()
    finally:
        os.umask(before)
    assert (tmp_path / "open-0").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert seen == {0o750}


def test_the_directory_is_synced_after_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        is_directory = os.path.samestat(found, tmp_path.stat())
        synced.append(("directory", names(tmp_path)) if is_directory else ("file", found.st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write(tmp_path / "file", b"content")
    assert synced == [("file", 7), ("directory", ["file"])]


def test_what_a_killed_program_left_is_removed_by_a_later_write_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with subprocess.Popen([sys.executable, "-c", HALF, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        (draft,) = tmp_path.iterdir()
        os.utime(draft, (0, 0))
        similar = [tmp_path / ".file.mine.hb-draft", tmp_path / f".other{draft.name[5:]}"]
        for other in similar:
            other.touch()
            os.utime(other, (0, 0))
        atomic.write(path, b"first")
        assert draft.exists(), "its program lives"
        writer.kill()
    atomic.write(path, b"second")
    assert sorted(tmp_path.iterdir()) == sorted([path, *similar])


def test_a_draft_that_was_just_made_is_left_alone(tmp_path: Path) -> None:
    draft = tmp_path / f".file.{'0' * 16}.hb-draft"
    draft.touch()
    atomic.write(tmp_path / "file", b"")
    assert draft.exists()
