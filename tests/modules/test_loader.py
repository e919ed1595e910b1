"""What aos modules answer to sixty messages is what they answer under the AO loader: scripts/compare-loader says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import compiled
from modules.run_session import SCRIPT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def modules(fetch) -> Path:
    """The directory of the modules; the loader that they are compared with is there too."""
    if shutil.which("node") is None:
        pytest.skip("the AO loader runs under node, and node is not installed")
    fetch("loader")
    return fetch("modules")


def compare(module: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, module.name, "--cache", compiled.compiled(module), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["aos.wasm", "aos2_0_1.wasm", "aos2_0_3.wasm", "aos2_0_4_32.wasm", "aos2_0_6.wasm"])
def test_a_session_of_sixty_messages_is_the_same_as_under_the_ao_loader(modules: Path, name: str) -> None:
    ran = compare(modules / name)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"{name}: 61 of 61 slots the same: ")
    counted = dict(reversed(part.split()) for part in ran.stdout.strip().rpartition(": ")[2].split(", "))
    # The session is one of successes, failures, messages and spawns: the same nothing would be the same too.
    assert int(counted["outputs"]) >= 40
    assert int(counted["errors"]) >= 9
    assert int(counted["messages"]) == 6
    assert int(counted["spawns"]) == 4


def test_what_differs_is_shown_and_is_what_differs_by_design(modules: Path, tmp_path: Path) -> None:
    session = tmp_path / "session.lua"
    session.write_text("--- Eval\nreturn 1\n--- Eval\nreturn tostring(print)\n--- Eval\nreturn tostring(0/0)\n")
    ran = compare(modules / "aos2_0_6.wasm", "--session", session)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.startswith("aos2_0_6.wasm: 2 of 4 slots the same: ")
    # Where things are in memory depends on how the host puts its strings there; a NaN here has no sign.
    assert "slot 2: return tostring(print)\n" in ran.stdout
    here, there = [line for line in ran.stdout.splitlines() if line.startswith("  ")][2:]
    assert here.startswith('  here:   {"data":"nan"')
    assert there.startswith('  loader: {"data":"-nan"')
