"""A home that is removed while a command uses it: that is said, and is no bug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.home import open_home
from watching import is_locked, wait_until, wait_until_it_works

if TYPE_CHECKING:
    import subprocess

    from shell import Shell


def expect_no_home(process: subprocess.Popen[bytes], shell: Shell) -> None:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (10, b"")
    assert err == f"hb: error: no home at {shell.home}\n".encode()


@pytest.mark.parametrize(
    "words", ["send counter Increment", "state counter", "compute counter", "list", "repl counter"]
)
def test_what_waits_for_the_home_says_that_it_is_gone(counter: Shell, words: str) -> None:
    with open_home(counter.home).storage.session():
        process = counter.start(*words.split())
        wait_until(lambda: is_locked(counter.home / "lock.queue"), "it waits")
        counter.home.rename(counter.directory / "elsewhere")
    expect_no_home(process, counter)


@pytest.mark.parametrize("command", ["compute", "inspect"])
def test_what_follows_says_that_it_is_gone(counter: Shell, command: str) -> None:
    follower = counter.start(command, "counter", "--follow")
    if command == "compute":
        wait_until_it_works(follower)
    counter.ok("send", "counter", "Increment")
    counter.ok("compute", "counter")
    assert follower.stdout is not None
    while b'"slot":1,' not in follower.stdout.readline():
        pass
    counter.home.rename(counter.directory / "elsewhere")
    expect_no_home(follower, counter)
