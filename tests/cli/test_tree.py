"""`hb tree`: who caused what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import hb
from aowat import says, talker_module
from cli.conftest import prepared
from hb.records import keys
from hb_cli.views import tree as views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shell import Shell

FIRST_MS = 1_700_000_000_000
NOBODY = "N" * 43
UTC = {"TZ": "UTC", "NO_COLOR": "1"}


def pid(shell: Shell, name: str) -> str:
    """The ID of the process with this name."""
    return shell.records()[keys.name_key(name)].decode()


@prepared("plain")
def timed(shell: Shell) -> None:
    """A shell whose home has processes `ping` and `pong`, whose first messages are at `FIRST_MS`."""
    shell.write("talker.wat", talker_module())
    for name in ("ping", "pong"):
        shell.ok("spawn", "talker.wat", "--name", name, "--timestamp", str(FIRST_MS))


def send(shell: Shell, name: str, data: str) -> None:
    shell.ok("send", name, "Start", "--data", data, "--timestamp", str(FIRST_MS))


def push(shell: Shell, *words: str, code: int = 0) -> None:
    """Push 200 ms later."""
    outcome = shell.hb("push", *words, "--timestamp", str(FIRST_MS + 200))
    assert outcome.code == code, outcome


def lines(shell: Shell, *words: str, columns: int = 80) -> list[str]:
    """What `hb tree` shows on a terminal, without the spaces at the ends of lines."""
    shown = shell.terminal("tree", *words, columns=columns, env=UTC)
    assert shown.code == 0, shown
    assert "\x1b" not in shown.out
    return [line.rstrip() for line in shown.text.splitlines()]


def without_gas(line: str) -> str:
    """A line of a tree without the two columns at its right, which what is held does not have."""
    return line if "held:" in line else re.sub(r"( +[0-9,.M]+)? +([+-][0-9.]+s|[0-9:]{8})$", "", line).rstrip()


# In a pipe


def everything(shell: Shell) -> tuple[str, str, str]:
    """Have ping do everything that a process can ask for; gives the IDs of ping, pong, and of the first message."""
    ping, pong = pid(shell, "ping"), pid(shell, "pong")
    send(shell, "ping", "hello")
    first = shell.ok("inspect", "ping", "--slot", "1").json()["message"]
    image = shell.ok("list").lines()[0]["image"]
    messages = (
        {"Target": pong, "Action": "Fail", "Data": says(Error="boom")},
        {"Target": NOBODY, "Action": "Lost"},
        {"Target": ping, "Action": "Self", "Data": says({"Target": pong, "Action": "Deep"})},
    )
    spawns = [{"Anchor": "1", "Tags": [{"name": "Module", "value": name}]} for name in (image, "no-such-image")]
    assignments = [{"Message": first, "Processes": [pong, ping, ping]}, {"Message": NOBODY, "Processes": [pong]}]
    send(shell, "ping", says(*messages, Output={"data": "done"}, Spawns=spawns, Assignments=assignments))
    push(shell, "ping", code=15)
    return ping, pong, first


def test_each_node_is_a_line(timed: Shell) -> None:
    ping, pong, first = everything(timed)
    me = timed.ok("key", "show", "default").json()["address"]
    nodes = timed.ok("tree", "ping", "2").lines()
    root, fail, lost, itself, deep, child, told, no_image, assigned, here, twice, no_message = nodes
    always = {"depth", "process", "slot", "parent", "place", "message", "action", "from", "type", "gas", "timestamp"}
    assert all(set(node) >= always for node in nodes)
    assert [node["depth"] for node in nodes] == [0, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]
    row = timed.ok("inspect", "ping", "--slot", "2").json()
    assert root == {
        "depth": 0, "process": ping, "slot": 2, "parent": None, "place": None, "message": row["message"],
        "action": "Start", "from": me, "type": "ok", "gas": row["gas"], "timestamp": FIRST_MS, "answer": "done",
    }  # fmt: skip
    assert {node["place"] for node in nodes if node["depth"] == 1} == {
        "outbox/1", "outbox/2", "outbox/3", "spawns/1", "spawned/1", "spawns/2",
        "assignments/1", "assignments/2", "assignments/3", "assignments/4",
    }  # fmt: skip
    assert all(node["parent"] == {"process": ping, "slot": 2} for node in nodes if node["depth"] == 1)
    row = timed.ok("inspect", "pong", "--slot", str(fail["slot"])).json()
    assert fail == {
        "depth": 1, "process": pong, "slot": 1, "parent": {"process": ping, "slot": 2}, "place": "outbox/1",
        "message": row["message"], "action": "Fail", "from": ping, "type": "error", "kind": "program", "error": "boom",
        "gas": row["gas"], "timestamp": FIRST_MS + 200,
    }  # fmt: skip
    assert lost == {
        "depth": 1, "process": NOBODY, "slot": None, "parent": {"process": ping, "slot": 2}, "place": "outbox/2",
        "message": None, "action": "Lost", "from": ping, "type": None, "gas": None, "timestamp": None,
        "reason": "missing", "says": f"no process '{NOBODY}' here",
    }  # fmt: skip
    assert (itself["process"], itself["from"], deep["from"], deep["parent"]["process"]) == (ping, ping, ping, ping)
    assert (child["slot"], child["message"], child["from"]) == (0, child["process"], ping)
    assert (told["process"], told["action"], told["from"]) == (ping, "Spawned", ping)
    assert (no_image["process"], no_image["image"], no_image["reason"]) == (None, "no-such-image", "image")
    assert (assigned["process"], assigned["message"], assigned["from"]) == (pong, first, me)
    assert (here["process"], here["slot"], "repeated" in here) == (ping, 1, False)
    assert (twice["slot"], twice["repeated"]) == (1, True)
    assert (no_message["message"], no_message["reason"]) == (NOBODY, "missing")


def test_json_on_a_terminal_is_what_a_pipe_gets(timed: Shell) -> None:
    everything(timed)
    piped = timed.ok("tree", "ping", "2")
    assert timed.terminal("tree", "ping", "2", "--json").text == piped.out
    assert timed.ok("tree", "ping", "2", "--json").out == piped.out


def test_nothing_is_computed_or_delivered(timed: Shell) -> None:
    send(timed, "ping", says({"Target": pid(timed, "pong"), "Action": "Ping"}))
    before = timed.records()
    [root] = timed.ok("tree", "ping").lines()
    assert (root["slot"], root["type"], root["gas"]) == (1, None, None)
    assert lines(timed, "ping")[0].startswith("ping 1  Start  pending")
    assert timed.records() == before
    timed.ok("compute", "ping")
    root, leaf = timed.ok("tree", "ping").lines()
    assert (root["type"], leaf["reason"], leaf["says"]) == ("ok", "pending", "not delivered yet")
    assert lines(timed, "ping")[1] == "└ pong  Ping  not delivered yet"


def test_an_answer_to_who_sent_the_message_is_no_delivery(timed: Shell) -> None:
    me = timed.ok("key", "show", "default").json()["address"]
    send(timed, "ping", says({"Target": me, "Action": "Answer"}))
    push(timed, "ping")
    assert timed.ok("tree", "ping").lines()[1]["reason"] == "answer"
    assert lines(timed, "ping")[1] == f"└ {me[:10]}  Answer  an answer to the sender: it is in the results"


def test_a_message_that_was_delivered_says_from_whom_at_the_root_too(timed: Shell) -> None:
    send(timed, "ping", says({"Target": pid(timed, "pong")}))
    push(timed, "ping")
    [root] = timed.ok("tree", "pong").lines()
    assert (root["depth"], root["parent"], root["from"]) == (0, None, pid(timed, "ping"))


def test_up_is_the_way_from_the_root(timed: Shell) -> None:
    ping, pong = pid(timed, "ping"), pid(timed, "pong")
    inner = says({"Target": ping, "Action": "Two", "Data": says({"Target": pong, "Action": "Three"})})
    send(timed, "ping", says({"Target": pong, "Action": "Beside"}, {"Target": pong, "Action": "One", "Data": inner}))
    push(timed, "ping")
    nodes = timed.ok("tree", "pong", "--up").lines()
    assert [(node["depth"], node["process"], node["slot"], node["action"]) for node in nodes] == [
        (0, ping, 1, "Start"), (1, pong, 2, "One"), (2, ping, 2, "Two"), (3, pong, 3, "Three"),
    ]  # fmt: skip
    assert [node["place"] for node in nodes] == [None, "outbox/2", "outbox/1", "outbox/1"]
    assert nodes[3]["parent"] == {"process": ping, "slot": 2}
    assert [without_gas(line) for line in lines(timed, "pong", "3", "--up")] == [
        "ping 1  Start  ok",
        "└ pong 2  One  ok",
        "  └ ping 2  Two  ok",
        "    └ pong 3  Three  → fine",
    ]
    assert [node["slot"] for node in timed.ok("tree", "ping", "1", "--up").lines()] == [1]


# On a terminal


def test_a_tree_on_a_terminal(timed: Shell) -> None:
    everything(timed)
    child = next(node["process"] for node in timed.ok("tree", "ping", "2").lines() if node["place"] == "spawns/1")
    shown = lines(timed, "ping", "2", columns=100)
    assert [without_gas(line) for line in shown] == [
        "ping 2  Start  → done",
        "├ pong 1  Fail  ✗ boom",
        f"├ NNNNNNNNNN  Lost  held: no process '{NOBODY}' here",
        "├ ping 3  Self  ok",
        "│ └ pong 3  Deep  → fine",
        f"├ {child[:10]} 0  spawned  → fine",
        "├ ping 4  Spawned  → fine",
        "├ no-such-image  spawn  held: no image 'no-such-image' is stored here",
        "├ pong 2  Start assigned  → fine",
        "├ ping 1  Start assigned  → fine",
        "├ ping 1  Start assigned  shown above",
        f"└ pong  held: no message '{NOBODY}' is here",
    ]
    gas = timed.ok("inspect", "pong", "--slot", "1").json()["gas"]
    assert shown[0].endswith(" 22:13:20")
    assert shown[1].endswith(f"{gas:>8,}    +0.2s")
    assert len({len(line) for line in shown if "held" not in line}) == 1
    coloured = timed.terminal("tree", "ping", "2").out
    assert "\x1b[31m✗ boom" in coloured
    assert "\x1b[2;33m  held: no process" in coloured


@pytest.mark.parametrize(("columns", "parts"), [(80, 2), (60, 1), (40, 0)])
def test_a_tree_fits_the_terminal(timed: Shell, columns: int, parts: int) -> None:
    answer = "long answer " * 10
    send(timed, "ping", says({"Target": pid(timed, "pong"), "Data": says(Output={"data": answer})}))
    push(timed, "ping")
    shown = lines(timed, "ping", columns=columns)
    assert len(shown) == 2
    assert all(len(line) <= columns for line in shown)
    assert "long answer" in shown[1]
    assert ("+0.2s" in shown[1], "," in shown[1]) == (parts >= 1, parts >= 2)


def test_no_text_of_a_stranger_reaches_the_terminal_as_a_control_sequence(timed: Shell) -> None:
    evil = "\x1b[2J\x1b]0;x\x07"
    inner = says({"Target": "bob" + evil, "Action": "Act" + evil}, Output={"data": evil})
    send(timed, "ping", inner)
    push(timed, "ping")
    shown = timed.terminal("tree", "ping", env=UTC)
    assert "\x1b" not in shown.out
    assert "\x07" not in shown.out


def test_of_many_children_fifty_are_shown_on_a_terminal_and_all_in_a_pipe(timed: Shell) -> None:
    pong = pid(timed, "pong")
    deep = says({"Target": pong, "Action": "Below"})
    wide = says(*({"Target": pong, "Action": f"A{number}", "Data": deep} for number in range(60)))
    send(timed, "pong", says({"Target": pid(timed, "ping"), "Data": wide}, {"Target": pong, "Action": "Last"}))
    push(timed, "pong")
    nodes = timed.ok("tree", "pong", "1").lines()
    assert len(nodes) == 1 + 1 + 60 * 2 + 1
    shown = [without_gas(line) for line in lines(timed, "pong", "1")]
    assert shown[:4] == ["pong 1  Start  ok", "├ ping 1  Say  ok", "│ ├ pong 3  A0  ok", "│ │ └ pong 63  Below  → fine"]
    assert shown[-4].startswith("│ ├ pong 52  A49")
    assert shown[-2] == "│ └ … 10 more (hb tree ping 1 --json shows all)"
    assert shown[-1] == "└ pong 2  Last  → fine"
    assert len(shown) == 1 + 1 + 50 * 2 + 1 + 1


def test_a_deep_tree_stays_readable(timed: Shell) -> None:
    send(timed, "ping", says({"Target": pid(timed, "pong"), "Data": "@"}))
    push(timed, "ping", "--depth", "19", code=1)
    shown = [without_gas(line) for line in lines(timed, "ping", "1", columns=100)]
    assert [line[: len(line) - len(line.lstrip(" "))].count(" ") for line in shown] == [
        *(0, 0), *range(2, 32, 2), *([30] * 4),
    ]  # fmt: skip
    assert shown[16].strip() == "└ ping 9  Back  ok"
    assert shown[17].strip() == "└ [17] pong 9  Back  ok"
    assert shown[20].strip() == "└ [20] ping  Back  held: a push goes 19 messages deep"


def test_what_is_not_here_is_said(timed: Shell) -> None:
    assert timed.hb("tree", "nobody").code == 12
    assert timed.hb("tree", "ping", "7").code == 12
    assert timed.hb("tree", "ping", "what?").code == 13
    assert timed.hb("tree").code == 2


# Views


def node(depth: int, results: dict[str, Any] | None = None, slot: int | None = 1, **more: Any) -> hb.TreeNode:
    view = hb.SlotView("P" * 43, slot or 0, depth, None, "", "", "Act", [], computed=True, results=results or {})
    parent = None if depth == 0 else ("P" * 43, 1)
    return hb.TreeNode(depth, "P" * 43, slot, parent, more.pop("place", "outbox/1"), view, **more)


def called(process: str) -> str:
    return process[:4]


def test_a_chain_of_ten_thousand_messages_is_drawn_line_by_line() -> None:
    one = {"type": "ok", "outbox": {"1": {"target": "x"}}}
    drawn = 0

    def chain() -> Iterator[hb.TreeNode]:
        for depth in range(10_000):
            assert drawn == depth  # a line comes before the next node is asked for
            yield node(depth, one)

    for line in views.lines(chain(), 60, called):
        drawn += 1
        assert line.cell_len <= 60
    assert line.plain.lstrip().startswith("└ [9999] PPPP 1")


def test_a_spawn_that_is_last_is_followed_by_the_message_that_tells_of_it() -> None:
    asks = {"type": "ok", "spawns": {"1": {"module": "x"}, "2": {"module": "y"}}}
    nodes = [
        node(0, asks), node(1, place="spawns/1"), node(1, place="spawned/1"),
        node(1, place="spawns/2"), node(1, place="spawned/2"),
    ]  # fmt: skip
    assert [line.plain[:1] for line in views.lines(nodes, 80, called)] == ["P", "├", "├", "├", "└"]


def test_a_cut_at_the_end_is_told_at_the_end() -> None:
    asks = {"type": "ok", "outbox": {str(number): {"target": "x"} for number in range(1, 54)}}
    shown = [line.plain for line in views.lines([node(0, asks), *(node(1) for _ in range(53))], 80, called)]
    assert len(shown) == 52
    assert shown[-1] == "└ … 3 more (hb tree PPPP 1 --json shows all)"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "+0.0s"), (249, "+0.2s"), (59_999, "+59.9s"), (60_000, "+1m00s"), (3_599_999, "+59m59s"),
        (3_600_000, "+1h00m"), (86_399_999, "+23h59m"), (90_000_000, "+1d01h"), (-1500, "-1.5s"),
    ],
)  # fmt: skip
def test_times_are_offsets(milliseconds: int, text: str) -> None:
    assert views.offset(milliseconds) == text


@pytest.mark.parametrize(
    ("gas", "text"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (1_000_000, "1.0M"),
        (9_293_927, "9.2M"),
        (10**9, "1.0G"),
        (5 * 10**15, "5,000.0T"),
    ],
)
def test_gas_is_short(gas: int, text: str) -> None:
    assert views.short_gas(gas) == text
