"""What is to be delivered next of a process, read from its results.

Invariants:
    Nothing is written, signed or run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.protocol import delivery, outcome
from hb.protocol.commitment import committers
from hb.push.targets import SHOWN
from hb.records import deliveries, keys, links, schedules
from hb.records.deliveries import Cursor, Held, Queued, Used
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.protocol.delivery import Asked, Source
    from hb.protocol.message import Message
    from hb.push.budget import Budget
    from hb.push.targets import Target, Targets
    from hb.records.cache import SlotRecord
    from hb.storage.store import Store

PART_DELIVERIES = 1000
"""Maximum deliveries that are made in one batch."""

PART_SLOTS = 1000
"""Maximum slots that are looked through at once."""

_ASKING = ("outbox", "spawns", "assignments")


class Delivery(NamedTuple):
    """A delivery to be made: of which slot and root, how deep, and to whom.

    `target` is the process that gets the message; of a spawn the one that asks for it, which is told. `content` is the
    message of an assignment, or the image of a spawn. `was_held` says why it was held before, if it was.
    """

    slot: int
    asked: Asked
    root: str
    depth: int
    target: Target
    content: Message | str | None = None
    was_held: str | None = None


class HeldAt(NamedTuple):
    """A delivery that is held: its slot and ordinal, its root, and why."""

    slot: int
    ordinal: int
    root: str
    held: Held


class Entry(NamedTuple):
    """An entry of the queue as it is stored: its key, its bytes, and what they say."""

    key: bytes
    raw: bytes
    queued: Queued


class Plan(NamedTuple):
    """The next deliveries of entries of the queue, all of one process.

    `raw_cursor` are the stored bytes of the process's cursor, and `cursor` where it is afterwards; None if it stays.
    `done` are the entries of which nothing is left afterwards; `rest` is what replaces the first entry, if something
    does. `gas` is what the slots used, by root, and `failed` how many of them have an error as their outcome.
    """

    entries: list[Entry]
    source: Source
    definition: Message
    raw_cursor: bytes | None
    cursor: Cursor | None
    done: list[Entry]
    rest: Queued | None
    deliveries: list[Delivery]
    held: list[HeldAt]
    used: dict[str, tuple[Used, bytes | None]]
    gas: dict[str, int]
    failed: int = 0


class Planner:
    """Reads plans. It remembers what waits for whom, for one push."""

    def __init__(self, targets: Targets, budget: Budget, find_image: Callable[[Store, str], str | None]) -> None:
        self.targets = targets
        self.budget = budget
        self._find_image = find_image
        self._sources: dict[str, Source] = {}
        self._waiting: dict[str, dict[str, dict[tuple[int, int], None]]] = {}

    def plan(self, store: Store, entries: list[Entry]) -> Plan:
        """Return what is to be delivered next for entries that follow each other in the queue, all of one process.

        Their slots are computed. An entry for what is held comes alone.

        Raises:
            IntegrityError: what is stored is damaged.
        """
        first = entries[0].queued
        definition = self.targets.definition(store, first.process)
        source = self._sources.get(first.process)
        if source is None:
            source = self._sources[first.process] = delivery.source(first.process, definition)
        part = _Part(self, store, [entry.queued for entry in entries])
        raw_cursor: bytes | None = None
        cursor: Cursor | None = None
        rest: Queued | None = None
        if first.again is not None:
            rest = part.take_again()
            done = [] if rest else entries
        else:
            before, raw_cursor = deliveries.read_cursor(store, first.process)
            after = part.take_from(before)
            done = [entry for entry in entries if entry.queued.slot < after.slot]
            cursor = None if after == before else after
        return Plan(
            entries, source, definition, raw_cursor, cursor, done, rest,
            part.deliveries, part.held, part.used, part.gas, part.failed,
        )  # fmt: skip

    def waiting(self, store: Store, process: str) -> dict[str, dict[tuple[int, int], None]]:
        """Return the places of a process's deliveries that wait for their targets, in order, by target."""
        found = self._waiting.get(process)
        if found is None:
            found = self._waiting[process] = {}
            for slot, ordinal, held in deliveries.held(store, process):
                if held.reason in deliveries.WAITING:
                    found.setdefault(held.target, {})[slot, ordinal] = None
        return found

    def settle(self, process: str, plan: Plan) -> None:
        """Remember what a plan that was carried out left waiting."""
        waiting = self._waiting.get(process)
        if waiting is None:
            return
        for made in plan.deliveries:
            if made.was_held in deliveries.WAITING:
                waiting.get(made.asked.target, {}).pop((made.slot, made.asked.ordinal), None)
        for slot, ordinal, _, held in plan.held:
            if held.reason in deliveries.WAITING:
                waiting.setdefault(held.target, {})[slot, ordinal] = None

    def image(self, store: Store, name: str) -> str | None:
        """Return the ID of the stored image that a spawn names; None if there is none."""
        return self._find_image(store, name)


class _Asked(NamedTuple):
    """What one slot asks for, the root and the depth of its message, and who signed that."""

    wanted: list[Asked]
    root: str
    depth: int
    signers: frozenset[str]


class _Part:
    """A plan while it is put together."""

    def __init__(self, planner: Planner, store: Store, entries: list[Queued]) -> None:
        self.planner, self.store = planner, store
        self.queued = entries[0]
        self._last = max(queued.slot for queued in entries)
        self._own = {queued.slot: queued for queued in reversed(entries)}
        self.deliveries: list[Delivery] = []
        self.held: list[HeldAt] = []
        self.used: dict[str, tuple[Used, bytes | None]] = {}
        self.gas: dict[str, int] = {}
        self.failed = 0
        self._messages: dict[str, int] = {}
        self._taken: set[tuple[int, int]] = set()
        self._slots: dict[int, _Asked] = {}
        self._with_older: set[str] = set()
        for root in {queued.root for queued in entries}:
            self._use(root)

    def take_from(self, cursor: Cursor) -> Cursor:
        """Take the deliveries from `cursor` on, and return where the next part begins."""
        process = self.queued.process
        if cursor.slot > self._last:
            return cursor
        last = min(self._last, cursor.slot + PART_SLOTS - 1)
        for record in links.records(self.store, process, cursor.slot, last):
            first = cursor.ordinal if record.slot == cursor.slot else 0
            if first == 0 and outcome.failed(record.results):
                self.failed += 1
            asked = self._asked(record, first)
            if first == 0 and asked is not None:
                self.gas[asked.root] = self.gas.get(asked.root, 0) + (record.gas or 0)
            if asked is None:
                continue
            for wanted in asked.wanted:
                if len(self.deliveries) + len(self.held) >= PART_DELIVERIES:
                    return Cursor(record.slot, wanted.ordinal)
                self._decide(record.slot, wanted, asked)
        return Cursor(last + 1)

    def take_again(self) -> Queued | None:
        """Take the deliveries that are held and that the entry is about; return the entry for the rest, if any is
        left."""
        process, slot, first = self.queued.process, self.queued.slot, self.queued.ordinal
        for key, raw in self.store.scan(*keys.held(process, slot, slot)):
            _, _, ordinal = keys.place_of(key)
            if ordinal < first or (self.queued.again == deliveries.ONE and ordinal != first):
                continue
            if len(self.deliveries) + len(self.held) >= PART_DELIVERIES:
                return self.queued._replace(ordinal=ordinal)
            held = deliveries.parse_held(raw, process, slot)
            if held.reason == deliveries.DROPPED:
                continue
            if self.queued.again == deliveries.WAITERS and held.reason not in deliveries.WAITING:
                continue
            self._take_held(slot, ordinal, held)
        return None

    def _take_held(self, slot: int, ordinal: int, held: Held) -> None:
        """Take a delivery that was held. One that was beyond a budget begins anew."""
        asked = self._slots.get(slot)
        if asked is None:
            record = links.read(self.store, self.queued.process, slot)
            asked = None if record is None else self._asked(record, 0)
            if asked is None:
                return
            self._slots[slot] = asked
        depth = 0 if held.reason in deliveries.BUDGETS else max(held.depth - 1, 0)
        if ordinal < len(asked.wanted):
            self._decide(slot, asked.wanted[ordinal], asked._replace(depth=depth), held.reason)

    def _asked(self, record: SlotRecord, first: int) -> _Asked | None:
        """Return what a slot asks for from its delivery `first` on. Return None if it asks for nothing, and no entry of
        the queue is about it."""
        own = self._own.get(record.slot)
        if not any(key in record.results for key in _ASKING):
            return None if own is None else _Asked([], own.root, own.depth, frozenset())
        body = schedules.get_assignment(self.store, self.queued.process, record.slot).body
        wanted = [each for each in delivery.asked(record.results) if each.ordinal >= first]
        root = deliveries.root_at(self.store, self.queued.process, record.slot)
        self._use(root)
        return _Asked(wanted, root, 0 if own is None else own.depth, frozenset(committers(body)))

    def _decide(self, slot: int, wanted: Asked, asked: _Asked, was_held: str | None = None) -> None:
        """Put a delivery with those to be made, or with those that are held."""
        if (slot, wanted.ordinal) in self._taken or self._is_answer(wanted, asked, was_held):
            return
        self._taken.add((slot, wanted.ordinal))
        found = self._find(slot, wanted, asked.root, asked.depth + 1, was_held)
        if isinstance(found, Held):
            if found.reason != was_held:
                self.held.append(HeldAt(slot, wanted.ordinal, asked.root, found))
            return
        if was_held is None:
            self._take_older(wanted)
        self.deliveries.append(found)
        self._messages[asked.root] = self._messages.get(asked.root, 0) + 1

    def _is_answer(self, wanted: Asked, asked: _Asked, was_held: str | None) -> bool:
        """Return whether a message is for who signed the message that it answers, and who is no process here.

        It is in the results, where its reader finds it: nobody delivers it.
        """
        if wanted.kind != delivery.MESSAGE or wanted.target not in asked.signers or was_held is not None:
            return False
        return self.store.get(keys.definition_key(wanted.target)) is None

    def _find(self, slot: int, wanted: Asked, root: str, depth: int, was_held: str | None) -> Delivery | Held:
        used, budget = self._use(root), self.planner.budget
        used = used._replace(messages=used.messages + self._messages.get(root, 0), gas=used.gas + self.gas.get(root, 0))
        reason = budget.exceeded(used, depth)
        if reason is not None:
            return Held(reason, budget.sentence(reason), wanted.target[:SHOWN], depth)
        content: Message | str | None = None
        is_spawn = wanted.kind == delivery.SPAWN
        if is_spawn:
            content = self.planner.image(self.store, wanted.target)
            if content is None:
                name = wanted.target[:SHOWN]
                if not name:
                    return Held(deliveries.REFUSED, "it names no image, under `module`", name, depth)
                return Held(deliveries.IMAGE, f"no image {name!r} is stored here", name, depth)
        target = self.planner.targets.find(self.store, self.queued.process if is_spawn else wanted.target, depth)
        if isinstance(target, Held):
            return target
        if wanted.kind == delivery.ASSIGNMENT:
            name = str(wanted.content["message"])
            content = scheduler.find_message(self.store, name)
            if content is None:
                return Held(deliveries.MISSING, f"no message {name[:SHOWN]!r} is here", wanted.target, depth)
        return Delivery(slot, wanted, root, depth, target, content, was_held)

    def _take_older(self, wanted: Asked) -> None:
        """Take first what waited for the same target: two messages never change their order."""
        process = self.queued.process
        waiting = self.planner.waiting(self.store, process).get(wanted.target)
        if not waiting or wanted.target in self._with_older:
            return
        self._with_older.add(wanted.target)
        for slot, ordinal in waiting:
            held = deliveries.find_held(self.store, process, slot, ordinal)
            if held is not None:
                self._take_held(slot, ordinal, held)

    def _use(self, root: str) -> Used:
        if root not in self.used:
            self.used |= deliveries.read_used(self.store, [root])
        return self.used[root][0]
