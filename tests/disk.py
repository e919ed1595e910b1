"""A disk small enough to fill: for tests of what happens then."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def small_disk(mount_point: Path, size: str) -> Iterator[Path]:
    """A disk of its own at `mount_point`, gone afterwards; the test is skipped where none can be mounted."""
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


def fill(file: Path, *, leave_bytes: int = 0) -> None:
    """Makes `file` so large that `leave_bytes` of its disk are free, in whole blocks of 4 KiB."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while shutil.disk_usage(file.parent).free > leave_bytes:
            stream.write(bytes(4096))
    assert shutil.disk_usage(file.parent).free <= leave_bytes


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory in memory where the system has one: for tests that make hundreds of homes and lose no power."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None) as name:
        yield Path(name)
