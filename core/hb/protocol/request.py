"""Requests: the messages that people send to processes.

Invariants:
    Nothing here signs or schedules, or looks at a signing key, a clock or a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import Refused
from hb.protocol.message import PRIVATE_PREFIX, Message, normal_key, normalise_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.protocol.message import Value

_CONSTANTS: Message = {"data-protocol": "ao", "type": "Message", "variant": "ao.N.1"}
_RESERVED = _CONSTANTS.keys() | {"action", "anchor", "commitments", "data", "parameters", "target"}


def build_message(
    action: str | None = None,
    parameters: Sequence[Value] = (),
    *,
    data: str | bytes | None = None,
    tags: Message | None = None,
    anchor: str | None = None,
) -> Message:
    """Return an unsigned message to a process. It has a key only for what is given.

    Raises:
        Refused: a tag has the name of a key that every message has, or of a private key.
    """
    for key in map(normal_key, tags or {}):
        if key in _RESERVED:
            raise Refused(f"a tag cannot be called {key!r}: a message has a key of that name")
        if key.startswith(PRIVATE_PREFIX):
            raise Refused(f"a tag cannot be called {key!r}: keys that begin with {PRIVATE_PREFIX!r} are never sent")
    message = normalise_message(tags or {})
    for key, value in (("action", action), ("data", data), ("anchor", anchor)):
        if value is not None:
            message[key] = value
    if parameters:
        message["parameters"] = list(parameters)
    return message


def addressed(message: Message, target: str) -> Message:
    """Return `message` as it is signed for the process `target`, with the keys that every message to a process has."""
    return {**_CONSTANTS, **message, "target": target}
