"""scripts/setup: which Python it takes, and what it says when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone without .venv, whose second half of the set-up only says which Python runs it."""
    scripts = tmp_path / "a clone" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "setup").write_bytes((SCRIPTS / "setup").read_bytes())
    (scripts / "setup").chmod(0o755)
    (scripts / "set_up_venv.py").write_text("import os, sys; print(os.environ.get('STANDS_FOR'))")
    return scripts.parent


def put(directory: Path, name: str, *, version: str | None) -> Path:
    """A command that acts as a Python of that version, or (None) that cannot run."""
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / name
    if version is None:
        script.write_text("#!/bin/sh\necho 'no version is set for this command' >&2\nexit 127\n")
    else:
        numbers = ", ".join(version.split("."))
        script.write_text(
            f'#!/bin/sh\nif [ "$1" = -c ]; then code="import sys; sys.version_info = ({numbers}, 0); $2"\n'
            f'exec {sys.executable} -c "$code"; fi\nSTANDS_FOR={name}-{version} exec {sys.executable} "$@"\n'
        )
    script.chmod(0o755)
    return script


def set_up(clone: Path, commands: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    commands.mkdir(exist_ok=True)
    for tool in ("dirname", "sh"):
        (commands / tool).symlink_to(f"/usr/bin/{tool}" if Path(f"/usr/bin/{tool}").exists() else f"/bin/{tool}")
    return subprocess.run(
        [clone / "scripts" / "setup"],
        env={"PATH": str(commands), "HOME": os.environ.get("HOME", "/")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_takes_python3_where_it_suits(clone: Path, tmp_path: Path, version: str) -> None:
    put(tmp_path / "bin", "python3", version=version)
    ran = set_up(clone, tmp_path / "bin")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"python3-{version}\n", "")


def test_passes_over_an_old_one_and_one_that_does_not_run(clone: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", "python3", version="3.10")
    put(tmp_path / "bin", "python3.14", version=None)
    put(tmp_path / "bin", "python3.12", version="3.12")
    assert set_up(clone, tmp_path / "bin").stdout == "python3.12-3.12\n"


@pytest.mark.parametrize("version", [None, "2.7", "3.10", "3.15", "4.0"])
def test_without_a_python_that_suits_one_sentence_says_what_is_needed(
    clone: Path, tmp_path: Path, version: str | None
) -> None:
    put(tmp_path / "bin", "python3", version=version)
    ran = set_up(clone, tmp_path / "bin")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("hb needs Python 3.11 to 3.14")
    assert "HB_PYTHON=/path/to/python" in ran.stderr


def test_takes_the_python_that_hb_python_names_and_no_other(clone: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", "python3", version="3.13")
    named = put(tmp_path / "another place", "mine", version="3.12")
    assert set_up(clone, tmp_path / "bin", HB_PYTHON=str(named)).stdout == "mine-3.12\n"


def test_says_so_if_hb_python_names_none_that_suits(clone: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", "python3", version="3.13")
    named = put(tmp_path / "another place", "mine", version="3.10")
    ran = set_up(clone, tmp_path / "bin", HB_PYTHON=str(named))
    assert ran.returncode == 1
    assert ran.stderr == f"hb needs Python 3.11 to 3.14 with its venv module, and HB_PYTHON ({named}) is none.\n"


@pytest.mark.skipif(not (SCRIPTS.parent / ".venv" / "set-up.json").exists(), reason="scripts/setup has not run here")
def test_the_demo_runs_and_finds_all_as_it_should_be(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HB_")}
    ran = subprocess.run(
        [SCRIPTS / "demo"], env=environment | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("demo: all as it should be\n")
    assert list(tmp_path.iterdir()) == []
