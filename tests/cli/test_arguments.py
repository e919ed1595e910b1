"""What words on the command line become."""

from __future__ import annotations

import pytest

from hb.errors import Refused
from hb_cli.inputs import arguments


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("-0.0", -0.0),
        ("1e3", 1000.0),
        ('"5"', "5"),
        ('"say \\"hi\\""', 'say "hi"'),
        ("hello", "hello"),
        ("", ""),
        ("05", "05"),
        ("+5", "+5"),
        ("1_000", "1_000"),
        ("٣", "٣"),
        ("true", "true"),
        ("null", "null"),
        ("NaN", "NaN"),
        ("[1]", "[1]"),
        ('{"a": 1}', '{"a": 1}'),
        ('"', '"'),
        ('"half', '"half'),
        ('"a" b"', '"a" b"'),
    ],
)
def test_parameters_that_are_json_numbers_or_strings_are_those_and_all_else_is_text(word: str, value: object) -> None:
    got = arguments.parameter(word)
    assert (type(got), got) == (type(value), value)


def test_an_integer_of_any_size_is_exact() -> None:
    assert arguments.parameter("1" + "0" * 5000) == 10**5000


def test_a_number_that_no_float_can_hold_is_refused() -> None:
    with pytest.raises(Refused):
        arguments.parameter("1e400")


def test_tags_are_text_under_lower_case_keys() -> None:
    assert arguments.tags(["Subject=Hello", "n=5", "empty=", "eq=a=b"]) == {
        "subject": "Hello",
        "n": "5",
        "empty": "",
        "eq": "a=b",
    }


@pytest.mark.parametrize("words", [["novalue"], ["=x"], ["a=1", "A=2"]])
def test_a_tag_without_a_key_or_given_twice_is_refused(words: list[str]) -> None:
    with pytest.raises(Refused):
        arguments.tags(words)
