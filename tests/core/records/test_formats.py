"""How a store gets from one format to the next, with a format that is made up for the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faulty import FaultyStore
from hb.errors import HomeUnusable, IntegrityError, Refused
from hb.records import formats, keys
from hb.records.formats import Migration
from hb.storage.leveldb import open_store
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hb.storage.store import Store

OLD = {b"format": b"1", b"x/1": b"one", b"x/2": b"two", b"x/3": b"three"}
NEW = {b"format": b"2", b"y/1": b"ONE", b"y/2": b"TWO", b"y/3": b"THREE"}


def one_by_one(store: Store) -> Iterator[Batch]:
    for key, value in store.scan(b"x/", b"x0"):
        yield Batch(puts={b"y" + key[1:]: value.upper()}, deletes={key})


def at_once(store: Store) -> Iterator[Batch]:
    moved = dict(store.scan(b"x/", b"x0"))
    yield Batch(puts={b"y" + key[1:]: value.upper() for key, value in moved.items()}, deletes=set(moved))


def nothing(store: Store) -> Iterator[Batch]:
    return iter(())


@pytest.fixture
def _format_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FORMAT", b"2")
    monkeypatch.setattr(formats, "MIGRATIONS", {b"1": Migration(b"2", one_by_one)})


def everything(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(b"", b"\xff"))


@pytest.mark.usefixtures("_format_2")
@pytest.mark.parametrize("batches", [one_by_one, at_once])
def test_an_older_format_is_brought_to_the_newest(
    tmp_path: Path, batches: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formats.MIGRATIONS, b"1", Migration(b"2", batches))  # type: ignore[arg-type]
    with open_store(tmp_path / "store", create=True) as store:
        store.commit(Batch(puts=OLD))
        for _ in range(2):
            formats.ensure(store, "it")
            assert everything(store) == NEW


@pytest.mark.usefixtures("_format_2")
@pytest.mark.parametrize("lost_answer", [False, True])
@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_a_migration_that_is_cut_short_goes_on_where_it_was(tmp_path: Path, fail_at: int, lost_answer: bool) -> None:
    with open_store(tmp_path / "store", create=True) as store:
        store.commit(Batch(puts=OLD))
        faulty = FaultyStore(store, fail_at=fail_at, lost_answer=lost_answer)
        with pytest.raises(HomeUnusable):
            formats.ensure(faulty, "it")
        half = everything(store)
        assert len(half) == len(OLD)
        written = fail_at - 1 + lost_answer
        assert half[b"format"] == (b"1" if written == 0 else b"2" if written == 3 else b"2<1")
    with open_store(tmp_path / "store") as store:
        formats.ensure(store, "it")
        assert everything(store) == NEW


@pytest.mark.usefixtures("_format_2")
def test_a_store_goes_through_all_formats_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.MIGRATIONS, b"2", Migration(b"3", nothing))
    monkeypatch.setattr(keys, "FORMAT", b"3")
    for begun in (b"1", b"2<1"):
        with open_store(tmp_path / begun.decode(), create=True) as store:
            store.commit(Batch(puts=OLD | {b"format": begun}))
            formats.ensure(store, "it")
            assert everything(store) == NEW | {b"format": b"3"}


@pytest.mark.parametrize("found", [b"2", b"2<1", b"10"])
def test_a_newer_format_and_one_that_is_half_made_are_refused_by_an_older_hb(tmp_path: Path, found: bytes) -> None:
    with open_store(tmp_path / "store", create=True) as store:
        store.commit(Batch(puts=OLD | {b"format": found}))
        with pytest.raises(Refused, match="this hb knows 1"):
            formats.ensure(store, "it")
        assert everything(store) == OLD | {b"format": found}


@pytest.mark.usefixtures("_format_2")
@pytest.mark.parametrize("found", [b"0", b"", b"2<0", b"3<1", b"1<1", b"<1", b"1<"])
def test_a_format_that_never_was_is_damage(tmp_path: Path, found: bytes) -> None:
    with open_store(tmp_path / "store", create=True) as store:
        store.commit(Batch(puts=OLD | {b"format": found}))
        with pytest.raises((IntegrityError, Refused)):
            formats.ensure(store, "it")
        assert everything(store) == OLD | {b"format": found}
