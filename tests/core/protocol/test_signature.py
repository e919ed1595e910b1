"""Signing with RSA, as Arweave wallets and HyperBEAM do."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512

from hb import ids
from hb.errors import Refused
from hb.protocol import signature
from hb.protocol.commitment import encoded, message_id, sign, sign_around, verify, without_commitments
from hb.protocol.signature import RsaKey
from protocol_vectors import ALICE, MESSAGE, assigned, entries, mac_id, message, same, signature_id, vectors
from wallets import SMALL_WALLET, WALLET

if TYPE_CHECKING:
    from hb.protocol.message import Message

VECTORS = vectors("commitments")
CASES = {case["name"]: message(case["message"]) for case in VECTORS["cases"]}


def rsa_entries(signed: Message) -> dict[str, dict[str, str]]:
    return {
        name: cast("dict[str, str]", entry)
        for name, entry in entries(signed).items()
        if entry["alg"] == "rsa-pss-sha512"
    }


BY_WALLETS = {name: signed for name, signed in CASES.items() if "commitments" in signed and rsa_entries(signed)}


def wallet(record: dict[str, str]) -> RsaKey:
    numbers = {
        member: int.from_bytes(ids.decode(record[member]), "big") for member in ("d", "p", "q", "dp", "dq", "qi")
    }
    return RsaKey(ids.decode(record["n"]), **numbers)


BIG, SMALL = wallet(WALLET), wallet(SMALL_WALLET)


class FromVector(RsaKey):
    """The wallet of a vector, whose secret nobody has: its signature is the vector's, over what the vector's is over."""

    def __init__(self, claim: signature.Claim) -> None:
        super().__init__(claim.public, d=0, p=0, q=0, dp=0, dq=0, qi=0)
        self.claim = claim

    def sign(self, message: bytes) -> bytes:
        assert signature.is_right(self.claim, message)  # so HyperBEAM signed these very bytes
        return self.claim.signature


def test_there_are_vectors_of_one_signer_and_of_two() -> None:
    assert {len(rsa_entries(signed)) for signed in BY_WALLETS.values()} == {1, 2}


@pytest.mark.parametrize("name", BY_WALLETS)
def test_makes_of_hyperbeams_signatures_what_hyperbeam_makes_of_them(name: str) -> None:
    expected = BY_WALLETS[name]
    signed = without_commitments(expected)
    for identifier, entry in rsa_entries(expected).items():
        signed = sign(signed, FromVector(signature.claim_of(identifier, entry)))
    assert same(signed, expected)
    assert message_id(signed) == message_id(expected)


@pytest.mark.parametrize("name", [name for name, signed in BY_WALLETS.items() if len(rsa_entries(signed)) == 1])
def test_signs_as_the_vectors_are_signed_except_for_the_key(name: str) -> None:
    expected = BY_WALLETS[name]
    made = sign(without_commitments(expected), BIG)
    assert verify(made) == [BIG.address]
    assert mac_id(made) == mac_id(expected)
    (theirs,), (ours,) = rsa_entries(expected).values(), rsa_entries(made).values()
    claim = signature.claim_of(*next(iter(rsa_entries(expected).items())))
    replaced = deepcopy(theirs)
    replaced["committer"] = BIG.address
    replaced["signature"] = ours["signature"]
    for old, new in (
        (ids.encode(claim.public), BIG.keyid),
        (signature.signature_name(claim.committer), BIG.signature_name),
    ):
        replaced["signature-input"] = replaced["signature-input"].replace(old, new)
    assert ours == replaced
    assert len(ours["signature"]) == len(theirs["signature"])


def test_an_address_and_a_name_follow_from_the_modulus_as_in_the_vectors() -> None:
    for given in VECTORS["wallets"]:
        key = RsaKey(ids.decode(given["n"]), d=0, p=0, q=0, dp=0, dq=0, qi=0)
        assert (key.address, key.signature_name, key.keyid) == (given["address"], given["sig_name"], given["n"])
        assert key.params == f';alg="rsa-pss-sha512";keyid="{given["n"]}"'


@pytest.mark.parametrize("key", [BIG, SMALL], ids=["4096", "2048"])
def test_the_salt_has_64_bytes_as_hyperbeams(key: RsaKey) -> None:
    public = rsa.RSAPublicNumbers(65537, int.from_bytes(key.public, "big")).public_key()
    made = key.sign(b"text")
    assert len(made) == len(key.public)
    public.verify(made, b"text", padding.PSS(padding.MGF1(SHA512()), 64), SHA512())
    with pytest.raises(InvalidSignature):
        public.verify(made, b"text", padding.PSS(padding.MGF1(SHA512()), 32), SHA512())


def test_no_two_signatures_are_equal_and_the_content_has_one_id() -> None:
    first, second = (sign(MESSAGE, SMALL) for _ in range(2))
    assert signature_id(first) != signature_id(second)
    assert mac_id(first) == mac_id(second) == mac_id(sign(MESSAGE, ALICE))
    assert message_id(first) == signature_id(first)


def test_a_wallet_signs_beside_other_keys_and_once() -> None:
    both = sign(sign(MESSAGE, ALICE), SMALL)
    assert verify(both) == sorted((ALICE.address, SMALL.address))
    again = sign(both, SMALL)
    assert verify(again) == verify(both)
    assert len(entries(again)) == len(entries(both)) == 3


def test_no_assignment_is_signed_with_a_wallet() -> None:
    body = encoded(sign(MESSAGE, SMALL))
    unsigned = without_commitments(assigned({}))
    del unsigned["body"]
    assert sign_around(unsigned, body, ALICE)["commitments"]
    with pytest.raises(Refused, match="must be signed with an Ed25519 key"):
        sign_around(unsigned, body, SMALL)


def test_a_key_shows_no_secret() -> None:
    assert repr(SMALL) == f"Key({SMALL.address})"
