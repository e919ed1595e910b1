"""Ctrl-C and SIGTERM: whatever `hb` is doing, it stops, says so in one sentence, and leaves nothing half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
from signal import SIGINT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared
from watching import children, is_locked, is_running, wait_until, wait_until_it_works

if TYPE_CHECKING:
    from shell import Shell

CODES = {SIGINT: 130, SIGTERM: 143}
FOR_EVER = "4000000000000"


@prepared("plain")
def loop(shell: Shell) -> None:
    """A shell whose home has a process `loop` whose newest slot, which is not computed, takes an hour."""
    shell.ok("spawn", shell.samples / "loop.wasm", "--name", "loop", "--gas-limit", FOR_EVER)
    shell.ok("compute", "loop")
    shell.ok("send", "loop", "Loop")


WORKING = (
    "compute loop", "compute loop --follow", "state loop", "result loop", "diff loop 0", "trace loop", "fork loop",
    "call loop Loop --slot 0", "send loop Loop --wait", "eval loop x", "replay loop --module {loop}",
    "export loop --slot 1 --witness -o w.witness", "attest loop --slot 1 -o w.witness",
)  # fmt: skip


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> bytes:
    """Sends a signal to a program that must hear it; gives what it says on stderr."""
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number], err
    assert b"Traceback" not in err
    assert err.count(b"\n") <= 2
    return err


@pytest.mark.parametrize("words", WORKING)
def test_a_command_that_runs_a_module_is_terminated_and_leaves_nothing_half_done(loop: Shell, words: str) -> None:
    before = loop.records()
    files = {path.name for path in loop.directory.iterdir()}
    process = loop.start(*words.format(loop=loop.samples / "loop.wasm").split())
    wait_until_it_works(process)
    err = stop(process, SIGTERM)
    assert err.startswith((b"hb: error: ", b"hb: stopped following"))
    after = loop.records()
    if words.split(maxsplit=1)[0] not in ("send", "eval"):  # which had scheduled their message before
        assert after == before
    assert not any(key.startswith((b"s/", b"v/")) for key in after.keys() - before.keys())
    assert {path.name for path in loop.directory.iterdir()} == files


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("words", ["message id -", "module inspect -", "send loop --batch -", "eval loop", "repl loop"])
def test_a_command_that_reads_ends_at_a_signal(loop: Shell, words: str, number: signal.Signals) -> None:
    before = loop.records()
    process = loop.start(*words.split(), stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b" " * (1 << 18))  # more than a pipe takes: it is being read
    process.stdin.flush()
    stop(process, number)
    assert loop.records() == before


@pytest.mark.parametrize("number", CODES)
def test_a_command_that_follows_ends_at_a_signal(counter: Shell, number: signal.Signals) -> None:
    counter.ok("compute", "counter")
    process = counter.start("inspect", "counter", "--follow", "--from", "0")
    assert process.stdout is not None
    process.stdout.readline()
    assert stop(process, number) == b"hb: stopped following\n"


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_what_waits_for_the_home(counter: Shell, number: signal.Signals) -> None:
    from hb.home import open_home

    with open_home(counter.home).storage.session():
        process = counter.start("send", "counter", "Increment")
        wait_until(lambda: is_locked(counter.home / "lock.queue"), "it waits")
        assert stop(process, number) in (b"hb: error: interrupted\n", b"hb: error: terminated\n")
    assert counter.ok("list").json()["slots"] == 1


def test_json_says_the_exit_code(loop: Shell) -> None:
    process = loop.start("state", "loop", "--json")
    wait_until_it_works(process)
    assert b'"exit": 143, "kind": "interrupted"' in stop(process, SIGTERM)


def test_a_prompt_that_is_terminated_leaves_the_terminal_as_it_was(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("1\r")
        talk.wait_for("2")
        talk.wait_for_prompt()
        talk.signal(SIGTERM)
        assert talk.end() == 143
        local_modes = termios.tcgetattr(talk.descriptor)[3]
        assert local_modes & termios.ECHO
        assert local_modes & termios.ICANON
        assert "Traceback" not in talk.shown


def test_a_prompt_that_is_terminated_while_a_module_runs_ends(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("w\r")
        wait_until(lambda: any(map(is_locked, (speaker.home / "cache").glob("computing-*.lock"))), "it computes")
        talk.signal(SIGTERM)
        assert talk.end() == 143


# Several programs


@prepared("plain")
def three(shell: Shell) -> None:
    """A shell whose home has three processes that run for an hour each."""
    for name in ("one", "two", "three"):
        shell.ok("spawn", shell.samples / "loop.wasm", "--name", name, "--gas-limit", FOR_EVER)
        shell.ok("send", name, "Loop")


def start_crew(shell: Shell) -> subprocess.Popen[bytes]:
    """Starts `hb compute` by two more programs, and waits until both compute."""
    process = shell.start("compute", "--all", "--jobs", "2", start_new_session=True)
    locks = shell.home / "cache"
    wait_until(lambda: sum(map(is_locked, locks.glob("computing-*.lock"))) == 2, "two programs compute")
    return process


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL])
def test_the_programs_that_compute_end_with_the_one_that_started_them(three: Shell, number: signal.Signals) -> None:
    process = start_crew(three)
    hands = children(process.pid)
    assert len(hands) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=60)  # they have its stderr too: it ends when they have ended
    assert process.returncode in (143, -SIGKILL)
    assert err.startswith(b"hb: error: interrupted") or not err
    wait_until(lambda: not any(map(is_running, hands)), "they have ended")
    assert {row["computed"] for row in three.ok("list").lines()} <= {0, None}


def test_a_program_that_computes_and_is_killed_is_said_and_no_bug(three: Shell) -> None:
    process = start_crew(three)
    killed = next(hand for hand in children(process.pid) if "spawn_main" in command_of(hand))
    os.kill(killed, SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"hb: error: a program that computed for this one was ended by signal 9\nhint: ")


def command_of(process: int) -> str:
    """The command line of a process."""
    command = ["ps", "-ww", "-o", "args=", "-p", str(process)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


# The first moments, and the last

# Runs the program, and sends it signals from within: as each module named is about to be loaded, or as it ends.
_MOMENTS = """
import atexit, os, runpy, signal, sys, weakref

program, moments, numbers, *arguments = sys.argv[1:]
wanted, signals = set(moments.split()), [int(number) for number in numbers.split()]

class Thing:
    pass

def send():
    for number in signals:
        os.kill(os.getpid(), number)

def hear(event, about):
    if event == "import" and about[0] in wanted:
        wanted.discard(about[0])
        if "callback" in wanted:
            thing = Thing()
            weakly = weakref.ref(thing, lambda _: send())
            del thing
        else:
            send()

signal.signal(signal.SIGINT, signal.default_int_handler)
if "end" in wanted:
    atexit.register(send)
sys.addaudithook(hear)
sys.argv = [program, *arguments]
runpy.run_path(program, run_name="__main__")
"""


def run_with_signals(shell: Shell, moments: str, *numbers: int) -> tuple[int, bytes, bytes]:
    """Runs `hb list`, signalled at these moments; gives its exit code and what it printed."""
    sent = " ".join(str(int(number)) for number in numbers)
    command = [sys.executable, "-c", _MOMENTS, str(shell.program), moments, sent, "list"]
    ran = subprocess.run(
        command, cwd=shell.directory, env=shell.environment(), capture_output=True, timeout=60, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("moment", ["hb_cli.exits", "hb_cli.context"])
@pytest.mark.parametrize("number", CODES)
def test_before_it_can_say_anything_a_signal_ends_it_without_a_word(
    counter: Shell, moment: str, number: signal.Signals
) -> None:
    assert run_with_signals(counter, moment, number) == (-number, b"", b"")


@pytest.mark.parametrize("moment", ["hb_cli.app", "typer", "hb.library.home", "hb.storage.leveldb"])
@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_it_is_loaded_is_one_sentence(counter: Shell, moment: str, number: signal.Signals) -> None:
    said = {SIGINT: b"interrupted", SIGTERM: b"terminated"}[number]
    assert run_with_signals(counter, moment, number) == (CODES[number], b"", b"hb: error: %b\n" % said)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_in_a_callback_that_can_raise_nothing_is_heard_after_it(
    counter: Shell, number: signal.Signals
) -> None:
    said = {SIGINT: b"interrupted", SIGTERM: b"terminated"}[number]
    heard = run_with_signals(counter, "callback hb.storage.leveldb", number)
    assert heard == (CODES[number], b"", b"hb: error: %b\n" % said)


def test_of_several_signals_the_second_ends_it_without_a_word(counter: Shell) -> None:
    assert run_with_signals(counter, "hb_cli.app hb_cli.failure", SIGINT) == (-SIGINT, b"", b"")
    said = b"hb: error: interrupted\n"
    assert run_with_signals(counter, "hb.storage.leveldb end", SIGINT) == (-SIGINT, b"", said)


def test_several_signals_at_once_show_no_traceback(counter: Shell) -> None:
    code, out, err = run_with_signals(counter, "hb.storage.leveldb", SIGINT, SIGTERM, SIGINT)
    assert code in (130, 143, -SIGINT, -SIGTERM)
    assert b"Traceback" not in err
    assert out == b""


def test_a_signal_at_the_very_end_changes_nothing_that_was_printed(counter: Shell) -> None:
    code, out, err = run_with_signals(counter, "end", SIGINT)
    assert (code, err) == (-SIGINT, b"")
    assert out == counter.ok("list").out.encode()


def test_a_signal_that_it_was_started_to_ignore_is_ignored(counter: Shell) -> None:
    counter.ok("compute", "counter")
    process = counter.start("inspect", "counter", "--follow", "--from", "0", preexec_fn=ignore_interrupts)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(SIGINT)
    counter.ok("send", "counter", "Increment")
    counter.ok("compute", "counter")
    assert b'"slot":1,' in process.stdout.readline()
    stop(process, SIGTERM)


def ignore_interrupts() -> None:
    """What `nohup`, or `&` in a script, does to a program."""
    signal.signal(SIGINT, signal.SIG_IGN)
