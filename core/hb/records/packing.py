"""The stored form of a message: what its commitments say twice is stored once.

Invariants:
    Nothing here signs, verifies, or judges what a commitment says.
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
    """Return the stored form of `message`: the hmac commitment, which repeats the others, becomes an empty map.

    A message in its `body` is packed too. A message that is not of the standard form stays as it is.

    Raises:
        Refused: a commitment is an empty map, as only the hmac one is in the stored form.
    """
    return _with_commitments(message, _packed)


def _packed(commitments: dict[str, Value]) -> dict[str, Value]:
    if {} in commitments.values():
        raise Refused("a commitment must not be an empty map")
    macs = [name for name, entry in commitments.items() if isinstance(entry, dict) and entry.get("alg") == MAC]
    signed = _signed_texts(commitments, macs)
    if len(macs) != 1 or not signed or commitments[macs[0]] != mac_commitment(signed):
        return commitments
    return {**commitments, macs[0]: {}}


def unpack(message: Message) -> Message:
    """Return the message that `pack` was given, from what it returned."""
    return _with_commitments(message, _unpacked)


def _unpacked(commitments: dict[str, Value]) -> dict[str, Value]:
    empty = [name for name, entry in commitments.items() if entry == {}]
    signed = _signed_texts(commitments, empty)
    if len(empty) != 1 or not signed:
        return commitments
    return {**commitments, empty[0]: cast("Value", mac_commitment(signed))}


def _with_commitments(message: Message, change: Callable[[dict[str, Value]], dict[str, Value]]) -> Message:
    """Return `message`, and the message in its `body`, with changed commitments."""
    changed = dict(message)
    body, commitments = message.get("body"), message.get(COMMITMENTS_KEY)
    if isinstance(body, dict):
        changed["body"] = _with_commitments(body, change)
    if isinstance(commitments, dict):
        changed[COMMITMENTS_KEY] = change(commitments)
    return changed


def _signed_texts(commitments: dict[str, Value], without: list[str]) -> dict[str, dict[str, str]]:
    """Return the commitments except those in `without`, if all have the texts of a signed one; else none."""
    signed = {name: entry for name, entry in commitments.items() if name not in without}
    for entry in signed.values():
        if not isinstance(entry, dict):
            return {}
        if type(entry.get("signature")) is not str or type(entry.get("signature-input")) is not str:
            return {}
    return cast("dict[str, dict[str, str]]", signed)
