"""An aos process that stays live in one program: computing one evaluation costs no more than its share of many at once.

HB_LONG=1 tries a thousand evaluations.
"""

from __future__ import annotations

import os
from time import process_time

from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from world import World

EVALS = 1000 if os.environ.get("HB_LONG") else 100
PART = 20
"""One by one and all at once take turns in parts of this size: other programs disturb both alike."""
MOST = 1.3
NAME = "aos2_0_6.wasm"


def test_an_evaluation_costs_little_more_by_itself_than_among_many(make_shell, fetch) -> None:
    world = World(256 << 20, cache=make_shell(NAME).home.cache)
    limits = Limits(gas=10**10, memory_pages=16_384, result_bytes=1 << 20)
    process = world.spawn_image((fetch("modules") / NAME).read_bytes(), limits)
    evaluation = build_message("Eval", data="x = (x or 0) + 1; return x")

    def seconds(slot: int) -> float:
        before = process_time()
        world.compute(process, slot)
        return process_time() - before

    world.compute(process, world.send_all(process, [evaluation]))
    kept = world.kept(process)
    single = together = 0.0
    for _ in range(EVALS // PART):
        for _ in range(PART):
            single += seconds(world.send_all(process, [evaluation]))
            assert world.pool.size_bytes <= world.pool.limit_bytes
        slot = world.send_all(process, [evaluation] * PART)
        together += seconds(slot)
    assert world.record(process, slot)["results"]["data"] == str(slot)
    assert world.kept(process) is kept, "nothing was restored"
    each, share = (1000 * taken / EVALS for taken in (single, together))
    assert each <= MOST * share, f"{each:.2f} ms by itself, {share:.2f} ms among {PART}"
