"""The process cache: write, read, and the latest with a limit and a required part."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb import ids
from hb.errors import IntegrityError
from hb.protocol.message import dumps
from hb.records import cache, keys, links
from hb.records.cache import Image
from hb.storage.memory import MemoryStore
from hb.storage.store import Batch

P, Q = "p" * 43, "q" * 43


def stored(records: list[int], images: list[int], process: str = P) -> MemoryStore:
    store = MemoryStore()
    batch = Batch()
    for slot in records:
        cache.write(batch, process, slot, dumps({"slot": slot}))
    for slot in images:
        cache.write_image(batch, process, slot, Image([["i32", slot]], 0, {}).encode(), {})
    store.commit(batch)
    return store


def test_what_was_written_is_read() -> None:
    store = stored([0, 7], [])
    assert cache.read_bytes(store, P, 7) == b'{"slot":7}'
    assert cache.read_bytes(store, P, 6) is None
    assert cache.read_bytes(store, Q, 7) is None


RECORD = {
    "assignment": "a",
    "changed": True,
    "engine": "e",
    "hashpath": "h",
    "previous": "",
    "results": {"gas": 5},
    "state": {"counter": 1},
}


def test_records_come_in_the_order_of_their_slots_and_leave_gaps_out() -> None:
    store, batch = MemoryStore(), Batch()
    for slot in (300, 2, 255, 1):
        cache.write(batch, P, slot, dumps({**RECORD, "slot": slot}))
    store.commit(batch)
    assert [record.slot for record in links.records(store, P, 4, 299)] == [255]


def test_a_record_is_read_into_its_parts() -> None:
    record = cache.parse_record(dumps({**RECORD, "slot": 3, "image": "i"}), P, 3)
    assert (record.slot, record.gas, record.state, record.image) == (3, 5, {"counter": 1}, "i")
    assert cache.parse_record(dumps({**RECORD, "slot": 3}), P, 3).image is None


@pytest.mark.parametrize("key", [*RECORD, "slot"])
def test_a_record_that_lacks_a_part_or_has_another_type_there_is_damage(key: str) -> None:
    whole = {**RECORD, "slot": 3}
    without = {name: value for name, value in whole.items() if name != key}
    for wrong in (without, {**whole, key: [1]}):
        with pytest.raises(IntegrityError, match=f"lacks its {key}"):
            cache.parse_record(dumps(wrong), P, 3)


@pytest.mark.parametrize(
    ("limit", "required", "expected"),
    [
        (keys.LAST_SLOT, "record", 9),
        (9, "record", 9),
        (8, "record", 5),
        (1, "record", 1),
        (0, "record", None),
        (keys.LAST_SLOT, "image", 5),
        (5, "image", 5),
        (4, "image", 1),
        (0, "image", None),
    ],
)
def test_latest_with_a_limit_and_a_required_part(limit, required, expected) -> None:
    store = stored([1, 2, 5, 9], [1, 5])
    assert cache.latest(store, P, limit=limit, required=required) == expected


def test_latest_is_of_one_process() -> None:
    store = stored([1, 2], [2])
    assert cache.latest(store, Q) is None
    assert cache.latest(store, "o" * 43, required="image") is None


def test_an_image_without_its_record_is_not_a_state() -> None:
    store = stored([1], [1, 2])
    assert cache.latest(store, P, required="image") == 1


@given(
    pages=st.dictionaries(st.integers(0, 5), st.binary(min_size=1, max_size=30), max_size=4),
    values=st.lists(st.tuples(st.sampled_from(["i32", "i64", "f64"]), st.integers(0, 2**64 - 1)), max_size=3),
)
def test_an_image_is_read_as_it_was_written(pages, values) -> None:
    contents = {page: content.ljust(cache.PAGE_BYTES, b"\x00") for page, content in pages.items()}
    held = {page: ids.digest(content) for page, content in contents.items()}
    image = Image([list(pair) for pair in values], 6, held)
    store, batch = MemoryStore(), Batch()
    cache.write_image(batch, P, 3, image.encode(), {held[page]: content for page, content in contents.items()})
    store.commit(batch)
    assert cache.read_image(store, P, 3) == image
    assert cache.read_pages(store, image, P, 3) == contents
    assert cache.image_digest(store, P, 3) == ids.digest(image.encode())


def test_an_equal_page_is_stored_once() -> None:
    page = b"a" * cache.PAGE_BYTES
    batch = Batch()
    for process in (P, Q):
        image = Image([], 1, {0: ids.digest(page)})
        cache.write_image(batch, process, 0, image.encode(), {ids.digest(page): page})
    assert sum(key.startswith(b"g/") for key in batch.puts) == 1


@pytest.mark.parametrize(
    ("stored_page", "says"),
    [
        (None, "is gone"),
        (b"", "bytes that do not decompress"),
        (b"garbage", "bytes that do not decompress"),
        (zlib.compress(b"short"), "bytes that do not decompress"),
        (zlib.compress(bytes(1 << 24)), "bytes that do not decompress"),
        (zlib.compress(b"b" * cache.PAGE_BYTES), "is not what it was"),
        (zlib.compress(b"a" * cache.PAGE_BYTES)[:-1], "bytes that do not decompress"),
    ],
)
def test_a_page_that_is_not_what_its_digest_says_is_damage(stored_page, says) -> None:
    digest = ids.digest(b"a" * cache.PAGE_BYTES)
    store = MemoryStore()
    if stored_page is not None:
        store.commit(Batch(puts={keys.page_key(digest): stored_page}))
    with pytest.raises(IntegrityError, match=says) as damage:
        cache.read_pages(store, Image([], 1, {0: digest}), P, 4)
    assert (damage.value.process, damage.value.slot, damage.value.expected) == (P, 4, digest)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_a_record_that_is_no_message_is_damage(raw) -> None:
    with pytest.raises(IntegrityError, match="slot record"):
        cache.parse_record(raw, P, 1)


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"globals":[],"held":[],"pages":1}', b'{"globals":[],"held":{"x":""},"pages":1}']
)
def test_an_image_that_is_none_is_damage(raw) -> None:
    store = MemoryStore()
    store.commit(Batch(puts={keys.memory_image_key(P, 1): raw}))
    with pytest.raises(IntegrityError, match="memory image"):
        cache.read_image(store, P, 1)
    with pytest.raises(IntegrityError, match="memory image is gone"):
        cache.read_image(store, P, 2)
