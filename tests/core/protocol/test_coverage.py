"""What a signature covers: no two messages may bear the same one."""

from __future__ import annotations

import random

import pytest

from hb import ids
from hb.errors import Refused
from hb.protocol.commitment import Key, message_id, sign, verify
from hb.protocol.message import Message, Value, dumps, normalise_message

KEY = Key(b"k" * 32)
LONG = "x" * 4097

# Pairs of messages that have the same signed form. The first is of the kind that people sign; the second must not be.
PART = 'a: b\r\ncontent-disposition: form-data;name="n"'
BOUNDARY = ids.digest(PART.encode())
MULTIPART: Message = {
    "content-type": f'multipart/form-data; boundary="{BOUNDARY}"',
    "body": f"--{BOUNDARY}\r\n{PART}\r\n--{BOUNDARY}--",
}

TWINS: dict[str, tuple[Message, Message]] = {
    "trimmed space": ({"a": "b"}, {"a": "b "}),
    "line break": ({"a": "b c"}, {"a": "b\nc"}),
    "line break in a list": ({"a": ["b c"]}, {"a": ["b\nc"]}),
    "types": ({"a": 5}, {"a": "5", "ao-types": 'a="integer"'}),
    "nested types": ({"n": {"a": 5}}, {"n": {"a": "5", "ao-types": 'a="integer"'}}),
    "ids": ({"A" * 43: "v"}, {"ao-ids": "A" * 43 + '="v"'}),
    "list of types": ({"a": [1]}, {"a": ["(ao-type-integer) 1"]}),
    "nested list of types": ({"a": ["x", [1]]}, {"a": ["x", ["(ao-type-integer) 1"]]}),
    "inline key": ({"data": "x"}, {"data": "x", "inline-body-key": "data"}),
    "content type": ({"n": {"a": "b"}}, {"n": {"a": "b"}, "content-type": "text/plain"}),
    "unsigned id": ({"a": "b"}, {"a": "b", "unsigned_id": "x"}),
    "nested unsigned id": ({"n": {"a": "b"}}, {"n": {"a": "b", "unsigned_id": "x"}}),
    "nested digest": ({"n": {"a": "b"}}, {"n": {"a": "b", "content-digest": "x"}}),
    "digest": ({"a": "b"}, {"a": "b", "content-digest": "x"}),
    "body keys": ({"a": "b"}, {"a": "b", "body-keys": "x"}),
    "signature": ({"a": "b"}, {"a": "b", "signature": "x"}),
    "disposition": ({"n": {"a": "b"}}, {"n": {"a": "b", "content-disposition": "x"}}),
    "field in a field": ({"n": {"a": "b", "c": "d"}}, {"n": {"a": "b\r\nc: d"}}),
    "field in a key": ({"n": {"a": "b: c"}}, {"n": {"a: b": "c"}}),
    "field in a long key": ({"n": {"a": "b", "c": "d"}}, {"n": {"a: b\r\nc": "d"}}),
    "body in a field": ({"n": {"x": "b", "y": "d", "body": "c"}}, {"n": {"x": "b\r\ny: d\r\n\r\nc"}}),
    "body of parts": ({"n": {"a": "b"}}, MULTIPART),
    "field in a path": ({"n": {"d": '"q"', "x": "y"}}, {'n"\r\nd: "q': {"x": "y"}}),
    "path of messages": ({"n": {"m": {"a": "b"}}}, {"n/m": {"a": "b"}}),
    "nested path": ({"n": {"m": {"l": {"a": "b"}}}}, {"n": {"m/l": {"a": "b"}}}),
    "path of a long value": ({"n": {"m": LONG}}, {"n/m": LONG}),
    "no name": ({"a": LONG}, {"": {"a": LONG}}),
    "nothing left": ({"a": "b"}, {"a": "b", "n": {"unsigned_id": "x"}}),
}  # fmt: skip


@pytest.mark.parametrize(("plain", "twin"), TWINS.values(), ids=TWINS)
def test_of_two_messages_that_no_node_can_tell_apart_one_is_never_signed(plain: Message, twin: Message) -> None:
    assert message_id(plain) == message_id(twin)
    signed = sign(plain, KEY)
    with pytest.raises(Refused):
        sign(twin, KEY)
    with pytest.raises(Refused):
        verify({**twin, "commitments": signed["commitments"]})


@pytest.mark.parametrize("key", ["@path", "caf\xe9", "a\nb", "A" * 28 + '="v"'])
def test_a_key_that_a_signature_cannot_name_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="cannot have the key"):
        sign({key: "x"}, KEY)


@pytest.mark.parametrize("key", ["a\rb", "a\nb"])
def test_a_key_with_a_line_break_is_refused_within_a_message_too(key: str) -> None:
    for item in ({"n": {key: "x"}}, {"n": {key: {"a": "x"}}}, {key: {"a": "x"}}):
        with pytest.raises(Refused, match=r"line break|another path"):
            sign(normalise_message(item), KEY)


def test_text_with_line_breaks_is_covered_where_people_put_it() -> None:
    for item in ({"data": " a\r\nb\n "}, {"body": " a\r\nb\n "}, {"n": {"body": " a\r\nb\n "}}, {"n": {"k": " a\nb "}}):
        assert verify(sign(normalise_message(item), KEY)) == [KEY.address]


def test_a_signed_message_within_is_covered_by_its_own_signature() -> None:
    inner = sign({"data": "a\r\nb: c", "n": {"k": "v"}, "content-disposition": "x"}, KEY)
    outer = sign({"body": inner, "x": [inner]}, KEY)
    assert verify(outer) == [KEY.address]
    altered = {**inner, "data": "a", "b": "c"}
    with pytest.raises(Refused):
        verify({**outer, "body": altered})


NASTY_KEYS = [
    *("a", "b", "n", "body", "data", "path", "a: b", "a/b", "n/body", "", "@path", "A" * 32),
    *("ao-types", "inline-body-key", "content-type", "content-disposition"),
]
NASTY_TEXTS = [
    *("", "a", "b", "data", " a", "a: b", "a\nb", "a\r\nb: a", "\r\n", "a\r\n\r\nb", '"a"', 'a", "b', LONG),
    *('a="integer"', "(ao-type-integer) 1", "form-data", "multipart/form-data; boundary=x"),
]


def arbitrary(order: random.Random, depth: int) -> Value:
    kind = order.randrange(8 if depth else 5)
    if kind < 4:
        return order.choice(NASTY_TEXTS)
    if kind == 4:
        return order.choice([1, 1.0, None, True])
    if kind == 5:
        return [arbitrary(order, depth - 1) for _ in range(order.randrange(3))]
    return {order.choice(NASTY_KEYS): arbitrary(order, depth - 1) for _ in range(order.randrange(3))}


def test_no_two_messages_of_a_nasty_kind_bear_the_same_commitment() -> None:
    order = random.Random(1)
    by_id: dict[str, Message] = {}
    signed = refused = 0
    while signed < 3000:
        item: Message = {order.choice(NASTY_KEYS): arbitrary(order, 2) for _ in range(order.randrange(1, 4))}
        try:
            name = message_id(sign(item, KEY))
        except Refused:
            refused += 1
            continue
        signed += 1
        assert dumps(by_id.setdefault(name, item)) == dumps(item)
    assert refused > 1000
