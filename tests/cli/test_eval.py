"""`hb eval`."""

from __future__ import annotations

import json
import signal
import subprocess
from time import sleep
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell


def test_it_prints_the_answer_alone(speaker: Shell) -> None:
    outcome = speaker.ok("eval", "me", "1 and more")
    assert (outcome.out, outcome.err) == ("2\n", "")


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("p", "hello\ndone\n"),
        ("l", "one\ntwo\n"),
        ("z", ""),
        ("q", "deep\n"),
        ("j", '{"b":1}\n'),
        ("m", "sent\n"),
        ("c", "green\n"),
    ],
)
def test_what_is_printed_comes_first_and_then_the_answer_without_colours(
    speaker: Shell, code: str, printed: str
) -> None:
    outcome = speaker.ok("eval", "me", code)
    assert (outcome.out, outcome.err) == (printed, "")


def test_it_is_a_signed_message_with_a_slot_and_the_code_as_its_data(speaker: Shell) -> None:
    speaker.ok("key", "new", "alice")
    told = speaker.ok("eval", "me", "n", "--as", "alice", "--tag", "Mood=good", "--json").json()
    message = speaker.ok("message", "show", told["message"]).json()
    assert (message["action"], message["data"], message["mood"]) == ("Eval", "n", "good")
    [row] = speaker.ok("inspect", "me", "--slot", "1").lines()
    assert row["sender"] == speaker.ok("key", "show", "alice").json()["address"]
    assert {key: row[key] for key in ("process", "slot", "message", "assignment")} == {
        key: told[key] for key in ("process", "slot", "message", "assignment")
    }
    assert (told["results"]["data"], told["state"], told["fresh"]) == ("1", {}, True)
    # What it changed stays changed.
    assert speaker.ok("eval", "me", "n").out == "2\n"


def test_json_is_what_send_prints_when_it_waits(speaker: Shell) -> None:
    evaluated = speaker.ok("eval", "me", "m", "--json").json()
    sent = speaker.ok("send", "me", "Eval", "--data", "m", "--wait", "--json").json()
    assert evaluated.keys() == sent.keys()
    assert evaluated["results"].keys() == sent["results"].keys()


def test_code_from_a_file_and_from_standard_input(speaker: Shell) -> None:
    code = "1 -- ends with a line break\n"
    speaker.write("code.lua", code)
    told = [
        speaker.ok("eval", "me", "@code.lua", "--json"),
        speaker.ok("eval", "me", "-", "--json", stdin=code),
        speaker.ok("eval", "me", "--json", stdin=code),
        speaker.ok("eval", "me", "--json", "--", code),
    ]
    for outcome in told:
        assert outcome.json()["results"]["data"] == "2"
        assert speaker.ok("message", "show", outcome.json()["message"]).json()["data"] == code
    assert speaker.ok("eval", "me", "-5").out == "?\n"


def test_the_stored_results_keep_their_colours_and_force_color_lets_them_into_a_pipe(speaker: Shell) -> None:
    colours = "\x1b[32mgreen\x1b[0m\x1b[2J\x1b]0;x\x07"
    assert speaker.ok("eval", "me", "c", "--json").json()["results"]["data"] == colours
    assert speaker.ok("result", "me").json()["data"] == colours
    assert speaker.ok("send", "me", "Eval", "--data", "c", "--wait").lines()[1]["data"] == colours
    assert speaker.ok("inspect", "me", "--slot", "1").json()["results"]["data"] == colours
    assert speaker.ok("tree", "me", "1").json()["answer"] == "green"
    assert speaker.ok("eval", "me", "c", env={"FORCE_COLOR": "1"}).out == f"{colours}\n"
    assert speaker.ok("eval", "me", "c", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).out == "green\n"
    for words in (["result", "me"], ["tree", "me", "1"], ["inspect", "me"], ["inspect", "me", "--slot", "1"]):
        shown = speaker.terminal(*words, env={"NO_COLOR": "1"}).out
        assert "green\\u001b[2J" in shown or "green…" in shown, words
        assert "[32m" not in shown


def test_an_error_goes_to_stderr_with_exit_code_15(speaker: Shell) -> None:
    outcome = speaker.hb("eval", "me", "e")
    assert (outcome.code, outcome.out) == (15, "")
    assert outcome.err == "hb: slot 1 ended in an error (program): boom\nstack traceback\n"
    as_json = speaker.hb("eval", "me", "e", "--json")
    assert (as_json.code, as_json.err) == (15, "")
    assert as_json.json()["results"]["type"] == "error"
    assert speaker.ok("eval", "me", "1").out == "2\n"


def test_on_a_terminal_colours_pass_and_nothing_else_that_would_steer_it(speaker: Shell) -> None:
    shown = speaker.terminal("eval", "me", "c").out
    assert shown == "\x1b[32mgreen\x1b[0m\\u001b[2J\\u001b]0;x\\u0007\x1b[0m\r\n"
    shown = speaker.terminal("eval", "me", "c", env={"NO_COLOR": "1"}).out
    assert shown == "green\\u001b[2J\\u001b]0;x\\u0007\r\n"


def test_on_a_terminal_an_error_is_a_panel(speaker: Shell) -> None:
    outcome = speaker.terminal("eval", "me", "e")
    assert outcome.code == 15
    assert "slot 1 · program" in outcome.text
    assert "│ stack traceback" in outcome.text
    apart = speaker.terminal("eval", "me", "e", stderr=subprocess.PIPE)
    assert (apart.code, apart.out) == (15, "")
    assert apart.err == "hb: slot 2 ended in an error (program): boom\nstack traceback\n"


def test_a_terminal_without_code_is_told_of_the_repl(speaker: Shell) -> None:
    outcome = speaker.terminal("eval", "me")
    assert outcome.code == 2
    assert "hb repl" in outcome.text


def test_what_cannot_be_sent_takes_no_slot(speaker: Shell) -> None:
    before = speaker.records()
    for arguments, code in (
        (("me", "@nosuch.lua"), 13),
        (("nosuch", "1"), 12),
        (("me", "1", "--as", "nobody"), 12),
        (("me", "1", "--tag", "action=x"), 13),
        (("me", "1", "2"), 2),
    ):
        outcome = speaker.hb("eval", *arguments)
        assert (outcome.code, outcome.out) == (code, ""), arguments
        assert outcome.err.startswith("hb: error: ")
        assert "message 1" not in outcome.err
    assert speaker.records() == before


def test_code_beyond_the_limit_of_a_message_is_refused(speaker: Shell) -> None:
    (speaker.home / "config.toml").write_text("[host]\nmessage-limit = 2000\n")
    before = speaker.records()
    outcome = speaker.hb("eval", "me", "x" * 3000)
    assert outcome.code == 13
    assert speaker.records() == before


def test_a_retry_with_an_anchor_answers_again_and_is_not_scheduled_again(speaker: Shell) -> None:
    assert speaker.ok("eval", "me", "n", "--anchor", "a").out == "1\n"
    again = speaker.ok("eval", "me", "n", "--anchor", "a")
    assert again.out == "1\n"
    assert "slot 1 has this message already" in again.err


def test_a_program_of_functions_says_that_it_has_none_of_that_name(counter: Shell) -> None:
    outcome = counter.hb("eval", "counter", "return 1")
    assert (outcome.code, outcome.out) == (15, "")
    assert "no function 'Eval' is exported" in outcome.err


def test_ctrl_c_stops_it_and_says_which_slot_the_message_has(speaker: Shell) -> None:
    speaker.ok("eval", "me", "1")
    running = speaker.start("eval", "me", "w")
    while len(speaker.ok("inspect", "me").lines()) < 3:
        sleep(0.05)
    sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b"")
    assert "keeps its slot, 2" in err.decode()
    assert json.loads(speaker.ok("inspect", "me", "--slot", "2").out)["computed"] is False
