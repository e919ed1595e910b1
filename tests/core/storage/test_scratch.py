"""Temporary directories: what a killed run left is deleted by the next, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from time import time
from typing import TYPE_CHECKING

import pytest

from hb.storage import scratch

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, signal
from hb.storage import scratch
with scratch.directory() as path:
    (path / "something").write_text("left")
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(path: Path) -> None:
    """Makes it look as if nobody had touched it for long."""
    long_ago = time() - 2 * scratch.ABANDONED_SECONDS
    for each in (path, path / scratch.LOCK):
        if each.exists():
            os.utime(each, (long_ago, long_ago))


def test_a_directory_is_there_for_as_long_as_it_is_used(place: Path) -> None:
    with scratch.directory() as path:
        assert path.parent == place
        (path / "something").write_text("here")
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_is_deleted_by_the_next(place: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(place)}
    ran = subprocess.run([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, check=False)
    assert ran.returncode == -9
    [left] = place.iterdir()
    assert ran.stdout.decode().strip() == str(left)
    with scratch.directory():
        assert left.exists(), "it may just have been made"
    age(left)
    with scratch.directory() as path:
        assert list(place.iterdir()) == [path]


def test_what_is_used_or_is_something_else_is_left_alone(place: Path) -> None:
    target = place / "mine"
    target.mkdir()
    (target / scratch.LOCK).write_text("")
    (place / f"{scratch.PREFIX}link").symlink_to(target)
    (place / f"{scratch.PREFIX}file").write_text("")
    backup = place / f"{scratch.PREFIX}20241124"
    backup.mkdir()
    (backup / "CURRENT").write_text("a user's own copy")
    odd = place / f"{scratch.PREFIX}odd"
    odd.mkdir()
    (odd / scratch.LOCK).symlink_to(target / scratch.LOCK)
    with scratch.directory() as used:
        for path in (used, target, backup, odd):
            age(path)
        before = set(place.rglob("*"))
        with scratch.directory() as path:
            new = {path, path / scratch.LOCK}
            assert set(place.rglob("*")) == before | new
