"""Crons: each tick at most once, on its grid, whoever runs them and whatever happens meanwhile."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest

import hb
from faulty import FaultyStore
from hb import home as homes
from hb import ids
from hb.environment import Environment, system_environment
from hb.errors import Conflict, HomeUnusable, IntegrityError, NotFound, Refused, Unfinished
from hb.library import crons as library
from hb.protocol import interval
from hb.protocol.commitment import committers
from hb.protocol.message import dumps
from hb.records import crons, keys
from hb.schedule import cron as engine
from hb.storage.storage import FOREVER, Patience
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.schedule.cron import Tick
    from hb.storage.memory import MemoryStore

COUNTER = (Path(__file__).parents[3] / "samples" / "counter.wasm").read_bytes()
START_MS = 1_700_000_000_000


class TimedHome(hb.Home):
    """A home on a disk whose clock stands still until it is set."""

    now_ms = START_MS

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        return system_environment()._replace(now_ms=lambda: self.now_ms)


@pytest.fixture
def counter(ao: hb.FrozenHome) -> hb.Process:
    return spawn(ao)


def spawn(home: hb.Home, name: str = "counter", **tags: str) -> hb.Process:
    given = {key.replace("_", "-"): value for key, value in tags.items()}
    return home.spawn(COUNTER, name=name, initial_state={"counter": 0}, tags=given)


def times(ticks: list[Tick]) -> list[int]:
    return [tick.tick_ms - START_MS for tick in ticks]


def records(home: hb.Home) -> dict[bytes, bytes]:
    with home.context.session() as store:
        return dict(store.scan(b"", b"\xff"))


def put(home: hb.Home, key: bytes, raw: bytes | None) -> None:
    batch = Batch(deletes={key}) if raw is None else Batch(puts={key: raw})
    with home.context.session() as store:
        store.commit(batch)


def only(home: hb.Home) -> hb.CronView:
    (view,) = home.crons()
    return view


# Ticks


def test_a_counter_counts_by_itself_as_time_goes_on(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Increment")
    seen = []
    for _ in range(5):
        ao.clock.advance(500)
        seen.append(times(ao.run_crons()))
    assert seen == [[], [1000], [], [2000], []]
    assert counter.state()["counter"] == 2
    assert counter.verify(replay=True) == []


def test_of_missed_ticks_the_newest_is_sent_and_the_grid_stays(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Increment")
    ao.clock.advance(4700)
    assert times(ao.run_crons()) == [4000]
    assert ao.run_crons() == []
    ao.clock.advance(299)
    assert ao.run_crons() == []
    ao.clock.advance(1)
    assert times(ao.run_crons()) == [5000]
    cron = only(ao).cron
    assert cron is not None
    assert (cron.sent, cron.skipped, cron.last_ms, cron.last_slot) == (2, 3, START_MS + 5000, 2)


def test_missed_ticks_are_made_up_in_order_in_bounded_batches(
    ao: hb.FrozenHome, counter: hb.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PART_TICKS", 3)
    counter.every(1000, "Increment", missed="run")
    ao.clock.advance(7500)
    tools, sent, nexts = library.tools(ao.context, ao.environment()), [], []
    for _ in range(4):
        before = len(sent)
        nexts.append(engine.run_due(tools, {}, on_tick=sent.append))
        assert len(sent) - before <= 3
    assert times(sent) == [1000 * n for n in range(1, 8)]
    assert [tick.slot for tick in sent] == list(range(1, 8))
    assert nexts == [START_MS + 7500] * 3 + [START_MS + 8000]
    ao.clock.advance(5000)
    assert times(ao.run_crons()) == [8000, 9000, 10_000, 11_000, 12_000]


def test_large_messages_are_sent_in_small_batches(
    ao: hb.FrozenHome, counter: hb.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.scheduler, "PART_BYTES", 4000)
    counter.every(1000, data="x" * 1500, missed="run")
    ao.clock.advance(9000)
    sent: list[Tick] = []
    engine.run_due(library.tools(ao.context, ao.environment()), {}, on_tick=sent.append)
    assert 1 <= len(sent) <= 3


def test_what_is_made_up_is_what_would_have_been_sent(ao_factory: Callable[[], hb.FrozenHome]) -> None:
    """Messages, their order and the last records are those of a home whose crons ran at every tick."""

    def prepared() -> hb.FrozenHome:
        home = ao_factory()
        one, two = spawn(home), spawn(home, "two")
        one.every(300, "Increment", missed="run")
        one.every(500, "Add", 10, missed="run")
        two.every(700, "Increment", missed="run")
        one.at(START_MS + 1000, "Add", 1000)
        return home

    lived, later = prepared(), prepared()
    live: list[Tick] = []
    for _ in range(30):
        lived.clock.advance(100)
        live += lived.run_crons()
    later.clock.advance(3000)
    made_up = later.run_crons()
    assert [tick.tick_ms for tick in made_up] == sorted(tick.tick_ms for tick in made_up)
    assert made_up == live
    assert len(made_up) == 10 + 6 + 4 + 1
    assert records(lived).keys() == records(later).keys()
    assert later.crons() == lived.crons()


def test_once_is_once_and_then_the_cron_is_gone(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.at(START_MS + 1000, "Add", 5)
    assert ao.run_crons() == []
    ao.clock.advance(5000)
    assert times(ao.run_crons()) == [1000]
    assert ao.run_crons() == []
    assert ao.crons() == []
    assert counter.state()["counter"] == 5


@pytest.mark.parametrize("time_ms", [0, START_MS - 1, START_MS])
def test_a_time_that_has_passed_is_due_at_once(ao: hb.FrozenHome, counter: hb.Process, time_ms: int) -> None:
    counter.at(time_ms, "Increment")
    assert only(ao).state == "due"
    assert [tick.tick_ms for tick in ao.run_crons()] == [time_ms]
    assert ao.run_crons() == []


def test_a_tick_is_an_ordinary_message_of_the_crons_key(ao: hb.FrozenHome, counter: hb.Process) -> None:
    cron = counter.every(1000, "Add", 2, data="d", tags={"Colour": "red"}, signer="alice")
    ao.clock.advance(1)
    plain = counter.every(1999)
    ao.clock.advance(1999)
    first, second = ao.run_crons()
    message, other = ao.message(first.message), ao.message(second.message)
    assert committers(message) == [ao.address("alice")]
    assert committers(other) == [ao.address()]
    assert message["anchor"] == cron.id[:12] + "001700000002000"
    assert len(str(message["anchor"])) <= 32
    said = {
        "action": "Add",
        "parameters": [2],
        "data": "d",
        "colour": "red",
        "cron": cron.id,
        "cron-tick": 1_700_000_002_000,
    }
    assert {key: message[key] for key in said} == said
    assert (other["action"], other["target"], other["cron"]) == ("Cron", counter.id, plain.id)
    assert "parameters" not in other


def test_two_equal_crons_are_two(ao: hb.FrozenHome, counter: hb.Process) -> None:
    one, two = (counter.every(1000, "Increment") for _ in range(2))
    assert one.id != two.id
    assert len(one.id) == 43
    ao.clock.advance(1000)
    assert {tick.cron for tick in ao.run_crons()} == {one.id, two.id}
    assert counter.state()["counter"] == 2


def test_a_cron_ends_with_the_calendar(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.at(crons.LATEST_MS, "Increment")
    cron = counter.every(interval.MAX_MS, "Increment", missed="run")
    ao.clock.now_ms = 2**60
    sent = ao.run_crons()
    assert ao.crons() == []
    assert sent[-1].tick_ms == crons.LATEST_MS
    assert times(sent[:-1]) == [interval.MAX_MS * n for n in range(1, len(sent))]
    assert cron.first_ms + interval.MAX_MS * (len(sent) - 1) > crons.LATEST_MS
    with pytest.raises(Refused, match="the year 9999"):
        counter.every(1000)


def test_only_the_crons_of_one_process(ao: hb.FrozenHome, counter: hb.Process) -> None:
    other = spawn(ao, "other")
    for process in (counter, other):
        process.every(1000, "Increment")
    ao.clock.advance(1000)
    assert [tick.process for tick in ao.run_crons("other")] == [other.id]
    assert [view.process for view in ao.crons("counter")] == [counter.id]
    assert [tick.process for tick in ao.run_crons()] == [counter.id]
    with pytest.raises(NotFound):
        ao.run_crons("nobody")


# Others at the same time


def test_many_threads_of_two_programs_send_each_tick_once(tmp_path: Path) -> None:
    homes.create(tmp_path / "home")
    programs = [TimedHome(homes.open_home(tmp_path / "home", keep_open=is_open)) for is_open in (True, False)]
    counter = spawn(programs[0])
    for number in range(1, 6):
        counter.every(1000 * number, "Increment", missed="run" if number % 2 else "skip")
    for program in programs:
        program.now_ms = START_MS + 12_000
    expected = sorted(
        [1000 * n for n in range(1, 13)] + [3000 * n for n in range(1, 5)] + [5000, 10_000, 12_000, 12_000]
    )
    ready, sent, failed = Barrier(6), [], []

    def run(home: hb.Home) -> None:
        try:
            ready.wait()
            sent.extend(home.run_crons())
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=run, args=(programs[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(times(sent)) == expected
    assert sorted(tick.slot for tick in sent) == list(range(1, len(expected) + 1))
    assert programs[1].process("counter").state()["counter"] == len(expected)
    assert list(programs[0].verify()) == []


class Meddled:
    """A store to which somebody else writes just before a commit, as long as there is something to be written."""

    def __init__(self, inner: MemoryStore, meddling: list[Callable[[], object]]) -> None:
        self.get, self.get_many, self.scan = inner.get, inner.get_many, inner.scan
        self.inner, self.meddling = inner, meddling

    def commit(self, batch: Batch) -> None:
        if self.meddling:
            self.meddling.pop(0)()
        self.inner.commit(batch)


def replace_store(home: hb.Home, store: object) -> None:
    """Have the sessions of a home in memory give `store`, and exclude nobody."""

    @contextmanager
    def session(patience: Patience = FOREVER) -> Iterator[object]:
        yield store

    home.place.storage.session = session  # type: ignore[method-assign,assignment]


def meddle(home: hb.Home, *meddling: Callable[[], object]) -> None:
    replace_store(home, Meddled(home.place.storage._store, list(meddling)))  # type: ignore[attr-defined]


def test_another_program_that_is_faster_sends_the_ticks(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Increment", missed="run")
    ao.clock.advance(3000)
    theirs: list[Tick] = []
    meddle(ao, lambda: theirs.extend(ao.run_crons()))
    assert ao.run_crons() == []
    assert times(theirs) == [1000, 2000, 3000]
    assert counter.state()["counter"] == 3


def test_a_message_that_is_sent_meanwhile_keeps_its_slot(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Increment")
    ao.clock.advance(1000)
    meddle(ao, lambda: counter.send("Add", 10))
    assert [tick.slot for tick in ao.run_crons()] == [2]
    assert counter.state()["counter"] == 11


def test_a_cron_that_is_removed_while_it_runs_sends_nothing_more(ao: hb.FrozenHome, counter: hb.Process) -> None:
    cron = counter.every(1000, "Increment")
    counter.every(1000, "Add", 10)
    ao.clock.advance(1000)
    meddle(ao, lambda: ao.remove_cron(cron.id))
    assert len(ao.run_crons()) == 1
    assert counter.state()["counter"] == 10


def test_a_cron_that_is_removed_between_two_batches(
    ao: hb.FrozenHome, counter: hb.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PART_TICKS", 1)
    cron = counter.every(1000, "Increment", missed="run")
    ao.clock.advance(5000)
    assert times(ao.run_crons(on_tick=lambda tick: tick.slot == 2 and ao.remove_cron(cron.id))) == [1000, 2000]
    assert ao.crons() == []


def test_a_cron_that_moves_on_while_it_is_removed_is_removed(ao: hb.FrozenHome, counter: hb.Process) -> None:
    cron = counter.every(1000, "Increment")
    ao.clock.advance(1000)
    meddle(ao, ao.run_crons)
    assert ao.remove_cron(cron.id) == cron.id
    assert ao.crons() == []
    assert counter.state()["counter"] == 1


def test_whoever_always_loses_gives_up(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Increment")
    ao.clock.advance(1000)
    meddle(ao, *[_conflict] * 1000)
    with pytest.raises(Conflict):
        ao.run_crons()


def _conflict() -> None:
    raise Conflict("x")


# Restarts and failures


def test_crons_survive_a_restart(tmp_path: Path) -> None:
    home = TimedHome(homes.create(tmp_path / "home"))
    made = spawn(home).every(1000, "Increment", missed="run")
    home.now_ms += 2500
    assert times(home.run_crons()) == [1000, 2000]
    again = TimedHome(homes.open_home(tmp_path / "home"))
    again.now_ms = home.now_ms
    assert again.run_crons() == []
    again.now_ms += 1500
    assert times(again.run_crons()) == [3000, 4000]
    assert only(again).id == made.id
    assert again.process("counter").state()["counter"] == 4


@pytest.mark.parametrize("lost_answer", [False, True], ids=["not written", "answer lost"])
def test_whichever_write_fails_going_on_ends_in_the_same_bytes(
    ao_factory: Callable[[], hb.FrozenHome], monkeypatch: pytest.MonkeyPatch, lost_answer: bool
) -> None:
    monkeypatch.setattr(engine, "PART_TICKS", 2)

    def prepared() -> tuple[hb.FrozenHome, MemoryStore]:
        home = ao_factory()
        one, two = spawn(home), spawn(home, "two")
        one.every(1000, "Increment", missed="run")
        two.every(1500, "Increment")
        two.at(START_MS + 10, "Add", 5)
        home.clock.advance(3200)
        return home, home.place.storage._store  # type: ignore[attr-defined,return-value]

    undisturbed, _ = prepared()
    assert times(undisturbed.run_crons()) == [10, 1000, 2000, 3000, 3000]
    for fail_at in (1, 2, 3):
        home, store = prepared()
        replace_store(home, FaultyStore(store, fail_at=fail_at, lost_answer=lost_answer))
        told: list[Tick] = []
        with pytest.raises(HomeUnusable):
            home.run_crons(on_tick=told.append)
        assert len(told) == 2 * (fail_at - 1)
        replace_store(home, store)
        rest = home.run_crons()
        assert len(told) + len(rest) == (5 if not lost_answer else 5 - (2 if fail_at < 3 else 1))
        assert records(home) == records(undisturbed)


# What cannot be sent


def test_a_cron_in_trouble_keeps_no_other_from_sending(tmp_path: Path) -> None:
    home = TimedHome(homes.create(tmp_path / "home"))
    names = ("keyless", "gone", "headless", "fine")
    made = {name: spawn(home, name) for name in names}
    home.new_key("alice")
    ids_ = {
        name: process.every(1000, "Increment", signer="alice" if name == "keyless" else None).id
        for name, process in made.items()
    }
    ids_["damaged"] = made["fine"].every(1000, "Add", 10).id
    (tmp_path / "home" / "keys" / "alice.json").unlink()
    for key in (keys.definition_key, keys.head_key):
        put(home, key(made["gone"].id), None)
    put(home, keys.head_key(made["headless"].id), None)
    put(home, keys.cron_key(ids_["damaged"]), b"{}")
    home.now_ms += 1000
    troubles: dict[str, str] = {}
    sent = home.run_crons(on_trouble=lambda trouble: troubles.update({trouble.cron: trouble.error.message}))
    assert [tick.process for tick in sent] == [made["fine"].id]
    assert set(troubles) == {ids_[name] for name in ("keyless", "gone", "headless", "damaged")}
    assert troubles[ids_["keyless"]].startswith("no key 'alice' in ")
    assert troubles[ids_["gone"]] == f"no process {made['gone'].id} here"
    assert troubles[ids_["headless"]].startswith("the schedule's head is gone")
    assert "cron" in troubles[ids_["damaged"]]
    shown = {view.id: view.trouble for view in home.crons()}
    assert {name: shown[name].message for name in troubles} == troubles  # type: ignore[union-attr]
    assert shown[ids_["fine"]] is None
    home.now_ms += 1000
    with pytest.raises(Unfinished, match="4 of the crons cannot send") as raised:
        home.run_crons()
    assert [tick.process for tick in raised.value.done] == [made["fine"].id]
    for name in ("damaged", "gone"):
        home.remove_cron(ids_[name])
    assert len(home.crons()) == 3


def test_what_is_in_trouble_does_not_move_on_and_sends_when_it_can_again(tmp_path: Path) -> None:
    home = TimedHome(homes.create(tmp_path / "home"))
    counter = spawn(home)
    home.new_key("alice")
    counter.every(1000, "Increment", signer="alice", missed="run")
    counter.at(START_MS + 500, "Add", 10, signer="alice")
    file = tmp_path / "home" / "keys" / "alice.json"
    key = file.read_bytes()
    file.unlink()
    home.now_ms += 2000
    assert home.run_crons(on_trouble=lambda trouble: None) == []
    file.touch(mode=0o600)
    file.write_bytes(key)
    assert times(home.run_crons()) == [500, 1000, 2000]


def test_a_message_that_is_refused_is_told(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, data="x" * 5000)
    fine = counter.every(1000, "Increment")
    ao.clock.advance(1000)
    tools = library.tools(ao.context, ao.environment())._replace(limit_bytes=4000)
    troubles: list[hb.CronTrouble] = []
    (tick,) = engine.run(tools, on_trouble=troubles.append)
    assert tick.cron == fine.id
    assert [type(trouble.error) for trouble in troubles] == [Refused]
    assert troubles[0].error.message.startswith("a message may have 4000 bytes, got ")


def test_a_loop_tells_a_trouble_now_and_then_and_waits_for_the_others(ao: hb.FrozenHome, counter: hb.Process) -> None:
    broken = counter.every(1000, "Increment")
    put(ao, keys.cron_key(broken.id), b"no cron")
    troubles: dict[str, hb.CronTrouble] = {}
    told: list[str] = []

    def step() -> int | None:
        tools = library.tools(ao.context, ao.environment())
        return engine.run_due(tools, troubles, on_trouble=lambda trouble: told.append(trouble.cron))

    assert [step() for _ in range(5)] == [None] * 5
    assert told == [broken.id]
    counter.every(90_000, "Increment")
    assert step() == START_MS + 90_000
    ao.clock.advance(engine.TRY_AGAIN_MS)
    assert step() == START_MS + 90_000
    assert told == [broken.id] * 2
    ao.clock.advance(30_000)
    assert step() == START_MS + 90_000
    assert step() == START_MS + 180_000
    assert counter.state()["counter"] == 1


def test_a_run_can_be_interrupted(ao: hb.FrozenHome, counter: hb.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PART_TICKS", 1)
    counter.every(1000, "Increment", missed="run")
    ao.clock.advance(5000)
    cancellation = hb.Cancellation()
    sent: list[Tick] = []

    def hear(tick: Tick) -> None:
        sent.append(tick)
        if len(sent) == 2:
            cancellation.cancel()

    with pytest.raises(hb.Interrupted):
        ao.bound(cancellation=cancellation).run_crons(on_tick=hear)
    assert times(sent + ao.run_crons()) == [1000, 2000, 3000, 4000, 5000]


# What is refused when it is added


def test_an_interval_that_is_none(ao: hb.FrozenHome, counter: hb.Process) -> None:
    before = records(ao)
    for every in (0, -1, interval.MAX_MS + 1, 10**5000, 1.0, 1000.0, float("nan"), float("inf"), True, "1s", None):
        with pytest.raises(Refused, match="an interval is"):
            counter.every(every, "Increment")  # type: ignore[arg-type]
    assert records(ao) == before


def test_a_time_that_is_none(ao: hb.FrozenHome, counter: hb.Process) -> None:
    before = records(ao)
    for time_ms in (-1, crons.LATEST_MS + 1, 10**5000, 1.5, float("nan"), float("inf"), True, "1", None):
        with pytest.raises(Refused, match="time"):
            counter.at(time_ms, "Increment")  # type: ignore[arg-type]
    assert records(ao) == before


@pytest.mark.parametrize("key", ["from-process", "Pushed-For", "cron", "Cron-Tick", "anchor", "target", "commitments"])
def test_a_tag_that_no_tick_can_have(ao: hb.FrozenHome, counter: hb.Process, key: str) -> None:
    with pytest.raises(Refused, match=key.lower()):
        counter.every(1000, tags={key: counter.id})
    assert ao.crons() == []


def test_even_the_authority_cannot_say_that_a_tick_comes_from_a_process(ao: hb.FrozenHome) -> None:
    process = ao.spawn(COUNTER, authority=[ao.address("alice")])
    with pytest.raises(Refused, match="from-process"):
        process.every(1000, tags={"from-process": process.id}, signer="alice")


def test_other_things_that_are_refused(ao: hb.FrozenHome, counter: hb.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    deep: object = "x"
    for _ in range(63):
        deep = {"a": deep}
    for wrong in (
        lambda: counter.every(1000, missed="all"),
        lambda: counter.every(1000, signer="../key"),
        lambda: counter.every(1000, signer=hb.frozen().signer("alice")),  # type: ignore[arg-type]
        lambda: counter.every(1000, data="x" * (17 << 20)),
        lambda: counter.every(1000, tags={"deep": deep}),  # type: ignore[dict-item]
    ):
        with pytest.raises(Refused):
            wrong()
    with pytest.raises(NotFound):
        ao.process("nobody", look_up=False).every(1000)
    assert ao.crons() == []
    monkeypatch.setattr(crons, "MOST_CRONS", 2)
    made = [counter.every(1000) for _ in range(2)]
    with pytest.raises(Refused, match="a home may have 2 crons"):
        counter.every(1000)
    ao.remove_cron(made[0].id)
    counter.every(1000)


def test_a_key_that_is_not_here(tmp_path: Path) -> None:
    home = TimedHome(homes.create(tmp_path / "home"))
    with pytest.raises(NotFound, match="no key 'nobody'"):
        spawn(home).every(1000, signer="nobody")


def test_a_process_of_another_home(ao: hb.FrozenHome, counter: hb.Process, tmp_path: Path) -> None:
    counter.export(tmp_path / "counter.history")
    other = hb.memory()
    imported = other.import_history(tmp_path / "counter.history")
    for wrong in (lambda: imported.every(1000), lambda: imported.at(1)):
        with pytest.raises(Refused, match="is scheduled by"):
            wrong()
    # Nor is one sent to whose cron came in some other way.
    cron = counter.every(1000)
    put(other, keys.cron_key(cron.id), cron.encode())
    with pytest.raises(Unfinished, match="is scheduled by"):
        other.run_crons()
    assert other.process(counter.id).slots == 1


# Removing


def test_a_cron_is_removed_by_the_beginning_of_its_id(ao: hb.FrozenHome, counter: hb.Process) -> None:
    cron, other = counter.every(1000), counter.every(1000)
    for name in ("", cron.id[:5], cron.id + "x", "no/id!", "ä" * 8):
        with pytest.raises(Refused, match="first 6 or more"):
            ao.remove_cron(name)
    with pytest.raises(NotFound):
        ao.remove_cron("A" * 43)
    assert ao.remove_cron(cron.id[:6]) == cron.id
    with pytest.raises(NotFound):
        ao.remove_cron(cron.id)
    for last in "AE":
        put(ao, keys.cron_key(other.id[:-2] + "-" + last), b"x")
    with pytest.raises(Refused, match="is the beginning of [23] cron IDs"):
        ao.remove_cron(other.id[:-2])
    assert ao.remove_cron(other.id) == other.id


# What definitions ask for


def test_a_defined_cron_runs_once_it_is_accepted(ao: hb.FrozenHome) -> None:
    game = spawn(ao, Cron_Interval="5-minutes", Cron_Tag_Action="Add", Cron_Tag_Parameters="x", Cron_Tag_Colour="Red")
    other = spawn(ao, "other", Cron_Interval="1-hour", Cron_Tag_Foo="Bar")
    views = {view.process: view for view in ao.crons()}
    assert {view.state for view in views.values()} == {"defined"}
    shown = views[other.id].defined
    assert shown is not None
    assert (shown.interval, shown.every_ms, shown.message) == ("1-hour", 3_600_000, {"action": "Cron", "foo": "Bar"})
    with pytest.raises(Refused, match="parameters"):
        game.accept_cron()
    ao.clock.advance(10_000_000)
    assert ao.run_crons() == []
    cron = other.accept_cron(missed="run", signer="alice")
    assert (cron.next_ms - START_MS, cron.first_ms - START_MS) == (3 * 3_600_000, 3_600_000)
    ao.clock.advance(1_000_000)
    (tick,) = ao.run_crons()
    assert tick.tick_ms - START_MS == 10_800_000
    message = ao.message(tick.message)
    assert (message["action"], message["foo"]) == ("Cron", "Bar")
    assert committers(message) == [ao.address("alice")]
    assert [(view.process, view.state) for view in ao.crons()] == [(other.id, "waiting"), (game.id, "defined")]
    for signer in ("alice", None):
        with pytest.raises(Refused, match=f"runs already: it is {cron.id}"):
            other.accept_cron(signer=signer)
    ao.remove_cron(cron.id)
    again = other.accept_cron(missed="run", signer="alice")
    assert (again.id, again.next_ms) == (cron.id, tick.tick_ms + 3_600_000)


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ("10-blocks", "counts blocks"),
        ("1-month", "counts months"),
        ("soon", "an interval is"),
        ("0-seconds", "from 1 m"),
    ],
)
def test_a_defined_cron_that_cannot_run_is_shown_and_refused(ao: hb.FrozenHome, interval: str, says: str) -> None:
    process = spawn(ao, Cron_Interval=interval)
    view = only(ao)
    assert (view.state, view.process, view.id) == ("defined", process.id, None)
    assert view.trouble is not None
    assert says in view.trouble.message
    with pytest.raises(Refused, match=f"cannot run here: .*{says}"):
        process.accept_cron()
    assert only(ao).state == "defined"


def test_a_process_that_defines_none(ao: hb.FrozenHome, counter: hb.Process) -> None:
    with pytest.raises(Refused, match="defines no cron"):
        counter.accept_cron()
    lone = spawn(ao, "lone", Cron_Tag_Action="Increment")
    with pytest.raises(Refused, match="defines no cron"):
        lone.accept_cron()
    assert ao.crons() == []


def test_a_fork_does_not_inherit_what_was_accepted(ao: hb.FrozenHome) -> None:
    origin = spawn(ao, Cron_Interval="1-second", Cron_Tag_Action="Increment")
    origin.accept_cron()
    ao.clock.advance(1000)
    ao.run_crons()
    ao.clock.advance(300)
    fork = origin.fork()
    assert [(view.process, view.state) for view in ao.crons()] == [(origin.id, "waiting"), (fork.id, "defined")]
    assert fork.accept_cron().next_ms - START_MS == 2300
    ao.clock.advance(1000)
    assert [(tick.process, tick.tick_ms - START_MS) for tick in ao.run_crons()] == [(origin.id, 2000), (fork.id, 2300)]
    assert fork.verify(replay=True) == []


# Records


def test_a_record_is_read_as_it_was_written(ao: hb.FrozenHome, counter: hb.Process) -> None:
    counter.every(1000, "Add", 5, 2**70, data=b"\xff\0", tags={"a": "$x", "map": {"$": [1.5, b"\xfe"]}}, signer="alice")
    counter.at(START_MS + 1000)
    ao.clock.advance(1000)
    ao.run_crons()
    counter.at(START_MS + 5000)
    for view in ao.crons():
        assert view.cron is not None
        raw = view.cron.encode()
        assert records(ao)[keys.cron_key(view.cron.id)] == raw
        assert crons.parse_cron(raw, view.cron.id) == view.cron
    assert only_kind(ao, b"k/") == 2


def only_kind(home: hb.Home, prefix: bytes) -> int:
    return sum(key.startswith(prefix) for key in records(home))


WRONG: dict[str, list[object]] = {
    "created-ms": [None, -1, "x", 1],
    "defined": [False, 1, True],
    "every-ms": [None, 0, -1, 1.5, 999, interval.MAX_MS + 1, 10**400],
    "first-ms": [None, -1, START_MS, START_MS + 2000, 1e12],
    "key": [None, "", "x" * 65, 5, "bob"],
    "last-ms": [None, -1, "x"],
    "last-slot": [None, -1, 2**64],
    "message": [None, [], {"action": "Other"}, {"anchor": "x"}, {"from-process": "x"}],
    "missed": [None, "all", "run", [], {}],
    "next-ms": [None, -1, START_MS, START_MS + 1001, crons.LATEST_MS + 1, "x"],
    "nonce": [None, 5, "other"],
    "process": [None, "x", "P" * 43],
    "sent": [None, -1, True, 1.0],
    "skipped": [None, -1, "x"],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_damaged_record_is_damage(ao: hb.FrozenHome, counter: hb.Process, field: str) -> None:
    made = counter.every(1000, "Increment")
    ao.clock.advance(1000)
    ao.run_crons()
    raw = records(ao)[keys.cron_key(made.id)]
    whole = json.loads(raw)
    for wrong in WRONG[field]:
        broken = dict(whole)
        broken[field] = wrong
        with pytest.raises(IntegrityError):
            crons.parse_cron(dumps(broken), made.id)
    lacking = {key: value for key, value in whole.items() if key != field}
    if field in ("last-ms", "last-slot", "defined"):
        crons.parse_cron(dumps(lacking), made.id)
    else:
        with pytest.raises(IntegrityError):
            crons.parse_cron(dumps(lacking), made.id)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b"{" * 1000, b'{"a":', b"null"])
def test_bytes_that_are_no_record(ao: hb.FrozenHome, counter: hb.Process, raw: bytes) -> None:
    made = counter.every(1000, "Increment")
    put(ao, keys.cron_key(made.id), raw)
    put(ao, b"k/\xe9\x00", made.encode())
    assert {view.state for view in ao.crons()} == {"trouble"}
    assert all(isinstance(view.trouble, IntegrityError) for view in ao.crons())
    ao.clock.advance(1000)
    with pytest.raises(Unfinished, match="2 of the crons cannot send"):
        ao.run_crons()
    assert ao.remove_cron(made.id) == made.id


def test_the_id_is_the_digest_of_what_never_changes(ao: hb.FrozenHome, counter: hb.Process) -> None:
    """As docs/format.md says it, with no encoder of hb."""
    made = counter.every(1000, "Increment", missed="run", signer="alice")
    ao.clock.advance(2000)
    ao.run_crons()
    record = json.loads(records(ao)[b"k/" + made.id.encode()])
    moving = {key: record.pop(key) for key in ("last-ms", "last-slot", "next-ms", "sent", "skipped")}
    assert moving == {
        "last-ms": START_MS + 2000, "last-slot": 2, "next-ms": START_MS + 3000, "sent": 2, "skipped": 0,
    }  # fmt: skip
    assert record == {
        "created-ms": START_MS,
        "every-ms": 1000,
        "first-ms": START_MS + 1000,
        "key": "alice",
        "message": {"action": "Increment"},
        "missed": "run",
        "nonce": made.nonce,
        "process": counter.id,
    }
    assert made.id == ids.digest(json.dumps(record, sort_keys=True, separators=(",", ":")).encode())
