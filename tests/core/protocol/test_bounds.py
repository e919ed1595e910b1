"""What a text from outside may hold, found out before it is parsed."""

from __future__ import annotations

import json
import tracemalloc
from time import process_time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.errors import Refused
from hb.protocol import bounds
from hb.protocol.message import dumps, int_text, loads, loads_stored, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = bounds.MAX_VALUES + 1
EMPTIES = b"[" + b"[]," * (MANY - 2) + b"[]]"
DIGITS = b"7" * (bounds.MAX_DIGITS + 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (EMPTIES, "a message may hold 2,000,000 values, got more"),
        (b"[" + b"{}, " * MANY + b"{}]", "may hold 2,000,000 values"),
        (b'{"a":[' + b"0," * MANY + b"0]}", "may hold 2,000,000 values"),
        (b"[" + b'"",' * (4 * MANY) + b'""]', "may hold 2,000,000 values"),
        (b'{"n":' + DIGITS + b"}", "a number in a message may have 32,768 digits, got one with more"),
        (b'{"n":-' + DIGITS * 400 + b"}", "may have 32,768 digits"),
        (b"1." + DIGITS, "may have 32,768 digits"),
        (b"[" * 65 + b"]" * 65, "nests deeper than 64 levels, got 65"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nests deeper than 64 levels, got 65"),
        (b"[" * 1_000_000, "nests deeper than 64 levels"),
        (b"[" * 20_000_000, "may hold 2,000,000 values"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_beyond_a_limit_is_refused_in_little_memory_and_time(text: bytes, sentence: str) -> None:
    tracemalloc.start()
    started = process_time()
    with pytest.raises(Refused, match=sentence):
        loads(text)
    seconds, peak = process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(text) + 100_000
    assert seconds < 10  # a fraction of one, on a machine that has nothing else to do


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"data": "[" * 100_000}),
        json.dumps({"data": "[]," * MANY}),
        json.dumps({"data": DIGITS.decode() + '\\"' + DIGITS.decode()}),
        json.dumps({"data": ['"', "\\", "{" * 100, DIGITS.decode(), "é{" * 40_000]}),
        "[" + "[]," * 5000 + "[]]",
        "[" + "1," * 100_000 + "1]",
        '{"n":' + "7" * bounds.MAX_DIGITS + "}",
        "[" * 64 + "]" * 64,
        "[" * 64 + "]" * 64 + " " * 40_000,
    ],
    ids=lambda value: value[:30],
)
def test_what_is_within_the_limits_is_read_whatever_its_texts_hold(text: str) -> None:
    assert dumps(loads(text)) == dumps(loads(text.encode()))
    assert loads(dumps(loads(text))) == loads(text)


JSON = st.recursive(
    st.one_of(st.integers(), st.text('a,[]{}"\\ 1\n', max_size=6), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text('a,[{"\\', max_size=3), inner)),
    max_leaves=30,
)


@given(JSON, st.integers(0, 6), st.integers(1, 12), st.sampled_from([None, 1]))
def test_depth_and_number_of_values_are_counted_exactly(
    value: object, depth: int, most: int, indent: int | None
) -> None:
    raw = json.dumps(value, indent=indent).encode()
    assert bounds.nests_deeper(raw, depth) is (_depth(value) > depth)
    assert bounds.has_more_values(raw, most) is (_values(value) > most)


@given(st.lists(st.integers(1, 5), max_size=6), st.integers(0, 3))
def test_a_long_number_is_found_wherever_it_stands(lengths: list[int], place: int) -> None:
    most = bounds.MAX_DIGITS
    numbers = [b"1" * (most * length // 5) for length in lengths]
    long = b"2" * (most + 1)
    bounds.check(b"[" + b",".join([*numbers, b"0" * 9]) + b"]")
    with pytest.raises(Refused, match="digits"):
        bounds.check(b"[" + b",".join([*numbers[:place], long, *numbers[place:]]) + b"]")


def _depth(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _values(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(map(_values, inner))


def test_an_integer_has_as_many_digits_as_convert_quickly() -> None:
    most = 10**bounds.MAX_DIGITS - 1
    for number in (most, -most, -(2**64), 2**64):
        assert loads(dumps(normalise({"n": [number]}))) == {"n": [number]} == loads_stored(dumps({"n": [number]}))
    for number in (most + 1, -most - 1, 1 << 10_000_000):
        for item in ({"n": number}, [number], {"a": {"b": number}}):
            with pytest.raises(Refused, match="is an integer of more than 32,768 digits"):
                normalise(item)
    assert len(int_text(-most)) == bounds.MAX_DIGITS + 1


@pytest.mark.parametrize(
    "text",
    [
        lambda n: "{" + ",".join(f'"k{i}":1' for i in range(n)) + ',"k0":1}',
        lambda n: "{" + ",".join(f'"K{i}":1' for i in range(n)) + ',"k0":1}',
        lambda n: '{"x":"\\u0041",' + ",".join(f'"k{i}":1' for i in range(n)) + f',"k{n - 1}":1}}',
    ],
)
def test_a_key_that_comes_twice_among_many_is_named_at_once(text: Callable[[int], str]) -> None:
    with pytest.raises(Refused, match=r"'k\d+' comes twice"):
        loads(text(60_000))


def test_a_file_may_hold_as_many_values_as_its_size_allows() -> None:
    record = b"[" + b"[]," * 1_000_000 + b"[]]"
    budget = bounds.Budget(1000)
    for _ in range(7):
        budget.take(record)
    budget.take(b"[" + b"[]," * 990_000 + b"[]]")
    with pytest.raises(Refused, match="a file of this size may hold 8,001,000 values"):
        budget.take(record)
    with pytest.raises(Refused, match="a record may hold 2,000,000 values"):
        bounds.Budget(10**9).take(EMPTIES)
    text = b'["' + b"[]," * 1_000_000 + b'"]'
    budget = bounds.Budget(0)
    for _ in range(10):
        budget.take(text)


def test_a_dotted_toml_key_has_a_limit() -> None:
    for text in (
        ".".join("a" * 129) + " = 1",
        "x = 1\n[" + " . ".join("b" * 200) + "]",
        '"' + 'a"."' * 20_000 + 'b" = 1',
        "t = { " + ".".join(["'x'"] * 140) + " = 2 }",
    ):
        with pytest.raises(Refused, match="128 parts between dots"):
            bounds.check_toml(text, "the definition")
    for text in (
        "x = [" + "1.5, " * 10_000 + "]",
        f'x = "{"a." * 1000}" # {"b." * 1000}',
        f'x = """\n"{"a." * 1000}\n""" \ny = \'\'\'{"b." * 500}\'\'\'',
        "[" + ".".join("b" * 66) + "]",
        "word" * 100_000,
    ):
        bounds.check_toml(text, "the definition")
