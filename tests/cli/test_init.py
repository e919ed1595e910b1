"""`hb init`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from hb import home as homes

if TYPE_CHECKING:
    from conftest import Shell


def test_it_makes_a_home_here_for_its_owner_only(shell: Shell) -> None:
    outcome = shell.ok("init")
    assert outcome.out == f"{shell.home}\n"
    assert "default" in outcome.err
    assert stat.S_IMODE(shell.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((shell.home / "keys" / "default.json").stat().st_mode) == 0o600
    assert shell.ok("list").out == ""


def test_a_home_that_is_there_is_left_as_it_is(home: Shell) -> None:
    before = home.records()
    key = (home.home / "keys" / "default.json").read_bytes()
    outcome = home.ok("init", "--json")
    assert outcome.json()["created"] is False
    assert home.records() == before
    assert (home.home / "keys" / "default.json").read_bytes() == key


def test_it_makes_one_where_it_is_told(shell: Shell) -> None:
    assert shell.ok("init", "project", "--json").json()["home"] == str(shell.directory / "project" / ".hb")
    assert shell.ok("init", "--home", "direct").out == f"{shell.directory / 'direct'}\n"
    assert (shell.directory / "direct" / "store").is_dir()
    shell.ok("init", env={"HB_HOME": str(shell.directory / "variable")})
    assert (shell.directory / "variable" / "store").is_dir()
    assert not shell.home.exists()


def test_home_is_looked_for_in_the_option_then_the_variable_then_above_then_the_user(shell: Shell) -> None:
    for name in ("option", "variable"):
        shell.ok("init", "--home", name)
        shell.ok("key", "new", name, "--home", name)
    shell.ok("init")
    shell.ok("key", "new", "above")
    deep = shell.directory / "a" / "b"
    deep.mkdir(parents=True)
    below = type(shell)(deep)
    root = shell.directory

    def keys(*arguments: str, **env: str) -> set[str]:
        return {key["name"] for key in below.ok("key", "list", *arguments, env=env).lines()} - {"default"}

    assert keys("--home", str(root / "option"), HB_HOME=str(root / "variable")) == {"option"}
    assert keys(HB_HOME=str(root / "variable")) == {"variable"}
    assert keys() == {"above"}
    assert keys(HB_HOME="") == {"above"}
    (root / ".hb").rename(root / "gone")
    assert below.hb("key", "list").code == 10
    below.ok("key", "new", "users")
    assert keys() == {"users"}


@pytest.mark.parametrize("taken", ["file", "directory"])
def test_a_place_that_is_in_use_for_something_else_is_refused(shell: Shell, taken: str) -> None:
    if taken == "file":
        shell.write(".hb", "mine")
    else:
        shell.home.mkdir()
        (shell.home / "notes.txt").write_text("mine")
    outcome = shell.hb("init")
    assert outcome.code == 13
    assert outcome.err.startswith("hb: error: ")


def test_several_that_make_the_same_home_at_once_all_get_one(shell: Shell) -> None:
    started = [shell.start("key", "new", f"k{number}", "--home", "shared") for number in range(4)]
    for process in started:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    names = [key["name"] for key in shell.ok("key", "list", "--home", "shared").lines()]
    assert names == ["default", "k0", "k1", "k2", "k3"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
def test_the_home_of_another_user_is_a_sentence_and_exit_1() -> None:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for path in (Path(name) / "private", Path(name) / "open"):
            homes.create(path)
        path.chmod(0o755)
        for each in Path(name).iterdir():
            ran = subprocess.run(
                [Path(sys.executable).parent / "hb", "--home", each, "init"],
                user=65534,
                group=65534,
                capture_output=True,
                text=True,
                check=False,
            )
            if "Permission denied" in ran.stderr and ran.returncode == 126:
                pytest.skip("another user cannot run the program")
            assert ran.returncode == 1, ran
            assert ran.stderr.startswith("hb: error: cannot look at ")
            assert "Permission denied" in ran.stderr


def test_git_never_sees_a_home(shell: Shell) -> None:
    shell.ok("init")
    shell.write("mine.txt", "mine")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], cwd=shell.directory, check=True)
    subprocess.run([*git, "add", "--all"], cwd=shell.directory, check=True)
    status = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=all"],
        cwd=shell.directory,
        check=True,
        capture_output=True,
        text=True,
    )
    assert status.stdout == "A  mine.txt\n"
