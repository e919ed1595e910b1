"""The causal tree: which message caused which.

The root is a message that somebody sent. The children of a message are what its results had delivered. Everything here
is read from what is stored.

Invariants:
    Nothing is computed, delivered or written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.history import views
from hb.protocol import delivery
from hb.records import cache, deliveries, lineage, links, schedules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.history.views import SlotView
    from hb.protocol.delivery import Asked
    from hb.protocol.message import Message
    from hb.records.deliveries import Held
    from hb.storage.store import OpenStore, Store

PART_NODES = 256
"""Maximum nodes that are read in one session."""

LONGEST_CYCLE = 1000
"""Maximum processes of a cycle that is looked for."""

ANSWER, PENDING = "answer", "pending"
"""Why a delivery was not made: it is for the one who sent the message, who is no process; or its turn has not come."""


class Node(NamedTuple):
    """A message of a tree, or a delivery that was not made.

    `parent` is the process and slot whose results asked for it, and `place` where: `outbox/1`, `spawns/1`,
    `assignments/1`, or `spawned/1` for the message that tells of a spawn. Both are None for the root. `view` is the
    slot that the message has. Without a slot, `process` is the target, `reason` says in a word and `says` in a sentence
    why there is none, and `asked` is what the results say. `is_repeated` says that the slot stands in the tree before:
    its children are there. `altered` says that a trap changed the message.
    """

    depth: int
    process: str
    slot: int | None
    parent: tuple[str, int] | None = None
    place: str | None = None
    view: SlotView | None = None
    reason: str | None = None
    says: str | None = None
    asked: Message | None = None
    is_repeated: bool = False
    altered: bool = False


class _Branch(NamedTuple):
    """A node that is yet to be read."""

    depth: int
    process: str
    slot: int
    parent: tuple[str, int] | None = None
    place: str | None = None
    altered: bool = False


def walk(session: OpenStore, process: str, slot: int) -> Iterator[Node]:
    """Yield the tree below `slot` of `process`, each message before its children. Call `references.resolve` before.

    Raises:
        NotFound: there is no such slot.
        IntegrityError: what is stored is damaged.
    """
    stack: list[_Branch | Node] = [_Branch(0, process, slot)]
    seen: set[tuple[str, int]] = set()
    while stack:
        nodes: list[Node] = []
        with session() as store:
            while stack and len(nodes) < PART_NODES:
                branch = stack.pop()
                if isinstance(branch, Node):
                    nodes.append(branch)
                    continue
                node = _node(store, branch)
                place = lineage.owner(store, branch.process, branch.slot), branch.slot
                if place in seen:
                    node = node._replace(is_repeated=True)
                else:
                    seen.add(place)
                    stack += reversed(_children(store, *place, branch.depth + 1))
                nodes.append(node)
        yield from nodes


def path_to(session: OpenStore, process: str, slot: int) -> list[Node]:
    """Return the messages from the root to the one in `slot` of `process`: each caused the next.

    Raises:
        NotFound, IntegrityError: as `walk`.
    """
    path: list[Node] = []
    seen: set[tuple[str, int]] = set()
    at: tuple[str, int] | None = (process, slot)
    while at is not None and at not in seen:
        with session() as store:
            for _ in range(PART_NODES):
                if at is None or at in seen:
                    break
                seen.add(at)
                cause = _cause(store, *at)
                path.append(_node(store, _Branch(0, *at, *(cause or ()))))
                at = None if cause is None else cause[0]
    return [node._replace(depth=depth) for depth, node in enumerate(reversed(path))]


def cycle_at(session: OpenStore, process: str, slot: int) -> list[str]:
    """Return the processes that a chain of messages goes round in, from the one it came to last; [] if in none.

    Raises:
        IntegrityError: what is stored is damaged.
    """
    chain = [process]
    at: tuple[str, int] | None = (process, slot)
    while at is not None and len(chain) <= LONGEST_CYCLE:
        with session() as store:
            cause = _cause(store, *at)
        at = None if cause is None else cause[0]
        if at is not None:
            chain.append(at[0])
            if at[0] == process:
                return chain[::-1]
    return []


def _cause(store: Store, process: str, slot: int) -> tuple[tuple[str, int], str, bool] | None:
    """Return the process and slot whose results had the message of `slot` delivered, its place there, and whether a
    trap changed it."""
    assigned = deliveries.find_assigned(store, lineage.owner(store, process, slot), slot)
    if assigned is not None:
        by, at, ordinal = assigned
        wanted = next((each for each in _asked_by(store, by, at) if each.ordinal == ordinal), None)
        return None if wanted is None else ((by, at), place_of(wanted), False)
    found = delivery.origin(schedules.get_assignment(store, process, slot).body)
    if found is None:
        return None
    place = f"{_PLACES[found.kind]}/{found.place}"
    asked = _asked_by(store, found.process, found.slot)
    wanted = next((each for each in asked if (each.kind, each.place) == (found.kind, found.place)), None)
    if not asked:
        return None
    went = None if wanted is None else deliveries.find_delivered(store, found.process, found.slot, wanted.ordinal)
    return (found.process, found.slot), place, went is not None and went.altered


_PLACES = {
    delivery.MESSAGE: "outbox",
    delivery.SPAWN: "spawns",
    delivery.SPAWNED: "spawned",
    delivery.ASSIGNMENT: "assignments",
}


def place_of(wanted: Asked) -> str:
    """Return where the results ask for a delivery, as a path below them."""
    return f"{_PLACES[wanted.kind]}/{wanted.place}"


def _node(store: Store, branch: _Branch) -> Node:
    assignment = schedules.get_assignment(store, branch.process, branch.slot)
    record = links.read(store, branch.process, branch.slot)
    view = views.view(branch.process, assignment, record, image=False)
    return Node(branch.depth, branch.process, branch.slot, branch.parent, branch.place, view, altered=branch.altered)


def _asked_by(store: Store, process: str, slot: int) -> list[Asked]:
    raw = cache.read_bytes(store, process, slot)
    return [] if raw is None else delivery.asked(cache.parse_record(raw, process, slot).results)


def _children(store: Store, process: str, slot: int, depth: int) -> list[_Branch | Node]:
    """Return the children of the message in `slot` of `process`, which owns the slot, in the order of its results."""
    children: list[_Branch | Node] = []
    parent = (process, slot)
    for wanted in _asked_by(store, process, slot):
        place = place_of(wanted)
        went = deliveries.find_delivered(store, process, slot, wanted.ordinal)
        if went is None:
            reason, says = _why_not(store, process, slot, wanted)
            leaf = Node(depth, wanted.target, None, parent, place, None, reason, says, wanted.content)
            children.append(leaf)
            continue
        children.append(_Branch(depth, went.process, went.slot, parent, place, went.altered))
        if went.told is not None:
            told = f"{_PLACES[delivery.SPAWNED]}/{wanted.place}"
            children.append(_Branch(depth, process, went.told, parent, told))
    return children


def _why_not(store: Store, process: str, slot: int, wanted: Asked) -> tuple[str, str]:
    held: Held | None = deliveries.find_held(store, process, slot, wanted.ordinal)
    if held is not None:
        return held.reason, held.says
    cursor, _ = deliveries.read_cursor(store, process)
    if (slot, wanted.ordinal) < (cursor.slot, cursor.ordinal):
        return ANSWER, "an answer to the sender: it is in the results"
    return PENDING, "not delivered yet"
