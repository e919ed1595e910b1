"""How the results of AO programs are shown: in a panel, in a history, and slot by slot."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest

from hb_cli.terminal import output
from hb_cli.views import results

if TYPE_CHECKING:
    from conftest import Shell
    from hb.protocol.message import Message, Value


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ({"output": [], "type": "ok"}, None),
        ({"output": [5], "type": "ok"}, [5]),
        ({"data": "x", "output": {"data": "y"}}, "x"),
        ({"data": {"output": "x", "prompt": ">"}}, "x"),
        ({"output": {"data": {"output": "x"}, "prompt": ">"}}, "x"),
        ({"output": {"data": "", "prompt": ">"}}, ""),
        ({"output": "x"}, "x"),
        ({"output": {"a": 1}}, {"a": 1}),
        ({"data": False}, False),
        ({}, None),
    ],
)
def test_the_answer_is_data_else_output(found: Message, answer: Value) -> None:
    assert results.answer(found) == answer


def test_text_of_a_value() -> None:
    for value, text in ((None, ""), ("a\nb", "a\nb"), (b"\xff", "�"), ([5], "5"), ([1, 2], "[1,2]"), (True, "true")):
        assert results.text_of(value) == text


def test_the_entries_of_an_outbox_are_in_the_order_of_their_numbers() -> None:
    outbox: Message = {str(number): {"data": str(number)} for number in (10, 9, 1, 2)}
    assert [number for number, _ in results.parts(outbox)] == ["1", "2", "9", "10"]
    assert results.counts({"outbox": outbox, "spawns": {"1": {}}, "patches": []}) == "4 messages, 1 spawn"
    assert results.counts({"outbox": "nonsense"}) == ""


def test_only_colours_are_let_through() -> None:
    for kept in ("\x1b[0m", "\x1b[m", "\x1b[1;31m", "\x1b[38;5;200m", "\x1b[38;2;1;2;3m", "\x1b[97m"):
        assert output.coloured(kept + "x") == kept + "x\x1b[0m"
        assert output.plain(kept + "x") == "x"
    for dropped in ("\x1b[8m", "\x1b[5m", "\x1b[30;40m", "\x1b[7m"):
        assert output.coloured(dropped + "x") == "x"
    for shown in ("\x1b[2J", "\x1b]0;t\x07", "\x1b[?25l", "\x1b", "\x9b31m", "\r"):
        assert "\x1b" not in output.coloured(shown)
        assert output.coloured(shown).isprintable()
        assert len(output.coloured(shown)) > len(shown)


def test_waiting_shows_what_was_sent_on(speaker: Shell) -> None:
    shown = speaker.terminal("send", "me", "Eval", "--data", "m", "--wait").text
    assert "→ sent" in shown
    assert "1 to bob Greet mood=good data hi" in shown
    assert "2 to eve" in shown
    assert "spawns" in shown
    failed = speaker.terminal("send", "me", "Eval", "--data", "e", "--wait")
    assert failed.code == 15
    assert "✗ boom" in failed.text
    assert "stack traceback" in failed.text
    printed = speaker.terminal("send", "me", "Eval", "--data", "p", "--wait").text
    assert "hello" in printed
    assert "→ done" in printed


def test_the_history_has_the_code_the_answer_and_what_there_is_beside_it(speaker: Shell) -> None:
    speaker.ok("repl", "me", stdin="1 -- code\nm\nl\nq\nz\nc\n")
    speaker.hb("eval", "me", "e")
    rows = speaker.terminal("inspect", "me", columns=200).text.splitlines()
    shown = {row.split()[0]: " ".join(row.split()) for row in rows if row.split() and row.split()[0].isdigit()}
    assert "Eval 1 -- code → 2" in shown["1"]
    assert "Eval m → sent + 2 messages, 1 spawn" in shown["2"]
    assert "→ one two" in shown["3"]
    assert "→ deep" in shown["4"]
    assert "Eval z ok" in shown["5"]
    assert "→ green\\u001b[2J" in shown["6"]
    assert "✗ boom stack traceback" in shown["7"]
    assert "json-iface@1.0 + 5" in rows[0]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 160])
def test_the_history_fits_the_terminal(speaker: Shell, columns: int) -> None:
    speaker.ok("repl", "me", stdin="m\nm\n")
    rows = speaker.terminal("inspect", "me", columns=columns).text.splitlines()
    assert all(len(row) <= columns for row in rows)


def test_one_slot_in_full_has_all_lines(speaker: Shell) -> None:
    speaker.ok("repl", "me", stdin="f(\n1)\nm\nl\n")
    code = speaker.terminal("inspect", "me", "--slot", "1").text
    assert "data        f(" in code
    sent = speaker.terminal("inspect", "me", "--slot", "2").text
    assert "1 to bob Greet mood=good data hi" in sent
    lines = speaker.terminal("inspect", "me", "--slot", "3").text
    assert "→ one" in lines
    assert "  two" in lines


def test_a_long_outbox_is_cut_and_says_so() -> None:
    from rich.console import Console

    from hb_cli.views import render

    outbox: Message = {str(number): {"target": "x", "data": "y" * 5000} for number in range(1, 101)}
    console = Console(width=100, record=True, file=StringIO())
    console.print(render.results_panel(1, {"type": "ok", "outbox": outbox, "data": "z" * 5000}))
    shown = console.export_text()
    assert "… and 80 more" in shown
    assert "… 5,000 characters in all" in shown
    assert len(shown) < 20_000
