"""Small disks for tests that fill them, and fast ones for tests that make many homes."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from hb.storage.leveldb import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def small_disk(mount_point: Path, size: str) -> Iterator[Path]:
    """Mount a disk of `size` at `mount_point`, and unmount it afterwards. Skip the test if it cannot be mounted."""
    mount_point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount_point)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "-l", str(mount_point)], check=True)


def settle(store: Path) -> None:
    """Merge all tables of a LevelDB store, so that none is left over and the next opening merges nothing."""
    opened = open_store(store)
    opened._database.compact_range()
    opened.close()


def fill(file: Path, *, leave_bytes: int = 0) -> None:
    """Write to `file` until at most `leave_bytes` of its disk are free. It grows by blocks of 4 KiB."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while shutil.disk_usage(file.parent).free > leave_bytes:
            stream.write(bytes(4096))
    assert shutil.disk_usage(file.parent).free <= leave_bytes


@contextmanager
def quick_directory() -> Iterator[Path]:
    """Make a temporary directory, in memory if the system allows it. It suits tests that do not test power loss."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None) as name:
        yield Path(name)
