"""The chapters of forks, files, verification, messages and completion."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from programs import PLAYGROUND, SPEAKER
from session.recorder import UNKNOWN_ID, counter_home

if TYPE_CHECKING:
    from session.recorder import Recorder


def forking(recorder: Recorder) -> None:
    """`hb fork` and `hb replay`."""
    place = counter_home(recorder, "forking")
    place.fixed("fork counter --slot 2 --name what-if")
    place.fixed("fork counter --slot 2 --name by-two --module counter2.wasm --json")
    place.fixed("fork what-if --name deeper --as alice --tag k=v --json")
    place.tty("fork counter --slot 1 --anchor t --timestamp 1700000100000", with_stderr=True)
    place.hb("fork counter --slot 1 --anchor t --timestamp 1700000100000")
    place.fixed("send what-if Increment --wait")
    place.fixed("send by-two Increment --wait")
    place.fixed("send deeper Add 7 --wait")
    for words in (
        "fork counter --slot 9", "fork counter --module ledger.wasm", "fork nosuch", "fork counter --name counter",
        "fork counter --module none.wasm", "fork counter --tag x", "fork counter --as nobody",
    ):  # fmt: skip
        place.hb(words)
        place.hb(f"{words} --json")
    for name in ("what-if", "by-two", "deeper"):
        place.everywhere(f"state {name}")
        place.everywhere(f"inspect {name}", columns=140)
        place.hb(f"inspect {name} --definition")
        place.hb(f"verify {name} --replay")
    place.everywhere("diff by-two 2 now")
    place.everywhere("trace deeper")
    place.everywhere("list")
    for words in ("counter", "counter --all", "counter --to 1", "by-two", "deeper --all", "counter --to 9", "nosuch"):
        place.everywhere(f"replay {words} --module counter2.wasm")
    place.everywhere("replay counter --module counter.wasm")
    place.everywhere("replay counter --module ledger.wasm")
    place.hb("replay counter --module none.wasm")
    place.records()


def files(recorder: Recorder) -> None:
    """`hb export`, `import`, `attest` and `verify FILE`."""
    place = counter_home(recorder, "files")
    place.hb("compute counter --slot 4")
    place.fixed("fork counter --slot 2 --name forked")
    place.fixed("send forked Increment")
    place.hb("compute forked")
    for words in (
        "counter -o c.history", "counter --to 2 -o c2.history", "forked -o f.history --images",
        "counter --slot 2 --witness -o c.witness", "forked --slot 3 --witness -o f.witness",
    ):  # fmt: skip
        place.everywhere(f"export {words}")
        place.file(words.split("-o ")[1].split()[0])
    for words in ("counter --slot 9 -o x", "counter --slot 9 --witness -o x", "nosuch -o x", "counter -o none/x"):
        place.hb(f"export {words}")
    place.everywhere("attest c.witness --as alice")
    place.everywhere("attest counter --slot 1 -o a.witness")
    place.hb("attest c.witness -o copy.witness --as bob")
    for name in ("c.witness", "a.witness", "copy.witness"):
        place.file(name)
    for words in ("none.witness", "c.history", "c.witness --as nobody", "counter --slot 9 -o x"):
        place.hb(f"attest {words}")
    other = recorder.place("imported")
    for name in ("c.history", "c2.history", "f.history", "c.witness", "copy.witness"):
        other.shell.write(name, (place.shell.directory / name).read_bytes())
    other.everywhere("verify c.witness")
    other.everywhere("verify copy.witness")
    other.everywhere("verify c.history f.history --replay")
    other.hb("import c2.history --name theirs --json")
    other.hb("import c2.history")
    other.tty("import c.history", with_stderr=True)
    other.hb("import f.history --name forked --no-replay --json")
    other.hb("import c.witness")
    other.hb("import none.history")
    other.hb("import c.history --name forked")
    other.hb("send theirs Increment --anchor s --timestamp 1700000050000")
    other.everywhere("state theirs")
    other.hb("call theirs Increment --anchor c --timestamp 1700000100000")
    other.hb("verify --all --replay")
    other.hb("fork theirs --name mine --anchor f --timestamp 1700000060000")
    other.records()
    shutil.copy(other.shell.home / "keys" / "bob.json", other.shell.home / "keys" / "default.json")
    other.hb("send theirs Increment")
    other.hb("send theirs Increment --json --as alice")
    whole = (other.shell.directory / "c.history").read_bytes()
    for name, content in (
        ("cut.history", whole[:-40]), ("flipped.history", whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]),
        ("more.history", whole + b"x"), ("text.history", b"hello"), ("empty.history", b""),
        ("newer.history", whole.replace(b"hb history 1", b"hb history 9")),
    ):  # fmt: skip
        other.shell.write(name, content)
        other.hb(f"verify {name}")
        other.hb(f"import {name}")
        other.hb(f"import {name} --json")


def verifying(recorder: Recorder) -> None:
    """`hb verify` of what is intact, of what is damaged, and repairing it."""
    place = counter_home(recorder, "intact")
    place.everywhere("verify counter")
    place.hb("compute counter")
    place.everywhere("verify counter --replay")
    place.everywhere("verify --all")
    place.hb("verify nosuch")
    place.hb("verify counter.wasm")
    place.hb("verify counter --repair")
    for kind, at in (
        (b"p/", 0),
        (b"i/", 0),
        (b"h/", 0),
        (b"a/", 2),
        (b"m/", 0),
        (b"s/", 2),
        (b"v/", -1),
        (b"g/", 0),
        (b"n/", 0),
    ):
        hurt = counter_home(recorder, f"damaged-{kind[:1].decode()}")
        hurt.hb("compute counter")
        hurt.fixed("spawn ledger.wasm --name ledger")
        hurt.fixed("send ledger Mint 1 100 --wait")
        hurt.damage(kind, at)
        for words in (
            "state counter",
            "state counter --slot 1",
            "inspect counter",
            "list",
            "verify counter",
            "verify counter --replay",
        ):
            hurt.hb(words)
        hurt.hb("state counter --json")
        hurt.tty("verify --all")
        hurt.hb("verify --all --repair")
        hurt.hb("verify --all --replay --repair --json")
        hurt.tty("verify --all")
        hurt.hb("state counter")
        hurt.records()
    newer = counter_home(recorder, "newer-format")
    store = newer.shell.home / "store"
    (store / "CURRENT").unlink()
    for words in ("list", "init", "send counter Increment"):
        newer.hb(words)


def messages(recorder: Recorder) -> None:
    """`hb message` and `hb module`."""
    place = counter_home(recorder, "messages")
    plain = '{"action": "Increment", "Target": "x", "n": 5, "list": [1, {"a": 1.5}], "raw": {"$bytes": "_w"}}'
    signed = place.hb("message sign -", stdin=plain)
    twice = place.hb("message sign - --as alice --json", stdin=signed)
    for given in (plain, signed, twice):
        for which in ("all", "every", "none"):
            place.hb(f"message id - --which {which}", stdin=given)
        place.hb("message id - --json", stdin=given)
        place.hb("message verify -", stdin=given)
        place.hb("message verify - --json", stdin=given)
    place.hb("message verify -", stdin=signed.replace("Increment", "Decrement"))
    place.hb("message sign - --as nobody", stdin=plain)
    for given in ("", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', b"\xff"):
        place.hb("message id -", stdin=given)
        place.hb("message id - --json", stdin=given)
    place.hb("message id none.json")
    process = json.loads(place.hb("list"))["process"]
    sendable = place.hb(
        "message sign - --as bob", stdin=json.dumps({"action": "Increment", "target": process, "anchor": "s"})
    )
    place.hb("send counter --batch - --timestamp 1700000100000", stdin=sendable)
    found = place.hb("message id -", stdin=sendable).strip()
    place.everywhere(f"message show {found}")
    place.everywhere(
        f"state counter --slot {found[:8]}" if not found.startswith("-") else f"state counter --slot {found}"
    )
    place.hb(f"message show {UNKNOWN_ID}")
    for sample in sorted(place.shell.samples.glob("*.wasm")):
        place.everywhere(f"module inspect {sample.name}")
    place.shell.write("speaker.wat", SPEAKER)
    place.shell.write("play.wat", PLAYGROUND)
    place.shell.write("imports.wat", '(module (import "env" "clock" (func)) (func (export "F")))')
    place.shell.write("start.wat", '(module (func $s unreachable) (start $s) (func (export "F")))')
    place.shell.write("text.wasm", "hello")
    for name in ("speaker.wat", "play.wat", "imports.wat", "start.wat", "text.wasm", "none.wasm"):
        place.everywhere(f"module inspect {name}", columns=80)
    place.hb("module inspect -", stdin=(place.shell.samples / "counter.wasm").read_bytes())


def completion(recorder: Recorder) -> None:
    """`hb completion`, and what Tab offers."""
    place = counter_home(recorder, "completion")
    for shell in ("bash", "zsh", "fish", "powershell", "pwsh"):
        place.hb(f"completion {shell}")
    place.hb("completion", env={"SHELL": "/usr/bin/zsh"})
    place.hb("completion bash --json")
    for words in (
        "hb s",
        "hb key ",
        "hb send --w",
        "hb state cou",
        "hb compute ",
        "hb send counter A --as a",
        "hb state --",
    ):
        number = str(len(words.split(" ")) - 1)
        place.hb("", env={"_HB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number})
