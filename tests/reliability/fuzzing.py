"""Feeds hb what nobody should: the program that `test_fuzz.py` runs, in a process of its own.

    python fuzzing.py TARGET SEED INPUTS DIRECTORY

Each input is on the disk before it is tried, so that one that kills the interpreter is there to look at; one that
takes longer than a minute ends the program. Prints one JSON line: how many inputs ran, and what became of them.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import json
import os
import random
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb import home as homes
from hb.environment import system_environment
from hb.errors import Refused
from hb.protocol import message as messages
from hb.protocol.commitment import Key, sign, verify
from hb.protocol.definition import Limits
from hb.protocol.request import addressed, build_message
from hb.records import keys
from hb.wasm import module
from hb.wasm.instance import Instance

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it is also run as a program of its own

from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.home import Home

HANG_S = 60
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
PROGRAM = Path(sys.executable).parent / "hb"
ALICE = Key(b"a" * 32)

# -- bytes that are almost right

_ODD_BYTES = (
    b"",
    b"\0",
    b"\xff" * 5,
    b"\x80" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x7f",
    b"\x0b",
    b"\xed\xa0\x80",
)


def mangled(chance: random.Random, data: bytes, words: tuple[bytes, ...] = _ODD_BYTES) -> bytes:
    """`data` with a few things wrong: bytes changed, lost, doubled, moved, or put in from `words`."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at, size = chance.randrange(len(changed) + 1), chance.choice((1, 1, 2, 4, 9, 40))
        match chance.randrange(8):
            case 0:
                del changed[at : at + size]
            case 1:
                changed[at:at] = changed[chance.randrange(len(changed) + 1) :][:size]
            case 2:
                changed[at : at + size] = chance.choice(words)
            case 3:
                changed[at:at] = chance.choice(words)
            case 4 if chance.randrange(4) == 0:
                del changed[at:]
            case 5 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case _ if at < len(changed):
                changed[at] = chance.randrange(256)
    return bytes(changed)


def _leb(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _sections(wasm: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 8
    while at < len(wasm):
        number, size, shift = wasm[at], 0, 0
        while True:
            at += 1
            size |= (wasm[at] & 0x7F) << shift
            shift += 7
            if wasm[at] < 0x80:
                break
        found.append((number, wasm[at + 1 : at + 1 + size]))
        at += 1 + size
    return found


def mangled_module(chance: random.Random, pool: list[bytes]) -> bytes:
    """A module with something wrong in it: anywhere, or within a section whose size is then made right again."""
    wasm = chance.choice(pool)
    if chance.randrange(3) == 0:
        return mangled(chance, wasm)
    sections = _sections(wasm)
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(sections))
        match chance.randrange(8):
            case 0:
                sections[at] = chance.choice(_sections(chance.choice(pool)))
            case 1:
                sections.insert(at, chance.choice(sections))
            case 2 if len(sections) > 1:
                del sections[at]
            case 3 | 4 | 5 if sections[at][1]:
                body = bytearray(sections[at][1])
                body[chance.randrange(len(body))] = chance.choice((0, 1, 2, 3, 127, chance.randrange(256)))
                sections[at] = (sections[at][0], bytes(body))
            case _:
                sections[at] = (sections[at][0], mangled(chance, sections[at][1]))
    return wasm[:8] + b"".join(bytes([number]) + _leb(len(body)) + body for number, body in sections)


# What the samples have not: tables, 64-bit memory, exceptions, vectors, passive data, starts, imports, the AO ABI.
HAND_MADE = (
    """(module (type $t (func (param i32) (result i32))) (table 4 8 funcref) (elem (i32.const 1) $a $b)
      (func $a (type $t) (local.get 0)) (func $b (type $t) (i32.add (local.get 0) (i32.const 1)))
      (func (export "Call") (param i32 i32) (result i32) (call_indirect (type $t) (local.get 1) (local.get 0)))
      (func (export "Tail") (param i32) (result i32) (return_call $b (local.get 0)))
      (func (export "Ref") (result funcref) (ref.func $a)) (elem declare func $a))""",
    """(module (memory (export "m") i64 1 3) (global (export "g") (mut i64) (i64.const 7)) (data (i64.const 8) "hello")
      (func (export "Load") (param i64) (result i32) (i32.load offset=4 (local.get 0)))
      (func (export "Grow") (param i64) (result i64) (memory.grow (local.get 0)))
      (func (export "Fill") (param i64 i32 i64) (memory.fill (local.get 0) (local.get 1) (local.get 2))))""",
    """(module (tag $e (param i32 i64)) (memory 1)
      (func (export "Catch") (param i32) (result i32 i64) (block $h (result i32 i64)
        (try_table (catch $e $h) (throw $e (local.get 0) (i64.const 5))) (unreachable)))
      (func (export "Throw") (throw $e (i32.const 1) (i64.const 2))))""",
    """(module (memory 1) (data $d "abcdefgh") (global $v (mut v128) (v128.const i32x4 1 2 3 4))
      (global (export "f") (mut f32) (f32.const nan)) (global (export "d") (mut f64) (f64.const -0))
      (func (export "Init") (param i32) (memory.init $d (local.get 0) (i32.const 0) (i32.const 4)))
      (func (export "Mix") (param i32) (result i64) (i64x2.extract_lane 1 (i32x4.add (i32x4.splat (local.get 0))
        (v128.const i32x4 1 2 3 4)))) (func (export "Give") (result v128) (v128.const i64x2 1 2)))""",
    """(module (global $n (mut i32) (i32.const 0)) (global (export "n") i32 (i32.const 3)) (export "N" (global $n))
      (func $s (global.set $n (i32.const 41))) (start $s)
      (func (export "Many") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
        (local.get 3) (local.get 2) (local.get 1) (local.get 0))
      (func (export "Switch") (param i32) (result i32) (block (block (block (br_table 0 1 2 0 (local.get 0)))
        (return (i32.const 1))) (return (i32.const 2))) (i32.const 3))
      (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1)))))""",
    """(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
      (import "env" "emscripten_notify_memory_growth" (func $g (param i32)))
      (memory (export "memory") 1 4) (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00") (data (i32.const 16) "hello\\n")
      (func (export "Print") (param i32 i32) (result i32) (call $w (i32.const 1) (local.get 0) (local.get 1) (i32.const 8)))
      (func (export "Draw") (param i32 i32) (result i32) (call $g (i32.const 0)) (call $r (local.get 0) (local.get 1))))""",
    """(module (memory (export "memory") 2) (global $next (mut i32) (i32.const 4096))
      (data (i32.const 64) "{\\22ok\\22:true,\\22response\\22:{\\22Output\\22:{\\22data\\22:\\22hi\\22},\\22Messages\\22:[]}}\\00")
      (func (export "malloc") (param $n i32) (result i32) (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get $n))))
      (func (export "handle") (param i32 i32) (result i32) (i32.const 64)))""",
)  # fmt: skip


def modules_pool() -> list[bytes]:
    """The samples, and the hand-made modules twice as often."""
    return [path.read_bytes() for path in sorted(SAMPLES.glob("*.wasm"))] + [
        module.from_text(text) for text in HAND_MADE
    ] * 2


# -- the targets: each is a generator that tries one input at a time, and says what became of it


class Wrong(Exception):
    """Something that hb must never do."""


class Bench:
    """A home with a counter, in a directory of its own, and a record of the input at hand."""

    def __init__(self, chance: random.Random, directory: Path) -> None:
        self.chance = chance
        self.directory = directory
        self.home: Home = homes.create(directory / ".hb", seed=b"d" * 32)
        self.node = Node(self.home)
        (directory / "counter.wasm").write_bytes((SAMPLES / "counter.wasm").read_bytes())
        self.pid = self.node.spawn(
            (SAMPLES / "counter.wasm").read_bytes(), signer=ALICE, environment=system_environment(), name="counter"
        ).process
        self._input = os.open(directory / "input", os.O_RDWR | os.O_CREAT, 0o600)

    def note(self, what: bytes) -> None:
        """Has the input on the disk before it is tried."""
        os.ftruncate(self._input, 0)
        os.pwrite(self._input, what, 0)

    def newest(self) -> int:
        """The newest slot of the counter."""
        with self.home.storage.session() as store:
            raw = store.get(keys.head_key(self.pid))
        return int(json.loads(raw or b"{}")["slot"])

    def hb(self, words: list[str], stdin: bytes = b"", allowed: tuple[int, ...] = (0, 13)) -> tuple[int, str, str]:
        """Runs `hb WORDS` in this process, and looks at how it ended: exit code, stdout, stderr."""
        from hb_cli import main

        self.note(repr(words).encode() + b"\n" + stdin)
        before = sys.stdin, sys.stdout, sys.stderr
        out, err = io.BytesIO(), io.BytesIO()
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        sys.stdout = io.TextIOWrapper(out, encoding="utf-8", errors="strict")
        sys.stderr = io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace")
        streams = sys.stdout, sys.stderr  # closed, they would take with them what was written
        try:
            code = main.run(words)
            for stream in streams:
                stream.flush()
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
            gc.unfreeze()  # a run ends as if the program did: what it leaves is garbage here
        return look_at(code, out.getvalue(), err.getvalue(), allowed)


def look_at(code: int, raw_out: bytes, raw_err: bytes, allowed: tuple[int, ...]) -> tuple[int, str, str]:
    """How a run of hb ended, if it is how one may end.

    Raises:
        Wrong: it is not.
    """
    out, err = raw_out.decode("utf-8", "replace"), raw_err.decode()
    if code not in allowed:
        raise Wrong(f"exit code {code}: {err}")
    if "Traceback" in err or "bug in hb" in err:
        raise Wrong(err)
    if code not in (0, 2, 15) and not any(line.startswith(("hb: error: ", '{"')) for line in err.splitlines()):
        raise Wrong(f"exit code {code}, and no sentence: {err!r}")
    return code, out, err


def fuzz_modules(bench: Bench) -> Iterator[str]:
    """Mangled modules: looked at, compiled, run; every fourth is spawned, sent to, and computed too."""
    pool, limits = modules_pool(), Limits(gas=20_000, memory_pages=8, result_bytes=1000)
    turn = 0
    while True:
        turn += 1
        wasm = mangled_module(bench.chance, pool)
        bench.note(wasm)
        try:
            info = module.inspect(wasm)
        except Refused:
            try:
                module.load(wasm)
            except Refused:
                yield "refused by inspect"
                continue
            raise Wrong("inspect refuses what load takes") from None
        try:
            loaded = module.load(wasm)
        except Refused:
            yield "refused by load"
            continue
        if loaded.info != info:
            raise Wrong("load and inspect do not see the same")
        yield _run_module(bench, wasm, loaded, limits, spawned=turn % 4 == 0)


def _run_module(bench: Bench, wasm: bytes, loaded: module.Module, limits: Limits, *, spawned: bool) -> str:
    if spawned:
        return _spawn_module(bench, wasm, loaded, limits)
    try:
        module.check(loaded.info, ())
        instance = Instance(loaded, limits)
    except Refused:
        return "refused by check"
    if instance.start_failure is not None:
        return "failed at its start"
    for name, kind in loaded.info.functions.items():
        if {*kind.params, *kind.results} <= {"i32", "i64", "f32", "f64"}:
            outcome = instance.call(name, [bench.chance.choice((0, 1, 3, 65535, -1)) for _ in kind.params])
            if not 0 <= outcome.gas <= limits.gas:
                raise Wrong(f"{outcome.gas} gas of {limits.gas}")
    if instance.memory_pages > limits.memory_pages or len(instance.raw_globals()) != len(loaded.state.globals):
        raise Wrong("more memory than it may have, or other globals")
    return "run"


def _spawn_module(bench: Bench, wasm: bytes, loaded: module.Module, limits: Limits) -> str:
    environment = system_environment()
    try:
        pid = bench.node.spawn(wasm, signer=ALICE, environment=environment, limits=limits).process
    except Refused:
        return "refused by spawn"
    calls = [
        build_message(name, [bench.chance.choice((0, 1, 3, 2**16, -1)) for _ in kind.params])
        for name, kind in loaded.info.functions.items()
    ]
    nothing = build_message("Nosuch", data="x")
    try:
        sent = bench.node.send(pid, [*calls, nothing], signer=ALICE, environment=environment)
    except Refused:  # a function's name that no action can be: with a line break, say
        sent = bench.node.send(pid, [nothing], signer=ALICE, environment=environment)
    state = bench.node.state(pid)
    Node(bench.home).state(pid, 0)
    if state.slot != len(sent):
        raise Wrong("not every message was computed")
    return "spawned"


_JSON_WORDS = (
    b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"1e400", b"-0.0", b"1E-7", b"NaN",
    b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b'{"$bytes":"AA"}', b'{"$bytes":"*"}', b'{"$atom":"x"}', b'{"$float":"nan"}', b'{"$map":{}}',
    b'{"$x":1}', b'"commitments":{}', b'"ao-types":"a=\\"integer\\""', b'"priv":1', b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r", b"\0",
    b'"target":"x"', b'"action":1', b'"data":{"$bytes":"_w"}', b'"tags":[]', b'"tags":{"A":"1","a":"2"}', b'"parameters":{}', b"\xe2\x80\xa8",
)  # fmt: skip
_LINES = (
    b'{"action": "Increment"}', b'{"action": "Add", "parameters": [5], "anchor": "one"}', b'{"action": "ReadValue", "parameters": []}',
    b'{"action": "Add", "parameters": [2147483648], "data": {"$bytes": "_w"}, "tags": {"Subject": "Hello", "n": 1.5}}', b"", b"  ",
    b'{"data": "x", "tags": {"deep": {"a": [1, {"b": null}]}}}', b"{}",
)  # fmt: skip


def fuzz_batches(bench: Bench) -> Iterator[str]:
    """Mangled lines for `hb send --batch`: all of a batch is scheduled, or nothing."""
    chance = bench.chance
    signed = messages.dumps(sign(addressed(build_message("Add", [1], anchor="s"), bench.pid), ALICE))
    newest = bench.newest()
    while True:
        lines = [chance.choice((*_LINES, signed)) for _ in range(chance.choice((1, 2, 5, 20)))]
        at = chance.randrange(len(lines))
        if chance.randrange(8):
            lines[at] = mangled(chance, lines[at], _JSON_WORDS)
        batch = b"\n".join(lines)
        wait = ["--wait"] if chance.randrange(3) == 0 else []
        code, out, _ = bench.hb(["send", "counter", "--batch", "-", *wait], batch, (0, 13, 15))
        before, newest = newest, bench.newest()
        if code == 13 and (newest != before or out):
            raise Wrong("a batch was refused, and something of it was scheduled")
        if code == 0 and not wait:
            slots = [int(line) for line in out.split()]
            if len(slots) != sum(1 for line in batch.split(b"\n") if line.strip()):
                raise Wrong("not a slot for each line")
            if sorted({slot for slot in slots if slot > before}) != list(range(before + 1, newest + 1)):
                raise Wrong("slots with a gap")
        yield f"exit {code}"


_DEFINITION = b"""name = "NAME"
image = "counter.wasm"
devices = ["wasm64@1.0"]
anchor = "a"
[initial-state]
counter = 5
[limits]
gas = 100000
memory-pages = 4
result-bytes = 2000
[tags]
app = "demo"
deep = {a = [1, 2.5, "x"], b = true}
"""
_TOML_WORDS = (
    b"", b"[", b"]", b"[[tags]]", b"[tags]", b"=", b'"', b"'''", b"nan", b"inf", b"-inf", b"0x7f", b"1979-05-27T07:32:00Z", b"07:32:00", b"true", b"{}",
    b"9" * 5000, b"[" * 3000, b"a.b.c = 1\n", b"image = 1\n", b'image = "A"\n', b'image = "' + b"A" * 43 + b'"\n', b"gas = 0\n", b"gas = -1\n",
    b"99999999999999999999", b"memory-pages = 65537\n", b'"\\u0000" = 1\n', b"\xff", b"\0", b"\r", b"priv = 1\n", b'commitments = "x"\n', b'"$map" = {}\n',
    b'devices = ["json-iface@1.0"]\n', b'devices = ["multipass@1.0", "wasm64@1.0"]\n', b'type = "Process"\n', b"1e999", b'"$bytes" = "AA"\n', b"#",
)  # fmt: skip


def fuzz_definitions(bench: Bench) -> Iterator[str]:
    """Mangled definitions in TOML, for `hb spawn --definition`."""
    chance, turn = bench.chance, 0
    file = bench.directory / "definition.toml"
    while True:
        turn += 1
        text = _DEFINITION.replace(b"NAME", b"n%d" % turn)
        file.write_bytes(mangled(chance, text, _TOML_WORDS) if chance.randrange(10) else text)
        bench.note(file.read_bytes())
        code, out, _ = bench.hb(["spawn", "--definition", file.name], b"", (0, 2, 12, 13))
        if code == 0:
            bench.node.definition(out.strip())
        elif out:
            raise Wrong("a failure with an answer")
        yield f"exit {code}"


def fuzz_messages(bench: Bench) -> Iterator[str]:
    """Mangled messages for `hb message`. One that still verifies says what its signer said."""
    chance = bench.chance
    originals = [
        {"action": "Add", "parameters": [1, 2.5, "x"], "data": "hello", "target": bench.pid},
        {
            "data": b"\xff\0\n",
            "deep": {"a": {"b": [1, [2, []], []]}, "n": -1, "maps": [{"x": 1}, {}]},
            "flag": True,
            "none": None,
            "empty": "",
        },
        {"a": "b", "big": 10**40, "float": 0.1, "text": "ä\u2028", "list": ["1", 1, "a, b", '"']},
    ]
    signed = [sign(messages.normalise_message(original), ALICE) for original in originals]
    unsigned = [_unsigned(one) for one in signed]
    plain = [json.dumps(messages.to_plain(one)).encode() for one in signed]
    while True:
        place = chance.randrange(len(signed))
        given = chance.choice((plain, plain, unsigned))[place]
        text = _with_other_value(chance, given) if chance.randrange(2) else mangled(chance, given, _JSON_WORDS)
        verb = chance.choice(
            (
                ["id", "-"],
                ["verify", "-"],
                ["verify", "-"],
                ["verify", "-"],
                ["sign", "-"],
                ["id", "-", "--which", "every"],
            )
        )
        code, out, _ = bench.hb(["message", *verb], text, (0, 13))
        if code == 0 and verb[0] == "verify":
            said = messages.loads_message(text)
            original = signed[place]
            if out.split() != verify(original) or _unsigned(said) != _unsigned(original):
                raise Wrong("forged: it verifies, and says something else")
        yield f"{verb[0]}: exit {code}"


def _unsigned(message: messages.Message) -> bytes:
    return messages.dumps({key: value for key, value in message.items() if key != "commitments"})


def _with_other_value(chance: random.Random, text: bytes) -> bytes:
    """The JSON text with one value or key, somewhere in it, that is another."""
    others: tuple[Any, ...] = (
        "", " ", "1", 1, 0, -1, 1.0, True, None, [], {}, [1], {"a": 1}, "hello ", "a, b", "a\nb", ["x"], {"$bytes": "_w"}, {"$atom": "x"}, 10**30, "x" * 300,
    )  # fmt: skip
    value = json.loads(text)
    at: Any = value
    while True:
        key = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        if not isinstance(at[key], dict | list) or not at[key] or chance.randrange(4) == 0:
            break
        at = at[key]
    match chance.randrange(6):
        case 0:
            del at[key]
        case 1 if isinstance(at, dict):
            at[
                chance.choice((key.upper(), key + " ", key + "-x", "ao-types", "commitments", "content-digest", "a/b"))
            ] = at[key]
        case 2 if isinstance(at[key], str) and at[key]:
            place = chance.randrange(len(at[key]))
            at[key] = at[key][:place] + chance.choice(("", "A", ";", '"', " ", "=")) + at[key][place + 1 :]
        case _:
            at[key] = chance.choice(others)
    return json.dumps(value).encode()


_WORDS = (
    "init", "spawn", "send", "eval", "compute", "state", "inspect", "list", "key", "message", "module", "completion", "verify", "repl", "call", "result", "diff",
    "new", "list", "show", "id", "sign", "verify", "inspect", "bash", "zsh", "fish", "counter", "nosuch", "Increment", "Add", "ReadValue", "5", "-5", "1e3",
    "--json", "--home", "--lock-timeout", "--version", "--help", "-h", "--name", "--initial-state", "--tag", "--device", "--definition", "--anchor", "--as",
    "--gas-limit", "--memory-limit", "--result-limit", "--timestamp", "--block-height", "--data", "--wait", "--batch", "--slot", "--all", "--from", "--to", "--since", "--sender", "--action", "--error", "--reverse", "-n", "--stat",
    "--which", "--replay", "--repair", "--secret", "--", "-", "", " ", "now", "now~1", "now~99", "0", "1", "-1", "99999999999999999999", "nan", "inf", "1.5",
    "counter.wasm", "definition.toml", "bad.json", "@bad.json", "@nosuch", "@", "@.", "@/dev/null", "/dev/null", ".", "..", ".hb", "other", "A=1", "=", "a==b",
    '{"counter": 0}', "{", "[]", '"', '"x"', "null", "default", "alice", "../x", "x" * 300, "x" * 5000, "ä\u2028", "\x1b[31m", "a\nb", "\udcff", "٣", "A" * 43,
    "wasm64@1.0", "json-iface@1.0", "counter.counter", "results/output", "results", "/", "*", "$HOME", "%s", "\\", "--home=other", "--tag=a=b", "--slot=1",
)  # fmt: skip
_BEGINNINGS = (
    ["state", "counter"], ["send", "counter", "Increment"], ["inspect", "counter"], ["compute", "counter"], ["spawn", "counter.wasm"], ["key"],
    ["message"], ["module"], ["eval", "counter"], ["list"], ["verify", "counter"], ["call", "counter"], ["result", "counter"], ["diff", "counter"], [],
)  # fmt: skip
# Done, usage, no home, not found, refused, damage (of a home that is none), the program failed.
_ENDS = (0, 2, 10, 12, 13, 14, 15)


def _some_words(chance: random.Random) -> list[str]:
    words = [*chance.choice(_BEGINNINGS)] + [chance.choice(_WORDS) for _ in range(chance.choice((0, 1, 1, 1, 2, 4)))]
    if chance.randrange(3) == 0 and words:
        at = chance.randrange(len(words))
        words[at] = (
            mangled(chance, words[at].encode("utf-8", "surrogateescape"))
            .replace(b"\0", b"")
            .decode("utf-8", "surrogateescape")
        )
    return words


def fuzz_words(bench: Bench) -> Iterator[str]:
    """Command lines of words in any order; every fiftieth is run by the real program."""
    chance, turn = bench.chance, 0
    (bench.directory / "bad.json").write_bytes(b'{"counter": ')
    (bench.directory / "definition.toml").write_bytes(_DEFINITION.replace(b"NAME", b"n"))
    while True:
        turn += 1
        words, stdin = (
            _some_words(chance),
            chance.choice(
                (b"", b"", b"{}", b'{"action": "Increment"}\n', b"\xff\n", (SAMPLES / "counter.wasm").read_bytes())
            ),
        )
        if turn % 50:
            code, _, _ = bench.hb(words, stdin, _ENDS)
        else:
            bench.note(repr(words).encode())
            ran = subprocess.run([PROGRAM, *words], input=stdin, capture_output=True, timeout=HANG_S, check=False)
            code, _, _ = look_at(ran.returncode, ran.stdout, ran.stderr, _ENDS)
        yield f"exit {code}"


TARGETS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "modules": fuzz_modules,
    "batches": fuzz_batches,
    "definitions": fuzz_definitions,
    "messages": fuzz_messages,
    "words": fuzz_words,
}


def main(target: str, seed: int, inputs: int, directory: Path) -> int:
    """Tries so many inputs, and prints what became of them."""
    os.environ.clear()
    os.environ.update(PATH="/usr/bin:/bin", HOME=str(directory / "user"))
    os.chdir(directory)
    bench = Bench(random.Random(seed), directory)
    became: Counter[str] = Counter()
    tries = TARGETS[target](bench)
    for number in range(inputs):
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            became[next(tries)] += 1
        except Exception as error:
            traceback.print_exception(error)
            print(
                f"input {number} of {target} with seed {seed}: {(directory / 'input').read_bytes()[:2000]!r}",
                file=sys.stderr,
            )
            return 1
        if number % 100 == 0:
            gc.collect()
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"inputs": inputs, "became": became}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
