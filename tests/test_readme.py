"""Run every command of the README's tour, and compare every line of output that it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import compiled

ROOT = Path(__file__).parent.parent
FETCH = ROOT / "scripts" / "fetch-modules"
README = (ROOT / "README.md").read_text()


def steps(*modules: str) -> list[tuple[str, list[str]]]:
    """Return the tour's commands, each with the lines that the README shows as its output.

    A block that begins with ```console MODULE needs that module. It is left out unless `modules` has the module.
    """
    found: list[tuple[str, list[str]]] = []
    for needed, block in re.findall(r"```console *(.*?)\n(.*?)```", README, re.DOTALL):
        if needed and needed not in modules:
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def as_pattern(line: str) -> str:
    return ".+".join(re.escape(part) for part in line.split("…")) if "…" in line else re.escape(line)


MODULES = sorted(set(re.findall(r"```console +(.+)", README)))


def fetched() -> Path | str:
    """The directory of the real modules, or why they are not here."""
    ran = subprocess.run([FETCH], capture_output=True, text=True, timeout=600, check=False)
    return ran.stderr.strip() if ran.returncode == 1 else Path(ran.stdout.strip())


def test_the_tour_prints_what_the_readme_says(tmp_path) -> None:
    """The whole tour, real modules included; where they cannot be had, without them."""
    found = fetched()
    modules = MODULES if isinstance(found, Path) else []
    tour = steps(*modules)
    assert len(tour) > len(steps()) + 5 if modules else len(tour) > 20
    walk(tour, tmp_path, [found / name for name in modules] if isinstance(found, Path) else [])
    if not modules:
        pytest.skip(f"the tour was walked without {', '.join(MODULES)}: {found}")


def walk(tour: list[tuple[str, list[str]]], tmp_path: Path, modules: list[Path]) -> None:
    """Run the commands of a tour in one shell, in `tmp_path`, and compare what they print.

    The first command makes the home. Then the compiled forms of `modules` are copied into it: each takes seconds to make.
    """
    marker = "--- next ---"
    lines = [f"{command}\necho '{marker}'" for command, _ in tour]
    for image in modules:
        lines[0] += f'\ncp "{compiled.compiled(image)}"/* "$(dirname "$(find "$HOME" -name config.toml)")/cache/"'
    script = "\n".join(lines)
    for place in ("samples", "scripts"):
        (tmp_path / place).symlink_to(ROOT / place)
    environment = {
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    outputs = run.stdout.split(f"{marker}\n")
    assert len(outputs) == len(tour) + 1, run.stderr
    for (command, expected), output in zip(tour, outputs, strict=False):
        shown = output.splitlines()
        assert len(shown) == len(expected), f"{command}\nprinted {shown}\n{run.stderr}"
        for line, wanted in zip(shown, expected, strict=True):
            assert re.fullmatch(as_pattern(wanted), line), f"{command}\nprinted {line}\nnot    {wanted}"


def test_every_place_that_the_readme_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for place in re.findall(r"^\| `([a-z_/.]+)` \|", README, re.MULTILINE):
        assert (ROOT / place).exists(), place


def test_the_exit_codes_are_the_programs() -> None:
    from hb_cli import exits

    documented = {
        int(code) for row in re.findall(r"^\| ([0-9 /]+) \|", README, re.MULTILINE) for code in row.split("/")
    }
    defined = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert documented == defined
