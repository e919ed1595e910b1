"""Commitments: who signed a message, and what its ID is.

Signs messages, verifies all commitments of a message, and names messages by their commitments.

Invariants:
    Nothing here decides whom to trust.
    Keys come from the caller only.
"""

from __future__ import annotations

from base64 import b64encode
from hmac import digest as mac_digest
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from hb import ids
from hb.errors import BadSignature, Refused
from hb.protocol import coverage, httpsig, tabm
from hb.protocol.coverage import COMMITMENTS_KEY
from hb.protocol.message import normalise_message
from hb.protocol.signature import DEVICE, ED25519, SIGNED_KEYS, Key, claim_of, is_right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.httpsig import Fields
    from hb.protocol.message import Message, Value
    from hb.protocol.tabm import Tabm

__all__ = [
    "MAC",
    "MAX_COMMITMENTS",
    "Encoded",
    "Key",
    "Which",
    "committers",
    "encoded",
    "mac_commitment",
    "message_id",
    "sign",
    "sign_around",
    "sign_encoded",
    "verify",
    "without_commitments",
]

Which: TypeAlias = Literal["all", "every", "none"]

MAC = "hmac-sha256"

MAX_COMMITMENTS = 32
"""Maximum number of commitments of one message."""

_MAC_KEY = b"ao"
_MAC_PARAMS = b';alg="hmac-sha256";keyid="ao"'


class Encoded(NamedTuple):
    """A message in normal form, and its TABM."""

    message: Message
    tabm: Tabm


def encoded(message: Message) -> Encoded:
    """Return `message`, which is in normal form, with its TABM.

    Raises:
        Refused: it cannot be encoded.
    """
    return Encoded(message, tabm.encode(message))


# Signing


def sign(message: Message, key: Key) -> Message:
    """Return `message` in normal form, with `key`'s commitment to all of it added and the hmac commitment made anew.

    Commitments of other keys stay, and must verify. A nested message with commitments is signed as it is: the caller
    has verified it.

    Raises:
        Refused: a signature would not cover all of the message (see `coverage`), or it has too many commitments.
        BadSignature: a commitment that the message has already does not verify.
    """
    return sign_encoded(message, key).message


def sign_encoded(message: Message, key: Key) -> Encoded:
    """Return what `sign` returns, with its TABM.

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
    """Return the stored form (see `hb.records.packing`) of `message`, signed with `body` in it, but without the body.

    The body is not encoded again. `message` must be one that this program made: in normal form, without commitments,
    and with nothing that a signature does not cover. None of that is checked.

    Raises:
        Refused: `key` is an RSA key. What is signed here must come out the same when it is made again.
    """
    if key.algorithm != ED25519:
        raise Refused(
            "assignments must be signed with an Ed25519 key: RSA signatures differ each time",
            hint="name another key as `scheduler` under [keys] in the home's config.toml",
        )
    fields = httpsig.encode({**tabm.encode(message), "body": body.tabm})
    signed, mac = _commit(fields, {}, key)
    return {**message, COMMITMENTS_KEY: cast("dict[str, Value]", {**signed, mac: {}})}


def _commit(fields: Fields, others: dict[str, dict[str, str]], key: Key) -> tuple[dict[str, dict[str, str]], str]:
    """Return `others` with the commitment of `key` over `fields`, by ID, and the ID of the hmac commitment."""
    components = httpsig.signed_components(fields)
    lines = httpsig.component_lines(fields)
    signature = key.sign(httpsig.signature_base(lines, components, key.params.encode()))
    name = key.signature_name
    signed = {
        **others,
        ids.digest(signature): {
            "alg": key.algorithm,
            "commitment-device": DEVICE,
            "committer": key.address,
            "signature": f"{name}=:{b64encode(signature).decode()}:",
            "signature-input": f"{name}={httpsig.component_list(components).decode()}{key.params}",
        },
    }
    if len(signed) >= MAX_COMMITMENTS:
        raise Refused(f"a message may have {MAX_COMMITMENTS} commitments at most")
    return signed, _mac_id(lines)


def without_commitments(message: Message) -> Message:
    """Return `message` without its commitments."""
    return {key: value for key, value in message.items() if key != COMMITMENTS_KEY}


def _others(message: Message, key: Key) -> dict[str, dict[str, str]]:
    """Return the signed commitments of `message` that are not `key`'s, after all of them were verified."""
    verify(message)
    commitments = cast("dict[str, dict[str, str]]", message[COMMITMENTS_KEY])
    return {name: entry for name, entry in commitments.items() if entry.get("committer", key.address) != key.address}


def _covered_fields(content: Message) -> Fields:
    """Return the signed form of a message without commitments, after making sure that no other message has it."""
    encoded = tabm.encode(content)
    fields = httpsig.encode(encoded)
    coverage.check(content, encoded, fields)
    return fields


# The hmac commitment


def mac_commitment(signed: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the hmac commitment for the `signed` ones, which are by ID: it repeats all their signatures."""
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
    """Return a message's unsigned ID: the MAC over all its fields, whose `lines` these are."""
    return ids.encode(mac_digest(_MAC_KEY, httpsig.signature_base(lines, sorted(lines), _MAC_PARAMS), "sha256"))


# IDs


def message_id(message: Message, which: Which = "all") -> str:
    """Return the ID of `message`, 43 characters.

    It follows from the signed commitments (`all`), from every commitment, the hmac one too (`every`), or from the
    content alone (`none`). The IDs of commitments are not verified here.

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
    """Return the addresses that `message`'s commitments claim, each once, sorted. Nothing is verified."""
    claimed = (entry.get("committer") for _, entry in _entries(message))
    return sorted({address for address in claimed if isinstance(address, str)})


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


def verify(message: Message) -> list[str]:
    """Verify every commitment of `message`, and return the addresses of those who made them, each once, sorted.

    A message passes if all its commitments do, and those of all messages nested in it:

    - each signature is over every field of the message's signed form, and no other message has that form
      (see `coverage`);
    - a commitment's ID, committer and key agree;
    - one hmac commitment repeats what all the others say.

    So whatever is altered, added or left out is noticed. A message without commitments has no signer: [].

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
        raise BadSignature(f"the message's commitments must be a map of at most {MAX_COMMITMENTS}")
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
    _check_macs(len(commitments) - len(signed))
    expected: Value = cast("Value", {**signed, _mac_id(lines): mac_commitment(signed)})
    if commitments != expected:
        raise BadSignature("the message's hmac commitment is not over the message and its other commitments")
    return sorted({entry["committer"] for entry in signed.values()})


def _check_macs(number: int) -> None:
    if number == 0:
        raise BadSignature("the message has no hmac commitment; a signed message has one beside its signatures")
    if number > 1:
        raise BadSignature(f"the message has {number} hmac commitments; a signed message has one")


def _verify_nested(value: Value) -> None:
    if isinstance(value, dict):
        _verified(value)
    elif isinstance(value, list):
        for item in value:
            _verify_nested(item)


def _standard(name: str, entry: Value) -> dict[str, str]:
    """Return `entry` as a signed commitment of the one form there is."""
    if isinstance(entry, dict) and entry.keys() == SIGNED_KEYS and all(type(text) is str for text in entry.values()):
        return cast("dict[str, str]", entry)
    wanted = ", ".join(sorted(SIGNED_KEYS))
    raise BadSignature(f"commitment {name[:43]} is of no known form: it must have texts under {wanted}, and no more")


def _verify_signed(name: str, entry: dict[str, str], lines: dict[str, bytes]) -> None:
    claim = claim_of(name, entry)
    if sorted(claim.components) != sorted(lines):
        differing = sorted(lines.keys() ^ set(claim.components))
        raise BadSignature(f"commitment {name[:43]} must cover the message and no more: {', '.join(differing)[:200]}")
    base = httpsig.signature_base(lines, claim.components, claim.params)
    if not is_right(claim, base):
        raise BadSignature(f"commitment {name[:43]}: the signature of {claim.committer} is not over this message")
