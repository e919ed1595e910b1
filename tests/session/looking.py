"""The chapters of somebody who looks and asks: every view of a history, programs that fail, AO programs."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

from programs import SPEAKER
from session.recorder import UNKNOWN_ID, counter_home

if TYPE_CHECKING:
    from collections.abc import Callable

    from session.recorder import Recorder


def looking(recorder: Recorder) -> None:
    """`hb state`, `result`, `list`, `inspect`, `diff` and `trace`."""
    place = counter_home(recorder, "looking")
    place.everywhere("list")
    place.everywhere("inspect counter")
    place.everywhere("state counter --slot 1")
    place.everywhere("state counter")
    for path in ("counter", "results/output", "results/error", "hashpath", "at/all", "results/nosuch"):
        place.everywhere(f"state counter {path}")
    for reference in ("0", "2", "3", "now", "now~1", "9", "one", "-1", UNKNOWN_ID, "now~99"):
        place.hb(f"state counter --slot {reference}")
        place.hb(f"result counter {reference}")
        place.hb(f"inspect counter --slot {reference}")
    place.everywhere("result counter 3")
    place.everywhere("result counter 4", columns=60)
    for words in (
        "--from 2", "--to now~2", "--from 1 --to 3 --reverse", "--sender alice --sender bob", "--action Increment",
        "--error", "--no-error", "--since 2023-11-14T22:13:23Z", "-n 2", "--reverse -n 1", "--sender HAxJ", "--slot 4",
    ):  # fmt: skip
        place.everywhere(f"inspect counter {words}", columns=140)
    for words in ("--sender no", "--since soon", "--since 2023-11-14", "--from 9", "--action nosuch"):
        place.hb(f"inspect counter {words}")
    place.tty("inspect counter", 60)
    place.tty("list", 60)
    place.hb("state counter", env={"NO_COLOR": "1"})
    for words in ("1 2", "1", "0 3 --stat", "3 4", "2 2"):
        place.everywhere(f"diff counter {words}")
    for words in ("1", "3", "4", "now", "0", "2 --host-calls 1"):
        place.everywhere(f"trace counter {words}")
    place.hb("trace counter 9")
    place.fixed("spawn ledger.wasm --name ledger")
    for call in ("Mint 1 100", "Transfer 1 2 30", "Transfer 1 2 1000", "Mint 1 -1", "Balance 2", "Supply"):
        place.fixed(f"send ledger {call} --wait")
    for words in ("1 2", "1 3 --stat", "0"):
        place.everywhere(f"diff ledger {words}")
    place.everywhere("trace ledger 2")
    place.everywhere("trace ledger 4")
    place.everywhere("inspect ledger")
    place.records()


def hostile(recorder: Recorder) -> None:
    """The samples that fail on purpose."""
    place = recorder.place("hostile")
    for name, calls in (
        ("trap", ("Unreachable", "DivideByZero", "OutOfBounds", "GrowAndTrap", "Increment", "Read")),
        ("grow", ("Grow", "Size")),
        ("loop", ("Loop",)),
        ("recurse", ("Recurse",)),
    ):
        place.fixed(f"spawn {name}.wasm --name {name} --gas-limit 1000000 --memory-limit 40")
        for call in calls:
            place.fixed(f"send {name} {call} --wait")
            place.tty(f"result {name}")
            place.hb(f"trace {name}")
        place.hb(f"inspect {name}")
        place.tty(f"trace {name} 1")
    place.records()


def computing(recorder: Recorder) -> None:
    """`hb compute` of one and of several, by several programs, and following."""
    place = counter_home(recorder, "computing")
    place.fixed("spawn ledger.wasm --name ledger")
    place.fixed("send ledger Mint 1 100")
    place.hb("compute counter --slot 2")
    place.hb("compute counter --slot 9")
    place.hb("compute counter nosuch")
    place.hb("compute --all --jobs 2")
    place.tty("compute --all")
    place.hb("compute counter ledger --json")

    def send(process: str) -> Callable[[], object]:
        def act() -> None:
            place.fixed(f"send {process} Supply")
            place.fixed(f"send {process} Balance 1")

        return act

    place.fixed("send ledger Supply")
    place.follow("compute ledger --follow", 3, send("ledger"))

    def send_and_compute() -> None:
        send("ledger")()
        place.hb("compute ledger")

    place.follow("inspect ledger --follow --from 0", 7, send_and_compute)
    with (place.shell.home / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place.hb("--lock-timeout 0.1 list")
        place.hb("--lock-timeout 0.1 send counter Increment --json")
    place.records()


def calling(recorder: Recorder) -> None:
    """`hb call`: what would be answered."""
    place = counter_home(recorder, "calling")
    for words in (
        "counter ReadValue", "counter ReadValue --slot 1", "counter Add 2 --slot now~1 --as alice", "counter Nonsense",
        "counter ReadValue --slot 9", "nosuch ReadValue", "counter Add 1 --tag k=v --data text",
        "counter ReadValue --as nobody",
    ):  # fmt: skip
        for more in ("", " --json"):
            place.hb(f"call {words} --anchor c --timestamp 1700000100000{more}")
        place.tty(f"call {words} --anchor c --timestamp 1700000100000")
    place.hb("call counter ReadValue --timestamp 1")
    place.hb("inspect counter")
    place.records()


def talking(recorder: Recorder) -> None:
    """`hb eval` and `hb repl` with a program of the AO ABI, and what it has in its outbox."""
    place = recorder.place("talking")
    place.shell.write("speaker.wat", SPEAKER)
    place.shell.write("code.lua", "1 + 1")
    place.fixed("spawn speaker.wat --name me --gas-limit 1000000")
    for word in ("1", "n", "n", "e", "p", "l", "z", "c", "q", "j", "w", "m", "else"):
        place.fixed(f"eval me {word}")
    place.fixed("eval me 1 --json --as alice")
    place.fixed("eval me e --json")
    place.fixed("eval me @code.lua --tag Mood=good")
    place.fixed("eval me -", stdin="m")
    place.fixed("eval me", stdin=b"\xff\xfe")
    place.hb("eval me 1 --anchor a2 --timestamp 1700000900000")
    place.hb("eval nosuch 1")
    place.hb("eval me @none")
    for word in ("1", "e", "c", "p", "q", "j", "m"):
        place.tty(f"eval me {word} --anchor t{word} --timestamp 1700000900000", with_stderr=True)
    for words in (
        "result me now",
        "result me 12",
        "state me",
        "state me results/outbox/1/action",
        "inspect me",
        "list",
    ):
        place.everywhere(words)
    place.everywhere("call me --data m --anchor c --timestamp 1700000900000")
    place.everywhere("trace me 5")
    place.everywhere("diff me 2 3")
    place.records()
    place.hb("repl me", stdin="1\nn\n\ne\nl\nfunction f()\n1\nend\n")
    place.hb("repl me --as alice", stdin="p")
    place.hb("repl me --json", stdin="1\ne\n", hide_ids=True)
    place.hb("repl me", stdin=b"\xff\n")
    place.hb("repl nosuch", stdin="1\n")
    place.hb("repl me --as nobody", stdin="1\n")
    place.fixed("spawn counter.wasm --name counter")
    place.hb("eval counter 1 --anchor e --timestamp 1700000900000")


def real_module(recorder: Recorder) -> None:
    """A real aos module with a large memory, where `scripts/fetch-modules` has fetched it."""
    if recorder.modules is None:
        recorder.write("    left out: no modules here")
        return
    place = recorder.place("aos")
    place.shell.write("aos.wasm", (recorder.modules / "aos2_0_6.wasm").read_bytes())
    place.hb("module inspect aos.wasm")
    place.fixed("spawn aos.wasm --name me")
    place.fixed("eval me 'x = (x or 0) + 1; return x'")
    place.fixed("eval me 'x = x + 1; return x' --json")
    place.fixed("eval me 'error(\"no\")'")
    place.fixed(
        "eval me -",
        stdin='Handlers.add("pay", "Pay", function(m) Send({Target = m.From, Action = "Paid", Data = m.Data}) end)',
    )
    place.fixed("send me Pay --data 100 --as bob --wait")
    place.fixed("eval me 'return x' --as alice")
    place.fixed('eval me \'Send({Target = ao.id, device = "patch@1.0", balance = "100"})\'')
    batch = "".join(json.dumps({"action": "Eval", "data": "x = x + 1", "anchor": f"b{n}"}) + "\n" for n in range(20))
    place.hb("send me --batch - --timestamp 1700000100000", stdin=batch)
    for words in (
        "result me 5",
        "state me balance",
        "state me results/outbox",
        "inspect me",
        "list",
        "trace me 2",
        "diff me 2 3",
    ):
        place.everywhere(words)
    place.hb("call me Eval --data 'return x' --slot 2 --anchor c --timestamp 1700000100000")
    place.fixed("fork me --slot 3 --name forked")
    place.fixed("eval forked 'return x'")
    place.hb("export me -o me.history")
    place.file("me.history")
    place.hb("export me --slot 3 --witness -o me.witness")
    place.hb("verify me.witness me.history --replay")
    place.hb("verify --all --replay")
    place.records()
    place.hb("repl me", stdin="x = x + 1\nfunction double(n)\n  return 2 * n\nend\nreturn double(x)\n")
