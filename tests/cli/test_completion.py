"""What Tab offers."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hb import home as homes
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from conftest import Shell


def _tab(shell: Shell, *words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    env = {"_HB_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["hb", *words]), "COMP_CWORD": str(len(words))}
    outcome = shell.ok(env=env)
    assert outcome.err == ""
    return outcome.out.split()


def _ids(shell: Shell) -> list[str]:
    return [line["process"] for line in shell.hb("list").lines()]


def test_commands(shell: Shell) -> None:
    assert _tab(shell, "s") == ["spawn", "send", "state"]
    assert _tab(shell, "key", "") == ["new", "import", "list", "show"]
    assert not list(shell.directory.iterdir())


def test_options(shell: Shell) -> None:
    assert "--wait" in _tab(shell, "send", "--w")
    assert "--json" in _tab(shell, "state", "--")


def test_processes_by_name_and_id(counter: Shell) -> None:
    pid = counter.ok("list").json()["process"]
    assert _tab(counter, "state", "cou") == ["counter"]
    if not pid.startswith("-"):
        assert _tab(counter, "inspect", pid[:5]) == [pid]
    assert set(_tab(counter, "compute", "")) >= {"counter", pid}


def test_a_damaged_process_hides_no_other(counter: Shell) -> None:
    other = counter.ok("spawn", counter.counter_wasm, "--name", "other").out.strip()
    with homes.open_home(counter.home).storage.session() as store:
        store.commit(Batch(puts={keys.head_key(other): b"{}"}))
    assert _tab(counter, "state", "") == sorted(["counter", "other"]) + sorted(_ids(counter))


def test_a_home_in_use_is_waited_for_only_shortly(counter: Shell) -> None:
    with homes.open_home(counter.home).storage.session():
        began = time.monotonic()
        assert _tab(counter, "state", "cou") == []
        assert time.monotonic() - began < 10  # of the 30 s that a command waits


def test_keys(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    assert _tab(counter, "send", "counter", "Increment", "--as", "a") == ["alice"]
    assert _tab(counter, "key", "show", "") == ["alice", "default"]


def test_without_a_home_nothing_is_offered_and_nothing_is_made(shell: Shell) -> None:
    assert _tab(shell, "state", "x") == []
    assert _tab(shell, "key", "show", "") == []
    assert not list(shell.directory.iterdir())


@pytest.mark.parametrize("name", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_a_script_for_every_shell(shell: Shell, name: str) -> None:
    assert "hb" in shell.ok("completion", name).out
    assert shell.ok("completion", env={"SHELL": f"/usr/bin/{name}"}).out == shell.ok("completion", name).out


def test_bash_takes_the_script(counter: Shell) -> None:
    script = counter.write("complete.bash", counter.ok("completion", "bash").out)
    counter.ok("key", "new", "alice")
    ran = subprocess.run(
        [
            "/bin/bash",
            "-c",
            f'source "{script}"; COMP_WORDS=(hb send cou); COMP_CWORD=2; _hb_completion "{counter.program}"; echo "${{COMPREPLY[@]}}"',
        ],
        cwd=counter.directory,
        env=counter.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == "counter\n"
