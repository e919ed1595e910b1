"""The calendar against Python's own, and where C and JavaScript leave it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.devices.calendar import MAX_SECONDS, Moment, format_time, moment_at, seconds_of

# Python's calendar has these years, and its formatting, which is the system's, agrees in these conversions.
YEARS_1000_TO_9999 = st.integers(-30_610_224_000, 253_402_300_799)
SHARED = "aAbBCdDeFgGhHIjmMnprRStTuUVwWxXyY%"


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_a_moment_is_what_python_says_it_is(seconds) -> None:
    moment, python = moment_at(seconds), time.gmtime(seconds)
    assert moment is not None
    assert moment[:5] == (python.tm_sec, python.tm_min, python.tm_hour, python.tm_mday, python.tm_mon - 1)
    assert moment[5:8] == (python.tm_year - 1900, (python.tm_wday + 1) % 7, python.tm_yday - 1)
    assert seconds_of(moment) == seconds


@given(YEARS_1000_TO_9999, st.sampled_from(SHARED))
def test_it_is_written_as_python_writes_it(seconds, letter) -> None:
    moment = moment_at(seconds)
    assert moment is not None
    assert format_time(b"%" + letter.encode(), moment).decode() == time.strftime(f"%{letter}", time.gmtime(seconds))


@given(st.integers(-MAX_SECONDS, MAX_SECONDS))
def test_every_second_that_there_is_goes_there_and_back(seconds) -> None:
    moment = moment_at(seconds)
    assert moment is not None
    assert seconds_of(moment) == seconds


def test_there_is_an_end_of_time() -> None:
    assert moment_at(MAX_SECONDS + 1) is None
    assert moment_at(-MAX_SECONDS - 1) is None
    assert seconds_of(Moment(0, 0, 0, 1, 0, 2**31 - 1, 0, 0)) is None


@pytest.mark.parametrize(
    ("parts", "date"),
    [
        ((61, 59, 23, 31, 11, 99), "2000-01-01 00:00:01"),
        ((0, 0, 0, 0, 0, 100), "1999-12-31 00:00:00"),
        ((0, 0, 0, 1, -1, 100), "1999-12-01 00:00:00"),
        ((-1, 0, 0, 29, 13, 123), "2024-02-28 23:59:59"),
    ],
)
def test_parts_out_of_their_ranges_carry_over(parts, date) -> None:
    seconds = seconds_of(Moment(*parts, 0, 0))
    assert seconds is not None
    moment = moment_at(seconds)
    assert moment is not None
    assert format_time(b"%F %T", moment).decode() == date


def test_the_rest_of_the_conversions() -> None:
    moment = Moment(5, 4, 15, 2, 0, 106, 1, 1, offset=-5400, zone="XYZ")
    pattern = b"%c|%I|%P|%s|%z|%Z|%Ey|%Od|%Q|100%%|%"
    expected = b"Mon Jan 02 15:04:05 2006|03|pm|1136214245|-0130|XYZ|06|02|%Q|100%|%"
    assert format_time(pattern, moment) == expected


def test_names_for_numbers_out_of_range_are_unknown_and_nothing_fails() -> None:
    moment = Moment(*[2**31 - 1] * 10, zone="Z")
    assert format_time(b"%a %A %b %B", moment) == b"? ? ? ?"
    for extreme in (moment, Moment(*[-(2**31)] * 10, zone="Z")):
        assert all(format_time(b"%" + bytes([letter]), extreme) for letter in range(65, 123))
