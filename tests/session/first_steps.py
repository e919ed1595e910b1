"""The chapters of a newcomer: help, wrong command lines, homes, `hb spawn` and `hb send`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from programs import PLAYGROUND
from session.recorder import UNKNOWN_ID, counter_home

if TYPE_CHECKING:
    from session.recorder import Recorder

COMMANDS = [
    "init",
    "spawn",
    "send",
    "push",
    "tree",
    "call",
    "eval",
    "repl",
    "compute",
    "state",
    "result",
    "diff",
    "inspect",
    "trace",
    "fork",
    "replay",
    "export",
    "import",
    "attest",
    "verify",
    "list",
    "key",
    "message",
    "module",
    "completion",
]
GROUPS = (
    "key new",
    "key list",
    "key show",
    "message id",
    "message verify",
    "message sign",
    "message show",
    "module inspect",
)


def help_texts(recorder: Recorder) -> None:
    """The help of every command."""
    place = recorder.bare("help")
    place.hb("")
    place.hb("--help")
    place.tty("--help", 80)
    place.hb("--version")
    for command in (*COMMANDS, *GROUPS):
        place.hb(f"{command} --help")
    place.hb("--help", env={"FORCE_COLOR": "1"})


def usage(recorder: Recorder) -> None:
    """Command lines that make no sense, and commands where there is no home."""
    place = recorder.bare("usage")
    for words in (
        "stat", "state", "state p path more", "send p --wiat", "send p --timestamp soon", "send p --timestamp -1",
        "--lock-timeout -1 list", "--lock-timeout nan list", "list --lock-timeout inf", "compute", "compute p --all",
        "compute p q --follow", "compute p --follow --slot 1", "compute --jobs 0 --all", "inspect p --slot 1 --from 0",
        "inspect p --definition --reverse", "inspect p --follow --reverse", "inspect p -n 0", "spawn",
        "send p Act --batch -", "message id - --which some", "completion tcsh", "completion", "key", "message",
        "module", "verify", "verify p --all", "verify f.history --repair", "export p", "export p -o f --witness",
        "attest p", "attest p --slot 1", "trace p --host-calls -1", "replay p", "key show", "message show",
        "spawn counter.wasm --gas-limit 0", "diff p", "call", "eval", "fork", "import", "result",
    ):  # fmt: skip
        place.hb(words)
        place.hb(f"{words} --json")
    for words in (
        "list", "state p", "inspect p", "send p A", "call p A", "eval p 1", "repl p", "compute --all", "compute p",
        "result p", "diff p 1", "trace p", "fork p", "replay p --module counter.wasm", "export p -o f",
        "verify --all", "key list", "key show default", "message show x", "attest p --slot 1 -o f",
        "import none.history",
    ):  # fmt: skip
        place.hb(words)
    place.tty("list", with_stderr=True)
    place.hb("list", env={"FORCE_COLOR": "1"})
    place.hb("list", env={"HB_HOME": "/nowhere/at/all"})


def homes(recorder: Recorder) -> None:
    """Homes and keys."""
    place = recorder.bare("homes")
    place.hb("init", hide_ids=True)
    place.hb("init", hide_ids=True)
    place.hb("init project", hide_ids=True)
    place.hb("init project --json", hide_ids=True)
    place.hb("--home there --json init", hide_ids=True)
    place.hb("init", env={"HB_HOME": "named"}, hide_ids=True)
    place.shell.write("busy", "a file")
    place.hb("init --home busy")
    place.hb("init --home user/..")
    place.hb("key new carol", hide_ids=True)
    place.hb("key new carol")
    place.hb("key new dave --json", hide_ids=True)
    place.hb("key new 'not a name'")
    place.hb("--home user/made key new erin", hide_ids=True)
    keys = recorder.place("keys")
    keys.everywhere("key list")
    keys.everywhere("key show alice")
    keys.hb("key show alice --secret")
    keys.hb("key show nobody")
    keys.hb("--json key --home .hb list")
    (keys.shell.home / "keys" / "bob.json").chmod(0o644)
    keys.hb("key show bob")
    (keys.shell.home / "keys" / "bob.json").write_text("{}")
    keys.hb("key show bob")
    (keys.shell.home / "config.toml").write_text("[host]\nmessage-limit = 'many'\n")
    keys.hb("spawn counter.wasm")
    (keys.shell.home / "config.toml").write_text("[hosts]\n")
    keys.hb("spawn counter.wasm --json")


def spawning(recorder: Recorder) -> None:
    """`hb spawn`: what it takes and what it refuses."""
    place = recorder.place("spawning")
    place.fixed("spawn counter.wasm")
    same = "spawn counter.wasm --name counter --tag a=1 --tag B=2 --as alice --anchor same --timestamp 1700000000000"
    place.hb(f"{same} --initial-state '{{\"counter\": 7}}'")
    place.hb(f"{same} --initial-state '{{\"counter\": 7}}' --json")
    place.tty(same, with_stderr=True)
    place.fixed("spawn ledger.wasm --name ledger --gas-limit 100000 --memory-limit 2 --result-limit 4096 --json")
    place.shell.write("play.wat", PLAYGROUND)
    place.shell.write("bad.wat", "(module")
    place.shell.write("state.json", '{"counter": 3}')
    place.shell.write("empty.wasm", b"")
    place.fixed("spawn play.wat --name play --device wasm64@1.0")
    place.fixed("spawn counter.wasm --initial-state @state.json --json")
    place.fixed("spawn counter.wasm --initial-state - --json", stdin='{"counter": -1}')
    place.fixed("spawn - --name piped", stdin=(place.shell.samples / "counter.wasm").read_bytes())
    definition = place.hb("inspect counter --definition")
    place.hb("inspect counter --definition --json")
    place.shell.write("counter.toml", definition)
    place.hb("spawn --definition counter.toml --name again --as alice --timestamp 1700000000000")
    place.hb("spawn --definition counter.toml --name third --timestamp 1700000000000 --anchor other")
    for words in (
        "spawn bad.wat", "spawn empty.wasm", "spawn none.wasm", "spawn counter.wasm --name counter --anchor x",
        "spawn counter.wasm --initial-state '{\"nosuch\": 1}'", "spawn counter.wasm --initial-state '[1]'",
        "spawn counter.wasm --initial-state '{'", "spawn counter.wasm --tag novalue", "spawn counter.wasm --tag image=x",
        "spawn counter.wasm --device nosuch@1.0", "spawn counter.wasm --name 'two words'",
        "spawn counter.wasm --as nobody", "spawn counter.wasm --gas-limit 99999999999999999999",
        "spawn --definition state.json", "spawn --definition none.toml",
    ):  # fmt: skip
        place.hb(words)
        place.hb(f"{words} --json")
    place.hb("list")
    place.records()


def sending(recorder: Recorder) -> None:
    """`hb send`, one by one and in batches, and what it refuses."""
    place = counter_home(recorder, "sending")
    place.hb("send counter Increment --as alice --anchor a2 --timestamp 1700000009000")
    place.fixed("send counter Increment --json")
    place.fixed("send counter ReadValue --wait")
    place.fixed("send counter ReadValue --wait --json")
    place.fixed("send counter Nonsense --wait")
    place.fixed("send counter Add 1 --data @counter.wasm --wait")
    place.tty("send counter ReadValue --wait --anchor tty --timestamp 1700000100000")
    place.tty("send counter Add x --wait --anchor tty2 --timestamp 1700000100000", 60)
    batch = "".join(json.dumps({"action": "Add", "parameters": [n], "anchor": f"b{n}"}) + "\n" for n in range(5))
    batch += '{"anchor": "b5", "data": {"$bytes": "_w"}, "tags": {"z": "1", "a": "2"}}\n\n'
    at = "--timestamp 1700000200000"
    place.hb(f"send counter --batch - {at}", stdin=batch)
    place.hb(f"send counter --batch - {at} --json", stdin=batch)
    place.hb(f"send counter --batch - {at} --wait", stdin='{"action": "Increment", "anchor": "c1"}\n{"anchor": "c2"}\n')
    place.hb(f"send counter --batch - {at} --wait --json", stdin='{"action": "Increment", "anchor": "c3"}\n')
    place.hb(f"send counter --batch - {at}")
    for line in (
        "no json",
        '{"action": 1}',
        '{"nosuch": 1}',
        "[]",
        '{"tags": {"a": 1}, "tags": {}}',
        '{"commitments": {}}',
    ):
        place.hb(f"send counter --batch - {at}", stdin=f'{{"anchor": "ok"}}\n{line}\n')
    for words in (
        "send counter Increment --timestamp 1", "send counter Increment --as nobody", "send counter A --tag x",
        "send counter A --data @none", "send nosuch A", "send abc A", f"send {UNKNOWN_ID} A", "send '' A",
        "send counter --batch none",
    ):  # fmt: skip
        place.hb(words)
        place.hb(f"{words} --json")
    (place.shell.home / "config.toml").write_text("[host]\nmessage-limit = 2000\nbatch-messages = 2\n")
    place.hb(f"send counter --data {'x' * 3000}")
    place.hb("send counter --batch -", stdin='{"anchor": "1"}\n{"anchor": "2"}\n{"anchor": "3"}\n')
    place.hb("compute counter")
    place.records()
