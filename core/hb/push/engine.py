"""Push: deliver what the results of slots ask for, compute what that reaches, and go on until nothing is left.

The first entry of the queue is next, whoever delivers. Its slot is computed; then what its results ask for is
scheduled in one batch, together with where it went, the cursor, and the new entries of the queue. So after a crash the
next push goes on where the last one was, and two programs that push one home do each delivery once, in one order.

Invariants:
    What is delivered is read from what is stored.
    No module runs, and nothing is signed, while the store is open.

Source: HyperBEAM's `dev_push`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from hb.cancellation import NEVER
from hb.compute import driver
from hb.errors import Conflict, HbError, IntegrityError, Interrupted, NotFound
from hb.protocol import delivery
from hb.protocol.message import dumps
from hb.push import queue
from hb.push.ahead import THREADS, Computing
from hb.push.making import Made, Maker
from hb.push.plan import Entry, HeldAt, Plan, Planner
from hb.push.targets import Targets
from hb.records import cache, deliveries, keys
from hb.records.deliveries import Delivered, Queued
from hb.schedule import scheduler
from hb.storage.store import MOST_TRIES, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.protocol.commitment import Key
    from hb.push.budget import Budget
    from hb.push.trap import TrapDelivery, Verdict
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import Store

AHEAD_SLOTS = 64
"""Maximum slots of a process that are computed ahead of the entry of the queue."""

WINDOW_ENTRIES = 1000
"""Maximum entries of the queue that are looked at to find one that can go on."""

PATIENCE_S = 2.0
"""For how long all deliveries wait for one that is slow to compute, so that their order depends on no clock."""

LOOK_S = 0.2
"""How long to wait for a process that is being computed, before another look at the queue."""

INTERRUPTED = "the push was interrupted; the next one goes on where it was"

SYNC_S = 1.0
"""Deliveries are on the disk at least this often, in seconds; and when the push ends."""


class Options(NamedTuple):
    """What a push uses beside the context: the world, the budget, and what a test or a person wants to see.

    `find_key` returns the key of this home that has one of some addresses. `images` names images that programs may
    name in a spawn. `on_delivery` is called after each delivery that was made. Deliveries wait for a process that is
    slow to compute for `patience_s` seconds, and then overtake it; with None they never do, so that their order depends
    on no clock.
    """

    environment: Environment
    budget: Budget
    find_key: Callable[[set[str]], Key | None]
    images: dict[str, str]
    on_delivery: Callable[[Made, Delivered], None] | None = None
    trap: Callable[[TrapDelivery], Verdict] | None = None
    patience_s: float | None = PATIENCE_S


class Stop(NamedTuple):
    """A budget that was used up: whose root, which budget, and the slot whose results were not delivered."""

    root: str
    reason: str
    says: str
    process: str
    slot: int


@dataclass
class Pushed:
    """What a push did. `stops` has the first stop of each root; `troubles` why a process could not be computed."""

    delivered: int = 0
    spawned: int = 0
    held: int = 0
    failed: int = 0
    stops: dict[str, Stop] = field(default_factory=dict)
    troubles: dict[str, HbError] = field(default_factory=dict)


def push(context: Context, options: Options, *, root: str | None = None) -> Pushed:
    """Deliver until the queue is empty, or until nothing of `root` is left in it. Call it inside `context.run`.

    A process that cannot be computed keeps its entries; the others go on.

    Raises:
        Interrupted: it was cancelled. What was delivered stays, and the next push goes on.
        HomeBusy, HomeUnusable, IntegrityError: as `Context.session`.
    """
    pusher = _Pusher(context, options)
    try:
        while pusher.step(root):
            pass
    finally:
        pusher.close()
    return pusher.result()


class _Pusher:
    """One push, as it goes on."""

    def __init__(self, context: Context, options: Options) -> None:
        self._context = context
        self._options = options
        key = context.scheduler_key()
        self._key = key
        targets = Targets(key, options.find_key)
        self._planner = Planner(targets, options.budget, self._find_image)
        self._maker = Maker(context, options.environment, key, options.trap)
        self._synced_s = monotonic()
        self._is_unsynced = False
        self._tries = 0
        self._computing = Computing(context)
        self._touched: set[str] = set()
        self.done = Pushed()

    def step(self, root: str | None) -> bool:
        """Do the next thing that is to be done; return whether there was one."""
        if self._context.cancellation.is_cancelled:
            raise Interrupted(INTERRUPTED)
        with self._context.session() as store:
            if root is not None and store.get(keys.root_key(root)) is None:
                return False
            found = self._next(store)
        if found is None:
            return False
        if isinstance(found, Plan):
            self._carry_out(found)
        else:
            self._compute(found)
        return True

    def close(self) -> None:
        """Stop what is still computed, and put on the disk what is not yet there."""
        self._computing.close()
        for process in sorted(self._touched):
            driver.keep_image(self._context.replace(cancellation=NEVER), process)
        self.sync()

    def result(self) -> Pushed:
        """Return what was done."""
        self.done.troubles |= self._planner.targets.damaged
        return self.done

    def sync(self) -> None:
        """Put everything on the disk that is not yet there."""
        if self._is_unsynced:
            with self._context.replace(cancellation=NEVER).session() as store:
                store.commit(Batch(sync=True))
            self._is_unsynced = False
        self._synced_s = monotonic()

    def _next(self, store: Store) -> Plan | list[tuple[str, int]] | None:
        """Return the plan of the entry that is next, or what is to be computed first: processes, and up to which slots.
        Return None if nothing is left."""
        behind: dict[str, int] = {}
        passed: set[str] = set()
        entries = (Entry(*entry) for entry in islice(deliveries.queue(store), WINDOW_ENTRIES))
        for entry in entries:
            queued, process = entry.queued, entry.queued.process
            if process in self.done.troubles or process in passed:
                continue
            try:
                ahead = self._ahead(store, queued)
                if ahead is None and (not passed or self._may_overtake(next(iter(behind)))):
                    return self._planner.plan(store, [entry, *self._others(store, queued, entries)])
            except (IntegrityError, NotFound) as error:
                self.done.troubles[process] = error
                continue
            passed.add(process)
            if ahead is not None:
                behind[process] = ahead
            if len(behind) >= THREADS and not self._may_overtake(next(iter(behind))):
                break
        return list(behind.items()) or None

    def _others(self, store: Store, first: Queued, after: Iterator[Entry]) -> Iterator[Entry]:
        """Yield the entries that follow `first` at once, as long as they are of its process and computed too."""
        newest = cache.latest(store, first.process)
        if first.again is not None or newest is None:
            return
        for entry in after:
            queued = entry.queued
            if queued.process != first.process or queued.again is not None or queued.slot > newest:
                return
            yield entry

    def _may_overtake(self, process: str) -> bool:
        """Return whether the entries after those of `process`, the first of the queue, need not wait for it longer."""
        patience_s = self._options.patience_s
        return patience_s is not None and self._computing.seconds(process) > patience_s

    def _ahead(self, store: Store, queued: Queued) -> int | None:
        """Return up to which slot the process is to be computed first; None if the entry's slot is computed."""
        if cache.is_computed(store, queued.process, queued.slot):
            return None
        newest = scheduler.get_head(store, queued.process).slot
        return max(queued.slot, min(newest, queued.slot + AHEAD_SLOTS))

    def _compute(self, behind: list[tuple[str, int]]) -> None:
        """Compute these processes: one alone on this thread, several at once."""
        self._touched |= {process for process, _ in behind}
        if len(behind) == 1 and not self._computing:
            process, slot = behind[0]
            try:
                driver.compute(self._context, process, slot, is_followed=True)
            except Interrupted as error:
                raise Interrupted(INTERRUPTED) from error
            except HbError as error:
                self.done.troubles[process] = error
            return
        for process, slot in behind:
            self._computing.start(process, slot)
        for process, failure in self._computing.wait(LOOK_S).items():
            if isinstance(failure, Interrupted):
                raise Interrupted(INTERRUPTED) from failure
            if isinstance(failure, HbError):
                self.done.troubles[process] = failure
            elif failure is not None:
                raise failure

    def _carry_out(self, plan: Plan) -> None:
        made: list[Made] = []
        held = list(plan.held)
        for wanted in plan.deliveries:
            found = self._maker.make(plan, wanted)
            if isinstance(found, Made):
                made.append(found)
            elif found.reason != wanted.was_held:
                held.append(HeldAt(wanted.slot, wanted.asked.ordinal, wanted.root, found))
        plan = plan._replace(held=held)
        try:
            with self._context.session() as store:
                went = self._commit(store, plan, made)
        except IntegrityError as error:
            if not self._mark_damaged({each.process for each in made}):
                self.done.troubles[plan.source.process] = error
            return
        except Conflict:  # another push was faster: look again
            self._tries += 1
            if self._tries >= MOST_TRIES:
                raise
            return
        self._tries = 0
        self._settle(plan, made, went)

    def _mark_damaged(self, processes: set[str]) -> bool:
        """Leave out those of the processes whose schedule is damaged; return whether there are any."""
        found = False
        for process in processes:
            try:
                with self._context.session() as store:
                    scheduler.find_head(store, process)
            except IntegrityError as error:
                self._planner.targets.leave_out(process, error)
                found = True
        return found

    def _commit(self, store: Store, plan: Plan, made: list[Made]) -> list[Delivered]:
        """Write everything that the plan leads to, in one batch; return where the deliveries went."""
        batch = Batch(expects={entry.key: entry.raw for entry in plan.entries})
        went = self._schedule(store, batch, made)
        process, entries = plan.source.process, []
        for each, (at, is_fresh) in zip(made, went, strict=True):
            slot, ordinal = each.delivery.slot, each.delivery.asked.ordinal
            batch.puts[keys.delivered_key(process, slot, ordinal)] = at.encode()
            if each.delivery.was_held is not None:
                batch.deletes.add(keys.held_key(process, slot, ordinal))
            if each.delivery.asked.kind == delivery.ASSIGNMENT and is_fresh:
                batch.puts[keys.assigned_key(at.process, at.slot)] = deliveries.encode_assigned(process, slot, ordinal)
            root, depth = each.delivery.root, each.delivery.depth
            entries.append(Queued(at.process, at.slot, root, depth))
            if at.told is not None:
                entries.append(Queued(process, at.told, root, depth))
        for slot, ordinal, _, held in plan.held:
            batch.puts[keys.held_key(process, slot, ordinal)] = held.encode()
        queue.append(store, batch, entries)
        batch.deletes.update(entry.key for entry in plan.done)
        if plan.rest is not None:
            batch.puts[plan.entries[0].key] = plan.rest.encode()
        self._count(batch, plan, entries, made)
        if plan.cursor is not None:
            batch.puts[keys.cursor_key(process)] = plan.cursor.encode()
            batch.expects[keys.cursor_key(process)] = plan.raw_cursor
        store.commit(batch)
        return [at for at, _ in went]

    def _schedule(self, store: Store, batch: Batch, made: list[Made]) -> list[tuple[Delivered, bool]]:
        """Give each message its slot in `batch`, process by process. Return where each went, and whether it had no slot
        there before."""
        for each in made:
            if each.child is not None and store.get(keys.head_key(each.child.scheduled.process)) is None:
                batch.puts |= each.child.opened.puts
                batch.expects |= each.child.opened.expects
                batch.puts[keys.definition_key(each.child.scheduled.process)] = dumps(each.child.definition)
        by_process: dict[str, list[int]] = {}
        for number, each in enumerate(made):
            by_process.setdefault(each.process, []).append(number)
        slots: dict[int, Scheduled] = {}
        for process, numbers in by_process.items():
            messages = [made[number].prepared for number in numbers]
            given = scheduler.put_all(
                store, batch, process, messages, key=self._key, environment=self._options.environment
            )
            slots |= dict(zip(numbers, given, strict=True))
        return [(_went(each, slots[number]), slots[number].fresh) for number, each in enumerate(made)]

    def _count(self, batch: Batch, plan: Plan, entries: list[Queued], made: list[Made]) -> None:
        """Put what the roots have used into `batch`. A root of which nothing is left in the queue is forgotten."""
        for root, (before, raw) in plan.used.items():
            count = before.entries + sum(entry.root == root for entry in entries)
            count -= sum(entry.queued.root == root for entry in plan.done)
            used = deliveries.Used(
                before.messages + sum(each.delivery.root == root for each in made),
                before.gas + plan.gas.get(root, 0),
                max(count, 0),
            )
            key = keys.root_key(root)
            batch.expects[key] = raw
            if used.entries:
                batch.puts[key] = used.encode()
            elif raw is not None:
                batch.deletes.add(key)

    def _settle(self, plan: Plan, made: list[Made], went: list[Delivered]) -> None:
        self._planner.settle(plan.source.process, plan)
        self._is_unsynced = True
        self.done.delivered += len(made)
        self.done.spawned += sum(each.child is not None for each in made)
        self.done.held += len(plan.held)
        self.done.failed += plan.failed
        process = plan.source.process
        for slot, _, root, held in plan.held:
            if held.reason in deliveries.BUDGETS:
                self.done.stops.setdefault(root, Stop(root, held.reason, held.says, process, slot))
        if made:
            self._context.storage.announce()
        if self._options.on_delivery is not None:
            for each, at in zip(made, went, strict=True):
                self._options.on_delivery(each, at)
        if monotonic() - self._synced_s >= SYNC_S:
            self.sync()

    def _find_image(self, store: Store, name: str) -> str | None:
        """Return the ID of the stored image that a program names, by its ID or by a name in the settings."""
        image = self._options.images.get(name, name)
        return image if store.get(keys.image_key(image)) is not None else None


def _went(made: Made, scheduled: Scheduled) -> Delivered:
    if made.child is None:
        return Delivered(made.process, scheduled.slot, None, made.altered)
    return Delivered(made.child.scheduled.process, 0, scheduled.slot)
