"""Homes that a released version of `hb` left on disk: they are read, verified and gone on from, with the same answers.

`tests/homes/make.py` made each of them, once, with the version of its time, and wrote down what that one answered.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from homes.make import GO_ON
from shell import SAMPLES, Shell

HOMES = Path(__file__).parents[1] / "homes"
FORMATS = sorted(path.name.removesuffix(".tar.xz") for path in HOMES.glob("*.tar.xz"))


class Stored:
    """A stored home, unpacked, and what its own version of `hb` answered about it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.shell = Shell(directory)
        self.answered: dict[str, Any] = json.loads((HOMES / f"{name}.json").read_text())
        with tarfile.open(HOMES / f"{name}.tar.xz") as archive:
            archive.extractall(directory, filter="tar")
        for sample in SAMPLES.glob("*.wasm"):
            shutil.copy(sample, directory)
        self.shell.write("older.toml", "authority = []\n")

    def rows(self, words: str) -> list[Any]:
        """Return the JSON lines that `hb WORDS` prints."""
        return self.shell.ok(*shlex.split(words)).lines()

    def definition(self, process: str) -> dict[str, Any]:
        """Return the definition of a process."""
        [found] = self.rows(f"inspect --json --definition -- {process}")
        return dict(found)

    def address(self) -> str:
        """Return the address of the home's own key."""
        [found] = [key["address"] for key in self.answered["keys"] if key["name"] == "default"]
        return str(found)

    def inspected(self) -> dict[str, list[Any]]:
        """Return the lines of `inspect` of each process, as `answered` has them."""
        found: dict[str, list[Any]] = {}
        for process, expected in self.answered["inspect"].items():
            lines = self.rows(f"inspect {process}")
            short = isinstance(expected[0], list)
            found[process] = [[line["hashpath"], line["results"]] for line in lines] if short else lines
        return found


@pytest.fixture(params=FORMATS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    return Stored(request.param, tmp_path)


def test_there_is_one_of_every_released_format() -> None:
    assert FORMATS == ["format-1"]


def test_it_is_read_and_verified_as_its_own_version_read_it(stored: Stored) -> None:
    assert stored.rows("list") == stored.answered["list"]
    assert stored.rows("key list") == stored.answered["keys"]
    assert stored.inspected() == stored.answered["inspect"]
    *findings, last = stored.rows("verify --all --replay")
    assert findings == []
    assert (last["findings"], last["replayed"]) == (0, True)
    assert stored.rows("list") == stored.answered["list"]


def as_then(words: str) -> str:
    """Return the command that does what `hb WORDS` did before a process had an authority by default."""
    return f"{words} --definition older.toml" if words.startswith("spawn ") else words


def test_it_is_gone_on_from_and_gives_the_same_answers(stored: Stored) -> None:
    for words, expected in zip(GO_ON, stored.answered["go-on"], strict=True):
        assert stored.rows(as_then(words)) == expected, words
    assert stored.rows("verify --all --replay") == stored.answered["verify"]


def test_a_process_that_is_spawned_now_has_an_authority_and_those_that_are_here_have_none(stored: Stored) -> None:
    for about in stored.answered["list"]:
        assert "authority" not in stored.definition(about["process"])
    [spawn] = [words for words in GO_ON if words != as_then(words)]
    [made], [then] = stored.rows(spawn), stored.rows(as_then(spawn))
    now, before = stored.definition(made["process"]), stored.definition(then["process"])
    assert now.pop("authority") == now["scheduler"] == stored.address()
    assert {**now, "commitments": None} == {**before, "commitments": None}


def test_each_process_that_it_spawned_is_the_same_when_its_definition_is_spawned_again(stored: Stored) -> None:
    repeated = []
    for about in stored.answered["list"]:
        process = about["process"]
        definition = stored.definition(process)
        if definition["scheduler"] != stored.address() or "fork-of" in definition:
            continue
        text = stored.shell.ok("inspect", "--definition", "--", process).out
        assert tomllib.loads(text)["authority"] == []
        stored.shell.write("again.toml", text)
        [told] = stored.rows("spawn --definition again.toml --json")
        assert (told["process"], told["fresh"]) == (process, False)
        repeated += about["names"]
    assert sorted(repeated) == ["counter", "large", "ledger", "me"]
    assert stored.rows("list") == stored.answered["list"]


def test_its_histories_go_to_a_new_home_and_are_the_same_there(stored: Stored, tmp_path: Path) -> None:
    for name in ("deeper", "large"):
        stored.rows(f"export {name} -o {name}.history")
        [told] = stored.rows(f"--home {tmp_path / 'new'} import {name}.history --json")
        process = told["process"]
        lines = stored.rows(f"--home {tmp_path / 'new'} inspect {process}")
        hashpaths = [
            line[0] if isinstance(line, list) else line["hashpath"] for line in stored.answered["inspect"][process]
        ]
        assert [line["hashpath"] for line in lines] == hashpaths
