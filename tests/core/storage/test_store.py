"""What every store does: one suite, run on each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faulty import FaultyStore
from hb.errors import Conflict, HomeUnusable
from hb.records.keys import EVERYTHING
from hb.storage.memory import MemoryStore
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.storage.store import Store

ABC = {b"a": b"1", b"b": b"2", b"c": b"3"}


def everything(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(*EVERYTHING))


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.get(b"a") is None
    assert list(store.scan(*EVERYTHING)) == []


def test_gives_back_what_was_put(store: Store) -> None:
    store.commit(Batch(puts={b"a": b"1", b"\x00\xff/": b"", b"big": b"x" * 300_000}))
    assert store.get(b"a") == b"1"
    assert store.get(b"\x00\xff/") == b""
    assert store.get(b"big") == b"x" * 300_000


def test_a_later_put_replaces_an_earlier_one(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    store.commit(Batch(puts={b"b": b"two"}, sync=True))
    assert everything(store) == ABC | {b"b": b"two"}


def test_scans_in_the_order_of_the_keys(store: Store) -> None:
    for key in (b"b", b"\xfe", b"a\xff", b"a", b"a\x00", b"aa"):
        store.commit(Batch(puts={key: key}))
    assert [key for key, _ in store.scan(*EVERYTHING)] == [b"a", b"a\x00", b"aa", b"a\xff", b"b", b"\xfe"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_has_its_start_and_not_its_stop(store: Store, *, reverse: bool) -> None:
    store.commit(Batch(puts=ABC | {b"d": b"4"}))
    expected = [(b"b", b"2"), (b"c", b"3")]
    assert list(store.scan(b"b", b"d", reverse=reverse)) == (expected[::-1] if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("start", "stop"), [(b"b", b"b"), (b"c", b"a"), (b"", b""), (b"a", b""), (b"x", b"y")])
def test_a_scan_of_no_keys_is_empty(store: Store, start: bytes, stop: bytes, *, reverse: bool) -> None:
    store.commit(Batch(puts=ABC))
    assert list(store.scan(start, stop, reverse=reverse)) == []


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_finds_a_record_that_is_alone(store: Store, *, reverse: bool) -> None:
    store.commit(Batch(puts={b"k": b"1"}))
    for start, stop in [(b"k", b"l"), (b"k", b"k\x00"), (b"", b"\xff"), (b"a", b"k\x00")]:
        assert list(store.scan(start, stop, reverse=reverse)) == [(b"k", b"1")]


def test_a_scan_shows_the_moment_it_was_asked_for(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    scan = store.scan(*EVERYTHING)
    store.commit(Batch(puts={b"b": b"changed", b"d": b"4"}, deletes={b"c"}))
    assert dict(scan) == ABC
    scan = store.scan(*EVERYTHING)
    next(scan)
    store.commit(Batch(deletes={b"b"}))
    assert dict(scan) == {b"b": b"changed", b"d": b"4"}


def test_deletes_what_is_there_and_what_is_not(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    store.commit(Batch(deletes={b"b", b"nothing"}))
    assert store.get(b"b") is None
    assert everything(store) == {b"a": b"1", b"c": b"3"}


def test_a_batch_that_finds_what_it_expects_is_written(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    store.commit(Batch(puts={b"a": b"one"}, deletes={b"c"}, expects={b"a": b"1", b"new": None, b"c": b"3"}))
    assert everything(store) == {b"a": b"one", b"b": b"2"}


@pytest.mark.parametrize(
    ("expects", "sentence"),
    [
        ({b"a": b"2"}, "expected b'2' under b'a', got b'1'"),
        ({b"a": None}, "expected nothing under b'a', got b'1'"),
        ({b"new": b""}, "expected b'' under b'new', got nothing"),
        ({b"b": b"2", b"c": b"x" * 81}, "expected 81 bytes under b'c', got b'3'"),
    ],
)
def test_a_batch_that_finds_something_else_changes_nothing(
    store: Store, expects: dict[bytes, bytes | None], sentence: str
) -> None:
    store.commit(Batch(puts=ABC))
    with pytest.raises(Conflict) as refused:
        store.commit(Batch(puts={b"a": b"one", b"d": b"4"}, deletes={b"b"}, expects=expects))
    assert refused.value.message == sentence
    assert everything(store) == ABC


def test_a_batch_that_puts_and_deletes_the_same_key_changes_nothing(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    with pytest.raises(ValueError, match="both put and deleted: b'a'"):
        store.commit(Batch(puts={b"a": b"one", b"d": b"4"}, deletes={b"a", b"b"}))
    assert everything(store) == ABC


def test_an_empty_batch_is_fine(store: Store) -> None:
    store.commit(Batch())
    store.commit(Batch(sync=True))
    assert everything(store) == {}


def test_of_threads_that_expect_the_same_value_one_wins_each_time(store: Store) -> None:
    """Each thread counts up by compare-and-swap: were two to win at once, a count would be lost."""
    store.commit(Batch(puts={b"count": b"0"}))

    def count_up(times: int) -> None:
        done = 0
        while done < times:
            current = store.get(b"count")
            assert current is not None
            try:
                store.commit(Batch(puts={b"count": b"%d" % (int(current) + 1)}, expects={b"count": current}))
            except Conflict:
                continue
            done += 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count_up, [100] * 4))
    assert store.get(b"count") == b"400"


_BYTES = st.binary(max_size=3)
_BATCH = st.tuples(
    st.dictionaries(_BYTES, st.binary(max_size=8), max_size=4),
    st.sets(_BYTES, max_size=3),
    st.dictionaries(_BYTES, st.one_of(st.none(), st.just(b""), st.binary(max_size=1)), max_size=1),
    st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(_BATCH, max_size=8), bounds=st.lists(st.tuples(_BYTES, _BYTES, st.booleans()), max_size=4))
def test_behaves_as_a_dict_would(
    new_store: Callable[[], Store],
    batches: list[tuple[dict[bytes, bytes], set[bytes], dict[bytes, bytes | None], bool]],
    bounds: list[tuple[bytes, bytes, bool]],
) -> None:
    store, model = new_store(), dict[bytes, bytes]()
    for puts, deletes, expects, hold in batches:
        # Half of the batches expect what is there, so that they get through.
        expected = {key: model.get(key) for key in expects} if hold else expects
        try:
            store.commit(Batch(puts=puts, deletes=deletes - puts.keys(), expects=expected))
        except Conflict:
            assert any(model.get(key) != value for key, value in expected.items())
            continue
        assert all(model.get(key) == value for key, value in expected.items())
        model = {key: value for key, value in model.items() if key not in deletes} | puts
    assert list(store.scan(b"", b"\xff" * 4)) == sorted(model.items())
    for start, stop, reverse in bounds:
        between = sorted(((k, v) for k, v in model.items() if start <= k < stop), reverse=reverse)
        assert list(store.scan(start, stop, reverse=reverse)) == between
        assert store.get(start) == model.get(start)


@pytest.mark.parametrize("lost_answer", [False, True])
def test_a_faulty_store_fails_from_the_commit_it_was_told(*, lost_answer: bool) -> None:
    store = FaultyStore(MemoryStore(), fail_at=2, lost_answer=lost_answer)
    store.commit(Batch(puts={b"a": b"1"}))
    for key in (b"b", b"c"):
        with pytest.raises(HomeUnusable, match="told to fail at 2"):
            store.commit(Batch(puts={key: b"x"}))
    assert everything(store.inner) == ({b"a": b"1", b"b": b"x"} if lost_answer else {b"a": b"1"})
    assert store.get(b"a") == b"1"


def test_many_values_are_read_at_once_in_the_order_that_they_are_asked_for(store: Store) -> None:
    store.commit(Batch(puts=ABC))
    assert store.get_many([b"c", b"nothing", b"a", b"c"]) == [b"3", None, b"1", b"3"]
    assert store.get_many([]) == []
