"""Intervals: what people and definitions write, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.errors import Refused
from hb.protocol import interval


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [
        ("500ms", 500),
        ("500-milliseconds", 500),
        ("30s", 30_000),
        ("1-second", 1000),
        ("30-Seconds", 30_000),
        ("10m", 600_000),
        ("5-minutes", 300_000),
        ("5 minutes", 300_000),
        (" 1-hour ", 3_600_000),
        ("7d", 604_800_000),
        ("2-weeks", 1_209_600_000),
        ("1-year", 31_557_600_000),
        ("10-years", interval.MAX_MS),
    ],
)
def test_a_number_and_a_unit(text: str, length_ms: int) -> None:
    assert interval.parse(text) == length_ms


@pytest.mark.parametrize(
    "text",
    ["", "m", "10", "1.5h", "1e3s", "-5m", "nan", "inf-seconds", "5-minutes-more", "٥m", "5-fortnights", "5mss", "s5",
     "5--minutes", "9" * 10_000 + "s", "5\0m", "5-m\n5-m"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="an interval is a number and a unit"):
        interval.parse(text)


@pytest.mark.parametrize("text", ["0s", "0-minutes", "11-years", "315576000001ms", "999999999999999w"])
def test_too_short_and_too_long_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="interval is"):
        interval.parse(text)


def test_blocks_and_months_are_refused_with_the_reason() -> None:
    for text in ("10-blocks", "1-block"):
        with pytest.raises(Refused, match="counts blocks, and a home has none"):
            interval.parse(text)
    with pytest.raises(Refused, match="counts months, which differ in length"):
        interval.parse("1-month")


def test_what_is_no_interval() -> None:
    wrong = (0, -1, interval.MAX_MS + 1, 10**5000, 1.0, 1000.5, float("nan"), float("inf"), True, "1000", None, b"1")
    for length in wrong:
        with pytest.raises(Refused, match="an interval is"):
            interval.check(length)


@given(st.integers(1, interval.MAX_MS))
def test_what_is_written_is_read_as_the_same(length_ms: int) -> None:
    assert interval.parse(interval.written(length_ms)) == length_ms


def test_an_interval_is_written_in_its_longest_unit() -> None:
    assert [interval.written(each) for each in (600_000, 5_400_000, 1500, 604_800_000)] == [
        "10m",
        "90m",
        "1500ms",
        "1w",
    ]
