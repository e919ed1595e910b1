"""`hb repl`: on a terminal that somebody types at, and with a file for standard input."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

UP, ALT_ENTER, CTRL_C, CTRL_D = "\x1b[A", "\x1b\r", "\x03", "\x04"


def _sent(shell: Shell) -> list[str]:
    """The data of every message that was sent, in order."""
    rows = shell.ok("inspect", "me", "--from", "0").lines()[1:]
    return [shell.ok("message", "show", row["message"]).json()["data"] for row in rows]


def test_every_line_is_a_signed_message_and_has_a_slot(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("n\r")
        talk.wait_for(r"^1$")
        talk.wait_for_prompt()
        # Somebody else sends between two lines: a prompt that waits holds nothing.
        assert speaker.ok("eval", "me", "n").out == "2\n"
        talk.type("n\r")
        talk.wait_for(r"^3$")
        talk.wait_for_prompt()
        talk.type("\r")
        talk.wait_for_prompt()
        talk.type(CTRL_D)
        assert talk.end() == 0
    assert _sent(speaker) == ["n", "n", "n"]


def test_lua_that_is_not_complete_goes_on_and_is_one_message(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("function f()\r")
        talk.wait_for("·")
        talk.type("return 1\r")
        talk.wait_for("·")
        talk.type("end\r")
        talk.wait_for(r"^\?$")
        talk.wait_for_prompt()
        talk.type("x = 1" + ALT_ENTER + "y = 2\r")
        talk.wait_for(r"^\?$")
        talk.wait_for_prompt()
        talk.type("z = (\r")
        talk.wait_for("·")
        # An empty line sends what will never be complete.
        talk.type("\r")
        talk.wait_for(r"^$")
        talk.wait_for_prompt()
        # As a terminal that knows of pasting gives it.
        talk.type("\x1b[200~1 -- a\nb\x1b[201~")
        talk.type("\r")
        talk.wait_for(r"^2$")
        talk.wait_for_prompt()
        talk.type(CTRL_D)
        assert talk.end() == 0
    first, second, third, fourth = _sent(speaker)
    assert first == "function f()\n  return 1\n  end"
    assert (second, third.strip(), fourth) == ("x = 1\ny = 2", "z = (", "1 -- a\nb")


def test_ctrl_c_drops_a_line_and_stops_what_runs_and_the_talk_goes_on(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("never sent" + CTRL_C)
        talk.wait_for_prompt()
        talk.type(CTRL_C)
        talk.wait_for_prompt()
        talk.type("w\r")
        talk.wait_for(r"w\n")
        while len(speaker.ok("inspect", "me").lines()) < 2:
            pass
        talk.type(CTRL_C)
        talk.wait_for("keeps its slot, 1")
        talk.wait_for_prompt()
        talk.type(CTRL_D)
        assert talk.end() == 0
    assert _sent(speaker) == ["w"]


def test_an_error_is_shown_and_the_talk_goes_on(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("e\r")
        talk.wait_for("slot 1 · program")
        talk.wait_for("stack traceback")
        talk.wait_for_prompt()
        talk.type(".load nosuch.lua\r")
        talk.wait_for("hb: error: cannot read the file 'nosuch.lua'")
        talk.wait_for_prompt()
        speaker.write("code.lua", "1\n2\n")
        talk.type(".load code.lua\r")
        talk.wait_for(r"^2$")
        talk.wait_for_prompt()
        talk.type(".help\r")
        talk.wait_for("Alt-Enter")
        talk.wait_for_prompt()
        talk.type(".exit\r")
        assert talk.end() == 0
    assert _sent(speaker) == ["e", "1\n2\n"]


def test_what_was_typed_is_there_the_next_time_for_its_owner_alone(speaker: Shell) -> None:
    for first in (True, False):
        with speaker.talk("repl", "me") as talk:
            talk.wait_for_prompt()
            talk.type("n\r" if first else UP + "\r")
            talk.wait_for(r"^1$" if first else r"^2$")
            talk.wait_for_prompt()
            talk.type(CTRL_D)
            assert talk.end() == 0
    assert _sent(speaker) == ["n", "n"]
    assert stat.S_IMODE((speaker.home / "typed").stat().st_mode) == 0o600


def test_what_was_typed_does_not_grow_without_end_and_is_no_link(speaker: Shell) -> None:
    typed = speaker.home / "typed"
    typed.write_text("".join(f"\n# 2026-01-01\n+{number:>1000}\n" for number in range(2000)))
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type(CTRL_D)
        assert talk.end() == 0
    assert typed.stat().st_size < 600_000
    assert typed.read_text().startswith("\n# 2026")
    typed.unlink()
    elsewhere = speaker.write("elsewhere", "mine")
    typed.symlink_to(elsewhere)
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("1\r")
        talk.wait_for(r"^2$")
        talk.wait_for_prompt()
        talk.type(CTRL_D)
        assert talk.end() == 0
    assert elsewhere.read_text() == "mine"


def test_the_programs_own_prompt_is_shown_once_it_says_one(speaker: Shell) -> None:
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt()
        talk.type("q\r")
        talk.wait_for(r"^deep$")
        talk.wait_for_prompt("speaker@2>")
        talk.type(CTRL_D)
        assert talk.end() == 0
    with speaker.talk("repl", "me") as talk:
        talk.wait_for_prompt("speaker@2>")
        talk.type(CTRL_D)
        assert talk.end() == 0


def test_a_process_that_is_not_there_ends_it_before_it_begins(speaker: Shell) -> None:
    outcome = speaker.terminal("repl", "nosuch")
    assert outcome.code == 12
    assert "no process" in outcome.text


def test_standard_input_is_read_line_by_line_to_its_end(speaker: Shell) -> None:
    lines = "n\n\n   \nfunction f()\n  return 1\nend\np\nl -- without a line end"
    outcome = speaker.ok("repl", "me", stdin=lines)
    assert (outcome.out, outcome.err) == ("1\n?\nhello\ndone\none\ntwo\n", "")
    assert _sent(speaker) == ["n", "function f()\n  return 1\nend", "p", "l -- without a line end"]
    assert speaker.ok("repl", "me", stdin="").out == ""


def test_standard_input_goes_on_after_an_error_and_the_exit_code_tells(speaker: Shell) -> None:
    outcome = speaker.hb("repl", "me", stdin="n\ne\nn\n")
    assert (outcome.code, outcome.out) == (15, "1\n2\n")
    assert outcome.err == "hb: slot 2 ended in an error (program): boom\nstack traceback\n"
    as_json = speaker.hb("repl", "me", "--json", stdin="n\ne\n(\n")
    assert as_json.code == 15
    assert [told["slot"] for told in as_json.lines()] == [4, 5, 6]


@pytest.mark.parametrize("bad", [b"\xff\xfe\n", b"x" * 3000 + b"\n"], ids=["not text", "too long"])
def test_a_line_that_cannot_be_sent_ends_it_and_is_named(speaker: Shell, bad: bytes) -> None:
    (speaker.home / "config.toml").write_text("[host]\nmessage-limit = 2000\n")
    outcome = speaker.hb("repl", "me", stdin=b"n\n" + bad + b"n\n")
    assert (outcome.code, outcome.out) == (13, "1\n")
    assert "line 2 of standard input" in outcome.err


def test_answers_come_line_by_line_while_the_input_is_open(speaker: Shell) -> None:
    import subprocess

    running = speaker.start("repl", "me", "--json", stdin=subprocess.PIPE)
    assert running.stdin is not None
    assert running.stdout is not None
    for expected in ("1", "2"):
        running.stdin.write(b"n\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["results"]["data"] == expected
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (0, b"", b"")
