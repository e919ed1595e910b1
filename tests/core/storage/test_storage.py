"""What every storage does: one suite, run on each kind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from hb.cancellation import Cancellation
from hb.errors import Conflict, HomeBusy, IntegrityError, Interrupted
from hb.storage.directory import DirectoryStorage
from hb.storage.keeping import KeptStorage
from hb.storage.leveldb import open_store
from hb.storage.memory import MemoryStorage
from hb.storage.storage import AT_ONCE, Patience
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hb.storage.storage import Storage
    from hb.storage.store import Store

P, Q = "P" * 43, "Q" * 43


def accept(store: Store) -> None:
    """Every format is right."""


@pytest.fixture(params=["directory", "kept open", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    open_store(tmp_path / "store", create=True).close()
    kind = KeptStorage if request.param == "kept open" else DirectoryStorage
    made = kind(tmp_path, accept)
    yield made
    made.close()


@pytest.fixture(params=["session", "lease"])
def hold(request: pytest.FixtureRequest, storage: Storage) -> Callable[[Patience], AbstractContextManager[object]]:
    """What one can have at a time: the store, or the right to compute a process."""
    if request.param == "session":
        return storage.session
    return lambda patience: storage.lease(P, patience)


def test_what_one_session_wrote_the_next_one_finds(storage: Storage) -> None:
    with storage.session() as store:
        store.commit(Batch(puts={b"a": b"1", b"b": b"2"}, sync=True))
    with storage.session() as store:
        store.commit(Batch(puts={b"c": b"3"}, deletes={b"a"}, expects={b"b": b"2"}))
    with storage.session(AT_ONCE) as store:
        assert store.get_many([b"a", b"b", b"c"]) == [None, b"2", b"3"]
        assert list(store.scan(b"", b"z", reverse=True)) == [(b"c", b"3"), (b"b", b"2")]


def test_a_batch_that_conflicts_or_a_session_that_fails_changes_nothing(storage: Storage) -> None:
    with pytest.raises(Conflict), storage.session() as store:
        store.commit(Batch(puts={b"a": b"1"}, expects={b"b": b"2"}))
    for error in (ValueError, IntegrityError):
        with pytest.raises(error), storage.session() as store:
            raise error("inside")
    with storage.session() as store:
        assert list(store.scan(b"", b"z")) == []


def test_one_at_a_time_and_who_has_no_time_is_told(
    hold: Callable[[Patience], AbstractContextManager[object]],
) -> None:
    with hold(Patience()):
        for timeout_s in (-1.0, 0.0, 0.02):
            with pytest.raises(HomeBusy, match=f"was busy for {timeout_s:g} s") as told, hold(Patience(timeout_s)):
                pass
            assert told.value.hint is not None
            assert "--lock-timeout" in told.value.hint
    with hold(Patience(60.0)):
        pass


@pytest.mark.parametrize("timeout_s", [None, 60.0])
def test_a_cancelled_wait_ends_at_once_and_no_other_does(
    hold: Callable[[Patience], AbstractContextManager[object]], timeout_s: float | None
) -> None:
    ended: list[str] = []

    def ask(name: str, cancellation: Cancellation) -> None:
        try:
            with hold(Patience(timeout_s, cancellation)):
                ended.append(f"{name} has it")
        except Interrupted:
            ended.append(f"{name} was cancelled")

    cancellations = {name: Cancellation() for name in "abc"}
    threads = {name: threading.Thread(target=ask, args=(name, each)) for name, each in cancellations.items()}
    with hold(Patience()):
        for thread in threads.values():
            thread.start()
        for name in "ca":
            cancellations[name].cancel()
            threads[name].join(30)
        assert ended == ["c was cancelled", "a was cancelled"]
    threads["b"].join(30)
    assert ended[2:] == ["b has it"]


def test_threads_have_it_in_turn_and_lose_nothing(
    hold: Callable[[Patience], AbstractContextManager[object]],
) -> None:
    inside, most, turns = [0], [0], [0]

    def work() -> None:
        for _ in range(10):
            with hold(Patience(60.0)):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns[0] += 1
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == ([1], [40])


def test_a_lease_is_for_one_process_and_keeps_nobody_from_the_store(storage: Storage) -> None:
    with storage.lease(P), storage.lease(Q, AT_ONCE), storage.session(AT_ONCE) as store:
        store.commit(Batch(puts={b"a": b"1"}))


def test_an_announcement_changes_the_signal(storage: Storage) -> None:
    with storage.session():
        before = storage.signal()
    assert storage.signal() == before
    deadline = time.monotonic() + 30
    while storage.signal() == before:  # a file's time may stand still for some milliseconds
        assert time.monotonic() < deadline
        storage.announce()


def test_a_scratch_store_is_empty_and_of_its_own(storage: Storage) -> None:
    with storage.session() as store:
        store.commit(Batch(puts={b"a": b"1"}))
    with storage.scratch() as one, storage.scratch() as other:
        one.commit(Batch(puts={b"a": b"2"}))
        assert list(other.scan(b"", b"z")) == []
    with storage.session() as store:
        assert store.get(b"a") == b"1"


def test_a_sound_store_needs_no_repair(storage: Storage) -> None:
    with storage.session() as store:
        store.commit(Batch(puts={b"a": b"1"}))
    assert storage.repair() == []
    with storage.session() as store:
        assert store.get(b"a") == b"1"


@pytest.mark.parametrize("kind", [DirectoryStorage, KeptStorage])
def test_a_format_that_is_refused_is_refused_whenever_the_store_is_opened(
    kind: type[DirectoryStorage], tmp_path: Path
) -> None:
    open_store(tmp_path / "store", create=True).close()

    def refuse(store: Store) -> None:
        raise IntegrityError("no such format")

    made = kind(tmp_path, refuse)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="no such format"), made.session():
            pass
    with DirectoryStorage(tmp_path, accept).session(AT_ONCE):
        pass
