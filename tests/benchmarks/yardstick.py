"""The ideal loop: what a slot cannot do without, and nothing more, written the obvious way.

It reads each assignment that `hb` stored, calls the module by the direct path, makes a record of the outcome with the
digest of the one before, puts that, and commits each thousand. It checks nothing, links nothing, keeps no image and no
way back. As a program: `yardstick.py STORE PROCESS MODULE TARGET`.
"""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

from hb.capi import fastcall
from hb.protocol.definition import Limits
from hb.records import keys
from hb.storage.leveldb import plyvel
from hb.wasm import module
from hb.wasm.instance import Instance

COMMIT_SLOTS = 1000
FUEL = 10_000_000_000


def compute(store: Path, process: str, image: bytes, target: Path) -> int:
    """Computes the scheduled slots after 0 of the store at `store` into a new one at `target`; says how many."""
    instance = Instance(module.load(image), Limits(FUEL, 16384, 1 << 24))
    functions = instance.module.info.functions
    calls = {
        name: fastcall.prepare(instance._store, instance._exports[name], type_) for name, type_ in functions.items()
    }
    source = plyvel.DB(str(store))
    into = plyvel.DB(str(target), create_if_missing=True)
    batch = into.write_batch()
    previous = ""
    slot = 1
    while (raw := source.get(keys.assignment_key(process, slot), verify_checksums=True)) is not None:
        assignment = json.loads(raw)
        values, left, _ = calls[assignment["body"]["action"]]((), FUEL)
        record = {
            "slot": slot,
            "state": instance.read_globals(),
            "results": {"type": "ok", "output": list(values), "gas": FUEL - left},
            "previous": previous,
        }
        written = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        previous = urlsafe_b64encode(sha256(written).digest()).decode()
        batch.put(keys.slot_record_key(process, slot), written)
        if slot % COMMIT_SLOTS == 0:
            batch.write()
            batch = into.write_batch()
        slot += 1
    batch.write()
    into.close()
    source.close()
    return slot - 1


if __name__ == "__main__":
    store, process, image, target = sys.argv[1:]
    print(compute(Path(store), process, Path(image).read_bytes(), Path(target)))
