"""Modules made to take the compiler long: compiling ends at a limit that the refusal names, by Ctrl-C, or with `hb`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hb.binary.rewrite import unsigned
from hb.cancellation import Cancellation
from hb.errors import HomeUnusable, Interrupted, Refused
from hb.protocol.definition import Limits
from hb.wasm import compiler
from hb.wasm.compiler import CompileLimits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, inspect, load, validate
from hb.wasm.native import SMALL_BYTES

needs_rlimit_data = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a program allocates")


def bomb(loops: int, locals_: int = 20_000) -> bytes:
    """A module with that many loops inside each other, each of which may change each local: 17 bytes a loop."""
    body = "".join(
        f"(local.set {1 + (i * 37) % locals_} (i64.add (local.get {1 + (i * 7) % locals_}) (i64.const {i})))"
        "(br_if 0 (local.get 0)))"
        for i in range(loops)
    )
    return from_text(f'(module (func (export "f") (param i32) (local {"i64 " * locals_}) {"(loop " * loops}{body}))')


@pytest.fixture(scope="module")
def hard() -> bytes:
    """52 KB that take the compiler half a minute and 2 GB, if it is let."""
    return bomb(3000)


@pytest.fixture(scope="module")
def large() -> bytes:
    """A module too large to be compiled in this program, and easy."""
    wasm = from_text(
        '(module (global $n (export "n") (mut i32) (i32.const 7)) (func (export "Add") (param i32) '
        f"{'(global.set $n (i32.add (global.get $n) (local.get 0)))' * 1000}))"
    )
    assert len(wasm) > SMALL_BYTES
    return wasm


def children() -> set[str]:
    """The programs that this one has started and that still run."""
    return set(Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split())


def test_a_module_that_takes_too_long_is_refused_with_the_limit_and_its_setting(hard: bytes, tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(Refused, match="more than the limit of 1 s of processor time") as refusal:
        load(hard, tmp_path / "cache", CompileLimits(seconds=1))
    assert "compile-seconds" in (refusal.value.hint or "")
    assert time.monotonic() - before < 20
    assert list((tmp_path / "cache").iterdir()) == []


@needs_rlimit_data
def test_a_module_that_takes_too_much_memory_is_refused_with_the_limit_and_its_setting(
    hard: bytes, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="more than the limit of 150 MB of memory") as refusal:
        load(hard, tmp_path / "cache", CompileLimits(megabytes=150))
    assert "compile-memory" in (refusal.value.hint or "")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_it_ends_as_soon_as_it_is_interrupted_and_leaves_nothing(hard: bytes, tmp_path: Path) -> None:
    cancellation = Cancellation()
    timer = threading.Timer(0.7, cancellation.cancel)
    before, running = time.monotonic(), children()
    timer.start()
    with pytest.raises(Interrupted):
        load(hard, tmp_path / "cache", cancellation=cancellation)
    assert time.monotonic() - before < 5
    assert children() == running
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_the_child_compiled_is_kept_and_runs_as_any_other(large: bytes, tmp_path: Path, monkeypatch) -> None:
    first = load(large, tmp_path / "cache")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cache").iterdir()} == {0o600}
    monkeypatch.setattr(compiler, "_run", None)
    second = load(large, tmp_path / "cache")
    assert first.info == second.info == inspect(large)
    for module in (first, second):
        instance = Instance(module, Limits(10**6, 4, 10))
        assert instance.call("Add", [2]).failure is None
        assert instance.read_globals() == {"n": 2007}


@pytest.mark.parametrize("cache", [None, "no parent/cache", "a file", "open to all", "a link"])
def test_without_a_cache_of_its_own_it_leaves_nothing_anywhere(
    large: bytes, tmp_path: Path, monkeypatch, cache: str | None
) -> None:
    places = tmp_path / "places"
    (places / "open to all").mkdir(parents=True)
    (places / "open to all").chmod(0o777)
    (places / "a file").touch()
    (places / "a link").symlink_to(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = sorted(tmp_path.rglob("*"))
    module = load(large, None if cache is None else places / cache)
    assert Instance(module, Limits(10**6, 4, 10)).call("Add", [1]).failure is None
    assert sorted(tmp_path.rglob("*")) == before


def test_where_nothing_can_be_written_it_says_so(large: bytes, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(HomeUnusable, match="cannot write the compiled form of the module: No such file") as unusable:
        load(large, tmp_path / "a file")
    assert "$TMPDIR" in (unusable.value.hint or "")


def test_with_a_cache_no_temporary_directory_is_needed(large: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    load(large, tmp_path / "cache")


NO_ROOM = """
import resource, sys
from pathlib import Path
from hb.errors import HomeUnusable
from hb.wasm.module import load
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    load(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))
except HomeUnusable as unusable:
    print(unusable)
"""


def test_where_there_is_no_room_for_the_compiled_form_it_says_so(large: bytes, tmp_path: Path) -> None:
    (tmp_path / "large.wasm").write_bytes(large)
    program = [sys.executable, "-c", NO_ROOM, str(tmp_path / "large.wasm"), str(tmp_path / "cache")]
    ran = subprocess.run(program, capture_output=True, text=True, check=False)
    assert "cannot write the compiled form of the module: File too large" in ran.stdout, ran.stderr


def test_what_is_no_module_is_refused_as_a_small_one_is(tmp_path: Path) -> None:
    sentences = []
    for nops in (1, SMALL_BYTES):
        with pytest.raises(Refused, match="not a valid wasm module") as refusal:
            load(from_text(f'(module (func (export "f") (result i32) (i64.const 1) {"nop " * nops}))'), tmp_path / "c")
        sentences.append(refusal.value.message.split(" (at offset")[0])
    assert sentences[0] == sentences[1]
    with pytest.raises(Refused, match="not a"):
        load(b"no wasm" * 1000)


def test_the_child_is_handed_no_home_and_no_environment(large: bytes, tmp_path: Path, monkeypatch) -> None:
    """Seen by another program in its place, which tells what it was given."""
    monkeypatch.setenv("SECRET", "s3cret")
    look = (
        "import json, os, sys; print(json.dumps({'refused': json.dumps([dict(os.environ), os.getcwd(), "
        "sorted(os.listdir('/proc/self/fd'), key=int), sys.argv[1:4]]), 'hint': None}))"
    )
    monkeypatch.setattr(compiler, "_START", look)
    with pytest.raises(Refused) as told:
        load(large, tmp_path / "cache")
    for secret in ("s3cret", "SECRET", "HOME", str(tmp_path)):
        assert secret not in told.value.message
    assert '"/"' in told.value.message


# --- small modules


def catches(clauses: int, calls: int) -> bytes:
    """Calls within a `try_table` of that many clauses: the compiler's work grows with the square of their number."""
    clause = "(catch $t $h) " * clauses
    return from_text(f"(module (tag $t) (func $f (block $h (try_table {clause} {'call $f ' * calls}))))")


def arity(values: int, calls: int) -> bytes:
    """Calls that each give and take that many values: two bytes a call."""
    type_ = "i64 " * values
    return from_text(
        f'(module (import "a" "b" (func $give (result {type_}))) (import "a" "c" (func $take (param {type_})))'
        f"(func {'(call $take (call $give)) ' * calls}))"
    )


def locals_(functions: int, each: int) -> bytes:
    """Functions of nine bytes with that many locals."""
    body = b"\1" + unsigned(each) + b"\x7e\x0b"
    code = unsigned(functions) + (unsigned(len(body)) + body) * functions
    types, indexes = b"\1\x60\0\0", unsigned(functions) + b"\0" * functions
    sections = b"".join(bytes([n]) + unsigned(len(s)) + s for n, s in ((1, types), (3, indexes), (10, code)))
    return b"\0asm\1\0\0\0" + sections


def tables(count: int, elements: int) -> bytes:
    """Tables that each have an element at their end: 13 bytes a table."""
    each = f"(table {elements} funcref) "
    segments = "".join(f"(elem (table {n}) (i32.const {elements - 1}) func $f)" for n in range(count))
    return from_text(f"(module (func $f) {each * count} {segments})")


@needs_rlimit_data
@pytest.mark.parametrize(
    "hard",
    [catches(9, 1000), catches(500, 800), arity(17, 900), arity(1000, 300), locals_(400, 50_000), tables(90, 10**6)],
    ids=["nine clauses", "many clauses", "17 values", "many values", "many locals", "large tables"],
)
def test_a_small_module_that_can_take_long_is_compiled_within_the_limits(hard: bytes) -> None:
    assert len(hard) <= SMALL_BYTES
    # The child cannot even begin with so little, and a module compiled in this program would not notice.
    with pytest.raises(Refused, match="more than the limit of 1 MB of memory"):
        load(hard, limits=CompileLimits(megabytes=1))


@pytest.mark.parametrize(
    "light",
    [bomb(SMALL_BYTES // 20, 999), catches(8, 2000), arity(16, 990), locals_(250, 4), tables(90, 111)],
    ids=["loops", "clauses", "values", "locals", "tables"],
)
def test_the_hardest_modules_that_are_compiled_in_this_program_take_a_moment(light: bytes) -> None:
    assert len(light) <= SMALL_BYTES
    before = time.process_time()
    load(light, limits=CompileLimits(megabytes=1))
    assert time.process_time() - before < 3


@needs_rlimit_data
def test_a_module_that_can_take_long_to_validate_is_validated_within_limits(monkeypatch) -> None:
    wasm = arity(1000, 40_000)
    validate(wasm)
    monkeypatch.setattr("hb.wasm.module.DEFAULT_LIMITS", CompileLimits(megabytes=1))
    with pytest.raises(Refused, match="more than the limit of 1 MB of memory"):
        validate(wasm)
    validate(wasm[:8])


# --- programs that are killed


LOAD = """
import sys
from pathlib import Path
from hb.wasm.module import load
load(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_the_compiler_ends_with_the_program_that_started_it_and_its_leftovers_go(
    hard: bytes, large: bytes, tmp_path: Path
) -> None:
    (tmp_path / "hard.wasm").write_bytes(hard)
    cache = tmp_path / "cache"
    parent = subprocess.Popen([sys.executable, "-c", LOAD, str(tmp_path / "hard.wasm"), str(cache)])
    child = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + 20
    while not child.read_text() or not processor_time(child.read_text().split()[0]) > 0.3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    compiling = Path(f"/proc/{child.read_text().split()[0]}")
    parent.kill()
    parent.wait()
    while not has_ended(compiling):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(list(cache.iterdir())) == 1
    load(large, cache)
    assert {path.suffix for path in cache.iterdir()} == {".native", ".json"}


def has_ended(process: Path) -> bool:
    """Whether a process has ended with all of its threads; nobody may have asked for its exit code yet."""
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(list((process / "task").iterdir())) == 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def processor_time(process: str) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_draft_that_another_program_writes_and_files_of_other_names_stay(large: bytes, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    written, left = (cache / f"{'0' * 64}.native.77-0000000{n}" for n in range(2))
    others = [cache / "notes.native.77-00000000", cache / f"{'0' * 64}.native"]
    for path in (written, left, *others):
        path.touch(0o600)
    with written.open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        load(large, cache)
    assert [path.exists() for path in (written, left, *others)] == [True, False, True, True]
