"""The TABM form: byte for byte what a running HyperBEAM gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.errors import Refused
from hb.protocol import tabm
from hb.protocol.message import Atom, Message, Value
from protocol_vectors import binaries, message, value, vectors

if TYPE_CHECKING:
    from typing import Any


@pytest.mark.parametrize("case", vectors("message_ids")["cases"], ids=lambda case: str(case["name"]))
def test_each_vector_has_its_tabm(case: dict[str, Any]) -> None:
    assert tabm.encode(message(case["input"])) == binaries(value(case["tabm"]))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (-0.0, b"-0.00000000000000000000e+00"),
        (5e-324, b"4.94065645841246544177e-324"),
        (float("nan"), b"nan"),
        (float("-inf"), b"-infinity"),
        (Atom('a"b'), b'"a\\"b"'),
        (Atom("\xe9"), b'"\xe9"'),
        (['a"b\\', b"\xff", None], b'"a\\"b\\\\", "\xff", "(ao-type-atom) \\"null\\""'),
        ([True, 2.0], b'"(ao-type-atom) \\"true\\"", "(ao-type-float) 2.00000000000000000000e+00"'),
        (["", []], b'"", "(ao-type-list) "'),
    ],
)
def test_values_have_one_encoding(item: Value, expected: bytes) -> None:
    assert tabm.encode({"k": item})["k"] == expected


def test_integers_of_any_length_are_encoded() -> None:
    assert tabm.encode({"k": -(10**5000)})["k"] == b"-1" + b"0" * 5000


def test_keys_in_the_types_are_escaped() -> None:
    assert tabm.encode({"a b\xe9%": 1})["ao-types"] == b'a%20b%c3%a9%25="integer"'


def test_a_list_that_begins_with_a_message_is_a_message_of_positions() -> None:
    items: list[Value] = [{"a": 1}, *range(10)]
    encoded = tabm.encode({"l": items})["l"]
    assert isinstance(encoded, dict)
    assert encoded["1"] == {"a": b"1", "ao-types": b'a="integer"'}
    assert encoded["ao-types"].startswith(b'10="integer", 11="integer", 2="integer"')  # type: ignore[union-attr]


def test_a_list_that_begins_with_a_plain_value_holds_no_maps() -> None:
    with pytest.raises(Refused, match="cannot hold a map"):
        tabm.encode({"l": [1, {"a": 1}]})


def test_quoting_cannot_be_made_to_grow_without_bound() -> None:
    def nested(depth: int) -> Message:
        item: Value = [1]
        for _ in range(depth - 1):
            item = [1, item]
        return {"l": item}

    assert len(tabm.encode(nested(tabm.MAX_TEXT_LIST_DEPTH))["l"]) < 2000
    with pytest.raises(Refused, match="deeper than 8"):
        tabm.encode(nested(tabm.MAX_TEXT_LIST_DEPTH + 1))


def test_what_is_made_anew_and_what_is_private_is_left_out() -> None:
    assert tabm.encode({"a": "b", "priv": {"k": 1}, "private": 1, "unsigned_id": "x", "content-digest": "y"}) == {
        "a": b"b"
    }
