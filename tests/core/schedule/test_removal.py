"""Removal of a process: what goes, what stays, and what a crash in the middle leaves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import hb
from aowat import says
from faulty import FaultyStore
from hb.errors import HomeUnusable, NotFound, Refused
from hb.records import deliveries, keys
from hb.schedule import removal
from hb.storage.memory import MemoryStore
from hb.storage.store import Batch
from talking import NOBODY, System

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.library import FrozenHome, Process

COUNTER = hb.wat("""
(module
  (memory (export "memory") 1)
  (global $n (export "n") (mut i32) (i32.const 0))
  (func (export "Add") (param i32)
    (global.set $n (i32.add (global.get $n) (local.get 0)))
    (i32.store (i32.const 0) (global.get $n))))
""")
OTHER = hb.wat('(module (memory (export "memory") 1) (func (export "Add") (param i32)))')


def counted(home: FrozenHome, name: str, times: int = 6, step: int = 1, module: bytes = COUNTER) -> Process:
    process = home.spawn(module, name=name, anchor=name)
    for _ in range(times):
        process.send("Add", step)
    process.compute()
    return process


def records(home: FrozenHome) -> dict[bytes, bytes]:
    with home.context.storage.session() as store:
        return dict(store.scan(*keys.EVERYTHING))


def findings(home: FrozenHome) -> list[hb.Finding]:
    return list(home.verify(replay=True))


@pytest.fixture
def home() -> FrozenHome:
    return hb.frozen()


@pytest.fixture
def system() -> System:
    return System().talk()


def test_nothing_is_left_of_it_and_the_others_are_as_they_were(home: FrozenHome) -> None:
    counted(home, "stays", step=3)
    before = records(home)
    gone = counted(home, "goes", module=OTHER)
    gone.rename("again", also=True)
    home.process("goes").every(3_600_000, "Add", 1)
    found = gone.removable()
    assert (found.process, found.names, found.slots, found.crons) == (gone.id, ("again", "goes"), 7, 1)
    extra = {key: raw for key, raw in records(home).items() if key not in before}
    unsized = (b"m/", b"n/", b"h/", b"k/")
    assert found.size_bytes == sum(len(raw) for key, raw in extra.items() if key[:2] not in unsized)
    assert home.process("goes").remove() == found
    assert records(home) == before
    assert findings(home) == []
    with pytest.raises(NotFound):
        home.process(gone.id)


def test_pages_and_the_image_of_another_stay(home: FrozenHome) -> None:
    gone = counted(home, "goes", 8)
    counted(home, "stays", 3, step=2)
    pages = {key for key in records(home) if key[:2] == b"g/"}
    assert len(pages) == 8  # 1 to 8; the other's 2, 4, 6 are among them
    gone.remove()
    assert len({key for key in records(home) if key[:2] == b"g/"}) == 3
    assert findings(home) == []
    assert home.process("stays").state()["n"] == 6


def test_the_page_of_an_image_that_is_stored_meanwhile_stays(home: FrozenHome, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = counted(home, "goes", 4)
    stays = counted(home, "stays", 1)
    survey = removal._survey

    def survey_and_wait(*given: object) -> object:
        found = survey(*given)  # type: ignore[arg-type]
        stays.send("Add", 1)
        stays.compute()
        return found

    monkeypatch.setattr(removal, "_survey", survey_and_wait)
    gone.remove()
    assert findings(home) == []
    assert len({key for key in records(home) if key[:2] == b"g/"}) == 2


def test_the_same_process_can_be_made_again(home: FrozenHome) -> None:
    gone = counted(home, "goes")
    gone.remove()
    again = counted(home, "goes", 2, step=5)
    assert (again.id, again.made.fresh if again.made else None) == (gone.id, True)
    assert again.state()["n"] == 10
    assert findings(home) == []


# Forks


def test_while_a_fork_is_here_its_origin_is_refused(home: FrozenHome) -> None:
    origin = counted(home, "origin")
    fork = origin.fork(3, name="fork")
    before = records(home)
    with pytest.raises(Refused, match=fork.id):
        origin.remove()
    assert records(home) == before
    fork.remove()
    origin.remove()
    assert records(home) == {}


def test_with_keep_shared_a_shorter_process_without_a_name_stays(home: FrozenHome) -> None:
    origin = counted(home, "origin")
    for slot, name in ((2, "early"), (4, "late")):
        origin.fork(slot, name=name).send("Add", 100)
    states = {name: home.process(name).state() for name in ("early", "late")}
    pages = len({key for key in records(home) if key[:2] == b"g/"})
    gone = origin.remove(keep_shared=True)
    assert (gone.last_shared, len(gone.forks)) == (4, 2)
    assert {name: home.process(name).state() for name in ("early", "late")} == states
    assert home.process(origin.id).view().slots == 5
    assert set(home.names()) == {"early", "late"}
    assert len({key for key in records(home) if key[:2] == b"g/"}) == pages - 2
    assert findings(home) == []


def test_a_fork_goes_and_its_origin_stays(home: FrozenHome) -> None:
    origin = counted(home, "origin")
    before = records(home)
    fork = origin.fork(3, name="fork")
    fork.send("Add", 100)
    fork.compute()
    assert fork.removable().slots == 2
    fork.remove()
    assert records(home) == before
    assert findings(home) == []


def test_a_slot_that_was_removed_cannot_be_forked(home: FrozenHome, monkeypatch: pytest.MonkeyPatch) -> None:
    from hb.compute import spawning

    origin = counted(home, "origin")
    keep = spawning.keep

    def remove_first(*given: object, **named: object) -> object:
        monkeypatch.undo()
        origin.remove()
        return keep(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(spawning, "keep", remove_first)
    with pytest.raises(NotFound, match="was removed meanwhile"):
        origin.fork(3, name="fork")
    assert records(home) == {}


# Deliveries


def test_what_was_delivered_to_it_is_held_as_missing(system: System) -> None:
    home, two = system.home, system.two
    went = [raw for key, raw in records(home).items() if key[:2] == b"d/" and two.encode() in raw]
    assert len(went) == 4
    home.process("two").remove()
    held = {(each.target, each.reason): each.size for each in home.held()}
    assert held == {(two, deliveries.MISSING): 4, (NOBODY, deliveries.MISSING): 1}
    assert findings(home) == []
    home.push()
    assert {(each.target, each.reason): each.size for each in home.held()} == held


def test_what_it_delivered_stays_where_it_is(system: System) -> None:
    home, one = system.home, system.one
    slots, child = home.process("two").view().slots, system.child
    gone = home.process("one").remove()
    assert gone.spawned == (child,)
    assert home.process("two").view().slots == slots
    assert findings(home) == []
    assert not [key for key in records(home) if one.encode() in key and key[:2] != b"e/"]


def test_a_process_that_was_spawned_is_not_spawned_again(system: System) -> None:
    home, child = system.home, system.child
    home.process(child).remove()
    assert findings(home) == []
    home.push()
    assert child not in home.process_ids()
    assert (deliveries.DROPPED, 1) in [(each.reason, each.size) for each in home.held()]


def test_its_entries_of_the_queue_go_and_the_budgets_of_their_roots(system: System) -> None:
    home = system.home
    one, two = home.process("one"), home.process("two")
    one.send("Late", data=says({"Target": two.id, "Action": "C"}))
    from hb.push import queue

    queue.add(home.context.session, [(one.id, None), (two.id, None)], home.context.scheduler_key().address)
    assert {key[:2] for key in records(home)} >= {b"q/", b"b/"}
    one.remove()
    two.remove()
    assert not {b"q/", b"b/"} & {key[:2] for key in records(home)}
    assert findings(home) == []


# Crashes


@pytest.mark.parametrize(("name", "keep_shared"), [("one", False), ("two", False), ("two", True)])
def test_wherever_it_stops_the_others_are_whole_and_it_can_go_on(
    name: str, keep_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "BATCH_SLOTS", 2)
    system = System().talk()
    if keep_shared:
        system.home.process("two").fork(1, name="fork")
    ended = []
    for writes in range(1, 100):
        home = system.same().home
        process = home.process(name).id
        store = FaultyStore(MemoryStore(), fail_at=writes)

        @contextmanager
        def session(home: FrozenHome = home, store: FaultyStore = store) -> Iterator[FaultyStore]:
            with home.context.storage.session() as store.inner:
                yield store

        try:
            removal.remove(session, process, keep_shared=keep_shared)
        except HomeUnusable:
            # What a process sent itself may lead to a slot of it that is gone.
            assert [each for each in findings(home) if (name, each.process) != ("one", process)] == [], writes
            home.process(process).remove(keep_shared=keep_shared)
            assert findings(home) == [], writes
            ended.append(records(home))
        else:
            break
    assert len(ended) > 4
    assert all(left == records(home) for left in ended)


def test_a_damaged_process_can_be_removed(home: FrozenHome) -> None:
    gone = counted(home, "goes")
    with home.context.storage.session() as store:
        damaged = {keys.assignment_key(gone.id, 3), keys.assignment_key(gone.id, 5), keys.memory_image_key(gone.id, 2)}
        store.commit(Batch(puts=dict.fromkeys(damaged, b"{"), deletes={keys.definition_key(gone.id)}))
    home.process(gone.id, look_up=False).remove()
    left = {key[:2] for key in records(home)} - {keys.FORMAT_KEY[:2]}
    assert left <= {b"m/", b"g/", b"i/"}  # what only the damaged records named
    assert findings(home) == []
