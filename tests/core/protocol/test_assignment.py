"""Assignments and the hash-chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.errors import Refused
from hb.protocol import assignment
from protocol_vectors import vectors

if TYPE_CHECKING:
    from typing import Any

    from hb.protocol.message import Message, Value


def test_the_hash_chain_is_that_of_the_vectors() -> None:
    chain = b""
    for expected in vectors("hash_chain")["assignments"]:
        chain = assignment.chain(chain, expected["message_id_all"])
        assert ids.encode(chain) == expected["hash_chain"]


def test_an_assignment_has_the_keys_of_an_ao_node() -> None:
    assert assignment.build(
        process="P" * 43,
        slot=3,
        chain=b"c" * 32,
        timestamp_ms=1_700_000_000_123,
        block_height=9,
        block_hash="B" * 43,
    ) == {
        "path": "compute",
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "process": "P" * 43,
        "epoch": "0",
        "slot": 3,
        "block-height": 9,
        "block-hash": "B" * 43,
        "block-timestamp": 1_700_000_000,
        "timestamp": 1_700_000_000_123,
        "hash-chain": ids.encode(b"c" * 32),
    }


GOOD: Message = {
    **assignment.build(process="P" * 43, slot=3, chain=b"c" * 32, timestamp_ms=5, block_height=9, block_hash="B" * 43),
    "body": {"data": "x"},
    "commitments": {},
}
MOST = 2**64 - 1


def test_an_assignment_is_parsed_into_its_fields() -> None:
    parsed = assignment.Assignment.parse({**GOOD, "epoch": str(MOST), "slot": MOST, "timestamp": 0})
    assert parsed == assignment.Assignment("P" * 43, MOST, GOOD["hash-chain"], 0, {"data": "x"}, parsed.message)
    assert parsed.message["commitments"] == {}


@pytest.mark.parametrize("key", ["slot", "timestamp", "block-height", "block-timestamp"])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "nothing"),
        (-1, "-1"),
        (2**64, "18446744073709551616"),
        (10**5000, "a number too long to be shown"),
        (1.0, "1.0"),
        (True, "True"),
        ("1", "'1'"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) or value < 2**65 else "long",
)
def test_the_protocols_numbers_have_64_bits(key: str, value: Value, got: str) -> None:
    with pytest.raises(Refused) as refused:
        assignment.Assignment.parse({**GOOD, key: value})
    assert refused.value.message == f"an assignment's {key} must be an integer from 0 to {MOST}, got {got}"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("process", None, "an ID of 43 characters"),
        ("process", "P" * 42, "an ID of 43 characters"),
        ("hash-chain", "H" * 43, "an ID of 43 characters"),
        ("hash-chain", 7, "an ID of 43 characters"),
        ("block-hash", ["B"], "an ID of 43 characters"),
        ("epoch", None, f"the digits of an integer from 0 to {MOST}"),
        ("epoch", 0, "the digits of an integer"),
        ("epoch", "00", "the digits of an integer"),
        ("epoch", "-1", "the digits of an integer"),
        ("epoch", "1_0", "the digits of an integer"),
        ("epoch", " 1", "the digits of an integer"),
        ("epoch", "\u0663", "the digits of an integer"),
        ("epoch", "\u00b2", "the digits of an integer"),
        ("epoch", str(2**64), "the digits of an integer"),
        ("epoch", "1" * 5000, "the digits of an integer"),
        ("body", "text", "a message"),
    ],
)
def test_a_field_of_another_type_is_refused(key: str, value: Value, expected: str) -> None:
    with pytest.raises(Refused, match=f"an assignment's {key} must be {expected}"):
        assignment.check({**GOOD, key: value})


def test_none_is_made_that_would_be_refused() -> None:
    for change in ({"timestamp_ms": 2**64}, {"slot": -1}, {"block_height": 2**64}):
        fields: Any = {"process": "P" * 43, "slot": 0, "chain": b"", "timestamp_ms": 0, "block_height": 0}
        with pytest.raises(Refused, match="must be an integer from 0 to"):
            assignment.build(**{**fields, "block_hash": "A" * 43, **change})
