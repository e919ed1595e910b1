"""Homes for tests of the command line: made once in a run, copied by each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from programs import PLAYGROUND, SPEAKER
from shell import COUNTER, PROGRAM, Outcome, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["COUNTER", "PROGRAM", "Outcome", "Shell"]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell on a machine where hb was never used."""
    directory = tmp_path / "work"
    directory.mkdir()
    shell = Shell(directory)
    yield shell
    shell.end()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes as `hb` makes them, made once and copied by the tests: `plain`, and with the processes of the fixtures."""
    root = tmp_path_factory.mktemp("templates")
    for name in ("plain", "counter", "playground", "speaker"):
        (root / name).mkdir()
        shell = Shell(root / name)
        shell.ok("init")
        if name == "counter":
            shell.ok("spawn", COUNTER, "--name", "counter", "--initial-state", '{"counter": 0}')
        if name == "playground":
            shell.write("play.wat", PLAYGROUND)
            shell.ok("spawn", "play.wat", "--name", "play")
        if name == "speaker":
            shell.write("speaker.wat", SPEAKER)
            shell.ok("spawn", "speaker.wat", "--name", "me")
    return root


@pytest.fixture
def home(shell: Shell, templates: Path) -> Shell:
    """A shell in a directory that has a home."""
    shutil.copytree(templates / "plain" / ".hb", shell.home)
    return shell


@pytest.fixture
def counter(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `counter`, at slot 0."""
    shutil.copytree(templates / "counter" / ".hb", shell.home)
    return shell


@pytest.fixture
def playground(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `play`, at slot 0."""
    shutil.copytree(templates / "playground" / ".hb", shell.home)
    return shell


@pytest.fixture
def speaker(shell: Shell, templates: Path) -> Shell:
    """A shell whose home has a process `me` of the AO ABI, at slot 0; what it answers stands in `SPEECH`."""
    shutil.copytree(templates / "speaker" / ".hb", shell.home)
    return shell
