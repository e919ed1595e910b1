"""The fixture `ao`, as pytest gives it to whoever has hb installed; and the manual of it, run as it stands."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import hb
import manual
from hb import pytest_plugin

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
