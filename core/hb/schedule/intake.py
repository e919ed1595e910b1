"""What a home takes in: messages, each checked and signed before any is scheduled.

Invariants:
    Nothing is scheduled here, and no store is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import Refused
from hb.protocol import bounds
from hb.protocol import definition as definitions
from hb.protocol import request as requests
from hb.protocol.commitment import Encoded, Key, committers, encoded, message_id, sign_encoded, verify
from hb.protocol.message import Message, dumps, normalise_message
from hb.records.packing import pack

if TYPE_CHECKING:
    from hb.environment import Environment

SHORT_BYTES = 65536
"""A message of up to this size is signed or verified sooner than a store is opened."""

ORIGIN_KEYS = ("from-process", "pushed-for")
"""Keys that say which process a message comes from. A program may take their word, so not everybody may send them."""


class Prepared(NamedTuple):
    """A signed message that may be scheduled, and its stored form as JSON.

    `is_new` says that it got its random anchor here, so that no schedule can have it yet.
    """

    signed: Encoded
    stored: bytes
    is_new: bool


def prepare(
    message: Message, definition: Message, signer: Key | None, place: int, limit_bytes: int, environment: Environment
) -> Prepared:
    """Return the signed message that is scheduled for `message`, the one at `place`, in the process of `definition`.

    An unsigned message gets a random anchor unless it has an anchor, so that two equal messages are two.

    Raises:
        Refused: it has no signer, another target, more than `limit_bytes`, or an origin that its signer may not name;
            says its place.
        BadSignature: a commitment of it does not verify; says its place.
    """
    is_new = message.keys().isdisjoint(("anchor", "commitments"))
    given = {**message, "anchor": random_anchor(environment)} if is_new else message
    try:
        signed = _signed(given, message_id(definition), signer)
        check_origin(signed.message, definition)
        prepared = Prepared(signed, dumps(pack(signed.message)), is_new)
        check_size(prepared.stored, limit_bytes)
    except Refused as error:
        raise type(error)(error.message, hint=error.hint, place=place) from error
    return prepared


def is_short(message: Message) -> bool:
    """Whether a message has at most `SHORT_BYTES`, and is one."""
    try:
        return len(dumps(normalise_message(message))) <= SHORT_BYTES
    except Refused:
        return False


def random_anchor(environment: Environment) -> str:
    """Return an anchor that no other message has: 16 random bytes, in base64url."""
    return ids.encode(environment.random_bytes(16))


def check_origin(message: Message, definition: Message) -> None:
    """Make sure that a message says that it comes from a process only if an authority of its target signed it.

    The target's `definition` names its authorities under `authority`. What the target's own scheduler signs in this
    way is a delivery, and comes from no outside: a push makes it.

    Raises:
        Refused: somebody else signed it, or only the scheduler.
    """
    said = next((key for key in ORIGIN_KEYS if key in message), None)
    if said is None:
        return
    authorities = definitions.authorities(definition)
    signers = set(committers(message))
    scheduler = {str(definition["scheduler"])}
    if authorities & signers - scheduler:
        return
    if authorities & signers:
        raise Refused(
            f"a message with the key {said!r} that this home's own key signs is a delivery, and only a push makes one",
            hint="`hb push` delivers what a program sends",
        )
    trusted = ", ".join(sorted(authorities))[:300]
    raise Refused(
        f"a message with the key {said!r} must be signed by an authority of the process, got one signed by "
        f"{', '.join(sorted(signers)) or 'nobody'}",
        hint=f"the authorities are {trusted}" if trusted else "this process trusts nobody: it names no `authority`",
    )


def check_assigned(message: Message, definition: Message) -> None:
    """Make sure that a message that this home has may get a slot at the process with this `definition`, too.

    Raises:
        Refused: it says that it comes from a process, and no authority of this process signed it.
    """
    if not message.keys().isdisjoint(ORIGIN_KEYS):
        signers = committers(message)
        if definitions.authorities(definition).isdisjoint(signers):
            said = next(key for key in ORIGIN_KEYS if key in message)
            raise Refused(f"a message with the key {said!r} must be signed by an authority of the process")


def check_size(written: bytes, limit_bytes: int) -> None:
    """Make sure that a message, in JSON, is no larger than this machine takes.

    Raises:
        Refused: it has more than `limit_bytes`, or holds more than `bounds` allows.
    """
    if len(written) > limit_bytes:
        raise beyond(f"a message may have {limit_bytes} bytes, got {len(written)}", "message-limit")
    bounds.check(written, values=bounds.MESSAGE_VALUES, depth=2 * bounds.MAX_DEPTH)


def beyond(sentence: str, setting: str) -> Refused:
    """Return the refusal of what is beyond a limit of this machine, which `setting` can raise."""
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
