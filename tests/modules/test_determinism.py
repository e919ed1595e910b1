"""The same schedule in two fresh homes comes to the same results, gas and memory, slot by slot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.records import cache
from modules.run_session import load_script
from verbs import Node

if TYPE_CHECKING:
    from hb.home import Home

SLOTS = 60


def run(home: Path, module: Path, hash_seed: str) -> list[tuple[int, str, str]]:
    program = Path(__file__).parent / "run_session.py"
    ran = subprocess.run(
        [sys.executable, program, home, module, str(SLOTS)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines()]


def in_one_go(home: Home, module: Path) -> list[str]:
    """The digests of the records of a process that is computed with one command."""
    script = load_script()
    process = script.schedule_here(home, module.read_bytes(), script.read_session()[:SLOTS])
    Node(home).compute(process)
    with home.storage.session() as store:
        records = [cache.read_bytes(store, process, slot) for slot in range(SLOTS + 1)]
    return [ids.digest(record) for record in records if record is not None]


@pytest.mark.parametrize("name", ["aos2_0_6.wasm", "aos2_0_4_32.wasm"])
def test_two_fresh_homes_agree_on_results_gas_and_memory_at_every_slot(make_shell, fetch, name: str) -> None:
    one, other = make_shell(name, name="one").home, make_shell(name, name="other").home
    module = fetch("modules") / name
    first, second = run(one.path, module, "1"), run(other.path, module, "2")
    assert len(first) == SLOTS + 1
    assert first == second
    assert len({image for _, _, image in first}) > SLOTS // 2, "the memory hardly ever changed"
    assert all(gas > 0 for gas, _, _ in first)
    # What is computed in one go, with memory images where they are worth it, is what was computed slot by slot.
    assert [digest for _, digest, _ in first] == in_one_go(make_shell(name, name="third").home, module)
