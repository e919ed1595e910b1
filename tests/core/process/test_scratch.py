"""Temporary directories: what a killed run left is deleted by the next, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from hb.process import scratch

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, signal
from hb.process import scratch
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
    long_ago = path.stat().st_mtime - 2 * scratch.ABANDONED_SECONDS
    os.utime(path, (long_ago, long_ago))


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
    (place / f"{scratch.PREFIX}link").symlink_to(target)
    (place / f"{scratch.PREFIX}file").write_text("")
    (place / "other").mkdir()
    with scratch.directory() as used:
        for path in (used, target, place / "other", place / f"{scratch.PREFIX}file"):
            age(path)
        before = set(place.iterdir())
        with scratch.directory() as path:
            assert set(place.iterdir()) == before | {path}
