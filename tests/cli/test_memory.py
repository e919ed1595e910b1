"""What a long history costs in memory: no more than a short one, whoever reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import hb
from cli.conftest import COUNTER, PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

SHORT, LONG = 1_000, 5_000
# A whole row for each slot would be 8 MiB more.
MORE_BYTES = 4 << 20
_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a short and a long history."""
    path = tmp_path_factory.mktemp("long") / "home"
    opened = hb.open(path)
    for name, slots in (("short", SHORT), ("long", LONG)):
        process = opened.spawn(COUNTER, name=name)
        process.send_all([hb.message("Increment") for _ in range(slots)])
        process.compute()
    return path


# A program of its own: a child's peak is not less than what its parent had when it was started.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_bytes(home: Path, *words: str) -> int:
    """The most memory that a run of `hb` had."""
    environment = {"PATH": os.environ["PATH"], "HB_HOME": str(home)}
    command = [sys.executable, "-c", _MEASURE, PROGRAM, *words]
    return int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout) * _UNIT_BYTES


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "{}"),
        ("inspect", "{}", "--reverse"),
        ("inspect", "{}", "--error"),
        ("inspect", "{}", "--action", "Increment"),
        ("export", "{}", "-o", "{}.history"),
        ("verify", "{}"),
    ],
    ids=" ".join,
)
def test_it_does_not_grow_with_the_history(home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(home.parent)
    short, long = (peak_bytes(home, *(word.format(name) for word in words)) for name in ("short", "long"))
    assert long - short < MORE_BYTES
