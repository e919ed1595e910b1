"""The verbs of a home: spawning, naming, resolving, listing, following; and that refusals change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hb.environment import system_environment
from hb.errors import Interrupted, NotFound, Refused
from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from hb.records import keys
from hb.storage.store import Batch

SAMPLES = Path(__file__).parents[2] / "samples"


def test_a_spawn_is_a_process_with_a_slot_0(shell) -> None:
    scheduled = shell.spawned((SAMPLES / "counter.wasm").read_bytes(), name="counter", initial_state={"counter": 5})
    (view,) = shell.node.processes()
    assert (scheduled.slot, scheduled.message, scheduled.fresh) == (0, scheduled.process, True)
    assert (view.process, view.names, view.slots, view.computed) == (scheduled.process, ["counter"], 1, None)
    assert shell.node.state("counter", 0).state["counter"] == 5


def test_the_definition_spells_out_devices_image_limits_and_tags(shell) -> None:
    limits = Limits(gas=1000, memory_pages=3, result_bytes=500)
    process = shell.spawn("counter.wasm", tags={"app": "demo"}, limits=limits, anchor="again")
    definition = shell.node.definition(process)
    expected = {
        "device": "process@1.0", "type": "Process", "data-protocol": "ao", "variant": "ao.N.1",
        "scheduler-device": "scheduler@1.0", "scheduler": shell.key.address, "execution-device": "wasm64@1.0",
        "anchor": "again", "app": "demo", "gas-limit": 1000, "memory-limit": 3, "result-limit": 500,
    }  # fmt: skip
    assert {key: definition[key] for key in expected} == expected


def test_the_same_spawn_is_the_same_process_and_is_made_once(shell) -> None:
    first = shell.spawned((SAMPLES / "counter.wasm").read_bytes(), anchor="same")
    before = shell.records()
    again = shell.spawned((SAMPLES / "counter.wasm").read_bytes(), anchor="same")
    assert (again.process, again.slot, again.fresh) == (first.process, 0, False)
    assert shell.records() == before


def test_without_an_anchor_two_spawns_are_two_processes(shell) -> None:
    assert shell.spawn("counter.wasm", anchor=None) != shell.spawn("counter.wasm", anchor=None)


def test_an_image_that_is_stored_can_be_spawned_by_its_id(shell) -> None:
    shell.spawn("counter.wasm")
    (view,) = shell.node.processes()
    shell.spawned(view.image, anchor="other")
    assert {view.image for view in shell.node.processes()} == {view.image}
    with pytest.raises(NotFound, match="no image"):
        shell.spawned("x" * 43)


@pytest.mark.parametrize(
    ("initial_state", "says"),
    [
        ({"count": 1}, "it has: counter"),
        ({"counter": "one"}, "expected i32, got the text 'one'"),
        ({"counter": 2**32}, "from -2147483648 to 4294967295"),
        ({"counter": True}, "got a boolean"),
        ({"counter": [1]}, "got a list"),
    ],
)
def test_an_initial_state_that_does_not_fit_is_refused(shell, initial_state, says) -> None:
    before = shell.records()
    with pytest.raises(Refused, match=says):
        shell.spawn("counter.wasm", initial_state=initial_state)
    assert shell.records() == before


@pytest.mark.parametrize(
    ("wat", "says"),
    [
        ('(module (import "env" "clock" (func)))', "env.clock|env clock"),
        ("(module (func $f unreachable) (start $f))", "fails when it starts"),
        ("(module (func $f (loop (br 0))) (start $f))", "fails when it starts"),
        ('(module (global (export "results") (mut i32) (i32.const 0)))', "'results'"),
        ('(module (global (export "priv-x") (mut i32) (i32.const 0)))', "'priv-x'"),
        ("(module (memory 101))", "memory"),
        ("(module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))", "table.set"),
    ],
)
def test_a_module_that_cannot_be_a_process_is_refused(shell, wat, says) -> None:
    before = shell.records()
    with pytest.raises(Refused, match=says):
        shell.spawn_text(wat, limits=Limits(gas=100_000, memory_pages=100, result_bytes=1000))
    assert shell.records() == before


@pytest.mark.parametrize("image", [b"", b"\x00asm", b"not wasm at all", b"\x00asm\x01\x00\x00\x00\x05"])
def test_what_is_no_module_is_refused(shell, image) -> None:
    before = shell.records()
    with pytest.raises(Refused):
        shell.spawned(image)
    assert shell.records() == before


def test_a_module_beyond_the_limit_is_refused(shell) -> None:
    shell.home.config.write_text("[host]\nmodule-limit = 100\n")
    with pytest.raises(Refused, match="100 bytes"):
        shell.spawn("counter.wasm")


def test_a_message_and_a_batch_beyond_the_limits_are_refused(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.home.config.write_text("[host]\nmessage-limit = 3000\nbatch-messages = 2\n")
    before = shell.records()
    with pytest.raises(Refused, match="3000 bytes"):
        shell.send(process, "Increment", data="x" * 3000)
    with pytest.raises(Refused, match="2 messages"):
        shell.send_all(process, [build_message("Increment", anchor=str(n)) for n in range(3)])
    assert shell.records() == before


@pytest.mark.parametrize("device", ["wasm65@1.0", "", "process@1.0"])
def test_an_unknown_device_is_refused(shell, device) -> None:
    with pytest.raises(Refused, match="no device"):
        shell.spawn("counter.wasm", devices=[device])


@pytest.mark.parametrize("tag", ["target", "commitments", "action", "parameters", "Target", "Private"])
def test_a_tag_cannot_stand_for_another_key(tag) -> None:
    with pytest.raises(Refused, match="tag"):
        build_message("Increment", [1], tags={tag: "x"})


def test_names_are_unique_and_well_formed(shell) -> None:
    one = shell.spawn("counter.wasm", anchor="1", name="one")
    before = shell.records()
    with pytest.raises(Refused, match="taken"):
        shell.spawn("counter.wasm", anchor="2", name="one")
    for name in ("", "with space", "-x", "x" * 65, one, "ü"):
        with pytest.raises(Refused, match="a name has"):
            shell.spawn("counter.wasm", anchor="3", name=name)
    assert shell.records() == before
    assert shell.spawn("counter.wasm", anchor="1", name="uno") == one
    assert shell.node.names() == {"one": one, "uno": one}


def test_a_process_is_found_by_id_name_and_unique_prefix(shell) -> None:
    process = shell.spawn("counter.wasm", name="counter")
    for reference in (process, "counter", process[:4], process[:42]):
        assert shell.node.resolve(reference) == process
    for reference in (process[:3], "nobody", "", "a" * 43, process[:5] + "!", "\ud800", "ü" * 9):
        with pytest.raises(NotFound):
            shell.node.resolve(reference)


def test_a_prefix_that_several_have_lists_them(shell) -> None:
    process = shell.spawn("counter.wasm")
    twin = process[:10] + "A" * 33
    with shell.home.storage.session() as store:
        copies = {key: store.get(key) for key in (keys.definition_key(process), keys.head_key(process))}
        store.commit(Batch(puts={key.replace(process.encode(), twin.encode()): raw for key, raw in copies.items()}))
    with pytest.raises(Refused, match="beginning of 2 process IDs") as refusal:
        shell.node.resolve(process[:10])
    assert process in refusal.value.message
    assert twin in refusal.value.message


def test_looking_writes_nothing(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.call(process, "Increment")
    shell.send(process, "Increment")
    before = shell.records()
    assert [view.computed for view in shell.node.history(process)] == [True, True, False]
    shell.node.processes()
    shell.node.definition(process)
    shell.node.state(process, 1)
    assert shell.records() == before


def test_a_follower_computes_what_is_sent_meanwhile_until_it_is_stopped(tmp_path, shell) -> None:
    process = shell.spawn("ledger.wasm")
    script = f"""
import sys
import hb
from hb.errors import Interrupted
try:
    hb.open({str(shell.home.path)!r}).process({process!r}).follow(lambda view: print(view.slot, view.results.get("type"), flush=True))
except Interrupted:
    print("stopped", flush=True)
"""
    follower = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "0 None\n"
        for slot in range(1, 6):
            shell.send(process, "Nothing")
            assert follower.stdout.readline() == f"{slot} error\n"
        import signal

        follower.send_signal(signal.SIGINT)
        assert follower.stdout.readline() == "stopped\n"
        assert follower.wait(10) == 0
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    with shell.home.storage.session() as store:
        from hb.records import cache

        assert cache.latest(store, process, required="image") == 5


def test_ctrl_c_stops_a_running_message_and_the_slot_can_be_computed_later(shell) -> None:
    process = shell.spawn("loop.wasm", limits=Limits(gas=2**62, memory_pages=10, result_bytes=1000))
    slot = shell.send(process, "Loop")
    pid = os.getpid()
    import signal

    timer = threading.Timer(0.5, lambda: os.kill(pid, signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted):
        shell.node.compute(process)
    timer.join()
    assert [view.computed for view in shell.node.history(process)] == [True, False]
    assert slot == 1


def test_the_systems_environment_gives_time_and_randomness() -> None:
    environment = system_environment(timestamp_ms=7, block_height=3)
    assert environment.now_ms() > 1_700_000_000_000
    assert len(environment.random_bytes(16)) == 16
    assert environment.random_bytes(16) != environment.random_bytes(16)
    assert (environment.timestamp_ms, environment.block_height) == (7, 3)


def test_importing_the_library_loads_no_engine_no_terminal_and_no_cryptography() -> None:
    script = "import sys, hb, hb.library; print([m for m in ('wasmtime', 'rich', 'nacl', 'plyvel', 'tomllib') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


STANDALONE = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 8) "hello\\n")
  (func (export "_initialize") {boot})
  (func (export "Hello") (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))"""


def test_a_module_that_imports_wasi_is_given_it(shell) -> None:
    process = shell.spawn_text(STANDALONE.format(boot=""))
    assert shell.node.definition(process)["device-stack"] == ["wasi@1.0", "emscripten@1.0", "wasm64@1.0"]
    assert shell.call(process, "Hello")["print"] == "hello\n"


def test_a_program_may_leave_as_it_boots_only_if_all_is_well(shell) -> None:
    shell.spawn_text(STANDALONE.format(boot="(call $exit (i32.const 0))"))
    with pytest.raises(Refused, match="exited with status 3"):
        shell.spawn_text(STANDALONE.format(boot="(call $exit (i32.const 3))"))
