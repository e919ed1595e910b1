"""Modules made to take the compiler long: they are ended at a limit that the refusal names, or by Ctrl-C."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from hb.cancellation import Cancellation
from hb.errors import HomeUnusable, Interrupted, Refused
from hb.protocol.definition import Limits
from hb.wasm import compiled, compiler
from hb.wasm.compiler import SMALL_BYTES, CompileLimits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, inspect, load

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
    def no_room(place: Path, wasm_digest: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled, "begin_draft", no_room)
    with pytest.raises(HomeUnusable, match="No space left on device"):
        load(large, tmp_path / "cache")


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


@pytest.mark.parametrize("loops", [SMALL_BYTES // 20])
def test_the_hardest_small_module_takes_a_moment(loops: int) -> None:
    wasm = bomb(loops, 1000)
    assert SMALL_BYTES * 0.8 < len(wasm) <= SMALL_BYTES
    before = time.process_time()
    load(wasm)
    assert time.process_time() - before < 3
