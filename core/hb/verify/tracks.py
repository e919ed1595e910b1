"""Check what pushes remember of a process: its cursor, where its deliveries went, and which of them are held.

All of it is compared with the results that ask for deliveries, and with the schedules that it leads to. So a delivery
that was lost is found here. Whether what was delivered is right is checked in `verify/deliveries.py`.

Invariants:
    A check only reads, in short slices, and never stops at the first flaw.
    A push may go on meanwhile: what looks wrong is looked at twice.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HomeUnusable, IntegrityError, NotFound, Refused
from hb.protocol import delivery
from hb.protocol.commitment import committers, message_id, without_commitments
from hb.protocol.message import normalise_message
from hb.push.targets import SHOWN
from hb.records import cache, deliveries, keys, lineage
from hb.records.deliveries import Cursor
from hb.verify.deliveries import body_in, path_of, place_text
from hb.verify.evidence import WINDOW_BYTES, WINDOW_SLOTS, Finding, Kind, text_of
from hb.verify.senders import find_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.protocol.delivery import Asked
    from hb.protocol.message import Message
    from hb.records.deliveries import Delivered
    from hb.storage.store import OpenStore, Store

WINDOW_DELIVERIES = 500
"""Maximum deliveries that are checked in one slice."""

MARKS = (b'"outbox":', b'"spawns":', b'"assignments":')
"""Every slot record that asks for a delivery contains one of these. One without them need not be parsed."""

KEY_BYTES = 2 + 43 + 1 + keys.SLOT_BYTES + keys.ORDINAL_BYTES
"""The length of the key of a record of a delivery."""


class Delete(NamedTuple):
    """How a flaw is mended: the record is deleted, if it still has these bytes."""

    key: bytes
    raw: bytes


class Seek(NamedTuple):
    """How a flaw is mended: look in the schedules where a delivery went. `delivered` and `held` are what is stored."""

    slot: int
    asked: Asked
    delivered: bytes | None
    held: bytes | None


class Assign(NamedTuple):
    """How a flaw is mended: write which delivery gave `slot` of `process` to a message.

    If `by`, its process, slot and ordinal, is None, it is looked for. `raw` is what is stored.
    """

    process: str
    slot: int
    by: tuple[str, int, int] | None
    raw: bytes | None


class Move(NamedTuple):
    """How a flaw is mended: write the cursor anew, or delete it if it would say nothing. `raw` is what is stored."""

    cursor: Cursor | None
    raw: bytes | None


class Sweep(NamedTuple):
    """How a flaw is mended: all records in a range of keys are deleted, unless `process` is here."""

    process: str
    span: keys.Range


class Flaw(NamedTuple):
    """A finding, and how it is mended."""

    finding: Finding
    remedy: Delete | Seek | Assign | Move | Sweep


def check(open_store: OpenStore, process: str, *, sound: int | None = None) -> Iterator[Flaw]:
    """Yield what is wrong with what pushes remember of the deliveries of a process.

    Results are believed before the slot `sound`; None means all of them.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    if not is_defined(open_store, process):
        return  # the definition has its own finding
    checker = _Checker(open_store, process, keys.LAST_SLOT + 1 if sound is None else sound)
    with open_store() as store:
        bounds, reached = checker.bounds(store), checker.reached(store)
        cursor = checker.cursor(store)
    yield from twice(open_store, checker.cursor_flaws)
    end = min(max(cursor or reached, reached), Cursor(bounds.newest + 1))
    yield from checker.strays(Cursor(0), Cursor(bounds.first))
    at: Cursor = Cursor(bounds.first)
    while at < end:
        start = at
        with open_store() as store:
            flaws, at = checker.part(store, start, end)
        if flaws:
            with open_store() as store:
                again, _ = checker.part(store, start, end)
            yield from (flaw for flaw in flaws if flaw in again)
    yield from checker.strays(end, Cursor(keys.LAST_SLOT + 1))


def is_defined(open_store: OpenStore, process: str) -> bool:
    """Return whether it is known which slots a process owns: its definition, and those it comes from, are right."""
    with open_store() as store:
        try:
            lineage.first_slot(store, process)
        except IntegrityError:
            return False
    return True


def twice(open_store: OpenStore, look: Callable[[Store], list[Flaw]]) -> list[Flaw]:
    """Return the flaws that are there at two looks, each in a session of its own."""
    with open_store() as store:
        flaws = look(store)
    if flaws:
        with open_store() as store:
            again = look(store)
        flaws = [flaw for flaw in flaws if flaw in again]
    return flaws


class Bounds(NamedTuple):
    """The slots that a process owns: the first, and the newest that is scheduled."""

    first: int
    newest: int


def bounds_of(store: Store, process: str) -> Bounds:
    """Return the slots that a process owns. Those that only the head of its schedule says there are count too.

    Raises:
        IntegrityError: its definition is damaged.
    """
    first = lineage.first_slot(store, process)
    last = next((key for key, _ in store.scan(*keys.assignments(process), reverse=True)), None)
    return Bounds(first, max(first - 1 if last is None else keys.slot_of(last), _head_slot(store, process)))


def _head_slot(store: Store, process: str) -> int:
    """Return the slot that a head says is the newest, or -1."""
    raw = store.get(keys.head_key(process))
    try:
        slot = None if raw is None else cache.parse(raw, "schedule's head", process, None).get("slot")
    except IntegrityError:
        return -1
    return slot if type(slot) is int and 0 <= slot <= keys.LAST_SLOT else -1


class _Checker:
    """The check of one process. Each of its methods looks at the store as it is then."""

    def __init__(self, open_store: OpenStore, process: str, sound: int) -> None:
        self._open_store, self._process, self._sound = open_store, process, sound

    def bounds(self, store: Store) -> Bounds:
        """Return the slots that the process owns."""
        return bounds_of(store, self._process)

    # -- the cursor

    def reached(self, store: Store) -> Cursor:
        """Return the place after the last delivery that is recorded and that results ask for."""
        process, bounds = self._process, self.bounds(store)
        return max(self._reached(store, layout(process), bounds) for layout in (keys.delivered, keys.held))

    def _reached(self, store: Store, span: keys.Range, bounds: Bounds) -> Cursor:
        for key, _ in store.scan(*span, reverse=True):
            if len(key) != KEY_BYTES:
                continue
            _, slot, ordinal = keys.place_of(key)
            if not bounds.first <= slot <= bounds.newest:
                continue
            asked = self._asked(store, slot)
            if asked is None or ordinal + 1 < len(asked):
                return Cursor(slot, ordinal + 1)
            if ordinal + 1 == len(asked):
                return Cursor(slot + 1)
        return Cursor(bounds.first)

    def cursor(self, store: Store) -> Cursor | None:
        """Return the cursor of the process; None if it is not what it must be."""
        bounds = self.bounds(store)
        try:
            cursor, _ = deliveries.read_cursor(store, self._process)
        except IntegrityError:
            return None
        return None if self._misplaced(store, cursor, bounds) else cursor

    def cursor_flaws(self, store: Store) -> list[Flaw]:
        """Return what is wrong with the cursor."""
        bounds, reached = self.bounds(store), self.reached(store)
        raw = store.get(keys.cursor_key(self._process))
        try:
            cursor, _ = deliveries.read_cursor(store, self._process)
        except IntegrityError:
            wanted, got = "a slot, and the number of a delivery", text_of(raw or b"")[:100]
        else:
            wanted = self._misplaced(store, cursor, bounds)
            if not wanted and cursor < reached:
                wanted = f"{_cursor_text(reached)} or later: the deliveries before it are recorded"
            got = "nothing" if raw is None else _cursor_text(cursor)
        if not wanted:
            return []
        moved = None if reached == Cursor(bounds.first) else reached
        return [Flaw(Finding(self._process, None, Kind.CURSOR, None, wanted, got), Move(moved, raw))]

    def _misplaced(self, store: Store, cursor: Cursor, bounds: Bounds) -> str:
        """Return where the cursor must be, if it is outside of the schedule or of what its slot asks for; else ""."""
        if cursor.slot < bounds.first:
            return f"slot {bounds.first} or later, the first that is its own"
        if cursor > Cursor(bounds.newest + 1):
            return f"slot {bounds.newest + 1} or before, the next of the schedule"
        asked = self._asked(store, cursor.slot) if cursor.ordinal else None
        if asked is not None and cursor.ordinal >= len(asked):
            return f"one of the {len(asked)} deliveries of slot {cursor.slot}"
        return ""

    def _asked(self, store: Store, slot: int) -> list[Asked] | None:
        """Return what a slot asks for; None if it is not computed, or not sound."""
        raw = cache.read_bytes(store, self._process, slot) if slot < self._sound else None
        return None if raw is None else asked_in(raw, self._process, slot)

    # -- the deliveries

    def part(self, store: Store, start: Cursor, end: Cursor) -> tuple[list[Flaw], Cursor]:
        """Return the flaws of some deliveries from `start` on, before `end`, and where the next part starts."""
        asked, after = self._read(store, start, end)
        kinds = ((Kind.DELIVERED, keys.delivered), (Kind.HELD, keys.held))
        recorded = {kind: self._recorded(store, layout, start, after) for kind, layout in kinds}
        flaws: list[Flaw] = []
        for (slot, ordinal), wanted in asked.items():
            found = [recorded[kind].pop(self._key(kind, slot, ordinal), None) for kind in recorded]
            flaws += self._judge(store, Seek(slot, wanted, *found))
        for kind, left in recorded.items():
            for key, raw in left.items():
                flaws += self._stray(store, kind, key, raw)
        return flaws, after

    def _read(self, store: Store, start: Cursor, end: Cursor) -> tuple[dict[tuple[int, int], Asked], Cursor]:
        """Return what the next slots ask for, by slot and ordinal, and where the next part starts."""
        found: dict[tuple[int, int], Asked] = {}
        length = 0
        span = keys.slot_records(self._process, start.slot, _last_before(end))
        for count, (key, raw) in enumerate(store.scan(*span), 1):
            slot, length = keys.slot_of(key), length + len(raw)
            for wanted in asked_in(raw, self._process, slot) or () if slot < self._sound else ():
                if start <= (slot, wanted.ordinal) < end:
                    if len(found) == WINDOW_DELIVERIES:
                        return found, Cursor(slot, wanted.ordinal)
                    found[slot, wanted.ordinal] = wanted
            if count == WINDOW_SLOTS or length >= WINDOW_BYTES:
                return found, min(Cursor(slot + 1), end)
        return found, end

    def _recorded(
        self, store: Store, layout: Callable[[str, int, int], keys.Range], start: Cursor, end: Cursor
    ) -> dict[bytes, bytes]:
        """Return the records of deliveries from `start` on, before `end`."""
        return {
            key: raw
            for key, raw in store.scan(*layout(self._process, start.slot, _last_before(end)))
            if len(key) != KEY_BYTES or start <= keys.place_of(key)[1:] < end
        }

    def _key(self, kind: Kind, slot: int, ordinal: int) -> bytes:
        layout = keys.delivered_key if kind is Kind.DELIVERED else keys.held_key
        return layout(self._process, slot, ordinal)

    def _judge(self, store: Store, item: Seek) -> list[Flaw]:
        """Return what is wrong with what is stored of a delivery."""
        if item.delivered is not None:
            return self._judge_delivered(store, item, item.delivered)
        if item.held is not None:
            return self._judge_held(item, item.held)
        if self._is_answer(store, item):
            return []
        return [self._flaw(item, Kind.DELIVERED, "one, or the reason why it is held", "nothing")]

    def _judge_held(self, item: Seek, raw: bytes) -> list[Flaw]:
        try:
            held = deliveries.parse_held(raw, self._process, item.slot)
        except IntegrityError as error:
            return [self._flaw(item, Kind.HELD, "the reason why it is held", error.what)]
        target = item.asked.target[:SHOWN]
        # A spawn may wait for the process itself, which tells of it.
        if held.target in (item.asked.target, target) or (
            held.target == self._process and item.asked.kind == delivery.SPAWN
        ):
            return []
        expected, got = (f"the target {name[:SHOWN]!r}" for name in (target, held.target))
        return [self._flaw(item, Kind.HELD, expected, got)]

    def _is_answer(self, store: Store, item: Seek) -> bool:
        """Return whether a message is for one who signed the message that it answers, and who is no process here."""
        wanted = item.asked
        if wanted.kind != delivery.MESSAGE or store.get(keys.definition_key(wanted.target)) is not None:
            return False
        body = message_at(store, self._process, item.slot)
        return body is not None and wanted.target in committers(body)

    def _judge_delivered(self, store: Store, item: Seek, raw: bytes) -> list[Flaw]:
        try:
            went = deliveries.parse_delivered(raw, self._process, item.slot)
        except IntegrityError as error:
            return [self._flaw(item, Kind.DELIVERED, "where it went", error.what)]
        wrong = self._led_astray(store, item, went)
        if wrong is not None:
            return [self._flaw(item, Kind.DELIVERED, *wrong)]
        flaws = self._unassigned(store, item, went)
        if item.held is not None:
            left = Delete(self._key(Kind.HELD, item.slot, item.asked.ordinal), item.held)
            flaw = self._flaw(item, Kind.HELD, "none, for it was delivered", "one")
            flaws.append(flaw._replace(remedy=left))
        return flaws

    def _led_astray(self, store: Store, item: Seek, went: Delivered) -> tuple[str, str] | None:
        """Return what was expected and what was found, if the record of a delivery leads to something else."""
        wanted, is_spawn = item.asked, item.asked.kind == delivery.SPAWN
        if is_spawn != (went.told is not None):
            texts = "a slot that tells of the new process", "no slot that tells of a new process"
            return texts if is_spawn else texts[::-1]
        if not is_spawn and went.process != wanted.target:
            return f"process {wanted.target[:SHOWN]}", went.process
        places = [(went.process, went.slot, wanted.kind)]
        if went.told is not None:
            places.append((self._process, went.told, delivery.SPAWNED))
        for process, slot, kind in places:
            body = message_at(store, process, slot)
            if body is None and _is_scheduled(store, process, slot):
                return None  # that slot has its own finding
            if wanted.kind == delivery.ASSIGNMENT:
                name = str(wanted.content["message"])
                expected, is_right = (
                    f"a slot that has message {name[:SHOWN]}",
                    body is not None and _id_of(body) == name,
                )
            else:
                place = delivery.Place(self._process, item.slot, kind, wanted.place)
                expected = f"a slot that has what {place_text(place)} asks for"
                is_right = body is not None and delivery.origin(body) == place
            if not is_right:
                has = "no message" if body is None else f"message {_id_of(body)}"
                return expected, f"slot {slot} of {process}, which has {has}"
        if went.altered and self._is_unaltered(store, item, went):
            return "that nobody altered it, as it lies there", "that a trap altered it"
        return None

    def _is_unaltered(self, store: Store, item: Seek, went: Delivered) -> bool:
        """Return whether a message is what the results ask for, though its record says that a trap altered it."""
        own, body = message_at(store, self._process, item.slot), message_at(store, went.process, went.slot)
        if own is None or body is None or item.asked.kind != delivery.MESSAGE:
            return False
        try:
            source = delivery.source(self._process, lineage.get_definition(store, self._process))
            root = find_root(store, self._process, item.slot)
            sent = delivery.message(source, item.slot, item.asked, root or str(body.get(delivery.ROOT_KEY)))
            return normalise_message(sent) == without_commitments(body)
        except (IntegrityError, NotFound, Refused):
            return False

    def _unassigned(self, store: Store, item: Seek, went: Delivered) -> list[Flaw]:
        """Return a flaw if nothing says which assignment gave a message a slot of a process that it is not for."""
        if item.asked.kind != delivery.ASSIGNMENT or store.get(keys.assigned_key(went.process, went.slot)) is not None:
            return []
        body = message_at(store, went.process, went.slot)
        is_shared = went.slot < lineage.first_slot(store, went.process)
        if is_shared or body is None or body.get("target") == went.process:
            return []  # it had the slot before
        expected = f"one at slot {went.slot} of {went.process}"
        by = self._process, item.slot, item.asked.ordinal
        flaw = self._flaw(item, Kind.ASSIGNED, expected, "nothing")
        return [flaw._replace(remedy=Assign(went.process, went.slot, by, None))]

    def _flaw(self, item: Seek, kind: Kind, expected: str, got: str) -> Flaw:
        return Flaw(Finding(self._process, item.slot, kind, path_of(item.asked), expected, got), item)

    # -- records that nothing asks for

    def strays(self, start: Cursor, end: Cursor) -> Iterator[Flaw]:
        """Yield the records of deliveries from `start` on, before `end`, that nothing asks for."""
        if _last_before(end) < start.slot:
            return
        for kind, layout in ((Kind.DELIVERED, keys.delivered), (Kind.HELD, keys.held)):
            after: bytes | None
            after, stop = layout(self._process, start.slot, _last_before(end))
            while after is not None:
                with self._open_store() as store:
                    part = list(islice(store.scan(after, stop), WINDOW_DELIVERIES))
                    flaws = [
                        flaw
                        for key, raw in part
                        if len(key) != KEY_BYTES or start <= keys.place_of(key)[1:] < end
                        for flaw in self._stray(store, kind, key, raw)
                    ]
                yield from flaws
                after = part[-1][0] + b"\0" if len(part) == WINDOW_DELIVERIES else None

    def _stray(self, store: Store, kind: Kind, key: bytes, raw: bytes) -> list[Flaw]:
        """Return a flaw if the results ask for no delivery that a record is about."""
        if len(key) != KEY_BYTES:
            finding = Finding(self._process, None, kind, None, f"a key of {KEY_BYTES} bytes", f"{len(key)} bytes")
            return [Flaw(finding, Delete(key, raw))]
        _, slot, ordinal = keys.place_of(key)
        bounds = self.bounds(store)
        if bounds.first <= slot <= bounds.newest:
            asked = self._asked(store, slot)
            if asked is None or ordinal < len(asked):
                return []  # the slot is not computed, or the cursor is behind, which has its own finding
            expected = f"none, for the slot asks for {len(asked)} deliveries"
        else:
            reason = "the slot is not scheduled" if slot > bounds.newest else "another process owns the slot"
            expected = f"none, for {reason}"
        finding = Finding(self._process, slot, kind, str(ordinal), expected, "one")
        return [Flaw(finding, Delete(key, raw))]


def asked_in(raw: bytes, process: str, slot: int) -> list[Asked] | None:
    """Return what a stored slot record asks for; None if it cannot be read."""
    if not any(mark in raw for mark in MARKS):
        return []
    try:
        return delivery.asked(cache.parse_record(raw, process, slot).results)
    except (IntegrityError, ValueError):  # a place with more digits than an integer may be read from
        return None


def message_at(store: Store, process: str, slot: int) -> Message | None:
    """Return the message in a slot; None if there is none that can be read."""
    try:
        raw = store.get(keys.assignment_key(lineage.owner(store, process, slot), slot))
    except (IntegrityError, HomeUnusable):
        return None
    return None if raw is None else body_in(raw)


def _is_scheduled(store: Store, process: str, slot: int) -> bool:
    """Return whether a slot is scheduled, though what is stored of it may be damaged or gone."""
    try:
        return slot <= bounds_of(store, process).newest
    except (IntegrityError, HomeUnusable):
        return True


def _id_of(body: Message) -> str:
    try:
        return message_id(body)
    except Refused:
        return "without an ID"


def _last_before(end: Cursor) -> int:
    """Return the last slot that has a place before `end`."""
    last: int = min(end.slot if end.ordinal else end.slot - 1, keys.LAST_SLOT)
    return last


def _cursor_text(cursor: Cursor) -> str:
    return f"slot {cursor.slot}" + (f", delivery {cursor.ordinal}" if cursor.ordinal else "")
