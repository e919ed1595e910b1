"""What a home takes in: messages, each looked at and signed before any is scheduled.

It must never schedule, nor hold a store.
"""

from __future__ import annotations

from hb.errors import Refused
from hb.protocol import request as requests
from hb.protocol.commitment import Key, sign, verify
from hb.protocol.message import Message, dumps


def prepare(message: Message, target: str, signer: Key | None, place: int, limit_bytes: int) -> Message:
    """The signed message that is scheduled for `message`, the one at `place` among those that were given.

    Raises:
        Refused: it is signed by nobody, for another process, or has more than `limit_bytes`; says its place.
        BadSignature: a commitment of it does not verify; says its place.
    """
    try:
        signed = _signed(message, target, signer)
        size = len(dumps(signed))
        if size > limit_bytes:
            raise beyond(f"a message may have {limit_bytes} bytes, got {size}", "message-limit")
    except Refused as error:
        raise type(error)(f"message {place}: {error.message}", hint=error.hint) from error
    return signed


def beyond(sentence: str, setting: str) -> Refused:
    """That something is beyond a limit of this machine, which `setting` can raise."""
    return Refused(sentence, hint=f"raise {setting} in the home's config.toml")


def _signed(message: Message, target: str, signer: Key | None) -> Message:
    if "commitments" in message:
        if not verify(message):
            raise Refused("nobody signed it")
        if message.get("target") != target:
            raise Refused(f"its target must be {target}, got {message.get('target')!r}")
        return message
    if signer is None:
        raise Refused("it is not signed, and no key was given to sign it with")
    return sign(requests.addressed(message, target), signer)
