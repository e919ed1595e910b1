"""Send the messages of crons on time: each tick at most once, however many programs do it.

A tick is scheduled in the same batch that moves its cron's record on, and that batch states the record that was read.
So a program that comes too late finds the record moved. The ticks of all crons are sent in the order of their times:
ticks that are made up later get their slots in the order that they would have had.

Invariants:
    Only the environment says what time it is.
    A cron that cannot send keeps no other from sending.
    Messages are signed before the store is opened.
"""

from __future__ import annotations

from functools import cache
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from hb.cancellation import NEVER, Cancellation
from hb.errors import Conflict, HbError, HomeUnusable, IntegrityError, NotFound, Refused
from hb.records import crons, keys, lineage
from hb.schedule import intake, scheduler
from hb.storage.store import MOST_TRIES, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hb.environment import Environment
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.records.crons import Cron
    from hb.schedule.intake import Prepared
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import OpenStore, Store

PART_TICKS = 1000
"""Maximum ticks that are signed and synced as one batch."""

TRY_AGAIN_MS = 60_000
"""How long `run_due` leaves out a cron that could not send, in milliseconds."""

_TROUBLES = (NotFound, Refused, IntegrityError, HomeUnusable)
"""What keeps one cron from sending. `HomeUnusable` only counts where its key is read."""


class Tools(NamedTuple):
    """What crons are run with.

    `get_key(name)` returns the key of this home with that name, as `Keys.key`; `scheduler` is the name of the one that
    signs assignments. A message may have `limit_bytes`. `announce` is called when something was scheduled.
    """

    session: OpenStore
    get_key: Callable[[str], Key]
    scheduler: str
    environment: Environment
    limit_bytes: int
    announce: Callable[[], None]
    cancellation: Cancellation = NEVER


class Tick(NamedTuple):
    """A tick that was sent: the ID of its cron, its time, and the slot that its message got."""

    cron: str
    process: str
    slot: int
    message: str
    tick_ms: int


class Trouble(NamedTuple):
    """A cron that cannot send its ticks, and why. `process` is None if its record is damaged.

    `at_ms` is when that was found out.
    """

    cron: str
    process: str | None
    error: HbError
    at_ms: int


class Entry(NamedTuple):
    """A cron, and the stored bytes that it was read from."""

    cron: Cron
    raw: bytes


class _Letter(NamedTuple):
    """A tick and its message, ready to be scheduled."""

    entry: Entry
    tick_ms: int
    prepared: Prepared


def ignore(event: object) -> None:
    """Do nothing: for a caller that wants to hear nothing."""


def now(environment: Environment) -> int:
    """Return the time of the environment, in milliseconds since 1970."""
    return environment.now_ms() if environment.timestamp_ms is None else environment.timestamp_ms


def run(
    tools: Tools,
    *,
    process: str | None = None,
    on_tick: Callable[[Tick], None] = ignore,
    on_trouble: Callable[[Trouble], None] = ignore,
) -> list[Tick]:
    """Send every tick that is due now, of one process or of all. Return what was sent, in order.

    Raises:
        Interrupted: it was cancelled. What was sent stays.
        HomeBusy, HomeUnusable, IntegrityError: as `Storage.session`.
    """
    now_ms = now(tools.environment)
    runner, sent = _Runner(tools, {}, on_trouble, None if process is None else {process}), []
    while (part := runner.send_part(now_ms)) is not None:
        for tick in part:
            on_tick(tick)
        sent += part
    return sent


def run_due(
    tools: Tools,
    troubles: dict[str, Trouble],
    *,
    chosen: Collection[str] | None = None,
    on_tick: Callable[[Tick], None] = ignore,
    on_trouble: Callable[[Trouble], None] = ignore,
) -> int | None:
    """Send at most `PART_TICKS` ticks that are due, of the `chosen` processes or of all. Return when to call this
    again, in milliseconds since 1970; None if nothing will be due.

    For whoever lives long, and calls it before it waits; what is stored meanwhile may be due sooner. `troubles` belongs
    to the caller, and keeps the crons that cannot send. Each is tried again, and told again, after a while.

    Raises:
        Interrupted, HomeBusy, HomeUnusable, IntegrityError: as `run`.
    """
    now_ms = now(tools.environment)
    for name, trouble in list(troubles.items()):
        if now_ms - trouble.at_ms >= TRY_AGAIN_MS:
            del troubles[name]
    runner = _Runner(tools, troubles, on_trouble, chosen)
    part = runner.send_part(now_ms)
    if part is None:
        return runner.next_ms
    for tick in part:
        on_tick(tick)
    return now_ms


def due(entries: Iterable[Entry], now_ms: int) -> list[tuple[Entry, int]]:
    """Return the ticks that are due at `now_ms`, in the order of their times: those of one batch.

    Of several missed ticks of a cron, they are all, or only the newest, as the cron says.
    """
    waiting = [
        (cron.next_ms if cron.missed == crons.RUN else cron.newest(now_ms), cron.created_ms, cron.id, entry)
        for entry in entries
        if (cron := entry.cron).next_ms <= now_ms
    ]
    heapify(waiting)
    found: list[tuple[Entry, int]] = []
    size = 0
    while waiting and len(found) < PART_TICKS and size < scheduler.PART_BYTES:
        tick_ms, created_ms, name, entry = heappop(waiting)
        found.append((entry, tick_ms))
        size += len(entry.raw)
        after = entry.cron.after(tick_ms)
        if after is not None and after <= now_ms:
            heappush(waiting, (after, created_ms, name, entry))
    return found


def prepare(tools: Tools, cron: Cron, tick_ms: int, definition: Message) -> Prepared:
    """Return the signed message of a tick, for the process of `definition`.

    Raises:
        NotFound, HomeUnusable: there is no such key, or it cannot be read.
        Refused: another home schedules for the process, or the message is not acceptable.
    """
    scheduler.check_scheduler(definition, cron.process, tools.get_key(tools.scheduler))
    key = tools.get_key(cron.key)
    try:
        return intake.prepare(cron.tick(tick_ms), definition, key, 1, tools.limit_bytes, tools.environment)
    except Refused as error:
        raise type(error)(error.reason, hint=error.hint) from error


class _Runner:
    """Sends ticks, part by part. `next_ms` is when the next tick is due, as it was read last."""

    def __init__(
        self,
        tools: Tools,
        troubles: dict[str, Trouble],
        on_trouble: Callable[[Trouble], None],
        chosen: Collection[str] | None,
    ) -> None:
        self._tools = tools._replace(get_key=cache(tools.get_key))
        self._troubles = troubles
        self._on_trouble = on_trouble
        self._chosen = chosen
        self._definitions: dict[str, Message] = {}
        self.next_ms: int | None = None

    def send_part(self, now_ms: int) -> list[Tick] | None:
        """Send a batch of what is due, and return it; None if nothing is due."""
        for tries in range(1, MOST_TRIES + 1):
            self._tools.cancellation.check("sending ticks")
            with self._tools.session() as store:
                ticks = due(self._read(store, now_ms), now_ms)
                letters = [(entry, tick_ms) for entry, tick_ms in ticks if self._define(store, entry.cron, now_ms)]
            if not ticks:
                return None
            signed = self._sign(letters, now_ms)
            try:
                return self._send(signed, now_ms)
            except Conflict:  # another program was faster: look again
                if tries == MOST_TRIES:
                    raise
        raise AssertionError("the loop returns or raises")

    def _read(self, store: Store, now_ms: int) -> list[Entry]:
        """Return the crons that are due. Note when the next of the others is."""
        found, self.next_ms = [], None
        for name, raw in crons.stored(store):
            if name in self._troubles:
                continue
            try:
                cron = crons.parse_cron(raw, name)
            except IntegrityError as error:
                self._trouble(Trouble(name, None, error, now_ms))
                continue
            if self._chosen is not None and cron.process not in self._chosen:
                continue
            if cron.next_ms <= now_ms:
                found.append(Entry(cron, raw))
            elif self.next_ms is None or cron.next_ms < self.next_ms:
                self.next_ms = cron.next_ms
        return found

    def _define(self, store: Store, cron: Cron, now_ms: int) -> bool:
        """Read the definition of the cron's process, and return whether there is one."""
        if cron.process not in self._definitions and cron.id not in self._troubles:
            try:
                self._definitions[cron.process] = lineage.get_definition(store, cron.process)
            except (NotFound, IntegrityError) as error:
                self._trouble(Trouble(cron.id, cron.process, error, now_ms))
        return cron.process in self._definitions

    def _sign(self, ticks: Iterable[tuple[Entry, int]], now_ms: int) -> list[_Letter]:
        letters = []
        for entry, tick_ms in ticks:
            cron = entry.cron
            if cron.id in self._troubles:
                continue
            try:
                prepared = prepare(self._tools, cron, tick_ms, self._definitions[cron.process])
                letters.append(_Letter(entry, tick_ms, prepared))
            except _TROUBLES as error:
                self._trouble(Trouble(cron.id, cron.process, error, now_ms))
        return letters

    def _send(self, letters: list[_Letter], now_ms: int) -> list[Tick]:
        """Schedule these messages and move their crons on, in one batch. Return what was sent."""
        if not letters:
            return []
        batch = Batch(sync=True)
        with self._tools.session() as store:
            slots = self._schedule(store, batch, letters, now_ms)
            sent: dict[str, list[tuple[int, int]]] = {}
            for number, scheduled in slots.items():
                sent.setdefault(letters[number].entry.cron.id, []).append((letters[number].tick_ms, scheduled.slot))
            for entry in {letter.entry.cron.id: letter.entry for letter in letters}.values():
                if entry.cron.id in sent:
                    _move(batch, entry, sent[entry.cron.id])
            if slots:
                store.commit(batch)
        if slots:
            self._tools.announce()
        return [
            Tick(letter.entry.cron.id, at.process, at.slot, at.message, letter.tick_ms)
            for number, letter in enumerate(letters)
            if (at := slots.get(number)) is not None
        ]

    def _schedule(self, store: Store, batch: Batch, letters: list[_Letter], now_ms: int) -> dict[int, Scheduled]:
        """Put the messages into `batch`, process by process; return where each went, by its number."""
        key = self._tools.get_key(self._tools.scheduler)
        numbers: dict[str, list[int]] = {}
        for number, letter in enumerate(letters):
            numbers.setdefault(letter.entry.cron.process, []).append(number)
        slots: dict[int, Scheduled] = {}
        for process, some in numbers.items():
            part, messages = Batch(), [letters[number].prepared for number in some]
            try:
                given = scheduler.put_all(store, part, process, messages, key=key, environment=self._tools.environment)
            except (NotFound, Refused, IntegrityError) as error:
                for name in {letters[number].entry.cron.id: None for number in some}:
                    self._trouble(Trouble(name, process, error, now_ms))
                continue
            batch.puts |= part.puts
            batch.expects |= part.expects
            slots |= dict(zip(some, given, strict=True))
        return slots

    def _trouble(self, trouble: Trouble) -> None:
        self._troubles[trouble.cron] = trouble
        self._on_trouble(trouble)


def _move(batch: Batch, entry: Entry, sent: list[tuple[int, int]]) -> None:
    """Have `batch` move a cron past the ticks that were sent: each with its slot, in order. After its last tick, a cron
    is gone."""
    cron, key = entry.cron, keys.cron_key(entry.cron.id)
    (first_ms, _), (last_ms, last_slot) = sent[0], sent[-1]
    skipped = 0 if cron.every_ms is None else (first_ms - cron.next_ms) // cron.every_ms
    next_ms = cron.after(last_ms)
    batch.expects[key] = entry.raw
    if next_ms is None:
        batch.deletes.add(key)
        return
    batch.puts[key] = cron._replace(
        next_ms=next_ms,
        last_ms=last_ms,
        last_slot=last_slot,
        sent=cron.sent + len(sent),
        skipped=cron.skipped + skipped,
    ).encode()
