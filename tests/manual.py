"""Run the Python examples of docs/testing-your-module.md as test files, in a separate pytest, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MANUAL = (ROOT / "docs" / "testing-your-module.md").read_text()


def blocks(module: str = "") -> list[str]:
    """Return the manual's Python examples that need `module`, or those that need no module."""
    return [code for needed, code in re.findall(r"```python *(.*?)\n(.*?)```", MANUAL, re.DOTALL) if needed == module]


def run(directory: Path, pieces: list[str], *options: str) -> str:
    """Run each piece as a test file. All tests must pass. Return what pytest prints."""
    for number, code in enumerate(pieces):
        (directory / f"test_{number}.py").write_text(code)
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:benchmark", *options]
    ran = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    tests = sum(code.count("\ndef test_") + code.startswith("def test_") for code in pieces)
    assert f"{tests} passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stdout
    return ran.stdout
