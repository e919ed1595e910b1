"""The fixture `ao`, as pytest gives it to whoever has hb installed; and the manual of it, run as it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import hb
import manual
from hb import pytest_plugin, pytest_report
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = manual.ROOT / "samples"


def test_every_test_in_the_manual_passes(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(SAMPLES)
    pieces = manual.blocks()
    assert len(pieces) > 6
    manual.run(tmp_path, pieces)
    cache = tmp_path / ".pytest_cache" / "d" / "hb"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert list(cache.glob("*.native"))
    assert {path.name for path in tmp_path.iterdir()} <= {
        "samples", ".pytest_cache", "__pycache__", *(f"test_{number}.py" for number in range(len(pieces))),
    }  # fmt: skip


def test_each_test_gets_a_home_of_its_own_that_is_the_same(ao: hb.FrozenHome, ao_factory) -> None:
    assert isinstance(ao, hb.FrozenHome)
    assert ao.processes() == []
    other = ao_factory()
    one, two = (home.spawn(SAMPLES / "counter.wasm") for home in (ao, other))
    one.send("Increment")
    assert one.id == two.id
    assert (one.slots, two.slots) == (2, 1)


def test_it_works_where_pytest_has_no_cache(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(SAMPLES)
    manual.run(tmp_path, manual.blocks()[:1], "-p", "no:cacheprovider")
    assert not (tmp_path / ".pytest_cache").exists()


def test_old_compiled_modules_go_from_the_cache(tmp_path: Path, pytestconfig) -> None:
    class Cache:
        def mkdir(self, name: str) -> Path:
            (tmp_path / name).mkdir(exist_ok=True)
            return tmp_path / name

    class Config:
        cache = Cache()

    (tmp_path / "hb").mkdir()
    for number in range(pytest_plugin.KEPT_FILES + 5):
        (tmp_path / "hb" / f"{number}.native").touch()
    directory = pytest_plugin._cache(Config())  # type: ignore[arg-type]
    assert directory is not None
    assert len(list(directory.iterdir())) == pytest_plugin.KEPT_FILES


def test_pytest_loads_nothing_of_hb_until_a_test_asks_for_it() -> None:
    script = "import hb.pytest_plugin, sys; print(sorted(m for m in sys.modules if m.startswith(('hb.', 'wasmtime', 'nacl'))))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "['hb.pytest_plugin']"


def test_a_module_is_tested_in_three_lines_that_are_typed(tmp_path: Path) -> None:
    typed = "import hb\n\n" + manual.blocks()[0].replace("(ao)", "(ao: hb.FrozenHome) -> None")
    (tmp_path / "typed.py").write_text(typed + "\n\nhb.nonsense\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        manual.ROOT / ".mypy_cache" / "manual",
        tmp_path / "typed.py",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert 'typed.py:9: error: Module has no attribute "nonsense"' in ran.stdout
    assert "Found 1 error in 1 file" in ran.stdout


FAILING = """
import pytest

KEPT = []


@pytest.fixture(scope="module")
def shared(ao_factory):
    made = ao_factory().spawn("samples/counter.wasm")
    made.send("Add", 100).result()
    KEPT.append(made)
    return made


def test_it_fails(ao):
    counter = ao.spawn("samples/counter.wasm")
    for number in range(11):
        counter.send("Add", number)
    counter.send("Add", "\\x1b[31mnonsense").result()
    counter.send("Add", 77)
    counter.send("Nothing")
    assert counter.state(12)["counter"] == 0


def test_what_is_held_is_shown(ao):
    ping, pong = ao.spawn("samples/ping.wasm"), ao.spawn("samples/pong.wasm")
    ao.trap(lambda delivery: "hold")
    ping.send("Start", tags={"partner": pong.id}, push=True)
    assert ping.state()["count"] == 3


def test_a_home_of_the_file_is_shown(shared):
    assert shared.state()["counter"] == 0


def test_a_home_of_the_file_is_not_everybodys(ao):
    assert ao.processes() != []


def test_a_fixture_is_no_home():
    assert 0


def test_it_passes(shared):
    assert shared.state()["counter"] == 100
"""


OTHER = """
import pytest

KEPT = []


@pytest.fixture(scope="module")
def shared(ao_factory):
    made = ao_factory().spawn("samples/counter.wasm")
    made.send("Add", 200).result()
    return made


def test_another_file_has_another_home(shared):
    assert shared.state()["counter"] == 0


def test_what_the_test_made_is_shown(ao_factory):
    ao_factory().spawn("samples/counter.wasm").send("Add", 300).result()
    KEPT.append(ao_factory().spawn("samples/counter.wasm").send("Add", 400))
    assert KEPT[0].result().output == 0


def test_what_another_test_made_is_not(ao_factory):
    assert KEPT == []
"""


def run_pytest(directory: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    if not (directory / "samples").exists():
        (directory / "samples").symlink_to(SAMPLES)
    (directory / "test_it.py").write_text(code)
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "pytest", "-p", "no:benchmark", *options]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_failed_test_shows_the_last_slots_of_its_own_homes(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(OTHER)
    ran = run_pytest(tmp_path, FAILING, "-p", "no:xdist", "--tb=short")
    assert "8 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    sections = {text.split()[0]: text.partition("- hb -")[2] for text in ran.stdout.split("_ test_")[1:]}
    lines = sections["it_fails"].splitlines()
    shown = [line for line in lines if line.startswith("  ")]
    assert any(line.startswith("counter (KJ25N-") and line.endswith("), slots 0 to 14") for line in lines)
    assert [line.split()[0] for line in shown] == [str(slot) for slot in range(5, 15)]
    assert [" ".join(line.split()) for line in shown[-4:]] == [
        "11 Add 10 ok gas 5",
        "12 Add nonsense wrong-arguments: argument 1 of 'Add': expected i32, got the text '\\x1b[31mnonsense' gas 0",
        "13 Add 77 not computed",
        "14 Nothing not computed",
    ]
    assert "\x1b" not in sections["it_fails"]
    assert "  held: 1 for " in sections["what_is_held_is_shown"]
    assert "a trap holds it" in sections["what_is_held_is_shown"]
    assert "Add 100" in sections["a_home_of_the_file_is_shown"]
    assert "there is no process in the home of this test" in sections["a_home_of_the_file_is_not_everybodys"]
    assert "Add 100" not in sections["a_home_of_the_file_is_not_everybodys"]
    assert sections["a_fixture_is_no_home"] == ""
    assert "Add 200" in sections["another_file_has_another_home"]
    assert "Add 100" not in sections["another_file_has_another_home"]
    assert "Add 400" in sections["what_the_test_made_is_shown"]
    assert "Add 200" not in sections["what_the_test_made_is_shown"]
    assert sections["what_another_test_made_is_not"].partition("short test summary")[0].strip(" -=_\n") == ""


def test_what_is_damaged_is_said_in_a_line(ao: hb.FrozenHome) -> None:
    counter = ao.spawn(SAMPLES / "counter.wasm")
    for _ in range(3):
        counter.send("Increment").result()
    with ao.context.session() as store:
        store.commit(Batch(puts={keys.slot_record_key(counter.id, 2): b"nonsense"}))
    text = pytest_report.describe([ao.place], lambda: {counter.id: "counter"})
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[1].split() == ["0", "(spawn)", "ok"]
    assert lines[3].startswith("  2  damaged: the slot record is not readable")
    assert "Increment" in lines[4] or "damaged" in lines[4]
    with ao.context.session() as store:
        store.commit(Batch(puts={keys.head_key(counter.id): b"nonsense"}))
    assert counter.id in pytest_report.describe([ao.place], dict)
    assert pytest_report._spent([ao.place], {}) == {"actions": {}, "engines": []}


def test_a_line_has_the_error_and_what_was_printed() -> None:
    view = hb.SlotView("", 7, 0, None, "", "", "Eval", [], "return\n1", computed=True, gas=9)
    failed = {
        "type": "error",
        "kind": "trap",
        "error": "it\x1b[31m tra\x1bpped\x07",
        "print": "so\x07\nfar" + "!" * 500,
    }
    line = pytest_report._slot_line(view._replace(results=failed, state={}))
    assert " ".join(line.split()).startswith("Eval return 1 trap: it tra pped gas 9 printed 'so far!!!")
    assert line.endswith("!…'")
    assert len(line) < 150
    answered = view._replace(results={"type": "ok", "output": {"data": b"\xff42"}}, state={})
    assert " ".join(pytest_report._slot_line(answered).split()) == "Eval return 1 ok: \ufffd42 gas 9"


def test_a_bug_in_the_report_does_not_hide_the_failure(ao: hb.FrozenHome) -> None:
    assert pytest_report.describe([ao.place], lambda: 1 / 0) == (
        "the rest cannot be shown: ZeroDivisionError('division by zero')"
    )


def test_the_report_is_bounded_and_waits_for_nobody_long(ao: hb.FrozenHome, monkeypatch) -> None:
    echo = hb.wat('(module (func (export "Echo") (param i64) (result i64) (local.get 0)))')
    made = [ao.spawn(echo, name="n" * 64), *(ao.spawn(echo) for _ in range(pytest_report.SHOWN_PROCESSES + 2))]
    made[0].send("A" * 5000, *["p" * 5000] * 100, data="d" * 100_000).result()
    text = pytest_report.describe([ao.place], dict)
    assert max(map(len, text.splitlines())) < 500
    assert text.endswith("and 3 more processes")
    assert text.startswith("nnn")
    monkeypatch.setattr(pytest_report, "_PATIENCE_S", 0.01)
    with ao.context.session():
        assert "the rest cannot be shown: " in pytest_report.describe([ao.place], dict)
        assert pytest_report._heads([ao.place]) == {}


SPENDING = """
import pytest


@pytest.fixture(scope="module")
def shared(ao_factory):
    made = ao_factory().spawn("samples/counter.wasm")
    made.send("Increment").result()
    made.send("Increment")
    return made


@pytest.mark.parametrize("times", [1, 3])
def test_it_spends(ao, times):
    counter = ao.spawn("samples/counter.wasm")
    for number in range(times):
        counter.send("Add", number)
    counter.state()
    counter.send("Increment")


def test_a_fixture_spends_nothing(shared):
    shared.state()


def test_a_home_that_is_gone_has_spent(ao_factory):
    ao_factory().spawn("samples/ledger.wasm").send("Mint", 1, 100).result()


def test_who_fails_is_not_counted(ao):
    assert ao.spawn("samples/counter.wasm").send("Increment").result().gas == 0
"""


def test_the_gas_of_each_test_is_written_and_compared(tmp_path: Path) -> None:
    first = run_pytest(tmp_path, SPENDING, "-p", "no:xdist", "--hb-gas", "--hb-gas-save=gas.json")
    assert "1 failed, 4 passed" in first.stdout, first.stdout + first.stderr
    written = json.loads((tmp_path / "gas.json").read_text())
    add = {"calls": 3, "least": 5, "median": 5, "most": 5}
    mint = written["gas"].pop("test_it.py::test_a_home_that_is_gone_has_spent")
    assert mint.keys() == {"Mint"}
    assert mint["Mint"]["calls"] == 1
    assert written == {
        "engines": ["wasmtime-50"],
        "gas": {
            "test_it.py::test_it_spends[1]": {"Add": {**add, "calls": 1}},
            "test_it.py::test_it_spends[3]": {"Add": add},
        },
        "version": 1,
    }
    assert ["Add", "3", "5", "5", "5"] in [line.split() for line in first.stdout.splitlines()]

    # Workers send theirs, and a file of the same run does not differ.
    passing = SPENDING.partition("def test_who_fails")[0]
    spread = run_pytest(tmp_path, passing, "-n2", "--hb-gas-compare=gas.json", "--hb-gas-save=spread.json")
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert "3 the same, 0 changed, 0 not in the file" in spread.stdout
    assert (tmp_path / "spread.json").read_bytes() == (tmp_path / "gas.json").read_bytes()


def test_a_run_fails_if_something_costs_more_than_it_may(tmp_path: Path) -> None:
    code = """
    def test_it(ao):
        counter = ao.spawn("samples/counter.wasm")
        counter.send("Add", 1).result()
        counter.send("Increment").result()
    """.replace("\n    ", "\n")
    earlier = {"calls": 1, "least": 4, "median": 4, "most": 4}
    gas = {"test_it.py::test_it": {"Add": earlier, "Increment": {**earlier, "least": 6, "median": 6, "most": 6}}}
    content = {"engines": ["wasmtime-50"], "gas": gas, "version": 1}
    options = ("-p", "no:xdist", "--hb-gas-compare=gas.json")
    (tmp_path / "gas.json").write_text(json.dumps(content))
    worse = run_pytest(tmp_path, code, *options)
    assert worse.returncode == 1
    told = "test_it.py::test_it  Add: least 4 -> 5, median 4 -> 5, most 4 -> 5 (+25.0%)"
    assert f"too much: {told}" in worse.stdout
    assert "\ntest_it.py::test_it  Increment: least 6 -> 5, median 6 -> 5, most 6 -> 5\n" in worse.stdout
    tolerated = run_pytest(tmp_path, code, *options, "--hb-gas-tolerance=25")
    assert tolerated.returncode == 0, tolerated.stdout + tolerated.stderr
    assert f"\n{told}\n" in tolerated.stdout

    (tmp_path / "gas.json").write_text(json.dumps({**content, "engines": ["wasmtime-1"]}))
    other = run_pytest(tmp_path, code, *options)
    assert (other.returncode, "not compared: the file is from wasmtime-1, and" in other.stdout) == (0, True)


@pytest.mark.parametrize("content", [None, "no JSON", "{}", '{"engines": [], "gas": {"a": {"b": {}}}, "version": 1}'])
def test_a_file_that_cannot_be_compared_with_is_refused(tmp_path: Path, content: str | None) -> None:
    from hb.pytest_gas import _read

    if content is not None:
        (tmp_path / "gas.json").write_text(content)
    with pytest.raises(pytest.UsageError, match="--hb-gas-compare: .*gas.json"):
        _read(tmp_path / "gas.json")


def test_unwrap_gives_the_answer_or_says_why_there_is_none(ao: hb.FrozenHome) -> None:
    counter = ao.spawn(SAMPLES / "counter.wasm", initial_state={"counter": 41})
    counter.send("Increment")
    assert counter.send("ReadValue").result().unwrap() == [42]
    assert counter.call("ReadValue").unwrap() == [42]
    for failed in (counter.send("Add", "nonsense").result(), counter.call("Add", "nonsense")):
        with pytest.raises(hb.ProgramFailed, match=r"^the program failed \(wrong-arguments\): argument 1 of") as caught:
            failed.unwrap()
        assert caught.value.results["kind"] == "wrong-arguments"
        assert not hasattr(caught.value, "__notes__")
    printed = hb.Result({"type": "error", "kind": "trap", "error": "it trapped", "print": "so\x1b[31m far\n"}, {})
    with pytest.raises(hb.ProgramFailed) as caught:
        printed.unwrap()
    assert str(caught.value) == "the program failed (trap): it trapped"
    assert caught.value.__notes__ == ["it printed: so far"]
