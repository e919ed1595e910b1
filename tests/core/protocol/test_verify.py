"""Verifying: what is altered, left out, put in or made up is noticed."""

from __future__ import annotations

import random
import string
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from hypothesis import assume, given
from hypothesis import strategies as st

from hb import ids
from hb.errors import BadSignature, Refused
from hb.protocol.commitment import Key, committers, message_id, sign, verify
from hb.protocol.message import Message, Value, dumps, loads_message, normalise_message
from protocol_vectors import (
    ALICE,
    BOB,
    MESSAGE,
    assigned,
    entries,
    mac_id,
    message,
    same,
    signable_messages,
    signature_id,
    vectors,
)

if TYPE_CHECKING:
    from typing import Any

SIGNED = vectors("commitments")["cases"]


def test_a_message_without_commitments_is_nobodys() -> None:
    assert verify({"a": 1}) == verify({"a": 1, "commitments": {}}) == []
    assert committers({"a": 1}) == []


def test_an_hmac_commitment_alone_makes_nobody_a_committer() -> None:
    unsigned = {
        "a": "b",
        "commitments": {message_id({"a": "b"}): {"alg": "hmac-sha256", "commitment-device": "httpsig@1.0"}},
    }
    assert verify(cast("Message", unsigned)) == []
    with pytest.raises(BadSignature):
        verify(cast("Message", {**unsigned, "a": "c"}))


SIGNED_BYTES = dumps(sign(MESSAGE, ALICE))
ASSIGNMENT_BYTES = dumps(sign(assigned(sign(MESSAGE, ALICE)), BOB))


def assert_noticed(altered: bytes, original: bytes, key: Key) -> None:
    """That `altered`, in place of `original`, does not pass for a message of `key`'s."""
    try:
        item = loads_message(altered)
    except Refused:
        return
    if dumps(item) == original:
        return  # the same message, otherwise written
    try:
        assert key.address not in verify(item)
    except Refused:
        return
    # All that is left is to have no commitments any more.
    assert "commitments" not in item or item["commitments"] == {}


@pytest.mark.parametrize(
    ("original", "key"), [(SIGNED_BYTES, ALICE), (ASSIGNMENT_BYTES, BOB)], ids=["message", "assignment"]
)
def test_every_altered_byte_is_noticed(original: bytes, key: Key) -> None:
    order = random.Random(7)
    for position in range(len(original)):
        flipped = original[position] ^ (1 << order.randrange(8))
        assert_noticed(original[:position] + bytes([flipped]) + original[position + 1 :], original, key)


@given(st.data())
def test_every_byte_put_in_or_left_out_is_noticed(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SIGNED_BYTES)))
    stop = data.draw(st.integers(start, min(start + 3, len(SIGNED_BYTES))))
    put_in = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from([b" ", b"A", b'","', b"\\n", b"=", b"0"])))
    assert_noticed(SIGNED_BYTES[:start] + put_in + SIGNED_BYTES[stop:], SIGNED_BYTES, ALICE)


@given(signable_messages(), signable_messages())
def test_commitments_stand_for_no_other_message(item: Message, other: Message) -> None:
    signed = sign(item, ALICE)
    transplanted = {**normalise_message(other), "commitments": signed["commitments"]}
    if not same(transplanted, signed):
        with pytest.raises(BadSignature):
            verify(transplanted)


@given(st.sampled_from(sorted(sign(MESSAGE, ALICE))), st.text(max_size=10))
def test_a_key_that_is_changed_or_gone_is_noticed(key: str, replacement: str) -> None:
    signed = sign(MESSAGE, ALICE)
    assume(replacement != signed[key])
    for altered in ({**signed, key: replacement}, {name: item for name, item in signed.items() if name != key}):
        if "commitments" in altered:
            with pytest.raises(BadSignature):
                verify(cast("Message", altered))


@given(st.text("abcdefgh-", min_size=1))
def test_a_key_that_is_added_is_noticed(key: str) -> None:
    with pytest.raises(BadSignature):
        verify({"new-" + key: "x", **sign(MESSAGE, ALICE)})


@pytest.mark.parametrize(
    "key", ["unsigned_id", "content-digest", "signature", "signature-input", "body-keys", "ao-types", "ao-ids"]
)
def test_a_key_that_no_signature_can_cover_is_noticed(key: str) -> None:
    with pytest.raises(BadSignature, match="does not cover"):
        verify({**sign(MESSAGE, ALICE), key: "x"})


ALTERATIONS: dict[str, dict[str, Value]] = {
    "alg": {"alg": "rsa-pss-sha512"},
    "unknown alg": {"alg": "none"},
    "device": {"commitment-device": "other@1.0"},
    "committer": {"committer": BOB.address},
    "added key": {"note": "x"},
    "signature of another": {"signature": entries(sign(MESSAGE, BOB))[signature_id(sign(MESSAGE, BOB))]["signature"]},
    "no text": {"signature": 5},
    "malformed signature": {"signature": "x"},
    "malformed input": {"signature-input": 'x=("a'},
}


@pytest.mark.parametrize("alteration", ALTERATIONS.values(), ids=ALTERATIONS)
def test_a_commitment_that_is_altered_is_refused(alteration: dict[str, Value]) -> None:
    signed = sign(MESSAGE, ALICE)
    commitments = entries(signed)
    commitments[signature_id(signed)].update(alteration)
    with pytest.raises(BadSignature):
        verify({**signed, "commitments": cast("Value", commitments)})


INPUTS = {
    "fewer components": ('"action" ', ""),
    "a component twice": ('"action" ', '"action" "action" '),
    "other order": ('"action" "ao-types"', '"ao-types" "action"'),
    "other keyid": (ALICE.keyid, BOB.keyid),
    "other alg": ('alg="ed25519"', 'alg="rsa-pss-sha512"'),
    "no alg": ('alg="ed25519";', ""),
    "unknown parameter": (";keyid", ";foo=1;keyid"),
    "a tag": (";keyid", ';tag="x";keyid'),
    "parameter twice": (";keyid", ';alg="ed25519";keyid'),
    "other name": ("http-sig-4", "http-sig-5"),
    "no at sign": ('"@path"', '"path"'),
    "component parameter": ('"action"', '"action";sf'),
}


@pytest.mark.parametrize(("old", "new"), INPUTS.values(), ids=INPUTS)
def test_a_signature_input_that_is_altered_is_refused_even_if_the_hmac_commitment_agrees(old: str, new: str) -> None:
    signed = sign(MESSAGE, ALICE)
    commitments = entries(signed)
    for entry in commitments.values():
        assert old in cast("str", entry["signature-input"])
        entry["signature-input"] = cast("str", entry["signature-input"]).replace(old, new)
    with pytest.raises(BadSignature):
        verify({**signed, "commitments": cast("Value", commitments)})


Sign = Callable[[bytes], bytes]


def handmade(
    public: bytes = ALICE.public,
    signer: Sign = ALICE.sign,
    *,
    alg: str = "ed25519",
    params: str = ';alg="{alg}";keyid="{keyid}"',
    label: str = "",
    components: str = '("a" "b")',
    device: str = "httpsig@1.0",
    committer: str = "",
) -> Message:
    """A message whose every commitment agrees with every other, made by a signer with ideas of its own."""
    address = ids.digest(public)
    label = label or "http-sig-" + ids.decode(address)[1:9].hex()
    params = params.format(alg=alg, keyid=ids.encode(public))
    raw = signer(f'"a": 1\n"b": 2\n"@signature-params": {components}{params}'.encode())
    signature = {
        "signature": f"{label}=:{b64encode(raw).decode()}:",
        "signature-input": f"{label}={components}{params}",
    }
    own = {**signature, "alg": alg, "commitment-device": device, "committer": committer or address}
    mac = {**signature, "alg": "hmac-sha256", "commitment-device": "httpsig@1.0"}
    content: Message = {"a": "1", "b": "2"}
    return {**content, "commitments": cast("Value", {ids.digest(raw): own, message_id(content): mac})}


def test_a_message_that_is_signed_elsewhere_verifies() -> None:
    assert handmade() == sign({"a": "1", "b": "2"}, ALICE)
    full = ';alg="{alg}";created=1;keyid="{keyid}";nonce="n";tag="a path"'
    assert verify(handmade(params=full)) == [ALICE.address]


HANDMADE: dict[str, tuple[dict[str, Any], str]] = {
    "alg": ({"params": ';alg="other";keyid="{keyid}"'}, "algorithm is not that"),
    "no alg": ({"params": ';keyid="{keyid}"'}, "algorithm is not that"),
    "unknown alg": ({"alg": "rot13"}, "algorithm 'rot13' is unknown"),
    "device": ({"device": "other@1.0"}, "device is not"),
    "committer": ({"committer": BOB.address}, "committer is not the address"),
    "label": ({"label": "http-sig-0000000000000000"}, "not named after its key"),
    "parameter": ({"params": ';alg="{alg}";keyid="{keyid}";level=9'}, "parameters are malformed"),
    "parameter twice": ({"params": ';alg="{alg}";alg="{alg}";keyid="{keyid}"'}, "parameters are malformed"),
    "no keyid": ({"params": ';alg="{alg}"'}, "committer is not the address"),
    "keyid": ({"params": ';alg="{alg}";keyid="?"'}, "keyid is not base64url"),
    "spaces": ({"components": '("a"  "b")'}, "list of components is malformed"),
    "bare component": ({"components": '("a" "b"x)'}, "list of components is malformed"),
    "component parameter": ({"components": '("a" "b";sf)'}, "list of components is malformed"),
    "short key": ({"public": ALICE.public[:31]}, "is not over this message"),
    "short signature": ({"signer": lambda base: ALICE.sign(base)[:63]}, "is not over this message"),
    "no signature": ({"signer": lambda _: b""}, "is not over this message"),
    "other key": ({"public": BOB.public}, "is not over this message"),
    "no point": ({"public": b"\xff" * 32}, "is not over this message"),
    "null point": (
        {"public": b"\x01" + bytes(31), "signer": lambda _: b"\x01" + bytes(63)},
        "is not over this message",
    ),
    "rsa of nothing": ({"alg": "rsa-pss-sha512", "public": b"\xff" * 512}, "is not over this message"),
}


@pytest.mark.parametrize(("change", "sentence"), HANDMADE.values(), ids=HANDMADE)
def test_a_signer_with_ideas_of_its_own_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadSignature, match=sentence):
        verify(handmade(**change))


@pytest.mark.parametrize(("bits", "verifies"), [(2048, True), (1024, False)])
def test_an_rsa_key_has_2048_bits_at_least(bits: int, verifies: bool) -> None:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_numbers().n.to_bytes(bits // 8, "big")
    pss = padding.PSS(mgf=padding.MGF1(SHA512()), salt_length=32)
    made = handmade(public, lambda base: key.sign(base, pss, SHA512()), alg="rsa-pss-sha512")
    if verifies:
        assert verify(made) == [ids.digest(public)]
    else:
        with pytest.raises(BadSignature):
            verify(made)


def test_a_signature_is_written_in_one_way() -> None:
    signed = sign(MESSAGE, ALICE)
    commitments = entries(signed)
    for entry in commitments.values():
        text = cast("str", entry["signature"])
        digits = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
        other_spare_bits = digits[digits.index(text[-4]) + 1]
        entry["signature"] = f"{text[:-4]}{other_spare_bits}==:"
    with pytest.raises(BadSignature, match="signature is malformed"):
        verify({**signed, "commitments": cast("Value", commitments)})


def test_a_message_with_more_commitments_than_it_can_bear_is_refused_before_any_is_looked_at() -> None:
    with pytest.raises(BadSignature, match="a map of at most 32"):
        verify({"a": "b", "commitments": {str(number): {"alg": "x"} for number in range(33)}})


def test_a_commitment_under_another_id_is_refused() -> None:
    signed = sign(MESSAGE, ALICE)
    commitments = entries(signed)
    commitments["x" * 43] = commitments.pop(signature_id(signed))
    with pytest.raises(BadSignature, match="its ID is not that of its signature"):
        verify({**signed, "commitments": cast("Value", commitments)})


@pytest.mark.parametrize("change", ["gone", "renamed", "bare", "stale"])
def test_the_hmac_commitment_must_repeat_the_others(change: str) -> None:
    signed = sign(sign(MESSAGE, ALICE), BOB)
    commitments = entries(signed)
    entry = commitments.pop(mac_id(signed))
    if change == "renamed":
        commitments["x" * 43] = entry
    elif change == "bare":
        commitments[mac_id(signed)] = {"alg": "hmac-sha256", "commitment-device": "httpsig@1.0"}
    elif change == "stale":
        commitments[mac_id(signed)] = entries(sign(MESSAGE, ALICE))[mac_id(signed)]
    with pytest.raises(BadSignature, match="hmac commitment"):
        verify({**signed, "commitments": cast("Value", commitments)})


def test_a_missing_hmac_commitment_is_called_missing_and_several_are_counted() -> None:
    signed = sign(MESSAGE, ALICE)
    commitments = entries(signed)
    entry = commitments.pop(mac_id(signed))
    with pytest.raises(BadSignature, match="the message has no hmac commitment"):
        verify({**signed, "commitments": cast("Value", commitments)})
    with pytest.raises(BadSignature, match="the message has 2 hmac commitments"):
        verify({**signed, "commitments": cast("Value", {**commitments, "a" * 43: entry, "b" * 43: entry})})


@pytest.mark.parametrize("commitments", [[], "text", 5, {"x": 1}, {"x": {}}, {"x" * 43: {"alg": "hmac-sha256"}}])
def test_commitments_of_no_known_form_are_refused(commitments: Value) -> None:
    with pytest.raises(BadSignature):
        verify({"a": "b", "commitments": commitments})


def test_a_message_within_a_message_is_verified_too() -> None:
    forged = {**sign(MESSAGE, ALICE), "action": "Other"}
    for outer in (sign(assigned(forged), BOB), assigned(forged), {"list": [{"deep": forged}]}):
        with pytest.raises(BadSignature):
            verify(outer)
    assert verify(sign(assigned(sign(MESSAGE, ALICE)), BOB)) == [BOB.address]


def test_an_rsa_signature_over_something_else_is_refused() -> None:
    for case in SIGNED[:3]:
        with pytest.raises(BadSignature):
            verify({**message(case["message"]), "a": "other"})


def test_without_cryptography_an_rsa_signature_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(Refused, match="needs the package `cryptography`") as refused:
        verify(message(SIGNED[0]["message"]))
    assert refused.value.hint == "pip install 'hb-ao[rsa]'"
    assert not isinstance(refused.value, BadSignature)
