"""What pushes did and did not do: deliveries that were made, and those that are held.

Invariants:
    Nothing is delivered or written here.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb.history.tree import ANSWER, PENDING, place_of
from hb.protocol.commitment import message_id
from hb.records import deliveries, keys

if TYPE_CHECKING:
    from collections.abc import Collection

    from hb.history.tree import Node
    from hb.push.making import Made
    from hb.records.deliveries import Delivered
    from hb.storage.store import OpenStore

PART_HELD = 4000
"""Maximum held deliveries that are read in one session."""


class Delivery(NamedTuple):
    """A delivery that was made.

    `place` says where the results of `slot` of `process` ask for it, as in `outbox/1`. `target_slot` of `target` is the
    slot that the message with the ID `message` has. For a spawn, `target` is the new process, and `told` the slot of
    `process` that has the message about it.
    """

    process: str
    slot: int
    place: str
    target: str
    target_slot: int
    message: str
    told: int | None = None
    altered: bool = False


class HeldGroup(NamedTuple):
    """Deliveries of a process that are held for the same reason: a word and a sentence. `size` is how many they are.

    `is_waiting` says that they are delivered by the first push after what they wait for came. `is_budget` says that the
    budget of their root was used up.
    """

    process: str
    target: str
    reason: str
    says: str
    size: int

    @classmethod
    def of(cls, node: Node) -> HeldGroup | None:
        """Return the group of one node of a tree; None if that is not held."""
        if node.reason in (None, ANSWER, PENDING) or node.parent is None:
            return None
        return cls(node.parent[0], node.process, node.reason or "", node.says or "", 1)

    @property
    def is_waiting(self) -> bool:
        """Whether the target, or the image of a spawn, cannot be used yet."""
        return self.reason in deliveries.WAITING

    @property
    def is_budget(self) -> bool:
        """Whether the budget of their root was used up."""
        return self.reason in deliveries.BUDGETS


def delivered(made: Made, at: Delivered) -> Delivery:
    """Return what a push tells of a delivery: what was `made`, and where it went."""
    asked = made.delivery.asked
    slot, place = made.delivery.slot, place_of(asked)
    message = message_id(made.prepared.signed.message) if made.child is None else at.process
    return Delivery(made.source, slot, place, at.process, at.slot, message, at.told, at.altered)


def held(session: OpenStore, processes: Collection[str] | None = None) -> list[HeldGroup]:
    """Return the deliveries of these processes, and those that wait for them, that are held. None means all processes.

    Raises:
        IntegrityError: a record is damaged.
    """
    counts: dict[tuple[str, str, str, str], int] = {}
    start, stop = keys.all_held()
    while start < stop:
        with session() as store:
            part = list(islice(store.scan(start, stop), PART_HELD))
        for key, raw in part:
            process, slot, _ = keys.place_of(key)
            found = deliveries.parse_held(raw, process, slot)
            if processes is None or process in processes or found.target in processes:
                group = process, found.target, found.reason, found.says
                counts[group] = counts.get(group, 0) + 1
        start = part[-1][0] + b"\0" if len(part) == PART_HELD else stop
    return [HeldGroup(*group, count) for group, count in counts.items()]
