"""The normal form of messages, and their JSON form."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.errors import Refused
from hb.protocol.message import (
    MAX_DEPTH,
    Atom,
    Value,
    dumps,
    from_plain,
    loads,
    loads_message,
    loads_stored,
    normal_key,
    normalise,
    normalise_message,
    to_plain,
)
from protocol_vectors import messages, same, shuffled, value, values, vectors

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from typing import Any

ID = "P8TM_nRYcOLA2Z9x8w_wZWyN7dQcwdfT03aw2-aF4vM"

# Each kind of value, and the one text that stands for it.
FORMS: list[tuple[Value, str]] = [
    ({}, "{}"),
    ([], "[]"),
    ("", '""'),
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-(2**70), str(-(2**70))),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (1e22, "1e+22"),
    (math.nan, '{"$float":"nan"}'),
    (math.inf, '{"$float":"infinity"}'),
    (-math.inf, '{"$float":"-infinity"}'),
    (b"\xff\x00", '{"$bytes":"_wA"}'),
    (Atom("ok"), '{"$atom":"ok"}'),
    ({"$x": 1}, '{"$map":{"$x":1}}'),
    ({"$map": {"$bytes": "AA"}}, '{"$map":{"$map":{"$map":{"$bytes":"AA"}}}}'),
    ({"$bytes": "AA", "a": 1}, '{"$bytes":"AA","a":1}'),
    ("$a", '"$a"'),
    ({"b": [1, "h\xe9\n"], "a": None}, '{"a":null,"b":[1,"h\xe9\\n"]}'),
    ({"z": 1, "\xe9": 2, "\U0001f389": 3}, '{"z":1,"\xe9":2,"\U0001f389":3}'),
]


@pytest.mark.parametrize(("item", "text"), FORMS, ids=[text for _, text in FORMS])
def test_each_kind_of_value_has_one_json_form(item: Value, text: str) -> None:
    assert dumps(item) == text.encode()
    assert same(loads(text), item)
    assert same(loads(text.encode()), item)


@given(values())
def test_the_json_form_gives_back_what_was_written(given_value: Value) -> None:
    normal = normalise(given_value)
    assert same(loads(dumps(normal)), normal)
    assert same(from_plain(to_plain(normal)), normal)


@given(values())
def test_the_normal_form_of_the_normal_form_is_itself(given_value: Value) -> None:
    once = normalise(given_value)
    assert same(normalise(once), once)


@given(values(), st.randoms(use_true_random=False))
def test_the_order_of_keys_never_matters(given_value: Value, order: random.Random) -> None:
    assert dumps(normalise(shuffled(given_value, order))) == dumps(normalise(given_value))


@given(values())
def test_what_was_stored_is_read_the_quick_way_as_the_careful_one_does(given_value: Value) -> None:
    raw = dumps(normalise(given_value))
    assert same(loads_stored(raw), loads(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"priv": 1}',
        b'{"a": {"privately": 1}}',
        b'{"$atom": "x"}',
        b"[" * 65,
        b"{} {}",
        b"1e999",
        b"NaN",
        b"\xff",
        b'{"a":"\\ud800"}',
        b"9" * 5000,
    ],
)
def test_what_was_not_stored_by_us_is_read_the_careful_way(raw: bytes) -> None:
    def outcome(read: Callable[[bytes], Value]) -> object:
        try:
            return dumps(read(raw))
        except Refused as refusal:
            return refusal.message

    assert outcome(loads_stored) == outcome(loads)


@given(st.text())
def test_whatever_text_comes_is_read_or_refused(text: str) -> None:
    with suppress(Refused):
        dumps(loads(text))


@given(st.binary())
def test_whatever_bytes_come_are_read_or_refused(raw: bytes) -> None:
    with suppress(Refused):
        dumps(loads(raw))


@pytest.mark.parametrize("digits", [4299, 4300, 4301, 20_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_any_length_are_exact(digits: int, sign: int) -> None:
    number = sign * (10**digits // 7)
    text = dumps({"n": [number, 1]})
    assert loads(text) == {"n": [number, 1]}
    assert len(text) == len('{"n":[,1]}') + digits + (sign < 0)


@given(values(), st.integers(0, 6000))
def test_a_long_integer_may_stand_beside_anything(given_value: Value, exponent: int) -> None:
    number = 10**exponent // 3
    read = loads(dumps(normalise({"n": number, "v": given_value})))
    assert isinstance(read, dict)
    assert read["n"] == number  # not as part of a whole: a failure could not be printed
    assert same(read["v"], normalise(given_value))


def test_a_long_integer_is_read_whatever_else_there_is() -> None:
    number = 10**5000
    for item in ({"$x": number}, {"f": math.nan, "n": number}, {"s": "\x00", "n": -number}):
        assert same(loads(dumps(item)), item)


@pytest.mark.parametrize("case", vectors("message_ids")["cases"], ids=lambda case: str(case["name"]))
def test_the_json_form_keeps_every_vector(case: dict[str, Any]) -> None:
    item = normalise(value(case["input"]))
    assert same(loads(dumps(item)), item)


def test_json_as_others_write_it_is_read() -> None:
    text = ' { "Caf\\u00e9" : [ 1 , 2.50 , 1E2 ] , "s": "\\ud83c\\udf89" } '
    assert loads(text) == {"caf\xe9": [1, 2.5, 100.0], "s": "\U0001f389"}


def test_keys_are_lower_case_unless_they_are_as_long_as_an_id() -> None:
    assert normalise({"Action": 1, "X" * 32: 2, "X" * 33: 3, "X" * 42: 4, ID: 5}) == {
        "action": 1,
        "X" * 32: 2,
        "x" * 33: 3,
        "X" * 42: 4,
        ID: 5,
    }
    assert loads('{"Action":1,"ID":2}'.replace("ID", ID)) == {"action": 1, ID: 2}
    assert normal_key("\xc9" * 16) == "\xc9" * 16  # 32 bytes, as IDs are measured
    assert normal_key("\xc9" * 15) == "\xe9" * 15


def test_private_keys_are_never_written() -> None:
    secret: Value = {"a": {"private": 1}, "priv": {"b": 2}, "Priv-Wallet": 3, "c": [{"priv": 4}]}
    assert normalise(secret) == {"a": {}, "c": [{}]}
    assert loads('{"a":{"private":1},"Priv":2}') == {"a": {}}
    assert dumps({"a": {"private": 1}, "priv": 2}) == b'{"a":{}}'


def test_binaries_are_text_where_they_can_be() -> None:
    assert normalise({"a": b"h\xc3\xa9", "b": b"\xff"}) == {"a": "h\xe9", "b": b"\xff"}
    assert dumps(b"text") == b'"text"'


def test_the_native_atoms_have_one_form() -> None:
    assert normalise([Atom("true"), Atom("false"), Atom("null")]) == [True, False, None]
    assert loads('[{"$atom":"true"},{"$atom":"null"}]') == [True, None]


def nested(depth: int) -> Value:
    item: Value = []
    for level in range(depth - 1):
        item = [item] if level % 2 else {"k": item}
    return item


def test_nesting_has_a_limit() -> None:
    deepest = nested(MAX_DEPTH)
    assert loads(dumps(normalise(deepest))) == deepest
    for too_deep in (nested(MAX_DEPTH + 1), nested(MAX_DEPTH * 5), nested(900)):
        with pytest.raises(Refused, match="deeper than 64"):
            normalise(too_deep)
        with pytest.raises(Refused, match="deeper than 64"):
            loads(json.dumps(too_deep))
    with pytest.raises(Refused, match="deeper than 64"):
        loads("[" * 100_000)


REFUSED_TEXTS = [
    ("", "not JSON: Expecting value at line 1, column 1"),
    ('{"a":1,}', "not JSON"),
    ("{'a':1}", "not JSON"),
    ('{"a":1} x', "not JSON: Extra data"),
    ("1e400", "beyond what a float can hold"),
    ("-1e400", "beyond what a float can hold"),
    ("NaN", "NaN is not JSON"),
    ("[Infinity]", "Infinity is not JSON"),
    ('{"a":1,"a":2}', "'a' comes twice"),
    ('{"A":1,"a":2}', "'a' comes twice"),
    ('{"\\u0061":1,"a":2}', "'a' comes twice"),
    ('{"A":1,"a":2,"x":"\\u0041"}', "the same key twice"),
    ('"\\ud800"', "lone surrogate"),
    ('{"\\ud800":1}', "lone surrogate"),
    ('"\ud800"', "lone surrogate"),
    ('{"$what":1}', "no form"),
    ('{"$bytes":1}', "no form"),
    ('{"$bytes":"AB"}', "base64url"),
    ('{"$bytes":"AA=="}', "base64url"),
    ('{"$float":"NaN"}', "no form"),
    ('{"$map":[]}', "no form"),
    ('{"$atom":"%s"}' % ("a" * 256), "atom of more than 255"),
    ('{"$atom":"\\u0100"}', "Latin-1"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED_TEXTS, ids=[repr(text)[:30] for text, _ in REFUSED_TEXTS])
def test_malformed_json_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        loads(text)


def test_bytes_that_are_not_utf8_are_refused_with_their_place() -> None:
    with pytest.raises(Refused, match="byte 2 is not UTF-8"):
        loads(b'"a\xff"')


@pytest.mark.parametrize("rest", [b"signature", b"\xff" * 512])
def test_an_ans_104_item_is_told_from_json(rest: bytes) -> None:
    with pytest.raises(Refused, match="not JSON: it begins as an ANS-104 data item, with the signature type 2"):
        loads(b"\x02\x00" + rest)


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"a": {"b": [1, {2}]}}, "the value of a/b/1 is a set"),
        ({"a": (1,)}, "the value of a is a tuple"),
        ({1: 2}, "a key of the message is an integer"),
        ({"a": {None: 1}}, "a key of the value of a is null"),
        ({"a": "\ud800"}, "the value of a holds a lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({"A": 1, "a": 2}, "the same key twice"),
        ({"a": Atom("a" * 256)}, "atom of more than 255"),
    ],
)
def test_what_no_message_can_hold_is_refused_with_its_path(item: object, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        normalise(item)


def test_a_message_is_a_map() -> None:
    for item in ([], "text", None, 1):
        with pytest.raises(Refused, match="a message is a"):
            normalise_message(item)
        with pytest.raises(Refused, match="a message is a JSON object"):
            loads_message(json.dumps(item))
    assert loads_message("{}") == normalise_message({}) == {}


@given(messages())
def test_normalising_leaves_its_argument_alone(given_message: dict[str, Value]) -> None:
    before = deepcopy(given_message)
    normalise(given_message)
    assert same(given_message, before)
