"""Slots chosen from a history: the same ones whatever the windows are, and no more of it read than need be."""

from __future__ import annotations

import pytest

from hb.errors import IntegrityError
from hb.history import selection
from hb.history import views as history
from hb.history.selection import EVERYTHING, Filter, first_since, follow, select
from hb.protocol.commitment import Key
from hb.protocol.request import build_message
from hb.records import keys
from hb.storage.store import Batch

OTHER = Key(bytes([7]) * 32)


@pytest.fixture(scope="module")
def told(shell_at, tmp_path_factory: pytest.TempPathFactory):
    """A shell and a process with 24 slots of two senders, three actions and errors, of which 21 are computed."""
    shell = shell_at(tmp_path_factory.mktemp("homes") / "home")
    process = shell.spawn("counter.wasm")
    for place in range(23):
        action = ("Increment", "ReadValue", "Nope")[place % 3]
        message = build_message(action, anchor=str(place), data='"type":"error"' if place == 0 else None)
        environment = shell.environment._replace(timestamp_ms=1_700_000_000_000 + 1000 * (place + 1))
        shell.node.send(process, [message], signer=OTHER if place % 5 == 0 else shell.key, environment=environment)
    shell.node.compute(process, 20)
    return shell, process


def slots(told, *words, **options) -> list[int]:
    shell, process = told
    return [view.slot for view in select(shell.node.context.session, process, *words, **options)]


FILTERS = [
    EVERYTHING,
    Filter(senders=(OTHER.address,)),
    Filter(senders=(OTHER.address[:5], "AAAA")),
    Filter(senders=("AAAA",)),
    Filter(actions=("Nope",)),
    Filter(actions=("Nope", "ReadValue"), senders=(OTHER.address[:4],)),
    Filter(failed=True),
    Filter(failed=False),
    Filter(failed=False, actions=("Nope",)),
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_it_chooses_what_looking_at_each_slot_would_in_windows_of_any_size(
    told, wanted: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell, process = told
    with shell.home.storage.session() as store:
        expected = [view.slot for view in history.slot_views(store, process, 0, 23) if wanted.takes(view)]
    assert slots(told, 0, 23, wanted) == expected
    assert slots(told, 0, 23, wanted, reverse=True) == expected[::-1]
    for name, size in (("WINDOW_SLOTS", 5), ("WINDOW_BYTES", 2500), ("WINDOW_BYTES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(selection, name, size)
            assert slots(told, 0, 23, wanted) == expected
            assert slots(told, 0, 23, wanted, reverse=True) == expected[::-1]
            assert slots(told, 7, 19, wanted, reverse=True) == [slot for slot in expected[::-1] if 7 <= slot <= 19]


def test_filters_mean_what_they_say(told) -> None:
    assert slots(told, 0, 23, Filter(actions=("Nope",))) == list(range(3, 24, 3))
    assert slots(told, 0, 23, Filter(failed=True)) == list(range(3, 21, 3))
    assert slots(told, 0, 23, Filter(senders=(OTHER.address,))) == [1, 6, 11, 16, 21]
    # Slots 21 to 23 are pending: neither is known of them.
    assert slots(told, 18, 23, Filter(failed=False)) == [19, 20]


def test_what_is_ruled_out_is_not_read(told, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    slot_views = history.slot_views

    def watched(store, process, first, last):
        read.append((first, last))
        return slot_views(store, process, first, last)

    monkeypatch.setattr(history, "slot_views", watched)
    assert slots(told, 0, 23, Filter(senders=(OTHER.address,))) == [1, 6, 11, 16, 21]
    assert read == [(1, 1), (6, 6), (11, 11), (16, 16), (21, 21)]


def test_no_more_is_read_than_is_taken(told, monkeypatch: pytest.MonkeyPatch) -> None:
    shell, process = told
    opened = []

    def open_store():
        opened.append(1)
        return shell.node.context.session()

    monkeypatch.setattr(selection, "WINDOW_SLOTS", 5)
    chosen = select(open_store, process, 0, 23, reverse=True)
    assert [next(chosen).slot for _ in range(5)] == [23, 22, 21, 20, 19]
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("since_ms", "slot"),
    [(0, 0), (1_700_000_000_000, 0), (1_700_000_000_001, 1), (1_700_000_005_000, 5), (1_700_000_023_001, 24)],
)
def test_the_first_slot_since_a_time(told, since_ms: int, slot: int) -> None:
    shell, process = told
    assert first_since(shell.node.context.session, process, since_ms) == slot


def test_a_follower_sees_each_slot_when_it_is_computed(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "PATIENCE_SECONDS", 0.05)
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    shell.send(process, "Increment")
    shell.node.compute(process, 1)
    open_store = shell.node.context.session
    signs = []

    def sign() -> int:
        # Another shell is at work while this one waits.
        if len(signs) == 1:
            shell.node.compute(process)
        signs.append(1)
        return len(signs)

    assert next(follow(open_store, process, None, EVERYTHING, sign)).slot == 2
    seen = follow(open_store, process, 1, EVERYTHING, lambda: 0)
    assert [next(seen).slot, next(seen).slot] == [1, 2]
    assert next(follow(open_store, process, 0, Filter(actions=("Increment",)), lambda: 0)).slot == 1


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gone", [(3,), (3, 4, 5, 6), tuple(range(1, 8))])
def test_an_assignment_that_is_gone_is_damage(shell, gone: tuple[int, ...], reverse: bool) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(8):
        shell.send(process, "Increment")
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes={keys.assignment_key(process, slot) for slot in gone}))
    with pytest.raises(IntegrityError, match="an assignment is gone"):
        slots((shell, process), 0, 8, Filter(actions=("Nope",)), reverse=reverse)
