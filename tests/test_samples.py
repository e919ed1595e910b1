"""The samples are built from their sources, are all documented, and do what their documentation says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import check, from_text, inspect, load

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
SOURCES = sorted(SAMPLES.glob("*.wat"))


def start(name: str) -> Instance:
    return Instance(load((SAMPLES / f"{name}.wasm").read_bytes()), Limits(gas=10**6, memory_pages=4, result_bytes=1000))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_what_is_built_is_what_the_source_gives(source: Path) -> None:
    assert source.with_suffix(".wasm").read_bytes() == from_text(source.read_text(encoding="utf-8"))


def test_the_build_script_agrees() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "build-samples"), "--check"]
    ran = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_every_sample_has_a_source_and_a_line_that_names_its_functions() -> None:
    assert {built.stem for built in SAMPLES.glob("*.wasm")} == {source.stem for source in SOURCES}
    lines = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    for source in SOURCES:
        [line] = [line for line in lines if line.startswith(f"| `{source.stem}` |")]
        functions = inspect(source.with_suffix(".wasm").read_bytes()).functions
        # Hostile samples have an `Increment` too, which the table need not repeat.
        assert [name for name in functions if f"`{name}" not in line] in ([], ["Increment"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_process_can_be_made_of_every_sample(source: Path) -> None:
    check(inspect(source.with_suffix(".wasm").read_bytes()), set())


def test_the_counters_whole_state_is_public() -> None:
    info = inspect((SAMPLES / "counter.wasm").read_bytes())
    assert (info.globals, info.hidden_globals, info.memory) == ({"counter": "i32"}, 0, None)


def test_the_ledgers_state_is_all_hidden() -> None:
    info = inspect((SAMPLES / "ledger.wasm").read_bytes())
    assert info.globals == {}
    assert info.hidden_globals == 2
    assert info.memory is not None
    assert info.memory.exported is None


def test_the_ledger_keeps_its_books() -> None:
    ledger = start("ledger")

    def ask(function: str, *arguments: int) -> int | None:
        outcome = ledger.call(function, arguments)
        return int(outcome.values[0]) if outcome.failure is None else None

    assert ask("Mint", 1, 100) == 100
    assert ask("Mint", 1, 20) == 120
    assert ask("Transfer", 1, 2, 50) == 1
    assert ask("Transfer", 2, 1, 51) == 0
    assert ask("Transfer", 9, 1, 1) == 0
    assert ask("Transfer", 1, 1, 70) == 1
    assert [ask("Balance", account) for account in (1, 2, 9)] == [70, 50, 0]
    assert ask("Supply") == 120
    assert ask("Mint", 1, -1) is None
    assert ask("Transfer", 1, 2, -1) is None
    assert ask("Mint", 3, 2**63 - 1) is None


def test_a_refused_transfer_changes_nothing() -> None:
    ledger = start("ledger")
    ledger.call("Mint", [1, 5])
    before = ledger.page(0), ledger.raw_globals()
    assert ledger.call("Transfer", [8, 1, 3]).values == (0,)
    assert ledger.call("Transfer", [1, 8, 6]).values == (0,)
    assert (ledger.page(0), ledger.raw_globals()) == before
