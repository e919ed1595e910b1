"""Budgets: how far a push goes for one root.

A root is the message that began it all. Two processes that answer each other would go on for ever. A budget ends that:
what is beyond it is held, and a later push goes on with a new budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.records import deliveries

if TYPE_CHECKING:
    from hb.records.deliveries import Used


class Budget(NamedTuple):
    """What a push may use for each root.

    `depth`: deliveries between the root and a message; `messages`: deliveries in all; `gas`: units of gas.
    """

    depth: int
    messages: int
    gas: int

    def exceeded(self, used: Used, depth: int) -> str | None:
        """Return the reason why a delivery at this depth is beyond the budget; None if it is within it."""
        if depth > self.depth:
            return deliveries.DEPTH
        if used.messages >= self.messages:
            return deliveries.MESSAGES
        return deliveries.GAS if used.gas >= self.gas else None

    def sentence(self, reason: str) -> str:
        """Return the sentence that says which budget is used up."""
        return {
            deliveries.DEPTH: f"a push goes {_messages(self.depth)} deep",
            deliveries.MESSAGES: f"a push delivers {_messages(self.messages)} of one root",
            deliveries.GAS: f"a push uses {self.gas:,} gas for one root",
        }[reason]


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
