"""`import hb`: the verbs on objects, in a home on a disk and in memory."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hb
from hb import home as homes
from hb import library

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"

# A program of the AO ABI that answers with the JSON it is built with, whatever it is told.
ANSWERING = """
(module
  (memory (export "memory") 2)
  (data (i32.const 16) "{0}\\00")
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "handle") (param i32 i32) (result i32) (i32.const 16)))
"""


def answering(answer: dict[str, object]) -> bytes:
    return hb.wat(ANSWERING.replace("{0}", json.dumps(answer).replace('"', "\\22")))


@pytest.fixture(params=["disk", "memory", "frozen"])
def home(request, tmp_path) -> hb.Home:
    made = {"disk": lambda: hb.open(tmp_path / "home"), "memory": hb.memory, "frozen": hb.frozen}
    return made[request.param]()


def test_every_example_in_its_documentation_gives_what_it_says(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(ROOT)
    runner = doctest.DocTestRunner()
    shared = {"hb": hb, "scratch": tmp_path}
    finder = doctest.DocTestFinder()
    rooms = ("home", "process", "past", "result", "scope", "verified")
    modules = (library, *(import_module(f"hb.library.{room}") for room in rooms))
    found = [test for module in modules for test in sorted(finder.find(module), key=lambda test: test.lineno or 0)]
    for test in found:
        test.globs = shared
        runner.run(test, clear_globs=False)
    assert runner.tries > 15
    assert runner.summarize(verbose=False).failed == 0


def test_the_verbs_do_in_every_home_what_they_do_on_the_command_line(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm", name="counter", initial_state={"counter": 5}, tags={"App": "x"})
    sent = counter.send("Add", 10)
    assert (sent.slot, sent.fresh, sent.result().ok) == (1, True, True)
    assert home.process("counter") == counter == home.process(counter.id[:6])
    assert home.processes() == [counter]
    assert home.names() == {"counter": counter}
    assert counter.definition["app"] == "x"
    assert [counter.state(slot)["counter"] for slot in (0, 1, "now~1", "now", sent.message)] == [5, 15, 5, 15, 15]
    assert counter.send("ReadValue").result().output == [15]
    assert counter.slots == 3
    views = list(counter.history())
    assert [(view.slot, view.action, view.computed) for view in views] == [
        (0, None, True),
        (1, "Add", True),
        (2, "ReadValue", True),
    ]
    assert views[2].hashpath == counter.hashpath()
    assert counter.verify(replay=True) == []


def test_a_process_trusts_the_home_unless_it_is_told_whom(home) -> None:
    def authority(**options: Any) -> object:
        return home.spawn(SAMPLES / "counter.wasm", **options).definition.get("authority")

    one, two = "A" * 43, "B" * 43
    assert authority() == home.address()
    assert authority(authority=[]) is None
    assert authority(authority=one) == authority(authority=(one,)) == one
    assert authority(authority=[one, two]) == f"{one},{two}"
    assert authority(authority=[one], tags={"Authority": two}) == two


def test_nothing_is_computed_until_it_is_asked_for(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    sent = counter.send_all([hb.message("Increment"), hb.message("Add", 4), hb.message("Increment")])
    assert [each.slot for each in sent] == [1, 2, 3]
    assert [view.computed for view in counter.history()] == [False] * 4
    assert counter.compute(2) == 2
    assert [view.computed for view in counter.history()] == [True, True, True, False]


def test_a_failure_of_the_program_is_a_result(home) -> None:
    result = home.spawn(SAMPLES / "trap.wasm").send("DivideByZero").result()
    assert (result.ok, result.kind) == (False, "trap")
    assert "by zero" in (result.error or "")
    assert result.gas > 0


def test_a_refusal_is_raised_and_schedules_nothing(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    with pytest.raises(hb.Refused, match="message 2: a message may have"):
        counter.send_all([hb.message("Increment"), hb.message("Increment", data="x" * (17 << 20))])
    with pytest.raises(hb.Refused, match="cannot read the module"):
        home.spawn(SAMPLES / "no-such.wasm")
    with pytest.raises(hb.NotFound):
        counter.state(slot=1)
    with pytest.raises(hb.NotFound):
        home.process("nobody")
    assert counter.slots == 1


def test_limits_and_sources_are_taken_from_files_and_stored_images(home, tmp_path) -> None:
    loop = home.spawn(SAMPLES / "loop.wat", gas_limit=1000)
    assert loop.send("Loop").result().kind == "out-of-gas"
    again = home.spawn(loop.definition["image"], gas_limit=2000)
    assert again.definition["gas-limit"] == 2000
    (tmp_path / "bad.wat").write_bytes(b"\xff")
    with pytest.raises(hb.Refused, match="not UTF-8"):
        home.spawn(tmp_path / "bad.wat")


def test_a_message_is_signed_by_whom_one_names(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    alice = home.new_key("alice")
    counter.send("Increment", signer="alice")
    counter.send("Increment")
    counter.send("Increment", signer=home.signer("alice"))
    assert [view.sender for view in counter.history(1)] == [alice, home.address(), alice]
    assert home.address("alice") == alice != home.address()


def test_what_an_ao_program_answers_is_easy_to_get_at(home) -> None:
    messages = [{"Target": "bob", "Data": "hi", "Anchor": "1", "Tags": [{"name": "Action", "value": "Greet"}]}]
    me = home.spawn(answering({"ok": True, "response": {"Output": {"data": {"output": "2"}}, "Messages": messages}}))
    assert me.eval("return 1 + 1") == "2"
    result = me.result()
    assert [(message["target"], message["action"]) for message in result.outbox] == [("bob", "Greet")]
    failing = home.spawn(answering({"ok": True, "response": {"Error": "boom"}}))
    with pytest.raises(hb.ProgramFailed, match="boom") as failed:
        failing.eval("error()")
    assert failed.value.results["type"] == "error"
    assert not failing.send("Eval", data="error()").result().ok


def test_a_home_is_found_where_the_command_line_finds_it(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("HB_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(hb.HbError, match="no home at"):
        hb.open(create=False)
    assert str(hb.open().place.path).endswith("hb")
    near = homes.create(tmp_path / ".hb")
    assert hb.open().place == near
    monkeypatch.setenv("HB_HOME", str(tmp_path / "named"))
    assert hb.open().place.path == tmp_path / "named"
    assert hb.open(near.path, create=False).place == near


def test_two_openings_see_the_same_home(tmp_path) -> None:
    hb.open(tmp_path / "home").spawn(SAMPLES / "counter.wasm", name="counter").send("Increment")
    program = Path(sys.executable).parent / "hb"
    ran = subprocess.run(
        [program, "--home", tmp_path / "home", "state", "counter", "counter"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == b"1\n"
    assert hb.open(tmp_path / "home", create=False).process("counter").slots == 2


def test_a_home_in_memory_writes_no_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "HB_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    counter = hb.open(":memory:").spawn(SAMPLES / "counter.wasm")
    counter.send("Increment")
    assert counter.state()["counter"] == 1
    assert list(tmp_path.iterdir()) == []
    assert hb.memory().processes() == []


def test_a_fork_shares_the_past_and_can_go_on_with_other_code(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    counter.send_all([hb.message("Increment") for _ in range(5)])
    other = counter.fork(slot=2, name="other", tags={"Why": "to see"})
    assert home.process("other") == other != counter
    other.send("Add", 40)
    assert [other.state(slot)["counter"] for slot in (0, 2, "now")] == [0, 2, 42]
    assert (counter.slots, counter.state()["counter"]) == (6, 5)
    assert other.definition["why"] == "to see"
    upgraded = counter.fork(module=SAMPLES / "counter2.wat")
    assert upgraded.definition["image"] != counter.definition["image"]
    assert upgraded.state()["counter"] == 5
    with pytest.raises(hb.NotFound):
        counter.fork(slot=6)
    with pytest.raises(hb.Refused):
        counter.fork(module=SAMPLES / "ledger.wasm")
    assert len(home.processes()) == 3


def test_a_message_is_tried_at_any_slot_and_takes_none(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    counter.send_all([hb.message("Increment") for _ in range(5)])
    assert counter.call("Add", 10, slot=2).state == {"counter": 12}
    assert counter.call("ReadValue").output == [5]
    assert counter.call("Add", "x", signer="default").kind == "wrong-arguments"
    assert [counter.slots, *(view.computed for view in counter.history())] == [6, *[False] * 6]
    with pytest.raises(hb.NotFound):
        counter.call("ReadValue", slot=6)
    with pytest.raises(hb.Refused, match="backwards"):
        counter.call("ReadValue", timestamp_ms=1)


def test_two_slots_are_compared_and_other_code_is_tried_on_the_schedule(home) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    counter.send("Add", 3)
    counter.send_all([hb.message("Increment") for _ in range(3)])
    assert [(each.path, each.before, each.after) for each in counter.diff(1, 3).keys] == [("counter", 3, 5)]
    assert counter.diff("now", 4).is_none
    assert counter.replay(SAMPLES / "counter.wat") == []
    assert [change.slot for change in counter.replay(SAMPLES / "counter2.wasm")] == [2]
    assert [change.slot for change in counter.replay(SAMPLES / "counter2.wasm", to=3, every=True)] == [2, 3]


def test_a_history_goes_from_home_to_home_in_a_file(home, tmp_path) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    counter.send_all([hb.message("Increment") for _ in range(3)])
    counter.compute()
    counter.export(tmp_path / "counter.history", to=2)
    other = hb.memory()
    taken = other.import_history(tmp_path / "counter.history", name="counter", replay=True)
    assert taken == other.process("counter")
    assert (taken.id, taken.slots, taken.state()["counter"]) == (counter.id, 3, 2)
    assert taken.hashpath() == counter.hashpath(2)
    (tmp_path / "counter.history").write_bytes(b"nonsense")
    with pytest.raises(hb.HbError):
        hb.memory().import_history(tmp_path / "counter.history")


def test_a_witness_says_who_attests_it_and_a_file_is_verified_without_a_home(home, tmp_path) -> None:
    counter = home.spawn(SAMPLES / "counter.wasm")
    counter.send_all([hb.message("Increment") for _ in range(3)])
    counter.witness(tmp_path / "w")
    assert hb.verify_file(tmp_path / "w") == hb.VerifiedFile([], counter.id, 3, counter.hashpath(), ())
    home.new_key("auditor")
    counter.witness(tmp_path / "w", slot=2, attest=["default", "auditor"])
    found = hb.verify_file(tmp_path / "w")
    assert (found.slot, found.hashpath) == (2, counter.hashpath(2))
    assert set(found.attested_by) == {home.address("default"), home.address("auditor")}
    counter.export(tmp_path / "h")
    assert hb.verify_file(tmp_path / "h", replay=True).findings == []
    for name in ("w", "h"):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:])
        [finding] = hb.verify_file(tmp_path / name).findings
        assert "altered" in finding.what
    with pytest.raises(hb.Refused):
        hb.verify_file(SAMPLES / "counter.wasm")


def test_a_slot_can_be_looked_at_from_the_inside(home) -> None:
    trap = home.spawn(SAMPLES / "trap.wasm")
    trap.send("Unreachable")
    found = trap.trace()
    assert [frame.function for frame in found.calls[0].backtrace] == ["Unreachable"]
    assert (found.undone, found.differences) == (True, None)


def test_in_a_frozen_home_the_same_calls_give_the_same_bytes() -> None:
    def play() -> tuple[str, str, list[int]]:
        home = hb.frozen()
        ledger = home.spawn(SAMPLES / "ledger.wasm")
        ledger.send("Mint", 1, 100, signer="alice")
        home.clock.advance(60_000)
        ledger.send("Mint", 2, 5)
        ledger.send("Mint", 2, 5)
        return ledger.id, ledger.hashpath(), [view.timestamp_ms for view in ledger.history()]

    first = play()
    assert first == play()
    start = library.FROZEN_MS
    assert first[2] == [start, start, start + 60_000, start + 60_000]
    assert hb.frozen(seed=b"other").spawn(SAMPLES / "ledger.wasm").id != first[0]
    with pytest.raises(hb.Refused, match="backwards"):
        hb.frozen().clock.advance(-1)


def test_importing_it_loads_nothing_and_names_are_typed() -> None:
    script = "import hb, sys; print(sorted(m for m in sys.modules if m.startswith('hb.')), 'open' in dir(hb))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[] True"
    with pytest.raises(AttributeError, match="nonsense"):
        hb.nonsense  # noqa: B018
    stub = (ROOT / "core/hb/__init__.pyi").read_text()
    assert [name for name in hb.__all__ if f" as {name}" not in stub or getattr(hb, name) is None] == []
