"""Every limit is stated when it is hit: as an outcome where it is the process's, as a refusal where it is the host's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hb import home, keyring
from hb.environment import system_environment
from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from hb.wasm.module import from_text
from verbs import Node

PROGRAM = """
(module
  (memory 1 100)
  (func $deep (export "Deep") (call $deep))
  (func (export "Loop") (loop $again (br $again)))
  (func (export "Grow") (result i32) (memory.grow (i32.const 8)))
  (func (export "Touch") (i32.store (i32.const 600000) (i32.const 1)))
  (func (export "Fine") (result i32) (i32.const 1)))
"""
# Prints a thousand lines if the message has the word Noisy, and answers with 3000 characters.
SPEAKER = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 16) "hello\\n")
  (data (i32.const 32) "\\22Noisy\\22")
  (global $next (mut i32) (i32.const 65536))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "handle") (param $at i32) (param i32) (result i32) (local $n i32)
    (block $quiet
      (loop $look
        (br_if $quiet (i32.eqz (i32.load8_u (local.get $at))))
        (if (i32.ne (i32.load (local.get $at)) (i32.load (i32.const 32)))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $look))))
      (loop $print
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $print (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000)))))
    (memory.fill (i32.const 4096) (i32.const 65) (i32.const 3000))
    (i32.const 4096)))
"""
LIMITS = Limits(gas=50_000, memory_pages=4, result_bytes=1000)


class Host:
    """A home with settings of its own, and what is done in it."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.home = home.create(directory / ".hb")
        if settings:
            self.home.config.write_text(settings)
        self.node = Node(self.home)
        self.key = keyring.load(self.home.keys, "default")
        self.environment = system_environment()

    def spawn(self, text: str, **more: Any) -> str:
        wasm = from_text(text)
        return self.node.spawn(wasm, signer=self.key, environment=self.environment, **more).process

    def send(self, process: str, *messages: Any) -> None:
        self.node.send(process, messages, signer=self.key, environment=self.environment)

    def results(self, process: str, action: str) -> Any:
        self.send(process, build_message(action, [], anchor=action))
        return self.node.state(process).state["results"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("action", "kind", "says"),
    [
        ("Loop", "out-of-gas", "gas"),
        ("Deep", "stack-overflow", "used up its stack"),
        ("Touch", "trap", "memory out of bounds"),
    ],
)
def test_a_message_that_hits_a_limit_fails_and_says_which(host: Host, action: str, kind: str, says: str) -> None:
    process = host.spawn(PROGRAM, limits=LIMITS)
    results = host.results(process, action)
    assert (results["type"], results["kind"]) == ("error", kind)
    assert says in results["error"]
    assert results["gas"] <= LIMITS.gas
    assert host.results(process, "Fine")["output"] == [1]


def test_memory_beyond_the_limit_is_not_given_as_wasm_has_it(host: Host) -> None:
    assert host.results(host.spawn(PROGRAM, limits=LIMITS), "Grow")["output"] == [-1]
    roomy = host.spawn(PROGRAM, limits=LIMITS._replace(memory_pages=9))
    assert host.results(roomy, "Grow")["output"] == [1]


def test_a_module_that_starts_with_more_memory_is_refused_with_the_setting(host: Host) -> None:
    with pytest.raises(Refused, match="wants 5 pages of memory to start with; the limit is 4") as refusal:
        host.spawn("(module (memory 5))", limits=LIMITS)
    assert "memory-limit" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("action", "says"), [("Noisy", "printed more than 1000 bytes"), ("Quiet", "longer than the limit of 1000 bytes")]
)
def test_printed_text_and_results_beyond_the_limit_fail_the_message(host: Host, action: str, says: str) -> None:
    process = host.spawn(SPEAKER, limits=Limits(gas=10_000_000, memory_pages=32, result_bytes=1000))
    results = host.results(process, action)
    assert results["type"] == "error"
    assert says in results["error"]
    assert len(results.get("print", "")) <= 1000


def test_the_limits_of_new_processes_are_the_settings_and_stand_in_the_definition(tmp_path: Path) -> None:
    host = Host(tmp_path, "[process]\ngas-limit = 1000\nmemory-limit = 3\nresult-limit = 500\n")
    process = host.spawn(PROGRAM)
    definition = host.node.definition(process)
    assert [definition[f"{what}-limit"] for what in ("gas", "memory", "result")] == [1000, 3, 500]
    # Later settings change nothing for it.
    host.home.config.write_text("")
    host.node = Node(host.home)
    assert host.results(process, "Loop")["gas"] == 1000


@pytest.mark.parametrize(
    ("setting", "says", "what"),
    [
        ("module-limit = 20", "a module may have 20 bytes", "module"),
        ("message-limit = 2000", "message 2: a message may have 2000 bytes", "messages"),
        ("batch-messages = 1", "1 messages may be sent at once, got 2", "messages"),
    ],
)
def test_the_hosts_limits_refuse_with_the_setting_and_nothing_is_stored(
    tmp_path: Path, setting: str, says: str, what: str
) -> None:
    host = Host(tmp_path)
    process = host.spawn(PROGRAM, name="kept")
    host.home.config.write_text(f"[host]\n{setting}\n")
    host.node = Node(host.home)
    big = {**build_message("Fine", []), "data": "x" * 3000}
    ask = {
        "module": lambda: host.spawn('(module (func (export "f")))'),
        "messages": lambda: host.send(process, build_message("Fine", []), big),
    }
    with pytest.raises(Refused, match=says) as refusal:
        ask[what]()
    assert setting.partition(" = ")[0] in (refusal.value.hint or "")
    assert [(view.names, view.slots) for view in host.node.processes()] == [(["kept"], 1)]


def test_compiling_a_process_beyond_the_settings_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    host = Host(tmp_path, "[host]\ncompile-seconds = 1\n")
    body = "(loop " * 3000 + "".join(
        f"(local.set {1 + i * 37 % 20000} (i64.add (local.get {1 + i * 7 % 20000}) (i64.const {i}))) (br_if 0 (local.get 0)))"
        for i in range(3000)
    )
    with pytest.raises(Refused, match="limit of 1 s of processor time") as refusal:
        host.spawn(f'(module (func (export "f") (param i32) (local {"i64 " * 20000}) {body}))')
    assert "compile-seconds" in (refusal.value.hint or "")
    assert host.node.processes() == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce this limit")
def test_memory_that_the_system_refuses_is_no_outcome_and_no_finding(host: Host) -> None:
    grows = '(module (memory 1) (func (export "Grow") (result i32) (memory.grow (i32.const 12000))))'
    process = host.spawn(grows, limits=Limits(gas=50_000, memory_pages=16384, result_bytes=1000))
    host.send(process, build_message("Grow", []))

    def hb(*arguments: str, kib: str = "unlimited") -> tuple[int, str]:
        command = f'ulimit -d {kib}; exec "$@"'
        hb = [str(Path(sys.executable).parent / "hb"), "--home", str(host.home.path), *arguments]
        ran = subprocess.run(["sh", "-c", command, "sh", *hb], capture_output=True, text=True, check=False)
        return ran.returncode, ran.stderr

    code, said = hb("state", process, kib="700000")
    assert (code, "does not have enough memory" in said) == (1, True)
    assert host.node.process(process).computed == 0
    assert hb("state", process)[0] == 0
    assert host.node.state(process).state["results"]["output"] == [1]
    code, said = hb("verify", process, "--replay", kib="700000")
    assert (code, "does not have enough memory" in said) == (1, True)
