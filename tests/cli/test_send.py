"""`hb send`."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from aowat import says
from hb.records import keys
from hb_cli.inputs import messages

if TYPE_CHECKING:
    from conftest import Shell


def test_it_prints_the_slot_alone(counter: Shell) -> None:
    outcome = counter.ok("send", "counter", "Increment")
    assert (outcome.out, outcome.err) == ("1\n", "")


def test_it_computes_nothing_unless_told_to_wait(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment")
    assert counter.ok("inspect", "counter", "--slot", "1").json()["computed"] is False
    counter.ok("send", "counter", "Increment", "--wait")
    assert counter.ok("inspect", "counter", "--slot", "1").json()["computed"] is True


def test_two_equal_messages_are_two_and_one_with_an_anchor_is_one(counter: Shell) -> None:
    assert counter.ok("send", "counter", "Increment").out == "1\n"
    assert counter.ok("send", "counter", "Increment").out == "2\n"
    assert counter.ok("send", "counter", "Increment", "--anchor", "x").out == "3\n"
    before = counter.records()
    again = counter.ok("send", "counter", "Increment", "--anchor", "x")
    assert again.out == "3\n"
    assert "slot 3 has this message already" in again.err
    as_json = counter.ok("send", "counter", "Increment", "--anchor", "x", "--json")
    assert (as_json.json()["fresh"], as_json.err) == (False, "")
    assert counter.records() == before
    lines = "".join(f'{{"action": "Increment", "anchor": "{anchor}"}}\n' for anchor in "xyz")
    assert counter.ok("send", "counter", "--batch", "-", stdin=lines).out == "3\n4\n5\n"
    again = counter.ok("send", "counter", "--batch", "-", stdin=lines)
    assert (again.out, again.err) == (
        "3\n4\n5\n",
        "hb: 3 of 3 messages have slots already, from 3 to 5; they were not scheduled again\n",
    )


def test_wait_prints_the_results_on_a_line_of_their_own(playground: Shell) -> None:
    slot, results = playground.ok("send", "play", "Pair", "-3", "2.5", "--wait").out.splitlines()
    assert slot == "1"
    assert json.loads(results)["output"] == [2.5, -3]


def test_wait_with_json_is_one_object(counter: Shell) -> None:
    told = counter.ok("send", "counter", "Increment", "--wait", "--json").json()
    assert told["slot"] == 1
    assert told["results"]["type"] == "ok"
    assert told["state"] == {"counter": 1}
    row = counter.ok("inspect", "counter", "--slot", "1").json()
    assert {key: told[key] for key in ("process", "message", "assignment")} == {
        key: row[key] for key in ("process", "message", "assignment")
    }


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["Trap"], "trap", ""),
        (["NoSuch"], "unknown-function", "NoSuch"),
        ([], "no-function", ""),
        (["Set"], "wrong-arguments", "takes 1 argument"),
        (["Set", "1", "2"], "wrong-arguments", "got 2"),
        (["Set", "five"], "wrong-arguments", "five"),
        (["Set", "1.5"], "wrong-arguments", "1.5"),
        (["Set", "99999999999999999999"], "wrong-arguments", ""),
    ],
)
def test_a_program_that_fails_is_an_outcome_with_exit_code_15(
    playground: Shell, words: list[str], kind: str, says: str
) -> None:
    playground.ok("send", "play", "Set", "5")
    outcome = playground.hb("send", "play", *words, "--wait")
    slot, line = outcome.out.splitlines()
    results = json.loads(line)
    assert (outcome.code, slot, results["type"], results["kind"]) == (15, "2", "error", kind)
    assert says in results["error"]
    assert outcome.err == ""
    assert playground.ok("state", "play", "n").out == "5\n"
    assert playground.ok("send", "play", "Get", "--wait").out.splitlines()[0] == "3"


def test_a_program_without_end_ends_with_its_gas(home: Shell) -> None:
    home.ok("spawn", home.samples / "loop.wasm", "--name", "loop", "--gas-limit", "100000")
    outcome = home.hb("send", "loop", "Loop", "--wait", "--json")
    told = json.loads(outcome.out)
    assert (outcome.code, told["results"]["kind"]) == (15, "out-of-gas")
    assert told["results"]["gas"] >= 100000
    assert "✗" in home.terminal("inspect", "loop").text


def test_data_tags_and_parameters_go_into_the_message(counter: Shell) -> None:
    counter.write("letter.bin", b"\xff\x00raw")
    sent = [
        counter.ok("send", "counter", "Say", "5", '"5"', "five", "--data", "text", "--tag", "Subject=Hi", "--json"),
        counter.ok("send", "counter", "Say", "--data", "@letter.bin", "--json"),
        counter.ok("send", "counter", "Say", "--data", "-", "--json", stdin="from input"),
        counter.ok("send", "counter", "--json"),
    ]
    texts, raw, piped, bare = (counter.ok("message", "show", told.json()["message"]).json() for told in sent)
    assert (texts["action"], texts["parameters"], texts["data"], texts["subject"]) == (
        "Say",
        [5, "5", "five"],
        "text",
        "Hi",
    )
    assert raw["data"] == {"$bytes": "_wByYXc"}
    assert piped["data"] == "from input"
    assert not {"action", "data", "parameters"} & set(bare)
    assert len({message["anchor"] for message in (texts, raw, piped, bare)}) == 4
    assert {message["target"] for message in (texts, raw, piped, bare)} == {sent[0].json()["process"]}


_BATCH = [
    '{"action": "Increment"}',
    "",
    '{"action": "Add", "parameters": [40]}',
    '{"action": "ReadValue", "tags": {"A": "b"}}',
]


def test_a_batch_prints_a_line_for_each_message(counter: Shell) -> None:
    assert counter.ok("send", "counter", "--batch", "-", stdin="\n".join(_BATCH)).out == "1\n2\n3\n"
    counter.write("batch.ndjson", "\r\n".join(_BATCH))
    told = counter.ok("send", "counter", "--batch", "batch.ndjson", "--json").lines()
    assert [line["slot"] for line in told] == [4, 5, 6]
    assert counter.ok("state", "counter", "counter").out == "82\n"
    assert counter.ok("send", "counter", "--batch", "-", stdin="").out == ""


def test_a_batch_that_waits_prints_each_slot_and_its_results(counter: Shell) -> None:
    outcome = counter.ok("send", "counter", "--batch", "-", "--wait", stdin="\n".join(_BATCH))
    lines = outcome.out.splitlines()
    assert lines[0::2] == ["1", "2", "3"]
    assert [json.loads(line)["output"] for line in lines[1::2]] == [[], [], [41]]
    failing = counter.hb(
        "send", "counter", "--batch", "-", "--wait", "--json", stdin='{"action":"No"}\n{"action":"Increment"}'
    )
    assert failing.code == 15
    assert [told["results"]["type"] for told in failing.lines()] == ["error", "ok"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", ""),
        ("nonsense", ""),
        ("[1]", "JSON object"),
        ("5", "JSON object"),
        ('{"action": 5}', "action"),
        ('{"parameters": 5}', "parameters"),
        ('{"tags": []}', "tags"),
        ('{"action": "A", "tags": {"action": "x"}}', "action"),
        ('{"data": 5}', "data"),
        ('{"acton": "Increment"}', "acton"),
        ('{"action": "A", "action": "B"}', "action"),
        ('{"action": "\\ud800"}', ""),
        ('{"parameters": [1e400]}', ""),
        ('{"parameters": [NaN]}', ""),
        ('{"tags": ' + "[" * 100 + "]" * 100 + "}", ""),
        ('{"tags": {"content-digest": "x"}}', "content-digest"),
        ('{"tags": {"target": "x"}}', "target"),
        ('{"tags": {"x": "a\\r\\nb"}}', "line break"),
        ('{"parameters": [1, {"a": 1}]}', "list"),
        ('{"commitments": {}}', "signed"),
        ('{"commitments": 5}', ""),
        (b"\xff\xfe", "UTF-8"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_one_bad_line_stops_the_batch_and_is_named(counter: Shell, line: str | bytes, says: str) -> None:
    before = counter.records()
    bad = line.encode() if isinstance(line, str) else line
    outcome = counter.hb("send", "counter", "--batch", "-", stdin=b'{"action": "Increment"}\n\n' + bad + b"\n{}\n")
    assert (outcome.code, outcome.out) == (13, "")
    assert outcome.err.startswith("hb: error: line 3 of the batch: ")
    assert says in outcome.err.splitlines()[0]
    assert outcome.err.count("\n") == 2
    assert counter.records() == before


def test_the_limits_of_a_batch_are_those_of_the_home(counter: Shell) -> None:
    config = counter.home / "config.toml"
    text = config.read_text()
    assert "batch-messages" in text
    config.write_text("[host]\nbatch-messages = 2\nmessage-limit = 2000\n")
    assert counter.ok("send", "counter", "--batch", "-", stdin="{}\n{}\n").out == "1\n2\n"
    before = counter.records()
    too_many = counter.hb("send", "counter", "--batch", "-", stdin="{}\n{}\n{}\n")
    assert too_many.code == 13
    assert "limit of 2" in too_many.err
    too_large = counter.hb("send", "counter", "--data", "x" * 3000)
    assert too_large.code == 13
    assert "2000" in too_large.err.replace(",", "")
    assert counter.records() == before


def test_nobody_sends_as_a_process_that_no_authority_speaks_for(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    counter.ok("spawn", counter.counter_wasm, "--name", "closed", "--definition", "-", stdin="authority = []")
    address = counter.ok("key", "show", "default").json()["address"]
    before = counter.records()
    as_process = ("Increment", "--tag", f"from-process={'P' * 43}")
    for words, hint in (
        (("counter", *as_process, "--as", "alice"), f"the authorities are {address}"),
        (("closed", *as_process), "this process trusts nobody"),
    ):
        refused = counter.hb("send", *words)
        assert (refused.code, refused.out) == (13, "")
        assert "a message with the key 'from-process' must be signed by an authority of the process" in refused.err
        assert hint in refused.err
    assert counter.records() == before


def test_the_homes_own_key_sends_as_no_process_by_hand(counter: Shell) -> None:
    before = counter.records()
    for key in ("from-process", "pushed-for"):
        refused = counter.hb("send", "counter", "Increment", "--tag", f"{key}={'P' * 43}")
        assert (refused.code, refused.out) == (13, "")
        assert f"a message with the key {key!r} that this home's own key signs is a delivery" in refused.err
        assert "hint: `hb push` delivers what a program sends" in refused.err
    assert counter.records() == before


def test_an_authority_that_a_process_was_spawned_with_sends_as_a_process(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    address = counter.ok("key", "show", "alice").json()["address"]
    counter.ok("spawn", counter.counter_wasm, "--name", "open", "--tag", f"authority={address}")
    as_process = ("open", "Increment", "--tag", f"from-process={'P' * 43}")
    assert counter.hb("send", *as_process).code == 13
    assert counter.ok("send", *as_process, "--as", "alice").out == "1\n"


def test_a_signed_line_is_left_to_the_one_who_schedules_it_to_verify() -> None:
    forged = {"action": "Increment", "commitments": {"x": {"alg": "ed25519"}}}
    assert messages._line_message(json.dumps(forged).encode()) == forged


def test_a_signed_message_is_taken_as_it_is(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    pid = counter.ok("list").json()["process"]
    plain = {"action": "Increment", "target": pid, "type": "Message", "anchor": "a"}
    signed = counter.ok("message", "sign", "-", "--as", "alice", stdin=json.dumps(plain)).out
    told = counter.ok("send", "counter", "--batch", "-", "--json", stdin=signed).json()
    assert told["message"] == counter.ok("message", "id", "-", stdin=signed).out.strip()
    row = counter.ok("inspect", "counter", "--slot", "1").json()
    assert row["sender"] == counter.ok("key", "show", "alice").json()["address"]
    again = counter.ok("send", "counter", "--batch", "-", stdin=signed)
    assert again.out == "1\n"
    assert "already" in again.err


def test_an_unknown_key_sends_nothing(counter: Shell) -> None:
    before = counter.records()
    outcome = counter.hb("send", "counter", "Increment", "--as", "nobody")
    assert outcome.code == 12
    assert "hb key new nobody" in outcome.err
    assert counter.records() == before


def test_many_shells_send_at_once_and_every_slot_is_given_once(counter: Shell) -> None:
    started = [counter.start("send", "counter", "Increment") for _ in range(6)]
    slots = []
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        slots.append(int(out))
    assert sorted(slots) == [1, 2, 3, 4, 5, 6]
    assert counter.ok("state", "counter", "counter").out == "6\n"


def test_what_is_scheduled_stays_so_when_nobody_reads_the_slot(counter: Shell) -> None:
    process = counter.start("send", "counter", "--batch", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(b'{"action": "Increment"}\n' * 3)
    process.stdin.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert counter.ok("state", "counter", "counter").out == "3\n"


def test_ctrl_c_while_others_hold_the_home_sends_nothing(counter: Shell) -> None:
    from hb.home import open_home

    with open_home(counter.home).storage.session():
        process = counter.start("send", "counter", "Increment")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"hb: error: interrupted\n")
    assert len(counter.ok("inspect", "counter").lines()) == 1


# --push


def _pid(shell: Shell, name: str) -> str:
    return shell.records()[keys.name_key(name)].decode()


def test_push_prints_the_slot_and_then_the_tree(talkers: Shell) -> None:
    pong = _pid(talkers, "pong")
    message = says({"Target": pong, "Action": "Ping", "Data": says(Output={"data": "heard"})})
    slot, *nodes = talkers.ok("send", "ping", "Start", "--push", "--data", message).out.splitlines()
    assert slot == "1"
    root, child = map(json.loads, nodes)
    assert (root["slot"], root["action"], "results" in root) == (1, "Start", False)
    assert (child["process"], child["action"], child["answer"]) == (pong, "Ping", "heard")
    assert nodes == talkers.ok("tree", "ping", "1").out.splitlines()
    shown = talkers.terminal("send", "ping", "Start", "--push", "--data", message, env={"NO_COLOR": "1"}).text
    assert [line[:23] for line in shown.splitlines()] == ["2", "ping 2  Start  ok      ", "└ pong 2  Ping  → heard"]
    sent, *nodes = talkers.ok("send", "ping", "Start", "--push", "--data", message, "--json").lines()
    assert (sent["slot"], sent["fresh"], "depth" in sent) == (3, True, False)
    assert [node["depth"] for node in nodes] == [0, 1]
    assert nodes[0]["message"] == sent["message"]


def test_push_and_wait_print_the_results_once(talkers: Shell) -> None:
    message = says({"Target": _pid(talkers, "pong")}, Output={"data": "sent"})
    slot, *nodes = talkers.ok("send", "ping", "--push", "--wait", "--data", message).out.splitlines()
    assert slot == "1"
    root, child = map(json.loads, nodes)
    assert root["results"] == talkers.ok("inspect", "ping", "--slot", "1").json()["results"]
    assert root["results"]["data"] == "sent"
    assert "results" not in child


def test_push_of_a_batch_prints_each_slot_and_its_tree(talkers: Shell) -> None:
    pong, ping = _pid(talkers, "pong"), _pid(talkers, "ping")
    deep = says({"Target": ping, "Action": "Deep", "Data": says({"Target": pong, "Action": "Deeper"})})
    lines = [says({"Target": pong, "Action": "One", "Data": deep}), says({"Target": pong, "Action": "Two"}), "nothing"]
    batch = "".join(json.dumps({"action": "Start", "data": data}) + "\n" for data in lines)
    outcome = talkers.ok("send", "ping", "--batch", "-", "--push", stdin=batch)
    told = [json.loads(line) for line in outcome.out.splitlines()]
    short = [line if isinstance(line, int) else (line["depth"], line["action"], line["type"]) for line in told]
    assert short == [
        1, (0, "Start", "ok"), (1, "One", "ok"), (2, "Deep", "ok"), (3, "Deeper", "ok"),
        2, (0, "Start", "ok"), (1, "Two", "ok"),
        3, (0, "Start", "ok"),
    ]  # fmt: skip
    again = talkers.ok("send", "ping", "--batch", "-", "--push", "--json", stdin=batch).lines()
    assert [line["slot"] for line in again if "fresh" in line] == [5, 6, 7]
    assert len([line for line in again if "depth" in line]) == 7
    assert talkers.ok("send", "ping", "--batch", "-", "--push", stdin="").out == ""


def test_push_delivers_nothing_of_processes_that_the_message_does_not_reach(talkers: Shell) -> None:
    ping = _pid(talkers, "ping")
    talkers.ok("send", "pong", "Start", "--data", says({"Target": ping, "Action": "Other"}))
    talkers.ok("send", "ping", "Start", "--push", "--data", says({"Target": ping, "Action": "Self"}))
    assert [row["action"] for row in talkers.ok("inspect", "ping", "--from", "1").lines()] == ["Start", "Self"]
    assert talkers.ok("inspect", "pong", "--slot", "1").json()["computed"] is False


@pytest.mark.parametrize(
    ("data", "words", "code", "says_"),
    [
        ({"Data": "@"}, ("--depth", "2"), 1, "a push goes 2 messages deep, and there is more of root "),
        ({"Data": "@"}, ("--messages", "3"), 1, "a push delivers 3 messages of one root"),
        ({"Data": "@"}, ("--gas", "20000"), 1, "a push uses 20,000 gas for one root"),
        ({"Data": says(Error="boom")}, (), 15, ""),
        ({"Target": "N" * 43}, (), 0, "hb: 1 message waits for NNNNNNNNNN: no process"),
    ],
)
def test_push_tells_how_it_went(
    talkers: Shell, data: dict[str, object], words: tuple[str, ...], code: int, says_: str
) -> None:
    message = says({"Target": _pid(talkers, "pong"), **data})
    outcome = talkers.hb("send", "ping", "Start", "--push", "--data", message, *words)
    assert outcome.code == code
    assert says_ in outcome.err
    assert bool(outcome.err) is bool(says_)
    slot, *nodes = outcome.out.splitlines()
    assert slot == "1"
    assert nodes == talkers.ok("tree", "ping", "1").out.splitlines()
    assert len(nodes) >= 2


def test_push_takes_the_time_that_is_given(talkers: Shell) -> None:
    later = 4_000_000_000_000
    message = says({"Target": _pid(talkers, "pong")})
    outcome = talkers.ok("send", "ping", "--push", "--data", message, "--timestamp", str(later), "--json")
    assert [node["timestamp"] for node in outcome.lines()[1:]] == [later, later]


def test_budgets_go_with_push_alone(talkers: Shell) -> None:
    for option in ("--depth", "--messages", "--gas"):
        outcome = talkers.hb("send", "ping", "Start", option, "5")
        assert (outcome.code, outcome.out) == (2, "")
        assert "--depth, --messages and --gas go with --push" in outcome.err


def test_ctrl_c_while_it_pushes_leaves_the_slot_on_the_screen(talkers: Shell) -> None:
    message = says({"Target": _pid(talkers, "pong"), "Data": "@"})
    budget = ("--depth", "1000000", "--messages", "1000000")
    process = talkers.start("send", "ping", "Start", "--push", "--data", message, *budget)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    while len(talkers.ok("inspect", "pong").lines()) < 4:
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err == b"hb: error: the push was interrupted; the next one goes on where it was\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vote", "vote"], "no function 'vote' is exported; there are: Add, Increment"),
        (["increment"], "did you mean 'Increment'?"),
        (["Add"], "'Add' takes 1 parameter, got 0"),
        (["Increment", "1", "2"], "'Increment' takes 0 parameters, got 2"),
        ([], "the message names no function"),
    ],
)
def test_strict_refuses_what_the_program_has_no_function_for(counter: Shell, words: list[str], says: str) -> None:
    before = counter.records()
    outcome = counter.hb("send", "counter", *words, "--strict")
    assert (outcome.code, outcome.out) == (13, "")
    assert says in outcome.err
    assert "nothing was sent" in outcome.err
    assert counter.records() == before


def test_strict_checks_each_line_of_a_batch_and_sends_what_the_program_can_answer(counter: Shell) -> None:
    lines = '{"action": "Increment"}\n{"action": "Add", "parameters": [5]}\n'
    assert counter.ok("send", "counter", "--batch", "-", "--strict", stdin=lines).out == "1\n2\n"
    before = counter.records()
    outcome = counter.hb("send", "counter", "--batch", "-", "--strict", stdin=lines + '{"action": "Nope"}\n')
    assert (outcome.code, outcome.out) == (13, "")
    assert "line 3 of the batch: no function 'Nope'" in outcome.err
    assert counter.records() == before
    assert counter.ok("send", "counter", "Add", "5", "--strict").out == "3\n"


def test_a_program_of_the_ao_abi_is_not_judged(speaker: Shell) -> None:
    assert speaker.ok("send", "me", "Anything", "at", "all", "--strict").out == "1\n"


def test_on_a_terminal_a_line_says_beforehand_what_cannot_be_answered(counter: Shell) -> None:
    shown = counter.terminal("send", "counter", "Nope", "--wait").text
    assert shown.startswith("hb: no function 'Nope' is exported")
    assert "the outcome will be an error\n1\n" in shown
    assert "will be" not in counter.terminal("send", "counter", "Increment", "--wait").text
    plain = counter.terminal("send", "counter", "Nope", "1").text
    assert plain.startswith("hb: no function 'Nope' is exported"), "a plain send says so, too"
    outcome = counter.hb("send", "counter", "Nope", "--wait")
    assert (outcome.code, outcome.err) == (15, "")
