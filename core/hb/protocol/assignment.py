"""Assignments: what gives a message its slot, and the hash-chain that links them.

Builds what a scheduler signs, and reads what one signed: `check` makes sure that every field is of its type and within
its range, once, where an assignment comes in.

Invariants:
    Nothing here chooses a slot, tells the time or holds a key: these are the scheduler's.
    Nothing here verifies a signature or a chain.

Source: HyperBEAM `dev_scheduler_server`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hb import ids
from hb.errors import Refused, as_text

if TYPE_CHECKING:
    from hb.protocol.message import Message

NO_BLOCK = "A" * 43
"""The block hash of assignments that know no block: 32 zero bytes."""

MAX_NUMBER = 2**64 - 1
"""Maximum of the protocol's own numbers: slots, timestamps, block heights, epochs."""

_NUMBERS = ("slot", "timestamp", "block-height", "block-timestamp")
_IDS = (("process", ids.is_id), ("hash-chain", ids.is_digest), ("block-hash", ids.is_id))
_is_id = ids.ID.match
_EPOCH_DIGITS = len(str(MAX_NUMBER))


class Flaw:
    """A field that is not what it must be: its key, what was expected, and what was found, as texts."""

    def __init__(self, key: str, expected: str, got: str) -> None:
        self.key = key
        self.expected = expected
        self.got = got

    @property
    def sentence(self) -> str:
        """The flaw as a sentence."""
        return f"an assignment's {self.key} must be {self.expected}, got {self.got}"


class Assignment(NamedTuple):
    """An assignment whose fields are of their types and within their ranges.

    `hash_chain` has 43 characters. `body` is the message that has the slot. `message` is the whole assignment as it
    came: the request that a device gets.
    """

    process: str
    slot: int
    hash_chain: str
    timestamp_ms: int
    body: Message
    message: Message

    @classmethod
    def parse(cls, message: Message) -> Assignment:
        """Return the assignment that `message` is.

        Raises:
            Refused: a field is missing, of another type, or beyond its range.
        """
        check(message)
        return cls.checked(message)

    @classmethod
    def checked(cls, message: Message) -> Assignment:
        """Return the assignment that `message` is. `find_flaw` found nothing wrong with it."""
        fields = cast("dict[str, Any]", message)
        values = fields["process"], fields["slot"], fields["hash-chain"], fields["timestamp"], fields["body"], message
        return tuple.__new__(cls, values)  # what `cls(*values)` does, without a call of a Python function


def check(message: Message) -> None:
    """Make sure that every field of an assignment is of its type and within its range.

    Raises:
        Refused: one is not. The sentence names it, what was expected and what was found.
    """
    flaw = find_flaw(message)
    if flaw is not None:
        raise Refused(flaw.sentence)


def find_flaw(message: Message) -> Flaw | None:
    """Return the first field of an assignment that is missing, of another type, or beyond its range, if any."""
    if _is_right(message):
        return None
    for key in _NUMBERS:
        number = message.get(key)
        if type(number) is not int or not 0 <= number <= MAX_NUMBER:
            return Flaw(key, f"an integer from 0 to {MAX_NUMBER}", _shown(number))
    for key, is_right in _IDS:
        name = message.get(key)
        if type(name) is not str or not is_right(name):
            return Flaw(key, "an ID of 43 characters", _shown(name))
    epoch = message.get("epoch")
    if epoch != "0" and (type(epoch) is not str or not _is_epoch(epoch)):
        return Flaw("epoch", f"the digits of an integer from 0 to {MAX_NUMBER}", _shown(epoch))
    if type(message.get("body")) is not dict:
        return Flaw("body", "a message", _shown(message.get("body")))
    return None


def _is_right(message: Message) -> bool:
    """Return whether an assignment is of this home's usual form: a quick way for every slot that is computed."""
    fields = cast("dict[str, Any]", message)
    try:
        for key in _NUMBERS:
            number = fields[key]
            if type(number) is not int or not 0 <= number <= MAX_NUMBER:
                return False
        process, chain, block = fields["process"], fields["hash-chain"], fields["block-hash"]
        return (
            fields["epoch"] == "0"
            and type(fields["body"]) is dict
            and type(process) is type(chain) is type(block) is str
            and _is_id(process) is not None
            and _is_id(chain) is not None
            and chain[-1] in ids.LAST_OF_DIGEST
            and (block == NO_BLOCK or _is_id(block) is not None)
        )
    except KeyError:
        return False


def _is_epoch(text: str) -> bool:
    # `int` takes spaces, underscores and the digits of other scripts too.
    is_number = text.isascii() and text.isdigit() and len(text) <= _EPOCH_DIGITS
    return is_number and int(text) <= MAX_NUMBER and str(int(text)) == text


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return repr(value[:80]) if isinstance(value, str) else as_text(value)[:80]


def chain(previous: bytes, message_id: str) -> bytes:
    """Return the hash-chain's 32 bytes once the message with the `all` ID `message_id` has the next slot.

    `previous` is the chain's 32 bytes before that; empty before slot 0.
    """
    return sha256(previous + message_id.encode()).digest()


def build(
    *,
    process: str,
    slot: int,
    chain: bytes,
    timestamp_ms: int,
    block_height: int,
    block_hash: str,
) -> Message:
    """Return the assignment of a message to `slot` of `process`, yet to be signed by the scheduler around the message.

    `process` is a PID; `chain` the hash-chain's 32 bytes with the message in it; `block_hash` 43 characters. There
    are no blocks here, so the block's time is the assignment's own, in seconds as blocks have it.

    Raises:
        Refused: a number is beyond its range.
    """
    for key, number in (("slot", slot), ("timestamp", timestamp_ms), ("block-height", block_height)):
        if not 0 <= number <= MAX_NUMBER:
            raise Refused(Flaw(key, f"an integer from 0 to {MAX_NUMBER}", _shown(number)).sentence)
    return {
        "path": "compute",
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "process": process,
        "epoch": "0",
        "slot": slot,
        "block-height": block_height,
        "block-hash": block_hash,
        "block-timestamp": timestamp_ms // 1000,
        "timestamp": timestamp_ms,
        "hash-chain": ids.encode(chain),
    }
