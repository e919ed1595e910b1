"""Mutations of modules: whatever the bytes are, the outcome is a value or a refusal with a sentence."""

from __future__ import annotations

import random

import pytest

from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.wasm import engine
from hb.wasm.instance import Instance
from hb.wasm.module import inspect, load

LIMITS = Limits(gas=20_000, memory_pages=8, result_bytes=1000)
SPLICES = [b"\0", b"\x0b", b"\x60", b"\x7f", b"\xfc\x09", b"\xff\xff\xff\xff\x0f", b"\x80" * 9 + b"\x01", b"\xff" * 11]
NUMERIC = {"i32", "i64", "f32", "f64"}


def mutate(random_: random.Random, wasm: bytes) -> bytes:
    mutated = bytearray(wasm)
    for _ in range(random_.choice([1, 1, 1, 2, 5])):
        at = random_.randrange(8, len(mutated)) if len(mutated) > 8 else 0
        match random_.randrange(10):
            case 0:
                del mutated[at:]
            case 1:
                mutated[at:at] = random_.choice(SPLICES)
            case 2:
                mutated[at : at + random_.randrange(1, 9)] = random_.choice(SPLICES)
            case 3:
                del mutated[at : at + random_.randrange(1, 9)]
            case 4:
                mutated[at:at] = mutated[random_.randrange(len(mutated) + 1) :][: random_.randrange(40)]
            case _ if mutated:
                mutated[min(at, len(mutated) - 1)] = random_.randrange(256)
    return bytes(mutated)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_modules_end_in_a_value_or_a_refusal(seed: int, everything, sample) -> None:
    import wasmtime

    random_ = random.Random(seed)
    seeds = [everything] * 3 + [sample(n) for n in ("counter", "ledger", "loop", "trap", "grow", "recurse")]
    sentences: set[str] = set()
    seen = {"valid": 0, "calls": 0, "refused": 0}
    for _ in range(2000):
        wasm = mutate(random_, random_.choice(seeds))
        try:
            module = load(wasm)
        except Refused as refusal:
            seen["refused"] += 1
            sentences.add(refusal.message)
            # What the engine finds valid is only refused for a reason that is ours; none of these seeds has one.
            with pytest.raises(wasmtime.WasmtimeError):
                wasmtime.Module.validate(engine.get_engine(), wasm)
            continue
        seen["valid"] += 1
        assert inspect(wasm) == module.info
        seen["calls"] += call_everything(module)
    assert min(seen.values()) > 50, seen
    assert not [s for s in sentences if not s or "\n" in s]


def call_everything(module) -> int:
    try:
        instance = Instance(module, LIMITS)
    except Refused:
        return 0
    if instance.start_failure is not None:
        return 0
    calls = 0
    for name, type_ in module.info.functions.items():
        outcome = instance.call(name, [3] * len(type_.params))
        assert 0 <= outcome.gas <= LIMITS.gas
        calls += 1
    assert len(instance.raw_globals()) == len(module.state.globals)
    assert instance.memory_pages <= LIMITS.memory_pages
    return calls
