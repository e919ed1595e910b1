"""Commitments: keys, signing, IDs."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb import ids
from hb.errors import BadSignature, Refused
from hb.protocol.commitment import Key, committers, encoded, message_id, sign, sign_around, verify
from hb.protocol.message import Message, dumps, loads_message
from hb.records.packing import pack, unpack
from protocol_vectors import (
    ALICE,
    BOB,
    CAROL,
    MESSAGE,
    assigned,
    entries,
    message,
    messages,
    same,
    shuffled,
    signable_messages,
    vectors,
)

if TYPE_CHECKING:
    import random
    from typing import Any

UNSIGNED = vectors("message_ids")["cases"]
SIGNED = vectors("commitments")["cases"]


# Vectors


@pytest.mark.parametrize("case", UNSIGNED, ids=lambda case: str(case["name"]))
def test_each_unsigned_vector_has_its_id_and_so_has_its_json_form(case: dict[str, Any]) -> None:
    item = message(case["input"])
    for each in (item, loads_message(dumps(item))):
        for which in ("all", "every", "none"):
            assert message_id(each, which) == case["id"]  # type: ignore[arg-type]


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: str(case["name"]))
def test_each_signed_vector_verifies_and_has_its_ids(case: dict[str, Any]) -> None:
    item = message(case["message"])
    for each in (item, loads_message(dumps(item)), unpack(loads_message(dumps(pack(item))))):
        assert message_id(each, "all") == case["id_all"] == case["id_signed"]
        assert message_id(each, "none") == case["id_none"]
        assert message_id(each, "every") == case["id_uncommitted"]
        assert verify(each) == committers(each)


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: str(case["name"]))
def test_a_signed_vector_is_committed_to_by_the_wallets_that_signed_it(case: dict[str, Any]) -> None:
    addresses = {wallet["address"] for wallet in vectors("commitments")["wallets"]}
    signers = {"two_signers": 2, "unsigned_with_signed_body": 0}.get(case["name"], 1)
    found = verify(message(case["message"]))
    assert len(found) == signers
    assert addresses.issuperset(found)


def test_ed25519_signatures_are_those_of_rfc_9421() -> None:
    # Source: RFC 9421, appendix B.2.6 and, for the key, B.1.4.
    key = Key(ids.decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"))
    base = (
        b'"date": Tue, 20 Apr 2021 02:07:55 GMT\n"@method": POST\n"@path": /foo\n"@authority": example.com\n'
        b'"content-type": application/json\n"content-length": 18\n"@signature-params": ("date" "@method" "@path" '
        b'"@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"'
    )
    signature = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    assert key.public == ids.decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs")
    assert key.sign(base) == b64decode(signature)


# Keys


def test_a_key_tells_its_address_from_a_public_part_that_is_given_without_loading_libsodium() -> None:
    code = (
        "import sys; from hb.protocol.commitment import Key; "
        f"print(Key({ALICE.seed!r}, {ALICE.public!r}).address, 'nacl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{ALICE.address} False\n"


def test_a_key_never_signs_with_a_public_part_that_is_not_its_own() -> None:
    with pytest.raises(Refused, match="public part"):
        Key(ALICE.seed, BOB.public).sign(b"x")


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(Refused, match="must have 32 bytes, got 31"):
        Key(b"x" * 31)


def test_a_key_does_not_show_its_seed() -> None:
    assert ALICE.seed.hex() not in repr(ALICE)
    assert ALICE.address in repr(ALICE)


# Signing


def test_a_signed_message_has_the_commitments_that_an_ao_node_gives_it() -> None:
    signed = sign({"A": "b"}, ALICE)
    signature = ALICE.sign(b'"a": b\n"@signature-params": ("a");alg="ed25519";keyid="%b"' % ALICE.keyid.encode())
    name = "http-sig-" + ids.decode(ALICE.address)[1:9].hex()
    commitments = entries(signed)
    own = commitments[ids.digest(signature)]
    assert {key: own[key] for key in ("alg", "commitment-device", "committer")} == {
        "alg": "ed25519",
        "commitment-device": "httpsig@1.0",
        "committer": ALICE.address,
    }
    assert own["signature-input"] == f'{name}=("a");alg="ed25519";keyid="{ALICE.keyid}"'
    # The unsigned ID of this message, as a vector has it, is the ID of its hmac commitment.
    assert commitments["UfSqKA58Hwk99Jg5fsYGY4iKDfnnUAW9MQdMv2-Fw40"] == {
        "alg": "hmac-sha256",
        "commitment-device": "httpsig@1.0",
        "signature": own["signature"],
        "signature-input": own["signature-input"],
    }
    assert message_id(signed) == ids.digest(signature)


@given(signable_messages())
def test_what_is_signed_verifies_also_from_its_stored_form(item: Message) -> None:
    signed = sign(item, ALICE)
    assert verify(signed) == [ALICE.address] == committers(signed)
    stored = dumps(pack(signed))
    again = unpack(loads_message(stored))
    assert same(again, signed)
    assert verify(again) == [ALICE.address]
    assert message_id(again) == message_id(signed)


@given(signable_messages())
def test_what_is_signed_around_a_message_is_what_would_be_signed_with_it(item: Message) -> None:
    body = sign(item, ALICE)
    whole = assigned(body)
    without = {key: value for key, value in whole.items() if key != "body"}
    assert sign_around(without, encoded(body), BOB) == {
        key: value for key, value in pack(sign(whole, BOB)).items() if key != "body"
    }


@given(signable_messages(), st.randoms(use_true_random=False))
def test_the_order_of_keys_never_matters(item: Message, order: random.Random) -> None:
    other = cast("Message", shuffled(item, order))
    assert sign(other, ALICE) == sign(item, ALICE)
    assert verify(cast("Message", shuffled(sign(item, ALICE), order))) == [ALICE.address]
    assert message_id(other) == message_id(item)


@given(messages())
def test_whatever_comes_is_signed_or_refused(item: Message) -> None:
    try:
        signed = sign(item, ALICE)
    except Refused:
        return
    assert verify(signed) == [ALICE.address]


def test_signing_leaves_its_argument_alone_and_is_repeatable() -> None:
    given_message = {"Action": "x", "priv": 1}
    first = sign(given_message, ALICE)  # type: ignore[arg-type]
    assert given_message == {"Action": "x", "priv": 1}
    assert "priv" not in first
    assert sign(first, ALICE) == first


def test_several_sign_one_message_in_any_order() -> None:
    together = sign(sign(sign(MESSAGE, ALICE), BOB), CAROL)
    assert together == sign(sign(sign(MESSAGE, CAROL), ALICE), BOB)
    assert verify(together) == sorted([ALICE.address, BOB.address, CAROL.address])
    signatures = [name for name, entry in entries(together).items() if "committer" in entry]
    assert message_id(together) == ids.digest(", ".join(sorted(signatures)).encode())
    assert message_id(together, "every") == ids.digest(", ".join(sorted(entries(together))).encode())
    assert message_id(together, "none") == message_id(MESSAGE)


def test_a_message_whose_commitments_do_not_verify_is_not_signed() -> None:
    altered = {**sign(MESSAGE, ALICE), "action": "Other"}
    for key in (ALICE, BOB):
        with pytest.raises(BadSignature):
            sign(altered, key)


def test_a_message_bears_32_commitments_at_most() -> None:
    signed: Message = {"a": "b"}
    for number in range(31):
        signed = sign(signed, Key(bytes([number]) * 32))
    assert len(entries(signed)) == 32
    assert len(verify(signed)) == 31
    with pytest.raises(Refused, match="32 commitments at most"):
        sign(signed, ALICE)
