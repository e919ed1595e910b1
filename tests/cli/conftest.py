"""Homes for tests of the command line: made once in a run, copied by each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from aowat import talker_module
from programs import PLAYGROUND, SPEAKER
from shell import COUNTER, PROGRAM, Outcome, Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


class Templates:
    """Homes as `hb` makes them: each is made once, when it is first asked for, and copied by the tests."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def copy(self, to: Shell, name: str, base: str = "", prepare: Callable[[Shell], object] | None = None) -> Shell:
        """Copy the template `name` to a shell's directory. What is not there yet, `prepare` makes in a copy of `base`."""
        directory = self._root / name
        if not directory.exists():
            made = Shell(self._root / f"{name}.new")
            if prepare is None:
                made.directory.mkdir()
                BASES[name](made)
            else:
                prepare(self.copy(made, base))
            made.directory.rename(directory)
        shutil.copytree(directory, to.directory, dirs_exist_ok=True)
        return to


def _plain(shell: Shell) -> None:
    shell.ok("init")


def _counter(shell: Shell) -> None:
    shell.ok("init")
    shell.ok("spawn", COUNTER, "--name", "counter", "--initial-state", '{"counter": 0}')


def _playground(shell: Shell) -> None:
    shell.ok("init")
    shell.write("play.wat", PLAYGROUND)
    shell.ok("spawn", "play.wat", "--name", "play")


def _speaker(shell: Shell) -> None:
    shell.ok("init")
    shell.write("speaker.wat", SPEAKER)
    shell.ok("spawn", "speaker.wat", "--name", "me")


def _talkers(shell: Shell) -> None:
    shell.ok("init")
    shell.write("talker.wat", talker_module())
    for name in ("ping", "pong"):
        shell.ok("spawn", "talker.wat", "--name", name)


BASES = {
    "plain": _plain,
    "counter": _counter,
    "playground": _playground,
    "speaker": _speaker,
    "talkers": _talkers,
}


def prepared(base: str) -> Callable[[Callable[[Shell], object]], Any]:
    """Make a fixture of a function that prepares a shell, a copy of the template `base`.

    It is called once. Each test that asks for the fixture gets a shell with a copy of what it has prepared.
    """

    def decorate(prepare: Callable[[Shell], object]) -> Any:
        def fixture(shell: Shell, templates: Templates) -> Shell:
            return templates.copy(shell, f"{prepare.__module__}.{prepare.__name__}", base, prepare)

        fixture.__doc__ = prepare.__doc__
        return pytest.fixture(name=prepare.__name__)(fixture)

    return decorate


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Homes that are made once."""
    return Templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def home(shell: Shell, templates: Templates) -> Shell:
    """A shell in a directory that has a home."""
    return templates.copy(shell, "plain")


@pytest.fixture
def counter(shell: Shell, templates: Templates) -> Shell:
    """A shell whose home has a process `counter`, at slot 0."""
    return templates.copy(shell, "counter")


@pytest.fixture
def playground(shell: Shell, templates: Templates) -> Shell:
    """A shell whose home has a process `play`, at slot 0."""
    return templates.copy(shell, "playground")


@pytest.fixture
def speaker(shell: Shell, templates: Templates) -> Shell:
    """A shell whose home has a process `me` of the AO ABI, at slot 0; what it answers stands in `SPEECH`."""
    return templates.copy(shell, "speaker")


@pytest.fixture
def talkers(shell: Shell, templates: Templates) -> Shell:
    """A shell whose home has processes `ping` and `pong`, at slot 0, that answer as `aowat.says` tells them."""
    return templates.copy(shell, "talkers")
