"""The stored form of a message: what its commitments say twice is stored once.

It must never sign, verify, or judge what a commitment says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hb.errors import Refused
from hb.protocol.commitment import MAC, mac_commitment
from hb.protocol.coverage import COMMITMENTS_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.protocol.message import Message, Value


def pack(message: Message) -> Message:
    """The stored form of `message`: its hmac commitment empty where it repeats what the others say, as it does.

    A message in its `body` is packed too. Anything that is not of the standard form stays as it is.

    Raises:
        Refused: a commitment is an empty map, which is what the stored form has in place of the hmac one.
    """
    return _with_commitments(message, _packed)


def _packed(commitments: dict[str, Value]) -> dict[str, Value]:
    if {} in commitments.values():
        raise Refused("a commitment that says nothing is none")
    macs = [name for name, entry in commitments.items() if isinstance(entry, dict) and entry.get("alg") == MAC]
    signed = _signed_texts(commitments, macs)
    if len(macs) != 1 or not signed or commitments[macs[0]] != mac_commitment(signed):
        return commitments
    return {**commitments, macs[0]: {}}


def unpack(message: Message) -> Message:
    """The message that `pack` made `message` of."""
    return _with_commitments(message, _unpacked)


def _unpacked(commitments: dict[str, Value]) -> dict[str, Value]:
    empty = [name for name, entry in commitments.items() if entry == {}]
    signed = _signed_texts(commitments, empty)
    if len(empty) != 1 or not signed:
        return commitments
    return {**commitments, empty[0]: cast("Value", mac_commitment(signed))}


def _with_commitments(message: Message, change: Callable[[dict[str, Value]], dict[str, Value]]) -> Message:
    """`message`, and the one in its `body`, with other commitments."""
    changed = dict(message)
    body, commitments = message.get("body"), message.get(COMMITMENTS_KEY)
    if isinstance(body, dict):
        changed["body"] = _with_commitments(body, change)
    if isinstance(commitments, dict):
        changed[COMMITMENTS_KEY] = change(commitments)
    return changed


def _signed_texts(commitments: dict[str, Value], without: list[str]) -> dict[str, dict[str, str]]:
    """The commitments but those in `without`, if all of them have the texts that a signed one has; else none."""
    signed = {name: entry for name, entry in commitments.items() if name not in without}
    for entry in signed.values():
        if not isinstance(entry, dict):
            return {}
        if type(entry.get("signature")) is not str or type(entry.get("signature-input")) is not str:
            return {}
    return cast("dict[str, dict[str, str]]", signed)
