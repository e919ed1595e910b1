"""The program as a whole: help, version, usage errors, bugs, and the streams it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hb_cli.app import COMMANDS

if TYPE_CHECKING:
    from conftest import Shell

_GROUPS = {"key": ("new", "list", "show"), "message": ("id", "verify", "sign", "show"), "module": ("inspect",)}
_ALL = [(name,) for name in COMMANDS] + [(group, name) for group, names in _GROUPS.items() for name in names]
_GLOBAL_OPTIONS = ("--home", "--json", "--lock-timeout")


def test_version(shell: Shell) -> None:
    outcome = shell.ok("--version")
    assert outcome.out.split()[0] == "hb"
    assert outcome.out.split()[1][0].isdigit()
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["help"], ["--help"]),
        (["help", "inspect"], ["inspect", "--help"]),
        (["help", "key", "new"], ["key", "new", "--help"]),
        (["--json", "help", "send"], ["send", "--help"]),
        (["version"], ["--version"]),
    ],
)
def test_help_and_version_are_words_too(shell: Shell, words: list[str], same: list[str]) -> None:
    outcome = shell.ok(*words)
    assert (outcome.out, outcome.err) == (shell.ok(*same).out, "")


def test_a_name_that_no_process_has_is_told_with_the_nearest(counter: Shell) -> None:
    for words in (["state", "conter"], ["send", "Counter", "Increment"], ["diff", "countre", "0"], ["inspect", "coun"]):
        outcome = counter.hb(*words)
        assert (outcome.code, outcome.out) == (12, "")
        assert "hint: did you mean 'counter'? hb list shows" in outcome.err
    assert "did you mean" in json.loads(counter.hb("state", "conter", "--json").err)["hint"]
    for words in (["state", "zzz"], ["state", "counter", "--slot", "9"], ["send", "counter", "A", "--as", "conter"]):
        outcome = counter.hb(*words)
        assert outcome.code == 12
        assert "did you mean" not in outcome.err


def test_no_help_speaks_of_the_types_of_a_language(shell: Shell) -> None:
    for name in COMMANDS:
        assert "<int" not in shell.ok(name, "--help").out, name


def test_help_lists_every_command_on_a_line_of_its_own(shell: Shell) -> None:
    outcome = shell.ok("--help")
    listed = [line.split()[0] for line in outcome.out.partition("Commands:")[2].splitlines() if line.strip()]
    assert tuple(listed) == COMMANDS
    assert "..." not in outcome.out.partition("Commands:")[2]


@pytest.mark.parametrize("command", _ALL, ids=" ".join)
def test_the_help_of_every_command_has_an_example_and_the_global_options(
    shell: Shell, command: tuple[str, ...]
) -> None:
    outcome = shell.ok(*command, "--help")
    assert f"Usage: hb {' '.join(command)}" in outcome.out
    assert "Example" in outcome.out
    assert f"      hb {command[0]}".strip() in outcome.out
    for option in _GLOBAL_OPTIONS:
        assert option in outcome.out
    assert "\x1b" not in outcome.out
    assert outcome.err == ""


def test_help_has_no_colour_in_a_pipe_even_where_a_ci_would_force_it(shell: Shell) -> None:
    outcome = shell.ok("--help", env={"GITHUB_ACTIONS": "true", "FORCE_COLOR": "1"})
    assert "\x1b" not in outcome.out


def test_nothing_at_all_gets_the_help_on_stderr(shell: Shell) -> None:
    outcome = shell.hb()
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Usage: hb" in outcome.err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["stat"], "No such command 'stat'. Did you mean 'state'?"),
        (["inspct"], "No such command 'inspct'. Did you mean 'inspect'"),
        (["help", "inspct"], "No such command 'inspct'. Did you mean 'inspect'"),
        (["state"], "Missing argument 'PROCESS'"),
        (["state", "p", "path", "more"], "Got unexpected extra argument"),
        (["send", "p", "--wiat"], "No such option: --wiat"),
        (["send", "p", "--timestamp", "soon"], "'soon' is not a valid int"),
        (["send", "p", "--timestamp", "-1"], "-1 is not in the range"),
        (["--lock-timeout", "-1", "list"], "-1.0 is not in the range"),
        (["--lock-timeout", "nan", "list"], "got nan"),
        (["list", "--lock-timeout", "inf"], "inf is not in the range"),
        (["compute"], "give processes, or --all"),
        (["compute", "p", "--all"], "give processes, or --all"),
        (["compute", "p", "q", "--follow"], "--follow takes one process"),
        (["compute", "--all", "--follow"], "--all with --push"),
        (["compute", "p", "--push"], "--push goes with --follow"),
        (["push"], "give a PROCESS, or --all"),
        (["push", "p", "--all"], "give a PROCESS, or --all"),
        (["send", "p", "A", "--depth", "3"], "go with --push"),
        (["inspect", "p", "--slot", "1", "--from", "0"], "--slot"),
        (["spawn"], "give a MODULE"),
        (["send", "p", "Act", "--batch", "-"], "--batch"),
        (["message", "id", "-", "--which", "some"], "--which"),
        (["completion", "tcsh"], "a shell is one of"),
        (["key"], "Usage: hb key"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(shell: Shell, command: list[str], says: str) -> None:
    outcome = shell.hb(*command)
    assert outcome.code == 2
    assert outcome.out == ""
    assert says in outcome.err
    assert "Traceback" not in outcome.err
    if command != ["key"]:
        assert outcome.err.startswith("hb: error: ")
        assert outcome.err.count("\n") == 2
    as_json = shell.hb(*command, "--json")
    told = json.loads(as_json.err)
    assert (as_json.code, told["kind"], told["exit"]) == (2, "usage", 2)
    assert as_json.err.count("\n") == 1
    assert not list(shell.directory.iterdir())


def test_global_options_work_before_and_after_the_command(shell: Shell) -> None:
    shell.ok("--home", "there", "--json", "init")
    assert shell.ok("--home", "there", "--json", "key", "list").json()["name"] == "default"
    assert shell.ok("key", "list", "--json", "--home", "there").json()["name"] == "default"
    assert shell.ok("key", "--home", "there", "list", "--json").json()["name"] == "default"


def test_without_a_home_a_read_says_so_and_makes_none(shell: Shell) -> None:
    for command in (
        ["list"],
        ["state", "p"],
        ["inspect", "p"],
        ["send", "p", "A"],
        ["key", "list"],
        ["compute", "--all"],
    ):
        outcome = shell.hb(*command)
        assert outcome.code == 10
        assert outcome.err.startswith("hb: error: no home at ")
        assert "hb init" in outcome.err
    assert not list(shell.directory.iterdir())


def test_a_working_directory_that_is_gone_is_no_bug(shell: Shell) -> None:
    for command, code in (("list", 10), ("init", 1), ("--home x list", 1), ("--home /nowhere/x list", 10)):
        ran = subprocess.run(
            ["/bin/sh", "-c", f'mkdir gone && cd gone && rmdir ../gone && exec "{shell.program}" {command}'],
            cwd=shell.directory,
            env=shell.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (code, "")
        assert ran.stderr.startswith("hb: error: ")


def _run_with_a_bug(shell: Shell, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys\n"
        "sys.modules['hb.keyring'] = None\n"  # importing it now raises ImportError, which nobody expects
        "from hb_cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=shell.directory,
        env=shell.environment(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_bug_says_that_it_is_one_and_how_to_report_it(home: Shell) -> None:
    ran = _run_with_a_bug(home, "key", "list")
    assert ran.returncode == 70
    assert ran.stderr.startswith("hb: error: this is a bug in hb: ")
    assert "HB_DEBUG=1" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert json.loads(_run_with_a_bug(home, "key", "list", "--json").stderr)["kind"] == "bug"
    assert "Traceback" in _run_with_a_bug(home, "key", "list", HB_DEBUG="1").stderr


def test_errors_are_coloured_only_where_the_stream_takes_colour(shell: Shell) -> None:
    assert "\x1b" not in shell.hb("list").err
    assert "\x1b[1;31merror:" in shell.hb("list", env={"FORCE_COLOR": "1"}).err
    assert "\x1b[1;31merror:" in shell.terminal("list").out
    assert "\x1b" not in shell.terminal("list", env={"NO_COLOR": "1"}).out


def test_an_argument_that_is_no_text_is_refused_and_escaped(home: Shell) -> None:
    outcome = home.hb("state", b"\xff\x1b[2J".decode("utf-8", "surrogateescape"))
    assert outcome.code in (12, 13)
    assert outcome.err.startswith("hb: error: ")
    assert "\x1b" not in outcome.err


def test_a_closed_stdin_stdout_or_stderr_is_not_given_to_the_store(home: Shell) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        before = home.records()
        ran = subprocess.run(
            ["/bin/sh", "-c", f'exec "{home.program}" key list {closed}'],
            cwd=home.directory,
            env=home.environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode in (0, 1)
        assert home.records() == before
