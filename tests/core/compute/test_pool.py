"""The pool of live workers: what it keeps, what it drops, and what its bound is. Real programs, storage in memory."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from hb.cancellation import Cancellation
from hb.compute import following
from hb.compute.pool import LEAST_BYTES, Pool
from hb.errors import HomeBusy, Interrupted
from hb.history import calling
from hb.protocol.message import dumps
from hb.protocol.request import build_message
from hb.records import cache, keys
from hb.storage.storage import Patience
from hb.verify import audit
from world import LARGE, PAGE, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.compute.context import Context


@pytest.fixture
def world() -> World:
    return World()


def test_one_worker_goes_on_from_request_to_request(world: World) -> None:
    process = world.spawn(LARGE)
    world.compute(process, world.send(process, "Count"))
    first = world.kept(process)
    assert first is not None
    for count in (2, 3):
        assert world.call(process, "Count")["type"] == "ok"
        assert (world.kept(process), first.slot) == (first, count)
    assert world.call(process, "Fail")["type"] == "error"
    assert world.call(process, "Stored")["output"] == [3]
    assert world.kept(process) is first


@pytest.mark.parametrize("pages", [1, LARGE])
def test_records_do_not_tell_whether_a_worker_was_kept(pages: int) -> None:
    actions = ["Count", "Fail", ("Grow", 2), "Stored", "Nothing", ("Spin", 200_000_000), "Count", "Stored"]
    live, afresh = World(), World()
    process = live.spawn(pages)
    assert afresh.spawn(pages) == process
    for world in (live, afresh):
        world.send(process, *actions)
    for slot in range(len(actions) + 1):
        live.compute(process, slot)
    other = afresh.other()
    afresh.compute(process, len(actions), other)
    assert [live.record(process, slot) for slot in range(9)] == [afresh.record(process, slot) for slot in range(9)]
    with other.pool.room(process, 0), live.pool.room(process, 0):
        workers = [pool.take(process) for pool in (other.pool, live.pool)]
    images = [worker.make_image().record for worker in workers if worker is not None]
    assert len(images) == 2
    assert images[0] == images[1]


def test_a_worker_steps_through_what_others_computed(world: World) -> None:
    process = world.spawn(LARGE)
    world.compute(process, world.send(process, "Count"))
    first = world.kept(process)
    world.compute(process, world.send(process, "Count", "Count"), world.other())
    assert world.call(process, "Stored")["output"] == [3]
    assert world.kept(process) is first


def test_a_memory_image_that_others_left_replaces_a_worker(world: World) -> None:
    process = world.spawn(1)
    world.compute(process, world.send(process, "Count"))
    first = world.kept(process)
    world.compute(process, world.send(process, "Count", "Count"), world.other())
    assert world.call(process, "Stored")["output"] == [3]
    assert world.kept(process) is not first


def test_a_worker_whose_record_is_another_is_dropped(world: World) -> None:
    process = world.spawn(LARGE)
    world.compute(process, world.send(process, "Count"))
    first = world.kept(process)
    key = keys.slot_record_key(process, 1)
    # As a repair does: what is damaged, and all that follows from it, is forgotten and computed again.
    world.change(deletes={key})
    assert world.call(process, "Stored")["output"] == [1]
    second = world.kept(process)
    assert second is not first
    record = world.record(process, 2)
    world.change(puts={keys.slot_record_key(process, 2): dumps({**record, "previous": "x" * 43})})
    world.send(process, "Count")
    with pytest.raises(Exception, match="differently"):
        world.compute(process, 3)
    assert world.kept(process) is None


def test_a_worker_does_not_go_back(world: World) -> None:
    process = world.spawn(LARGE)
    world.compute(process, world.send(process, "Count", "Count"))
    world.change(deletes={keys.slot_record_key(process, 1)})
    world.compute(process, 1)
    kept = world.kept(process)
    assert kept is not None
    assert kept.slot == 1
    assert world.call(process, "Stored")["output"] == [2]


def test_a_call_is_cancelled_alone_and_its_worker_is_dropped(world: World) -> None:
    endless, busy = world.spawn(LARGE), world.spawn(LARGE, gas=10**12 - 1)
    world.compute(endless, world.send(endless, "Count"))
    world.compute(busy, world.send(busy, "Count"))
    kept = world.kept(busy)
    cancellation = Cancellation()
    with ThreadPoolExecutor(2) as threads:
        slot = world.send(endless, "Forever")
        stopped = threads.submit(world.compute, endless, slot, world.context.replace(cancellation=cancellation))
        other = threads.submit(world.call, busy, ("Spin", 100_000_000))
        sleep(0.1)
        cancellation.cancel()
        with pytest.raises(Interrupted):
            stopped.result()
        assert other.result()["type"] == "ok"
    assert world.kept(endless) is None
    assert world.kept(busy) is kept


def test_a_worker_obeys_the_request_that_has_it_and_none_before(world: World) -> None:
    process = world.spawn(LARGE)
    before = Cancellation()
    world.compute(process, world.send(process, "Count"), world.context.replace(cancellation=before))
    kept = world.kept(process)
    before.cancel()
    assert world.call(process, "Count")["type"] == "ok"
    assert world.kept(process) is kept
    slot, now = world.send(process, "Forever"), Cancellation()
    with ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(world.compute, process, slot, world.context.replace(cancellation=now))
        sleep(0.05)
        now.cancel()
        with pytest.raises(Interrupted):
            stopped.result()


def test_workers_stay_within_the_bound_and_the_oldest_goes_first() -> None:
    # Each writes to 40 pages, 2.5 MiB. Three fit.
    world = World(8 << 20)
    processes = [world.spawn(LARGE, gas=10**9 + n) for n in range(6)]
    workers: list[Callable[[], object]] = []
    for process in processes:
        world.compute(process, world.send(process, "Count"))
        world.compute(process, world.send(process, "Fill"))
        workers.append(ref(world.kept(process)))
        assert world.pool.size_bytes <= 8 << 20
    gc.collect()
    assert [live() is not None for live in workers] == [False] * 3 + [True] * 3
    # What was used now stays; the one that was not goes.
    assert world.call(processes[3], "Stored")["output"] == [1]
    world.call(processes[0], "Stored")
    # One that is restored has its copy as well: 5 MiB.
    assert [world.kept(process) is not None for process in processes] == [True, False, False, True, False, False]
    world.pool.close()
    gc.collect()
    assert all(live() is None for live in workers)
    assert world.pool.size_bytes == 0
    assert world.call(processes[0], "Stored")["output"] == [1]
    assert world.pool.size_bytes == 0


def test_workers_go_with_the_home_at_once() -> None:
    world = World()
    process = world.spawn(LARGE)
    world.call(process, "Count")
    live = ref(world.kept(process))
    gc.disable()
    try:
        del world
        assert live() is None, "something holds the worker, which would stay until garbage is collected"
    finally:
        gc.enable()


def test_a_memory_that_grows_counts_as_it_is() -> None:
    world = World(16 << 20)
    small, growing = world.spawn(1), world.spawn(LARGE)
    world.compute(small, world.send(small, "Count"))
    world.compute(growing, world.send(growing, "Count"))
    assert world.pool.size_bytes == 2 * LEAST_BYTES, "of a large memory, only pages that were written to count"
    assert world.call(growing, ("Grow", 60))["output"] == [LARGE]
    assert world.pool.size_bytes == 2 * LEAST_BYTES
    assert world.call(growing, "Fill")["type"] == "ok"
    assert world.pool.size_bytes == LEAST_BYTES + (LARGE + 60) * PAGE, "the copy follows when it is needed"
    assert world.call(growing, ("Grow", 400))["output"] == [100]
    assert world.call(growing, "Fill")["type"] == "ok"
    assert (world.kept(small), world.kept(growing)) == (None, None), "one that is too large alone is not kept"
    assert world.pool.size_bytes == 0
    assert world.call(growing, "Stored")["output"] == [1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of this program from /proc")
def test_the_memory_of_the_program_stays_bounded() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    world = World(48 << 20)
    processes = [world.spawn(160, gas=10**9 + n) for n in range(12)]
    before, most = resident(), 0
    for process in processes:
        assert world.call(process, "Fill")["type"] == "ok"
        most = max(most, resident() - before)
    # Twelve would take 240 MiB with their copies. What the store in memory holds of them is small: equal pages.
    assert most < 96 << 20, f"{most >> 20} MiB"


def test_who_finds_no_room_waits_for_it_in_turn() -> None:
    pool = Pool(4 << 20)
    order: list[str] = []

    def work(name: str, size_bytes: int) -> None:
        with pool.room(name, size_bytes):
            order.append(name)

    with ThreadPoolExecutor(3) as threads, ExitStack() as held:
        held.enter_context(pool.room("a", 3 << 20))
        large = threads.submit(work, "large", 3 << 20)
        while not pool._waiting:
            sleep(0.001)
        # It would fit, but another came first.
        small = threads.submit(work, "small", 1 << 20)
        # Who asks for a process that is at work shares its room.
        threads.submit(work, "a", 3 << 20).result()
        sleep(0.02)
        assert order == ["a"]
        with pytest.raises(HomeBusy, match="for 0.01 s"), pool.room("c", 0, Patience(0.01)):
            pass
        cancellation = Cancellation()
        stopped = threads.submit(lambda: pool.room("d", 0, Patience(None, cancellation)).__enter__())
        cancellation.cancel()
        with pytest.raises(Interrupted):
            stopped.result()
        held.close()
        large.result()
        small.result()
    assert order == ["a", "large", "small"]
    assert pool.size_bytes == 0


def test_one_process_is_worked_on_however_large_it_is() -> None:
    world = World(1)
    process = world.spawn(LARGE)
    assert world.call(process, "Count")["type"] == "ok"
    assert world.call(process, "Stored")["output"] == [1]


def test_a_follower_uses_the_worker_of_the_pool_and_leaves_an_image(world: World) -> None:
    process = world.spawn(LARGE)
    told: list[tuple[int, int]] = []
    cancellation = Cancellation()
    context = world.context.replace(cancellation=cancellation)

    def until(slot: int) -> None:
        end = monotonic() + 20
        while (not told or told[-1][1] < slot) and monotonic() < end:
            sleep(0.002)

    with ThreadPoolExecutor(1) as threads:
        follow = threads.submit(
            context.run, lambda inner: following.follow(inner, process, 0, lambda *at: told.append(at))
        )
        until(0)
        kept = world.kept(process)
        for slot in (1, 2):
            # Enough gas for an image of the last slot, and not enough for one on the way.
            assert world.send(process, ("Spin", 20_000_000)) == slot
            until(slot)
        cancellation.cancel()
        with pytest.raises(Interrupted, match="slot 2"):
            follow.result()
    assert told == [(0, 0), (1, 1), (2, 2)]
    assert kept is not None
    assert world.kept(process) is kept
    with world.context.session() as store:
        assert cache.latest(store, process, required="image") == 2


def attempt(
    world: World,
    process: str,
    action: str,
    parameters: list[int] | None = None,
    at: int | None = None,
    context: Context | None = None,
) -> tuple[object, object]:
    """What a message would be answered: its output, or the kind of its failure, and the count after it."""
    answer = calling.call(
        context or world.context,
        process,
        "now" if at is None else at,
        build_message(action, parameters or []),
        environment=world.environment,
        limit_bytes=1000,
    )
    return answer.results.get("output", answer.results.get("kind")), answer.state["count"]


@pytest.mark.parametrize("pages", [1, LARGE])
def test_what_is_only_tried_leaves_a_worker_where_it_was(world: World, pages: int) -> None:
    process = world.spawn(pages)
    world.call(process, "Count", "Fail", "Count")
    kept, before = world.kept(process), world.records()
    assert attempt(world, process, "Count") == ([], 3)
    assert attempt(world, process, "Stored") == ([2], 2)
    assert attempt(world, process, "Fail") == ("trap", 2)
    assert attempt(world, process, "Grow", [5]) == ([pages], 2)
    assert attempt(world, process, "Grow", [0]) == ([pages], 2)
    assert attempt(world, process, "Stored", at=1) == ([1], 1)
    assert world.records() == before
    assert world.kept(process) is kept
    assert world.call(process, "Stored")["output"] == [2]
    assert world.call(process, ("Grow", 0))["output"] == [pages]
    assert world.kept(process) is kept
    assert list(audit.verify(world.other(), process, replay=True, shared=True)) == []


def test_what_is_tried_before_the_process_is_computed_is_not_kept(world: World) -> None:
    process = world.spawn(LARGE)
    world.call(process, "Count")
    kept = world.kept(process)
    world.send(process, "Count")
    assert attempt(world, process, "Stored") == ([2], 2)
    assert world.kept(process) is kept
    # A worker that was made to try something is kept if its slot is computed.
    world.compute(process, 2, world.other())
    assert attempt(world, process, "Stored") == ([2], 2)
    made = world.kept(process)
    assert made is not None
    assert made.slot == 2
    assert world.call(process, "Count", "Stored")["output"] == [3]
    assert world.kept(process) is made


def test_what_is_tried_can_be_cancelled(world: World) -> None:
    process = world.spawn(LARGE)
    world.call(process, "Count")
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as threads:
        context = world.context.replace(cancellation=cancellation)
        stopped = threads.submit(attempt, world, process, "Forever", context=context)
        sleep(0.05)
        cancellation.cancel()
        with pytest.raises(Interrupted):
            stopped.result()
    assert world.kept(process) is None
    assert world.call(process, "Stored")["output"] == [1]
