"""What a home takes in: messages, each looked at and signed before any is scheduled.

It must never schedule, nor hold a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import Refused
from hb.protocol import bounds
from hb.protocol import request as requests
from hb.protocol.commitment import Encoded, Key, encoded, sign_encoded, verify
from hb.protocol.message import Message, dumps, normalise_message
from hb.protocol.packing import pack

if TYPE_CHECKING:
    from hb.environment import Environment


class Prepared(NamedTuple):
    """A signed message that may be scheduled, and its stored form as JSON.

    With `is_new` it got its anchor here, a random one, so that no schedule can have it yet.
    """

    signed: Encoded
    stored: bytes
    is_new: bool


def prepare(
    message: Message, target: str, signer: Key | None, place: int, limit_bytes: int, environment: Environment
) -> Prepared:
    """The signed message that is scheduled for `message`, the one at `place` among those that were given.

    Where nobody signed it, it gets a random anchor unless it has one, so that two equal messages are two.

    Raises:
        Refused: it is signed by nobody, for another process, or has more than `limit_bytes`; says its place.
        BadSignature: a commitment of it does not verify; says its place.
    """
    is_new = message.keys().isdisjoint(("anchor", "commitments"))
    try:
        signed = _signed({**message, "anchor": random_anchor(environment)} if is_new else message, target, signer)
        prepared = Prepared(signed, dumps(pack(signed.message)), is_new)
        check_size(prepared.stored, limit_bytes)
    except Refused as error:
        raise type(error)(f"message {place}: {error.message}", hint=error.hint) from error
    return prepared


def random_anchor(environment: Environment) -> str:
    """An anchor that no other message has: 16 random bytes, in base64url."""
    return ids.encode(environment.random_bytes(16))


def check_size(written: bytes, limit_bytes: int) -> None:
    """Makes sure that a message, in JSON, is no larger than this machine takes.

    Raises:
        Refused: it is.
    """
    if len(written) > limit_bytes:
        raise beyond(f"a message may have {limit_bytes} bytes, got {len(written)}", "message-limit")
    bounds.check(written, values=bounds.MESSAGE_VALUES, depth=2 * bounds.MAX_DEPTH)


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
