"""The stored form of signed messages."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hb.errors import Refused
from hb.protocol.commitment import sign
from hb.protocol.message import Message, Value, dumps, loads_message
from hb.records.packing import pack, unpack
from protocol_vectors import (
    ALICE,
    BOB,
    CAROL,
    MESSAGE,
    assigned,
    entries,
    mac_id,
    messages,
    same,
    signature_id,
)


def test_the_stored_form_says_each_signature_once() -> None:
    signed = sign(assigned(sign(sign(MESSAGE, ALICE), CAROL)), BOB)
    packed = pack(signed)
    for inner in (packed, cast("Message", packed["body"])):
        for entry in entries(inner).values():
            if "committer" in entry:
                assert dumps(packed).count(cast("str", entry["signature"]).encode()) == 1
            else:
                assert entry == {}
    assert unpack(packed) == signed


def nonstandard() -> dict[str, Message]:
    signed = sign(MESSAGE, ALICE)
    mac = entries(signed)[mac_id(signed)]
    signature = entries(signed)[signature_id(signed)]

    def bearing(commitments: object) -> Message:
        return {**MESSAGE, "commitments": cast("Value", commitments)}

    return {
        "none": MESSAGE,
        "no map": bearing([1]),
        "empty": bearing({}),
        "hmac alone": bearing({mac_id(signed): {"alg": "hmac-sha256", "commitment-device": "httpsig@1.0"}}),
        "signature alone": bearing({signature_id(signed): signature}),
        "hmac stale": bearing({"x": {**mac, "signature": "other"}, "y": signature}),
        "hmac more": bearing({"x": {**mac, "note": 1}, "y": signature}),
        "hmac twice": bearing({"x": mac, "z": mac, "y": signature}),
        "hmac bare": bearing({"x": {"alg": "hmac-sha256", "commitment-device": "httpsig@1.0"}, "y": signature}),
        "no texts": bearing({"x": mac, "y": {"alg": "ed25519"}}),
        "no entry": bearing({"x": mac, "y": 5}),
        "body text": {"body": "x", "commitments": {"x": 1}},
    }


@pytest.mark.parametrize("item", nonstandard().values(), ids=nonstandard())
def test_what_is_not_of_the_standard_form_is_stored_as_it_is(item: Message) -> None:
    assert pack(item) == item
    assert unpack(item) == item


def test_an_empty_commitment_cannot_be_stored() -> None:
    with pytest.raises(Refused, match="must not be an empty map"):
        pack({"commitments": {"x": {}}})


def test_what_pack_never_made_is_left_as_it_is() -> None:
    signature = entries(sign(MESSAGE, ALICE))[signature_id(sign(MESSAGE, ALICE))]
    for commitments in ({"x": {}, "y": {}, "z": signature}, {"x": {}}):
        item = {"commitments": cast("Value", commitments)}
        assert unpack(item) == item


def test_packing_leaves_its_argument_alone() -> None:
    signed = sign(assigned(sign(MESSAGE, ALICE)), BOB)
    before = dumps(signed)
    packed = dumps(pack(signed))
    assert dumps(signed) == before
    unpack(loads_message(packed))
    assert dumps(unpack(loads_message(packed))) == before


@settings(max_examples=50)
@given(
    messages(),
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.integers(),
            st.dictionaries(
                st.sampled_from(["alg", "signature", "signature-input"]),
                st.sampled_from(["hmac-sha256", "x", "a=b"]),
                min_size=1,
            ),
        ),
    ),
)
def test_unpacking_gives_back_whatever_was_packed(item: Message, commitments: dict[str, Value]) -> None:
    odd: Message = {**item, "commitments": commitments, "body": {"commitments": commitments}}
    assert same(unpack(pack(odd)), odd)
