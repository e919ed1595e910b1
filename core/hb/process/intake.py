"""What a home takes in: messages, each looked at and signed before any is scheduled.

It must never schedule, nor hold a store.
"""

from __future__ import annotations

from typing import NamedTuple

from hb.errors import Refused
from hb.protocol import request as requests
from hb.protocol.commitment import Encoded, Key, encoded, sign_encoded, verify
from hb.protocol.message import Message, dumps, normalise_message
from hb.protocol.packing import pack


class Prepared(NamedTuple):
    """A signed message that may be scheduled, and its stored form as JSON."""

    signed: Encoded
    stored: bytes


def prepare(message: Message, target: str, signer: Key | None, place: int, limit_bytes: int) -> Prepared:
    """The signed message that is scheduled for `message`, the one at `place` among those that were given.

    Raises:
        Refused: it is signed by nobody, for another process, or has more than `limit_bytes`; says its place.
        BadSignature: a commitment of it does not verify; says its place.
    """
    try:
        signed = _signed(message, target, signer)
        prepared = Prepared(signed, dumps(pack(signed.message)))
        check_size(prepared.stored, limit_bytes)
    except Refused as error:
        raise type(error)(f"message {place}: {error.message}", hint=error.hint) from error
    return prepared


def check_size(written: bytes, limit_bytes: int) -> None:
    """Makes sure that a message, in JSON, is no larger than this machine takes.

    Raises:
        Refused: it is.
    """
    if len(written) > limit_bytes:
        raise beyond(f"a message may have {limit_bytes} bytes, got {len(written)}", "message-limit")


def beyond(sentence: str, setting: str) -> Refused:
    """That something is beyond a limit of this machine, which `setting` can raise."""
    return Refused(sentence, hint=f"raise {setting} in the home's config.toml")


def _signed(message: Message, target: str, signer: Key | None) -> Encoded:
    if "commitments" in message:
        if not verify(message):
            raise Refused("nobody signed it")
        if message.get("target") != target:
            raise Refused(f"its target must be {target}, got {message.get('target')!r}")
        return encoded(normalise_message(message))
    if signer is None:
        raise Refused("it is not signed, and no key was given to sign it with")
    return sign_encoded(requests.addressed(message, target), signer)
