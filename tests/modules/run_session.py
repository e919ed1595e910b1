"""Computes the session in a home, and says after each slot what it is: its record's digest and its memory image's.

Run as a program of its own, by test_determinism.py: `run_session.py HOME MODULE SLOTS`. Prints JSON, one slot a line.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING

from hb import ids
from hb.compute import driver as compute
from hb.home import open_home
from hb.records import cache

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it is also run as a program of its own

from verbs import Node

if TYPE_CHECKING:
    from types import ModuleType

    from hb.home import Home

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare-loader"


def load_script() -> ModuleType:
    """scripts/compare-loader as a module: it knows the session that modules are compared by."""
    loader = SourceFileLoader("compare_loader", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    script = module_from_spec(spec)
    sys.modules[loader.name] = script
    loader.exec_module(script)
    return script


def digests(home: Home, process: str, slots: int) -> list[tuple[int, str, str]]:
    """(gas, the digest of the slot's record, the digest of its memory image) of each slot, computed one by one."""
    context = Node(home).context
    live = compute.open_worker(context, process, 0, context.machine())
    found = []
    for slot in range(slots + 1):
        compute.advance(context, live, slot, is_last=False)
        with home.storage.session() as store:
            record = cache.read_bytes(store, process, slot)
        assert record is not None
        results = json.loads(record)["results"]
        found.append((results["gas"], ids.digest(record), ids.digest(live.make_image().record)))
    return found


def main(path: str, module: str, slots: int) -> None:
    script, home = load_script(), open_home(Path(path))
    process = script.schedule_here(home, Path(module).read_bytes(), script.read_session()[:slots])
    for line in digests(home, process, slots):
        print(json.dumps(line))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
