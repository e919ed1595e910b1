"""Homes to measure in: made once, copied for each run, so that no run sees what another left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
HB = Path(sys.executable).parent / "hb"
COUNTER = ROOT / "samples" / "counter.wasm"
SLOTS = 20_000
MODULE = "aos2_0_6.wasm"


class Bench:
    """Homes by name, and `hb` run in them as a whole process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count(1)

    def hb(self, home: Path, *arguments: str | Path, **settings: object) -> str:
        return self.run([HB, "--home", home, *arguments])

    def run(self, command: Sequence[str | Path]) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        return ran.stdout

    def made(self, name: str, image: Path, messages: Sequence[str] = (), processes: int = 1, *options: str) -> Path:
        """A home with `processes` processes `p0`, `p1`, ... that were sent `messages`, NDJSON; made once."""
        home = self.directory / name
        if not home.exists():
            self.hb(home, "init")
            batch = self.directory / f"{name}.ndjson"
            batch.write_text("".join(f"{line}\n" for line in messages))
            for number in range(processes):
                self.hb(home, "spawn", image, "--name", f"p{number}", *options)
                if messages:
                    self.hb(home, "send", f"p{number}", "--batch", batch)
        return home

    def copy(self, home: Path) -> Path:
        path = self.directory / f"{home.name}-{next(self._numbers)}"
        shutil.copytree(home, path)
        return path

    def counted(self, slots: int = SLOTS, processes: int = 1) -> Path:
        """A home whose counters were sent so many Increments."""
        return self.made(f"counter-{slots}-{processes}", COUNTER, ['{"action":"Increment"}'] * slots, processes)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def disk_bytes(home: Path) -> int:
    return sum(file.stat().st_size for file in (home / "store").iterdir())
