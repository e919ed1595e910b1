"""Colour, control characters, and streams that do not take what is written."""

from __future__ import annotations

import io
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb_cli.terminal import output

if TYPE_CHECKING:
    from conftest import Shell


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (_Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (None, {}, False),
        (_Terminal(), {"TERM": "dumb"}, False),
        (_Terminal(), {"NO_COLOR": "1"}, False),
        (_Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (_Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_no_color_force_color_and_isatty_decide_in_that_order(
    stream: io.StringIO | None, environ: dict[str, str], expected: bool
) -> None:
    assert output.has_colour(stream, environ) is expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("smørrebrød 数 👩‍🚀", "smørrebrød 数 👩‍🚀"),
        ("\x1b[2Jgone", "\\u001b[2Jgone"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\u009b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\udb40\\udc01"),
    ],
)
def test_what_is_not_plainly_visible_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert output.printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m, plain", "red, plain"),
        ("\x1b[38;2;1;2;3mdeep\x1b[K", "deep"),
        ("a\x1b[?25l\x1b[2Jb\x9b31mc", "abc"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b(Ba\x1b7b\x1bcc", "abc"),
        ("tab\tbell\x07 [31m", "tab\tbell\x07 [31m"),
    ],
)
def test_bare_text_has_nothing_that_steers_a_terminal_and_all_else(text: str, shown: str) -> None:
    assert output.bare(text) == shown


@given(st.text())
def test_no_control_character_is_ever_printable(text: str) -> None:
    shown = output.printable(text)
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in shown)


def test_a_full_stdout_is_a_failure_with_a_sentence(home: Shell) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = home.start("key", "list", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == b"hb: error: standard output cannot be written: No space left on device\n"


def test_a_reader_that_goes_away_ends_the_program_quietly(home: Shell) -> None:
    for _ in range(3):
        process = home.start("key", "list")
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.stderr.close()
        assert (process.wait(60), err) == (141, b"")


def test_help_into_a_closed_pipe_ends_quietly_too(shell: Shell) -> None:
    process = shell.start("--help")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")
