"""One signed commitment: the keys that sign, what a commitment says, and whether its signature is right.

Invariants:
    Only this module knows a library of cryptography, and loads it when something is signed or verified.
    Nothing here knows a message, or decides whom to trust.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hb import ids
from hb.errors import BadSignature, Refused
from hb.protocol import httpsig

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

DEVICE = "httpsig@1.0"
ED25519 = "ed25519"
RSA_PSS = "rsa-pss-sha512"

SEED_BYTES, PUBLIC_BYTES, SIGNATURE_BYTES = 32, 32, 64

RSA_EXPONENT = 65537
RSA_BITS, RSA_BYTES = range(2048, 4097), range(256, 513)
"""How long a modulus may be. A wallet's has 4096 bits."""

SIGNED_KEYS = frozenset(("alg", "commitment-device", "committer", "signature", "signature-input"))
_PARAMETERS = frozenset(("alg", "created", "expired", "expires", "keyid", "nonce", "tag"))

# NAME=("component" ...);name=value... Patterns as texts: they are compiled when something is first verified.
_INPUT = r"(?s)([a-z0-9-]+)=(\((?:[^\"\\()]|\"(?:[^\"\\]|\\[\"\\])*\")*\))((?:;[a-z]+=(?:\"[^\"\\]*\"|-?[0-9]+))*)"
_COMPONENT = r"(?s)\"((?:[^\"\\]|\\[\"\\])*)\""
_PARAMETER = r";([a-z]+)=(?:\"([^\"\\]*)\"|(-?[0-9]+))"


class Key:
    """An Ed25519 key pair, from its 32-byte seed (RFC 8032 calls it the private key).

    `public` may be given if it is known. Then the address is known without loading libsodium. It is checked against
    the seed before anything is signed. The same key signs the same bytes in the same way each time.
    """

    algorithm: ClassVar[str] = ED25519

    def __init__(self, seed: bytes, public: bytes | None = None) -> None:
        if len(seed) != SEED_BYTES:
            raise Refused(f"an Ed25519 seed must have {SEED_BYTES} bytes, got {len(seed)}")
        self.seed = seed
        self._public = public

    @cached_property
    def public(self) -> bytes:
        """The bytes of the public key: 32. Of an RSA key, its modulus."""
        return self._public if self._public is not None else self._pair[0]

    @cached_property
    def keyid(self) -> str:
        """The public key as commitments name it: base64url, 43 characters. An RSA key has more."""
        return ids.encode(self.public)

    @cached_property
    def address(self) -> str:
        """The ID of the public key."""
        return ids.digest(self.public)

    @cached_property
    def signature_name(self) -> str:
        """The name of this key's signatures in a message's signature fields."""
        return signature_name(self.address)

    @cached_property
    def params(self) -> str:
        """The parameters of this key's signatures, as a signature base ends with them."""
        return f';alg="{self.algorithm}";keyid="{self.keyid}"'

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`.

        Raises:
            Refused: the given public key is not the seed's.
        """
        from nacl.bindings import crypto_sign

        return crypto_sign(message, self._pair[1])[:64]

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        """The public key, and the seed and public key as libsodium wants them for signing."""
        from nacl.bindings import crypto_sign_seed_keypair

        public, secret = crypto_sign_seed_keypair(self.seed)
        # A signature made with another public key than the seed's reveals the seed.
        if self._public is not None and self._public != public:
            raise Refused("this key's public part does not belong to its seed")
        return public, secret

    def __repr__(self) -> str:
        return f"Key({self.address})"


class RsaKey(Key):
    """An RSA key pair, as Arweave wallets have: what a JSON Web Key says of it (RFC 7518, section 6.3).

    `public` is the modulus, big-endian. The parts are checked against each other before anything is signed. Each
    signature has a random salt, so no two are equal: nothing that must come out the same again is signed with it.
    """

    algorithm = RSA_PSS

    def __init__(self, public: bytes, *, d: int, p: int, q: int, dp: int, dq: int, qi: int) -> None:
        self._public = public
        self._parts = d, p, q, dp, dq, qi

    def sign(self, message: bytes) -> bytes:
        """Return an RSA-PSS signature of `message` with SHA-512 and a salt of 64 bytes, as HyperBEAM makes it.

        Raises:
            Refused: the key is too small, its parts do not belong together, or `cryptography` is not installed.
        """
        _need_cryptography("signing with")
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.hashes import SHA512

        pss = padding.PSS(mgf=padding.MGF1(SHA512()), salt_length=padding.PSS.DIGEST_LENGTH)
        try:
            signature = self._private.sign(message, pss, SHA512())
        except ValueError:
            signature = b""
        # It is verified because a signature that came out wrong can reveal the key.
        if not _verify_rsa(self.public, message, signature):
            raise _mismatch()
        return signature

    @cached_property
    def _private(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        d, p, q, dp, dq, qi = self._parts
        modulus = int.from_bytes(self.public, "big")
        if modulus.bit_length() not in RSA_BITS:
            raise Refused(f"an RSA key must have 2048 to 4096 bits, got {modulus.bit_length()}")
        # Divisors are looked at first: those of an honest key are odd, and neither is 1.
        fits = p > 1 < q and p * q == modulus and modulus % 2 == 1 and d < modulus
        if not fits or any(
            (
                RSA_EXPONENT * d % (p - 1) != 1,
                RSA_EXPONENT * d % (q - 1) != 1,
                dp != d % (p - 1),
                dq != d % (q - 1),
                qi >= p or qi * q % p != 1,
            )
        ):
            raise _mismatch()
        numbers = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(RSA_EXPONENT, modulus))
        # That p and q are prime is not checked, which takes 0.3 s: `sign` checks what comes out.
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _mismatch() -> Refused:
    return Refused("the parts of this RSA key do not belong together")


def signature_name(address: str) -> str:
    """Return the name of a key's signatures in a message's signature fields."""
    return "http-sig-" + ids.decode(address)[1:9].hex()


class Claim(NamedTuple):
    """What one signed commitment says: who signed which components, with which key and parameters."""

    committer: str
    algorithm: str
    public: bytes
    signature: bytes
    components: list[str]
    params: bytes


def claim_of(name: str, entry: dict[str, str]) -> Claim:
    """Return what the commitment `name` says, after making sure that its parts agree.

    Raises:
        BadSignature: they do not, or it is malformed. No signature was verified yet.
    """
    parsed = re.fullmatch(_INPUT, entry["signature-input"])
    if parsed is None:
        raise BadSignature(f"commitment {name[:43]}: its signature-input is malformed")
    label, listed, params = parsed.groups()
    components = [_unquoted(found) for found in re.findall(_COMPONENT, listed)]
    values = {parameter: text or number for parameter, text, number in re.findall(_PARAMETER, params)}
    public = _decoded(name, values.get("keyid", ""))
    signature = _signature(name, label, entry["signature"])
    claims = (
        (entry["alg"] in _VERIFIERS, f"the algorithm {entry['alg'][:40]!r} is unknown"),
        (entry["alg"] == values.get("alg"), "its algorithm is not that of its signature-input"),
        (entry["commitment-device"] == DEVICE, f"its device is not {DEVICE}"),
        (entry["committer"] == ids.digest(public), "its committer is not the address of its key"),
        (label == signature_name(ids.digest(public)), "its signature is not named after its key"),
        (name == ids.digest(signature), "its ID is not that of its signature"),
        (values.keys() <= _PARAMETERS and len(values) == params.count(";"), "its parameters are malformed"),
        (httpsig.component_list(components).decode() == listed, "its list of components is malformed"),
    )
    for holds, sentence in claims:
        if not holds:
            raise BadSignature(f"commitment {name[:43]}: {sentence}")
    return Claim(entry["committer"], entry["alg"], public, signature, components, params.encode())


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _decoded(name: str, text: str) -> bytes:
    try:
        return ids.decode(text)
    except ValueError:
        raise BadSignature(f"commitment {name[:43]}: its keyid is not base64url") from None


def _signature(name: str, label: str, text: str) -> bytes:
    """Return the bytes of the signature `text`, which must be `LABEL=:<base64>:` and nothing else."""
    try:
        raw = b64decode(text[len(label) + 2 : -1], validate=True)
    except (Base64Error, ValueError):
        raw = b""
    if text != f"{label}=:{b64encode(raw).decode()}:":
        raise BadSignature(f"commitment {name[:43]}: its signature is malformed")
    return raw


def _verify_ed25519(public: bytes, base: bytes, signature: bytes) -> bool:
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + base, public)
    except BadSignatureError:
        return False
    return True


def _need_cryptography(doing: str) -> None:
    try:
        import cryptography.exceptions
        import cryptography.hazmat.primitives.asymmetric.rsa  # noqa: F401
    except ImportError:
        raise Refused(
            f"{doing} {RSA_PSS} needs the package `cryptography`, which is not installed",
            hint="pip install 'hb-ao[rsa]'",
        ) from None


def _verify_rsa(public: bytes, base: bytes, signature: bytes) -> bool:
    _need_cryptography("verifying")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA512

    if len(public) not in RSA_BYTES:
        return False
    pss = padding.PSS(mgf=padding.MGF1(SHA512()), salt_length=padding.PSS.AUTO)
    try:
        key = rsa.RSAPublicNumbers(RSA_EXPONENT, int.from_bytes(public, "big")).public_key()
        key.verify(signature, base, pss, SHA512())
    except (InvalidSignature, ValueError):
        return False
    return True


_VERIFIERS: dict[str, Callable[[bytes, bytes, bytes], bool]] = {ED25519: _verify_ed25519, RSA_PSS: _verify_rsa}


def is_right(claim: Claim, base: bytes) -> bool:
    """Whether the claim's signature is over the signature base `base`.

    Raises:
        Refused: it needs `cryptography` to be verified, which is not installed.
    """
    return _VERIFIERS[claim.algorithm](claim.public, base, claim.signature)
