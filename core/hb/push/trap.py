"""Traps: a test looks at each message of an outbox before it is delivered, and says what happens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.protocol.message import Message
from hb.records import deliveries

if TYPE_CHECKING:
    from hb.protocol.delivery import Asked

HOLD, DROP = "hold", "drop"
HOLDING = {HOLD: (deliveries.TRAPPED, "a trap holds it"), DROP: (deliveries.DROPPED, "a trap dropped it")}

KEPT_KEYS = ("anchor", "from-process", "target")
"""Keys that a trap cannot change: they say which delivery it is."""

Verdict = str | Message | None
"""What a trap says: None lets the message go; "hold" keeps it until it is released; "drop" loses it; a message is
delivered in its place."""


class TrapDelivery(NamedTuple):
    """A message that is about to be delivered, as a trap sees it.

    `process` and `slot` say whose results ask for it, `asked` what they say, `depth` how many deliveries lie between it
    and the root. `message` is a copy of what will be signed.
    """

    process: str
    slot: int
    asked: Asked
    depth: int
    message: Message

    @property
    def target(self) -> str:
        """The process that it goes to."""
        return self.asked.target

    @property
    def place(self) -> int:
        """Its number in the outbox."""
        return self.asked.place
