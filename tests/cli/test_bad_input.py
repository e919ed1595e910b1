"""Whatever comes in: the right exit code, one clear sentence, no traceback, and every record as it was."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Outcome, Shell

_IMPORTS = (
    '(module (import "env" "clock" (func)) (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "F")))'
)
_START_TRAPS = '(module (func $s unreachable) (start $s) (func (export "F")))'
_RESERVED = '(module (global (export "results") (mut i32) (i32.const 0)))'
_TABLE = '(module (table 1 funcref) (func (export "F") (table.set (i32.const 0) (ref.null func))))'


def check(outcome: Outcome, code: int, *says: str) -> None:
    """`outcome` is the failure `code`, said in one sentence that has all of `says`."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    first, *hint = outcome.err.splitlines()
    assert first.startswith("hb: error: ")
    assert len(hint) <= 1
    assert all(line.startswith("hint: ") for line in hint)
    for words in says:
        assert words in first
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ""),
        (b"#!/bin/sh\necho hello\n", "wasm"),
        (b"\0asm\1\0\0", ""),
        ("counter[:-5]", ""),
        ("counter[:20]", ""),
        (b"\0asm\2\0\0\0", "version"),
        (_IMPORTS, "env.clock"),
        (_START_TRAPS, "start"),
        (_RESERVED, "results"),
        (_TABLE, "table.set"),
        ("(module", ""),
        ('(module (func (export "F") (i32.const 0)))', ""),
        (b"\xff\xff not text".ljust(20), ""),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_module_that_cannot_be_run(counter: Shell, content: bytes | str, says: str) -> None:
    if isinstance(content, str) and content.startswith("counter"):
        whole = counter.counter_wasm.read_bytes()
        module = counter.write("bad.wasm", whole[:-5] if content.endswith("-5]") else whole[:20])
    elif isinstance(content, str):
        module = counter.write("bad.wat", content)
    else:
        module = counter.write("bad.wasm", content)
    before = counter.records()
    check(counter.hb("spawn", module, "--name", "bad"), 13, says)
    assert counter.records() == before


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ('{"nosuch": 1}', "nosuch"),
        ('{"counter": "one"}', "counter"),
        ('{"counter": 1.5}', "counter"),
        ('{"counter": 4294967296}', "counter"),
        ('{"counter": true}', "counter"),
        ('{"counter": null}', "counter"),
        ('{"counter": {"a": 1}}', "counter"),
        ("[1]", "JSON object"),
        ("{counter: 1}", "JSON"),
        ("", "JSON"),
        ("@nosuch.json", "nosuch.json"),
    ],
)
def test_an_initial_state_that_no_global_bears_or_of_the_wrong_type(counter: Shell, state: str, says: str) -> None:
    before = counter.records()
    check(counter.hb("spawn", counter.counter_wasm, "--initial-state", state), 13, says)
    assert counter.records() == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--tag", "novalue"], 13, "KEY=VALUE"),
        (["--tag", "image=x"], 13, "image"),
        (["--device", "nosuch@1.0"], 13, "nosuch@1.0"),
        (["--name", "two words"], 13, "name"),
        (["--name", "A" * 43], 13, "name"),
        (["--name", "-x"], 13, "name"),
        (["--gas-limit", "99999999999999999999"], 13, "gas-limit"),
        (["--gas-limit", "0"], 2, "--gas-limit"),
        (["--as", "nobody"], 12, "nobody"),
        (["--as", "../default"], 13, "name"),
    ],
)
def test_an_option_of_spawn_that_makes_no_sense(counter: Shell, words: list[str], code: int, says: str) -> None:
    before = counter.records()
    check(counter.hb("spawn", counter.counter_wasm, *words), code, says)
    assert counter.records() == before


_COMMANDS: tuple[tuple[str, ...], ...] = (("state",), ("inspect",), ("compute",), ("send",))


@pytest.mark.parametrize("process", ["nosuch", "A" * 43, "abc", "", "x" * 5000, "a/b", "naïve"])
def test_an_unknown_process(counter: Shell, process: str) -> None:
    before = counter.records()
    for command in _COMMANDS:
        check(counter.hb(*command, process), 12, "no process")
    assert counter.records() == before


def test_an_ambiguous_prefix_lists_the_candidates(home: Shell) -> None:
    from hb import keyring
    from hb.environment import system_environment
    from hb.home import open_home
    from hb.records import keys
    from hb.storage.store import Batch
    from verbs import Node

    # Two PIDs that share four characters are rare: a second definition is put beside the first.
    opened = open_home(home.home)
    wasm = home.counter_wasm.read_bytes()
    while True:
        key = keyring.load(opened.keys, "default")
        pid = Node(opened).spawn(wasm, signer=key, environment=system_environment()).process
        if not pid.startswith("-"):
            break
    twin = pid[:4] + "A" * 39
    with opened.storage.session() as store:
        definition = store.get(keys.definition_key(pid))
        assert definition is not None
        store.commit(Batch(puts={keys.definition_key(twin): definition}))
    before = home.records()
    for command in _COMMANDS:
        check(home.hb(*command, pid[:4]), 13, pid, twin)
    assert home.ok("state", pid[:8], "counter").out == "0\n" if pid[:8] != twin[:8] else True
    assert {key: home.records()[key] for key in before} == before


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("1", 12),
        ("99999999999999999999", 12),
        ("now~1", 12),
        ("A" * 43, 12),
        ("-1", 13),
        ("one", 13),
        ("now~", 13),
        ("1.0", 13),
        ("", 13),
        ("٣", 13),
    ],
)
def test_a_slot_beyond_the_schedule_or_no_slot_at_all(counter: Shell, ref: str, code: int) -> None:
    before = counter.records()
    for command in (
        ["state", "counter", "--slot", ref],
        ["inspect", "counter", "--slot", ref],
        ["compute", "counter", "--slot", ref],
    ):
        check(counter.hb(*command), code)
    check(counter.hb("inspect", "counter", "--from", ref), code)
    check(counter.hb("inspect", "counter", "--to", ref), code)
    assert counter.records() == before


def test_a_file_that_cannot_be_read(counter: Shell, tmp_path: Path) -> None:
    before = counter.records()
    check(counter.hb("spawn", "nosuch.wasm"), 13, "nosuch.wasm", "No such file or directory")
    check(counter.hb("spawn", tmp_path), 13, "Is a directory")
    check(counter.hb("send", "counter", "A", "--data", "@nosuch"), 13, "nosuch")
    check(counter.hb("send", "counter", "--batch", "nosuch"), 13, "nosuch")
    check(counter.hb("spawn", "--definition", "nosuch.toml"), 13, "nosuch.toml")
    assert counter.records() == before


def test_arguments_that_do_not_suit_the_program_are_an_outcome_not_a_refusal(counter: Shell) -> None:
    for words in (["Add"], ["Add", "1", "2"], ["Add", "x"], ["ReadValue", "1"]):
        outcome = counter.hb("send", "counter", *words, "--wait")
        assert outcome.code == 15
        assert json.loads(outcome.out.splitlines()[1])["kind"] == "wrong-arguments"
    assert counter.ok("state", "counter", "counter").out == "0\n"


def _set(key: bytes, value: bytes) -> Callable[[Shell], None]:
    def change(shell: Shell) -> None:
        from hb.home import open_home
        from hb.storage.store import Batch

        with open_home(shell.home).storage.session() as store:
            store.commit(Batch(puts={key: value}, sync=True))

    return change


_READS_AND_WRITES = (
    ["list"], ["state", "counter"], ["inspect", "counter"], ["compute", "counter"], ["send", "counter", "Increment"],
    ["spawn", "counter.wasm"],
)  # fmt: skip


def _files(shell: Shell) -> dict[str, bytes]:
    """The store's files but for LevelDB's own log of what it does."""
    return {
        path.name: path.read_bytes()
        for path in sorted((shell.home / "store").iterdir())
        if path.is_file() and not path.name.startswith("LOG")
    }


def test_a_home_of_a_newer_format(counter: Shell) -> None:
    counter.write("counter.wasm", counter.counter_wasm.read_bytes())
    _set(b"format", b"2")(counter)
    for command in _READS_AND_WRITES:
        check(counter.hb(*command), 13, "format 2")


def test_a_home_whose_current_file_is_gone_is_never_made_anew(counter: Shell) -> None:
    counter.write("counter.wasm", counter.counter_wasm.read_bytes())
    (counter.home / "store" / "CURRENT").unlink()
    before = _files(counter)
    for command in [*_READS_AND_WRITES, ["init"], ["key", "new", "alice"]]:
        check(counter.hb(*command), 14, "CURRENT")
    assert _files(counter) == before


def test_damage_is_said_with_process_and_slot(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    pid = counter.ok("list").json()["process"]
    from hb.records import keys

    _set(keys.slot_record_key(pid, 1), b"{not json")(counter)
    outcome = counter.hb("state", "counter")
    check(outcome, 14, pid, "slot 1")
    told = json.loads(counter.hb("state", "counter", "--json").err)
    assert (told["kind"], told["exit"], told["process"], told["slot"]) == ("damage", 14, pid, 1)


def _as_a_mortal() -> None:
    """Makes permissions count, even for root: gives up the right to pass them by."""
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def _limited(shell: Shell, *arguments: str, prepare: Callable[[], None], stdin: bytes = b"") -> Outcome:
    ran = subprocess.run(
        [shell.program, *arguments],
        cwd=shell.directory,
        env=shell.environment(),
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=prepare,
    )
    return shell.outcome(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@pytest.mark.parametrize("part", ["", "store", "keys", "lock", "store/CURRENT", "config.toml"])
def test_no_permission(counter: Shell, part: str) -> None:
    before = counter.records()
    path = counter.home / part
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        outcome = _limited(counter, "send", "counter", "Increment", prepare=_as_a_mortal)
    finally:
        path.chmod(mode)
    check(outcome, 1, str(counter.home), "ermission denied")
    assert counter.records() == before


@pytest.mark.parametrize("command", [["init"], ["key", "new", "alice"], ["spawn", "counter.wasm"]])
def test_no_permission_to_make_a_home(shell: Shell, command: list[str]) -> None:
    shell.write("counter.wasm", shell.counter_wasm.read_bytes())
    closed = shell.directory / "closed"
    closed.mkdir(mode=0o500)
    outcome = _limited(shell, "--home", "closed/home", *command, prepare=_as_a_mortal)
    check(outcome, 1, "closed/home", "ermission denied")
    assert not list(closed.iterdir())


def _file_limit(limit_bytes: int) -> Callable[[], None]:
    """No file may grow beyond the limit: a disk that is full at that point of each file."""

    def prepare() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return prepare


@pytest.mark.parametrize("limit_bytes", [0, 30, 100, 1000, 5000, 100_000])
def test_a_disk_that_is_full_loses_nothing_that_was_there(counter: Shell, limit_bytes: int) -> None:
    counter.ok("send", "counter", "Increment", "--wait")
    before = counter.records()
    batch = b'{"action": "Increment", "data": "' + b"x" * 200 + b'"}\n'
    outcome = _limited(counter, "send", "counter", "--batch", "-", prepare=_file_limit(limit_bytes), stdin=batch * 900)
    check(outcome, 1, str(counter.home))
    assert counter.records() == before
    assert counter.ok("send", "counter", "Increment", "--wait").out.startswith("2\n")


_SMALL_DISK = """
set -e
mkdir disk && mount -t tmpfs -o size=2m none disk && cd disk
"$HB" init >/dev/null 2>&1
"$HB" spawn "$WASM" --name counter >/dev/null
"$HB" send counter Increment >/dev/null
dd if=/dev/zero of=filler bs=4k 2>/dev/null || true
"$HB" send counter Increment && exit 99 || echo "exit $?"
rm filler
"$HB" send counter Increment
"$HB" state counter counter
"""


def test_a_small_disk_that_is_full(shell: Shell) -> None:
    try:
        subprocess.run(["unshare", "-m", "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk takes a privilege that we have not")
    ran = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", _SMALL_DISK],
        cwd=shell.directory,
        env=shell.environment({"HB": str(shell.program), "WASM": str(shell.counter_wasm)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.split() == ["exit", "1", "2", "2"], ran
    first, *_ = ran.stderr.splitlines()
    assert first.startswith("hb: error: ")
    assert "No space left on device" in first


def test_a_home_that_others_hold_for_too_long(counter: Shell) -> None:
    from hb.home import open_home

    with open_home(counter.home).storage.session():
        check(counter.hb("--lock-timeout", "0.2", "send", "counter", "Increment"), 11)
        check(counter.hb("state", "counter", "--lock-timeout", "0"), 11)
    assert counter.ok("send", "counter", "Increment").out == "1\n"


def test_settings_that_make_no_sense(counter: Shell) -> None:
    before = counter.records()
    (counter.home / "config.toml").write_text("[host]\nlock-timout = 5\n")
    outcome = counter.hb("send", "counter", "Increment")
    check(outcome, 13, "lock-timout")
    assert "lock-timeout" in outcome.err
    (counter.home / "config.toml").write_text("[host\n")
    check(counter.hb("send", "counter", "Increment"), 13, "TOML")
    assert counter.records() == before
