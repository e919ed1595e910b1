"""The layout of keys: a home that was written must stay readable, so these bytes may not change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.records import keys

PID = "P" * 43
OTHER = "Q" * 43
MESSAGE = "M" * 43
SLOTS = st.integers(0, keys.LAST_SLOT)


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        (keys.FORMAT_KEY, b"format"),
        (keys.definition_key(PID), b"p/" + b"P" * 43),
        (keys.image_key(MESSAGE), b"i/" + b"M" * 43),
        (keys.head_key(PID), b"h/" + b"P" * 43),
        (keys.assignment_key(PID, 258), b"a/" + b"P" * 43 + b"/\0\0\0\0\0\0\x01\x02"),
        (keys.message_slot_key(MESSAGE, PID), b"m/" + b"M" * 43 + b"/" + b"P" * 43),
        (keys.slot_record_key(PID, 1), b"s/" + b"P" * 43 + b"/\0\0\0\0\0\0\0\x01"),
        (keys.memory_image_key(PID, 0), b"v/" + b"P" * 43 + b"/\0\0\0\0\0\0\0\0"),
        (keys.page_key(MESSAGE), b"g/" + b"M" * 43),
        (keys.name_key("zähler"), b"n/z\xc3\xa4hler"),
    ],
)
def test_the_layout_of_format_1(key: bytes, layout: bytes) -> None:
    assert keys.FORMAT == b"1"
    assert key == layout


@pytest.mark.parametrize(
    ("key_of", "range_of"),
    [
        (keys.assignment_key, keys.assignments),
        (keys.slot_record_key, keys.slot_records),
        (keys.memory_image_key, keys.memory_images),
    ],
)
@given(slot=SLOTS, first=SLOTS, last=SLOTS)
def test_a_range_has_its_first_slot_its_last_and_those_between(key_of, range_of, slot, first, last) -> None:  # type: ignore[no-untyped-def]
    start, stop = range_of(PID, first, last)
    assert (start <= key_of(PID, slot) < stop) == (first <= slot <= last)
    assert not start <= key_of(OTHER, slot) < stop


@given(kind=st.sampled_from(sorted(keys.SLOTTED)), slot=SLOTS, first=SLOTS, last=SLOTS)
def test_a_slots_key_and_a_range_of_slots_say_whose_they_are(kind: bytes, slot: int, first: int, last: int) -> None:
    key = keys.slotted_key(kind, PID, slot)
    assert (keys.owner_of(key), keys.slot_of(key)) == (PID, slot)
    assert keys.span_of(*keys.slotted(kind, PID, first, last)) == (PID, first, last)
    start, stop = keys.slotted(kind, PID, first, last)
    assert keys.span_of(start, keys.slotted(kind, OTHER, first, last)[1]) is None
    assert keys.span_of(start[1:], stop[1:]) is None


@pytest.mark.parametrize(
    "span", [keys.definitions(), keys.schedules(), keys.schedules(PID.encode()), keys.messages(), keys.EVERYTHING]
)
def test_a_range_of_anything_else_is_nobodys_slots(span: keys.Range) -> None:
    assert keys.span_of(*span) is None


@pytest.mark.parametrize("range_of", [keys.assignments, keys.slot_records, keys.memory_images])
def test_a_range_without_bounds_has_every_slot_of_its_process_alone(range_of) -> None:  # type: ignore[no-untyped-def]
    start, stop = range_of(PID)
    prefix = start[:-8]
    for slot in (0, 1, 255, 256, 2**63, keys.LAST_SLOT):
        assert start <= prefix + keys.encode_slot(slot) < stop
    assert not start <= prefix.replace(b"P" * 43, b"P" * 42 + b"Q") + keys.encode_slot(0) < stop


@given(first=SLOTS, second=SLOTS)
def test_the_order_of_keys_is_the_order_of_slots(first: int, second: int) -> None:
    assert (keys.assignment_key(PID, first) < keys.assignment_key(PID, second)) == (first < second)
    assert keys.slot_of(keys.assignment_key(PID, first)) == first
    assert keys.decode_slot(keys.encode_slot(first)) == first


@pytest.mark.parametrize("slot", [-1, keys.LAST_SLOT + 1])
def test_there_is_no_such_slot(slot: int) -> None:
    with pytest.raises(OverflowError):
        keys.slot_record_key(PID, slot)


def test_a_slot_of_other_than_8_bytes_is_none() -> None:
    with pytest.raises(ValueError, match="a slot is 8 bytes, got 7"):
        keys.decode_slot(bytes(7))


def test_definitions_can_be_found_by_the_beginning_of_their_id() -> None:
    pid = "abcd" + "e" * 39
    for prefix in ("", "a", "abcd", pid):
        start, stop = keys.definitions(prefix)
        assert start <= keys.definition_key(pid) < stop
    for prefix in ("b", "abce", pid + "e"):
        start, stop = keys.definitions(prefix)
        assert not start <= keys.definition_key(pid) < stop


def test_messages_can_be_found_by_the_beginning_of_their_id() -> None:
    for prefix, is_there in (("", True), ("MMMM", True), (MESSAGE, True), ("N", False), (MESSAGE + "M", False)):
        start, stop = keys.messages(prefix)
        assert (start <= keys.message_slot_key(MESSAGE, PID) < stop) is is_there


def test_kinds_of_records_do_not_mix() -> None:
    everywhere = [keys.definition_key(PID), keys.head_key(PID), keys.image_key(PID), keys.page_key(PID)]
    everywhere += [keys.name_key(PID), keys.message_slot_key(PID, PID), keys.FORMAT_KEY]
    ranges = [keys.definitions(), keys.heads(), keys.names(), keys.message_slots(PID)]
    hits = [[start <= key < stop for key in everywhere].count(True) for start, stop in ranges]
    assert hits == [1, 1, 1, 1]
    assert all(keys.EVERYTHING[0] <= key < keys.EVERYTHING[1] for key in everywhere)


def test_reads_ids_and_names_back_from_keys() -> None:
    assert keys.text_of(keys.definition_key(PID)) == PID
    assert keys.text_of(keys.name_key("zähler/2")) == "zähler/2"
    assert keys.process_of(keys.message_slot_key(MESSAGE, PID)) == PID
    assert keys.message_of(keys.message_slot_key(MESSAGE, PID)) == MESSAGE
