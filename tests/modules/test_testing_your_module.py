"""The manual of the pytest plugin, run as it stands on a real aos."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import manual
from hb.wasm import module
from modules.conftest import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AOS = "aos2_0_6.wasm"


def test_every_test_on_an_aos_module_passes(tmp_path: Path, fetch: Callable[[str], Path], shared: Path) -> None:
    (tmp_path / AOS).symlink_to(fetch("modules") / AOS)
    # As after a first run: what is compiled is in pytest's cache.
    cache = tmp_path / ".pytest_cache" / "d" / "hb"
    cache.mkdir(parents=True, mode=0o700)
    with locked(shared / f"{AOS}.lock"):
        module.load((tmp_path / AOS).read_bytes(), shared / f"compiled-{AOS}")
    for file in (shared / f"compiled-{AOS}").iterdir():
        os.link(file, cache / file.name)
    pieces = manual.blocks(AOS)
    assert len(pieces) >= 3
    manual.run(tmp_path, pieces)
