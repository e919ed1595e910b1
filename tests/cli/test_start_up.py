"""How little is loaded, and how soon a computed state is on the screen."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from aowat import says
from hb.records import keys

if TYPE_CHECKING:
    from conftest import Shell

_PROBE = """
import json, sys
from hb_cli.main import run
code = run(sys.argv[1:])
sys.stdout.flush()
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
_HEAVY = {
    "wasmtime",
    "rich",
    "nacl",
    "tomllib",
    "tomli_w",
    "platformdirs",
    "pydantic",
    "cryptography",
    "numpy",
    "http_sf",
    "prompt_toolkit",
    "hb_cli.nearest",
}


def _loaded(shell: Shell, *arguments: str) -> tuple[str, set[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        cwd=shell.directory,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout, set(json.loads(ran.stderr.splitlines()[-1]))


def test_a_computed_state_is_read_without_the_engine_the_signer_and_the_screen(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    out, loaded = _loaded(counter, "state", "counter", "counter")
    assert out == "1\n"
    assert not loaded & _HEAVY
    _, loaded = _loaded(counter, "state", "counter")
    assert not loaded & _HEAVY


def test_the_settings_of_a_home_that_an_older_version_made_are_read_as_lightly(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    settings = counter.home / "config.toml"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("message-limit")))
    assert not _loaded(counter, "state", "counter")[1] & _HEAVY


def test_a_computed_history_is_read_as_lightly(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    out, loaded = _loaded(counter, "inspect", "counter")
    assert len(out.splitlines()) == 2
    assert not loaded & _HEAVY


def test_a_tree_is_read_as_lightly_and_a_push_in_a_pipe_needs_no_screen(talkers: Shell) -> None:
    pong = talkers.records()[keys.name_key("pong")].decode()
    talkers.ok("send", "ping", "--data", says({"Target": pong}))
    for arguments in (("push", "ping"), ("push", "ping", "1"), ("send", "ping", "--push", "--data", "x")):
        _, loaded = _loaded(talkers, *arguments)
        assert not loaded & {"prompt_toolkit", "rich", "tomli_w"}
    out, loaded = _loaded(talkers, "tree", "ping", "1")
    assert len(out.splitlines()) == 2
    assert not loaded & _HEAVY


def test_only_the_command_that_is_run_is_loaded(counter: Shell) -> None:
    _, loaded = _loaded(counter, "list")
    commands = {name for name in loaded if name.startswith("hb_cli.commands.")}
    assert commands == {"hb_cli.commands.list"}


def test_the_line_editor_is_loaded_for_a_prompt_alone(speaker: Shell) -> None:
    for arguments in (("eval", "me", "1"), ("repl", "me"), ("send", "me", "Eval", "--data", "1", "--wait")):
        _, loaded = _loaded(speaker, *arguments)
        assert not loaded & {"prompt_toolkit", "rich"}


def test_importing_the_program_loads_next_to_nothing() -> None:
    script = "import hb, hb_cli.main, sys, json; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(json.loads(ran.stdout))
    assert not loaded & (_HEAVY | {"typer", "plyvel"})


def test_a_plain_send_does_not_load_the_module(counter: Shell) -> None:
    assert not _loaded(counter, "send", "counter", "Nope")[1] & {"wasmtime", "hb_cli.functions", "hb.wasm.module"}
    assert "hb_cli.functions" in _loaded(counter, "send", "counter", "Increment", "--strict")[1]
