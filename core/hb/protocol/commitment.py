"""Commitments: who stands for a message, and what its ID is.

Signs messages with Ed25519 keys, verifies what any committer signed, and names messages by their commitments. It must
never decide whom to trust, and takes keys only from its caller.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from functools import cached_property
from hmac import digest as mac_digest
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from hb import ids
from hb.errors import BadSignature, Refused
from hb.protocol import coverage, httpsig, tabm
from hb.protocol.coverage import COMMITMENTS_KEY
from hb.protocol.message import normalise_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.protocol.httpsig import Fields
    from hb.protocol.message import Message, Value
    from hb.protocol.tabm import Tabm

Which: TypeAlias = Literal["all", "every", "none"]

DEVICE = "httpsig@1.0"
ED25519 = "ed25519"
RSA_PSS = "rsa-pss-sha512"
MAC = "hmac-sha256"

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

MAX_COMMITMENTS = 32
"""The most commitments of one message."""

_MAC_KEY = b"ao"
_MAC_PARAMS = b';alg="hmac-sha256";keyid="ao"'
_RSA_EXPONENT = 65537
_RSA_BYTES = range(256, 513)  # the modulus: 2048 to 4096 bits

_SIGNED_KEYS = frozenset(("alg", "commitment-device", "committer", "signature", "signature-input"))
_PARAMETERS = frozenset(("alg", "created", "expired", "expires", "keyid", "nonce", "tag"))

# NAME=("component" ...);name=value... Patterns as texts: they are compiled when something is first verified.
_INPUT = r"(?s)([a-z0-9-]+)=(\((?:[^\"\\()]|\"(?:[^\"\\]|\\[\"\\])*\")*\))((?:;[a-z]+=(?:\"[^\"\\]*\"|-?[0-9]+))*)"
_COMPONENT = r"(?s)\"((?:[^\"\\]|\\[\"\\])*)\""
_PARAMETER = r";([a-z]+)=(?:\"([^\"\\]*)\"|(-?[0-9]+))"


class Key:
    """An Ed25519 key pair, from its 32-byte seed (RFC 8032 calls it the private key).

    `public` may be given where it is known, so that an address can be told without loading libsodium; it is checked
    against the seed before anything is signed.
    """

    def __init__(self, seed: bytes, public: bytes | None = None) -> None:
        if len(seed) != SEED_BYTES:
            raise Refused(f"an Ed25519 seed has {SEED_BYTES} bytes, this one has {len(seed)}")
        self.seed = seed
        self._public = public

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._public if self._public is not None else self._pair[0]

    @cached_property
    def keyid(self) -> str:
        """The public key as commitments name it: base64url, 43 characters."""
        return ids.encode(self.public)

    @cached_property
    def address(self) -> str:
        """The ID of the public key."""
        return ids.digest(self.public)

    @cached_property
    def signature_name(self) -> str:
        """What this key's signatures are called in a message's signature fields."""
        return signature_name(self.address)

    @cached_property
    def params(self) -> str:
        """The parameters of this key's signatures, as a signature base ends with them."""
        return f';alg="{ED25519}";keyid="{self.keyid}"'

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`.

        Raises:
            Refused: the public key that was given is not the seed's.
        """
        from nacl.bindings import crypto_sign

        return crypto_sign(message, self._pair[1])[:64]

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        """The public key, and the seed and public key as libsodium wants them for signing."""
        from nacl.bindings import crypto_sign_seed_keypair

        public, secret = crypto_sign_seed_keypair(self.seed)
        # Signing with another public key than the seed's gives the seed away.
        if self._public is not None and self._public != public:
            raise Refused("this key's public part is not that of its seed")
        return public, secret

    def __repr__(self) -> str:
        return f"Key({self.address})"


class Encoded(NamedTuple):
    """A message in normal form, and its TABM."""

    message: Message
    tabm: Tabm


def encoded(message: Message) -> Encoded:
    """`message`, which is in normal form, and its TABM.

    Raises:
        Refused: it cannot be encoded.
    """
    return Encoded(message, tabm.encode(message))


# Signing


def sign(message: Message, key: Key) -> Message:
    """`message` in normal form, with `key`'s commitment to all of it added, and the hmac commitment made anew.

    Commitments of other keys stay, and must verify. A nested message that bears commitments is signed as it stands:
    whoever signs around it has verified it.

    Raises:
        Refused: a signature would not cover all of the message (see `coverage`), or it has too many commitments.
        BadSignature: a commitment that the message bears already does not verify.
    """
    return sign_encoded(message, key).message


def sign_encoded(message: Message, key: Key) -> Encoded:
    """`sign`, and the TABM of what it gives.

    Raises:
        Refused, BadSignature: as `sign`.
    """
    message = normalise_message(message)
    others = _others(message, key) if message.get(COMMITMENTS_KEY) else {}
    content = without_commitments(message)
    encoded = tabm.encode(content)
    fields = httpsig.encode(encoded)
    coverage.check(content, encoded, fields)
    signed, mac = _commit(fields, others, key)
    commitments = cast("dict[str, Value]", {**signed, mac: mac_commitment(signed)})
    return Encoded({**content, COMMITMENTS_KEY: commitments}, {**encoded, COMMITMENTS_KEY: tabm.encode(commitments)})


def sign_around(message: Message, body: Encoded, key: Key) -> Message:
    """`sign` of `message` with `body` in it, which is not encoded anew: its stored form (see `packing`), less the body.

    For a message that this program made itself, in normal form and without commitments or what a signature would
    not cover: it is not looked at.
    """
    fields = httpsig.encode({**tabm.encode(message), "body": body.tabm})
    signed, mac = _commit(fields, {}, key)
    return {**message, COMMITMENTS_KEY: cast("dict[str, Value]", {**signed, mac: {}})}


def _commit(fields: Fields, others: dict[str, dict[str, str]], key: Key) -> tuple[dict[str, dict[str, str]], str]:
    """The commitment of `key` over `fields` beside the `others`, by their IDs, and the ID of the hmac commitment."""
    components = httpsig.signed_components(fields)
    lines = httpsig.component_lines(fields)
    signature = key.sign(httpsig.signature_base(lines, components, key.params.encode()))
    name = key.signature_name
    signed = {
        **others,
        ids.digest(signature): {
            "alg": ED25519,
            "commitment-device": DEVICE,
            "committer": key.address,
            "signature": f"{name}=:{b64encode(signature).decode()}:",
            "signature-input": f"{name}={httpsig.component_list(components).decode()}{key.params}",
        },
    }
    if len(signed) >= MAX_COMMITMENTS:
        raise Refused(f"a message can bear no more than {MAX_COMMITMENTS} commitments")
    return signed, _mac_id(lines)


def without_commitments(message: Message) -> Message:
    """`message` without its commitments."""
    return {key: value for key, value in message.items() if key != COMMITMENTS_KEY}


def signature_name(address: str) -> str:
    """What the signatures of the key with this address are called in a message's signature fields."""
    return "http-sig-" + ids.decode(address)[1:9].hex()


def _others(message: Message, key: Key) -> dict[str, dict[str, str]]:
    """The signed commitments of `message` that are not `key`'s, all of them verified."""
    verify(message)
    commitments = cast("dict[str, dict[str, str]]", message[COMMITMENTS_KEY])
    return {name: entry for name, entry in commitments.items() if entry.get("committer", key.address) != key.address}


def _covered_fields(content: Message) -> Fields:
    """The signed form of a message without commitments, which no other message has."""
    encoded = tabm.encode(content)
    fields = httpsig.encode(encoded)
    coverage.check(content, encoded, fields)
    return fields


# The hmac commitment


def mac_commitment(signed: dict[str, dict[str, str]]) -> dict[str, str]:
    """The hmac commitment that goes with the `signed` ones, by their IDs: it repeats all their signatures."""
    entry = {"alg": MAC, "commitment-device": DEVICE}
    if len(signed) == 1:
        (only,) = signed.values()
        entry["signature"], entry["signature-input"] = only["signature"], only["signature-input"]
    elif signed:
        for field in ("signature", "signature-input"):
            texts = {signed[name][field].partition("=")[0]: signed[name][field] for name in sorted(signed)}
            entry[field] = ", ".join([texts[name] for name in sorted(texts)])
    return entry


def _mac_id(lines: dict[str, bytes]) -> str:
    """The MAC over all the fields of a message, by their `lines`: its unsigned ID."""
    return ids.encode(mac_digest(_MAC_KEY, httpsig.signature_base(lines, sorted(lines), _MAC_PARAMS), "sha256"))


# IDs


def message_id(message: Message, which: Which = "all") -> str:
    """The ID of `message`, 43 characters.

    By its signed commitments (`all`), by every commitment, the hmac one too (`every`), or by its content alone
    (`none`). IDs of commitments are taken as they stand: `verify` says whether they are true.

    Raises:
        Refused: the message cannot be encoded.
    """
    names = [] if which == "none" else _names(message, signed_only=which == "all")
    if len(names) == 1:
        return names[0]
    if names:
        return ids.digest(", ".join(sorted(names)).encode())
    fields = httpsig.encode(tabm.encode(without_commitments(normalise_message(message))))
    return _mac_id(httpsig.component_lines(fields))


def committers(message: Message) -> list[str]:
    """The addresses that `message`'s commitments claim, each once, sorted; nothing is verified."""
    return sorted({str(entry["committer"]) for _, entry in _entries(message) if "committer" in entry})


def _names(message: Message, *, signed_only: bool) -> list[str]:
    commitments = message.get(COMMITMENTS_KEY)
    if not isinstance(commitments, dict):
        return []
    names = []
    for name, entry in commitments.items():
        if isinstance(entry, dict) and (not signed_only or "committer" in entry):
            names.append(name)
    return names


def _entries(message: Message) -> Iterator[tuple[str, dict[str, Value]]]:
    commitments = message.get(COMMITMENTS_KEY)
    if isinstance(commitments, dict):
        for name, entry in commitments.items():
            if isinstance(entry, dict):
                yield name, entry


# Verifying


class _Claim(NamedTuple):
    """What one signed commitment says: who signed which components, under which parameters, how."""

    committer: str
    algorithm: str
    public: bytes
    signature: bytes
    components: list[str]
    params: bytes


def verify(message: Message) -> list[str]:
    """The addresses of those whose commitments `message` bears, each once, sorted; every commitment is verified.

    A message passes if all its commitments do, and those of all messages nested in it: each signature is over every
    field of the message's signed form, no other message has that form (see `coverage`), the commitment's ID,
    committer and key agree, it has no key that is not covered, and one hmac commitment repeats what all the others
    say. So whatever is altered, added or left out is noticed. A message without commitments is nobody's: [].

    Raises:
        BadSignature: some commitment does not verify. Nothing of the message can be relied on.
        Refused: it is no message, or needs `cryptography` to be verified, which is not installed.
    """
    return _verified(normalise_message(message))


def _verified(message: Message) -> list[str]:
    for key, value in message.items():
        if key != COMMITMENTS_KEY:
            _verify_nested(value)
    commitments = message.get(COMMITMENTS_KEY)
    if commitments is None or commitments == {}:
        return []
    if not isinstance(commitments, dict) or len(commitments) > MAX_COMMITMENTS:
        raise BadSignature(f"the message's commitments are no map, or more than {MAX_COMMITMENTS}")
    try:
        lines = httpsig.component_lines(_covered_fields(without_commitments(message)))
    except Refused as flaw:
        raise BadSignature(f"the message's commitments cannot cover it: {flaw.message}", hint=flaw.hint) from None
    signed = {
        name: _standard(name, entry)
        for name, entry in commitments.items()
        if not isinstance(entry, dict) or entry.get("alg") != MAC
    }
    for name, entry in signed.items():
        _verify_signed(name, entry, lines)
    expected: Value = cast("Value", {**signed, _mac_id(lines): mac_commitment(signed)})
    if commitments != expected:
        raise BadSignature("the message's hmac commitment is not over the message and its other commitments")
    return sorted({entry["committer"] for entry in signed.values()})


def _verify_nested(value: Value) -> None:
    if isinstance(value, dict):
        _verified(value)
    elif isinstance(value, list):
        for item in value:
            _verify_nested(item)


def _standard(name: str, entry: Value) -> dict[str, str]:
    """`entry` as a signed commitment of the one form there is."""
    if isinstance(entry, dict) and entry.keys() == _SIGNED_KEYS and all(type(text) is str for text in entry.values()):
        return cast("dict[str, str]", entry)
    raise BadSignature(f"commitment {name[:43]} is of no known form: it has other keys, or values that are no text")


def _verify_signed(name: str, entry: dict[str, str], lines: dict[str, bytes]) -> None:
    claim = _claim(name, entry)
    if sorted(claim.components) != sorted(lines):
        differing = sorted(lines.keys() ^ set(claim.components))
        raise BadSignature(f"commitment {name[:43]} does not cover just the message: {', '.join(differing)[:200]}")
    base = httpsig.signature_base(lines, claim.components, claim.params)
    if not _VERIFIERS[claim.algorithm](claim.public, base, claim.signature):
        raise BadSignature(f"commitment {name[:43]}: the signature of {claim.committer} is not over this message")


def _claim(name: str, entry: dict[str, str]) -> _Claim:
    """What the commitment `name` says, its parts agreeing with each other."""
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
    return _Claim(entry["committer"], entry["alg"], public, signature, components, params.encode())


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _decoded(name: str, text: str) -> bytes:
    try:
        return ids.decode(text)
    except ValueError:
        raise BadSignature(f"commitment {name[:43]}: its keyid is not base64url") from None


def _signature(name: str, label: str, text: str) -> bytes:
    """The bytes of the signature `text`, which is `LABEL=:<base64>:` and nothing else."""
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


def _verify_rsa(public: bytes, base: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA512
    except ImportError:
        raise Refused(
            f"verifying {RSA_PSS} needs the package `cryptography`, which is not installed",
            hint="pip install 'hb-ao[rsa]'",
        ) from None

    if len(public) not in _RSA_BYTES:
        return False
    pss = padding.PSS(mgf=padding.MGF1(SHA512()), salt_length=padding.PSS.AUTO)
    try:
        key = rsa.RSAPublicNumbers(_RSA_EXPONENT, int.from_bytes(public, "big")).public_key()
        key.verify(signature, base, pss, SHA512())
    except (InvalidSignature, ValueError):
        return False
    return True


_VERIFIERS: dict[str, Callable[[bytes, bytes, bytes], bool]] = {ED25519: _verify_ed25519, RSA_PSS: _verify_rsa}
