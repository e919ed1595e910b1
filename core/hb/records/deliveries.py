"""The records of deliveries: what is to be delivered next, where deliveries went, which were not made, and the queue.

The queue holds slots whose results are to be delivered, in the order in which their messages were scheduled. Whoever
delivers takes its first entry. So the order of deliveries does not depend on who delivers, or on who was stopped.

Invariants:
    Nothing is computed, scheduled or delivered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import IntegrityError
from hb.protocol import delivery
from hb.protocol.message import Message, dumps
from hb.records import keys, lineage, schedules
from hb.records.cache import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import Store

DEPTH, MESSAGES, GAS = "depth", "messages", "gas"
"""Reasons why a delivery was not made: the budget of its root was used up."""

MISSING, ELSEWHERE, UNTRUSTED, DAMAGED, IMAGE = "missing", "elsewhere", "untrusted", "damaged", "image"
"""Reasons: the process is not here, or scheduled by another home, or does not trust this one, or damaged; the image is
not here."""

REFUSED, DROPPED, TRAPPED = "refused", "dropped", "trapped"
"""Reasons: the message cannot be one; a trap dropped it; a trap holds it."""

ALL, WAITERS, ONE = "all", "waiting", "one"
"""Which held deliveries of a slot an entry of the queue is about."""

BUDGETS = frozenset({DEPTH, MESSAGES, GAS})
WAITING = frozenset({MISSING, ELSEWHERE, UNTRUSTED, DAMAGED, IMAGE})
_REASONS = BUDGETS | WAITING | {REFUSED, DROPPED, TRAPPED}


class Cursor(NamedTuple):
    """What is to be delivered next of a process: the delivery `ordinal` of `slot`."""

    slot: int
    ordinal: int = 0

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return dumps({"ordinal": self.ordinal, "slot": self.slot})


class Delivered(NamedTuple):
    """Where a delivery went: `slot` of `process`. `told` is the slot of the message that says what was spawned.

    `altered` says that a trap changed the message.
    """

    process: str
    slot: int
    told: int | None = None
    altered: bool = False

    def encode(self) -> bytes:
        """Return the stored bytes."""
        fields: Message = {"process": self.process, "slot": self.slot}
        if self.told is not None:
            fields["told"] = self.told
        if self.altered:
            fields["altered"] = True
        return dumps(fields)


class Held(NamedTuple):
    """A delivery that was not made: why, in a word and in a sentence; for whom; and how deep in its tree it is."""

    reason: str
    says: str
    target: str
    depth: int = 0

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return dumps({"depth": self.depth, "reason": self.reason, "says": self.says, "target": self.target})


class Queued(NamedTuple):
    """An entry of the queue: the results of `process` are to be delivered up to `slot`.

    `root` is the root of the message in the slot, and `depth` how many deliveries lie between the two. With `again`,
    only deliveries of this slot are meant that are held, from `ordinal` on: all of them, those that wait, or one.
    """

    process: str
    slot: int
    root: str
    depth: int = 0
    again: str | None = None
    ordinal: int = 0

    def encode(self) -> bytes:
        """Return the stored bytes."""
        fields: Message = {"depth": self.depth, "process": self.process, "root": self.root, "slot": self.slot}
        if self.again is not None:
            fields |= {"again": self.again, "ordinal": self.ordinal}
        return dumps(fields)


class Used(NamedTuple):
    """What a push has used of the budget of a root. `entries` counts those of the queue that belong to it."""

    messages: int = 0
    gas: int = 0
    entries: int = 0

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return dumps({"entries": self.entries, "gas": self.gas, "messages": self.messages})


def read_cursor(store: Store, process: str) -> tuple[Cursor, bytes | None]:
    """Return what is to be delivered next of `process`, and its stored bytes; None if nothing was delivered yet.

    Raises:
        IntegrityError: the record is damaged.
    """
    raw = store.get(keys.cursor_key(process))
    if raw is None:
        return Cursor(lineage.first_slot(store, process)), None
    return parse_cursor(raw, process), raw


def parse_cursor(raw: bytes, process: str) -> Cursor:
    """Return what the stored bytes of the cursor of `process` say.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "cursor of deliveries", process, None)
    return Cursor(_number(fields, "slot", process), _number(fields, "ordinal", process))


def find_delivered(store: Store, process: str, slot: int, ordinal: int) -> Delivered | None:
    """Return where a delivery went; None if it was not made.

    Raises:
        IntegrityError: the record is damaged.
    """
    raw = store.get(keys.delivered_key(process, slot, ordinal))
    return None if raw is None else parse_delivered(raw, process, slot)


def parse_delivered(raw: bytes, process: str, slot: int) -> Delivered:
    """Return what the stored bytes of a delivery of `slot` of `process` say.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "record of a delivery", process, slot)
    told = _number(fields, "told", process, slot) if "told" in fields else None
    target = _id(fields, "process", process, slot)
    return Delivered(target, _number(fields, "slot", process, slot), told, fields.get("altered") is True)


def find_held(store: Store, process: str, slot: int, ordinal: int) -> Held | None:
    """Return why a delivery was not made; None if it was, or if its turn has not come.

    Raises:
        IntegrityError: the record is damaged.
    """
    raw = store.get(keys.held_key(process, slot, ordinal))
    return None if raw is None else parse_held(raw, process, slot)


def parse_held(raw: bytes, process: str, slot: int) -> Held:
    """Return what the stored bytes of a delivery that was not made say.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "record of a held delivery", process, slot)
    reason, says, target = (fields.get(key) for key in ("reason", "says", "target"))
    if not (isinstance(reason, str) and reason in _REASONS and isinstance(says, str) and isinstance(target, str)):
        raise _damaged("record of a held delivery", process, slot)
    return Held(reason, says, target, _number(fields, "depth", process, slot))


def held(store: Store, process: str) -> Iterator[tuple[int, int, Held]]:
    """Yield slot, ordinal and reason of each delivery of `process` that was not made, in order.

    Raises:
        IntegrityError: a record is damaged.
    """
    for key, raw in store.scan(*keys.held(process)):
        _, slot, ordinal = keys.place_of(key)
        yield slot, ordinal, parse_held(raw, process, slot)


def queue(store: Store) -> Iterator[tuple[bytes, bytes, Queued]]:
    """Yield the entries of the queue, in order: the key, the stored bytes, and what they say.

    Raises:
        IntegrityError: an entry is damaged.
    """
    for key, raw in store.scan(*keys.queue()):
        yield key, raw, parse_queued(raw)


def next_number(store: Store) -> int:
    """Return the number of the next entry of the queue."""
    last = next((key for key, _ in store.scan(*keys.queue(), reverse=True)), None)
    return 0 if last is None else keys.slot_of(last) + 1


def read_used(store: Store, roots: list[str]) -> dict[str, tuple[Used, bytes | None]]:
    """Return, for each root, what was used of its budget, and the stored bytes.

    Raises:
        IntegrityError: a record is damaged.
    """
    raws = store.get_many([keys.root_key(root) for root in roots])
    return {root: (Used() if raw is None else parse_used(raw), raw) for root, raw in zip(roots, raws, strict=True)}


def find_assigned(store: Store, process: str, slot: int) -> tuple[str, int, int] | None:
    """Return the process, slot and ordinal of the delivery that gave `slot` of `process` to a message, or None.

    Raises:
        IntegrityError: the record is damaged.
    """
    raw = store.get(keys.assigned_key(process, slot))
    return None if raw is None else parse_assigned(raw, process, slot)


def parse_assigned(raw: bytes, process: str, slot: int) -> tuple[str, int, int]:
    """Return what `find_assigned` returns, from its stored bytes.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "record of an assignment", process, slot)
    by = _id(fields, "process", process, slot)
    return by, _number(fields, "slot", process, slot), _number(fields, "ordinal", process, slot)


def root_at(store: Store, process: str, slot: int) -> str:
    """Return the root of the message in `slot` of `process`: the ID of the message that began it all.

    A message that was assigned to the process is part of what the assignment is part of.

    Raises:
        IntegrityError: what is stored is damaged.
    """
    seen: set[tuple[str, int]] = set()
    while True:
        process = lineage.owner(store, process, slot)
        assigned = find_assigned(store, process, slot)
        if assigned is None or (process, slot) in seen:
            return delivery.root_of(schedules.get_assignment(store, process, slot).body)
        seen.add((process, slot))
        process, slot, _ = assigned


def encode_assigned(process: str, slot: int, ordinal: int) -> bytes:
    """Return the stored bytes of what `find_assigned` returns."""
    return dumps({"ordinal": ordinal, "process": process, "slot": slot})


def parse_queued(raw: bytes) -> Queued:
    """Return what the stored bytes of an entry of the queue say.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "entry of the queue of deliveries", None, None)
    again = fields.get("again")
    ordinal = 0 if again is None else _number(fields, "ordinal", None)
    if again is not None and not (isinstance(again, str) and again in (ALL, WAITERS, ONE)):
        raise _damaged("entry of the queue of deliveries", None, None)
    process, root = _id(fields, "process", None), _id(fields, "root", None)
    depth = _number(fields, "depth", None)
    return Queued(process, _number(fields, "slot", None), root, depth, again, ordinal)


def parse_used(raw: bytes) -> Used:
    """Return what the stored bytes of the budget of a root say.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, "budget of a root", None, None)
    return Used(*(_number(fields, key, None) for key in Used._fields))


def _number(fields: Message, key: str, process: str | None, slot: int | None = None) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= keys.LAST_SLOT:
        raise _damaged(f"{key} of a record of deliveries", process, slot)
    return value


def _id(fields: Message, key: str, process: str | None, slot: int | None = None) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not ids.is_id(value):
        raise _damaged(f"{key} of a record of deliveries", process, slot)
    return value


def _damaged(what: str, process: str | None, slot: int | None) -> IntegrityError:
    return IntegrityError(f"the {what} is not what it must be", process=process, slot=slot)
