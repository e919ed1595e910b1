"""The crons of a home: add them, show them, remove them. `cron` sends their ticks.

Invariants:
    Nothing is scheduled here.
    Only the environment says what time it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HbError, HomeUnusable, IntegrityError, NotFound, Refused
from hb.protocol import interval
from hb.records import crons, keys, lineage, names, schedules
from hb.schedule import cron as running
from hb.schedule import intake, scheduler
from hb.storage.store import Batch, retrying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.message import Message
    from hb.records.crons import Cron, Defined
    from hb.schedule.cron import Tools
    from hb.storage.store import OpenStore, Store

DUE, WAITING, TROUBLE, DEFINED = "due", "waiting", "trouble", "defined"
"""States of a cron: its next tick is due, or not yet; it cannot send; a definition asks for it, and it does not run."""


class CronView(NamedTuple):
    """A cron as a list shows it, with its state, and its `trouble` if it cannot send.

    `cron` is None if its record is damaged. A cron that only a definition asks for has `defined`, and no `id`.
    """

    id: str | None
    process: str | None
    state: str
    cron: Cron | None = None
    defined: Defined | None = None
    trouble: HbError | None = None


def add(
    tools: Tools,
    process: str,
    message: Message,
    *,
    time_ms: int,
    is_once: bool,
    missed: str = crons.SKIP,
    key: str,
) -> Cron:
    """Make a cron that sends `message` to `process`: each `time_ms` from now on; or, if `is_once`, at `time_ms`.

    `key` is the name of the key that signs. The message of its first tick is signed here, and not sent.

    Raises:
        NotFound: there is no such process or key.
        Refused: another home schedules for the process; or the message, the interval or the time is not acceptable; or
            the home has too many crons.
    """
    with tools.session() as store:
        target = names.resolve(store, process)
        definition = lineage.get_definition(store, target)
    now_ms = running.now(tools.environment)
    first_ms = time_ms if is_once else now_ms + interval.check(time_ms)
    made = crons.make(
        target,
        key,
        message,
        every_ms=None if is_once else time_ms,
        first_ms=first_ms,
        next_ms=first_ms,
        missed=missed,
        created_ms=now_ms,
        nonce=intake.random_anchor(tools.environment),
    )
    running.prepare(tools, made, made.next_ms, definition)
    _put(tools, made)
    return made


def accept(tools: Tools, process: str, *, missed: str = crons.SKIP, key: str) -> Cron:
    """Make the cron that the definition of `process` asks for. Its ticks count from when the process was spawned.

    Source: AO's compute unit (`isTimestampOnCron`).

    Raises:
        NotFound: there is no such process or key.
        Refused: its definition asks for none, or for one that cannot run here; or it runs already; or as `add`.
    """
    with tools.session() as store:
        target = names.resolve(store, process)
        definition = lineage.get_definition(store, target)
        spawned_ms = schedules.get_assignment(store, target, lineage.first_slot(store, target)).timestamp_ms
    found = crons.find_defined(definition)
    if found is None:
        raise Refused(f"process {target} defines no cron: its definition has no {crons.INTERVAL_TAG}")
    if found.every_ms is None or found.message is None:
        reason = found.trouble.reason if found.trouble is not None else ""
        raise Refused(f"the cron that process {target} defines cannot run here: {reason}")
    first_ms = spawned_ms + found.every_ms
    passed = max(0, (running.now(tools.environment) - spawned_ms) // found.every_ms)
    made = crons.make(
        target,
        key,
        found.message,
        every_ms=found.every_ms,
        first_ms=first_ms,
        next_ms=first_ms + passed * found.every_ms,
        missed=missed,
        created_ms=spawned_ms,
        nonce="",
        is_defined=True,
    )
    running.prepare(tools, made, made.next_ms, definition)
    _put(tools, made)
    return made


def _put(tools: Tools, made: Cron) -> None:
    """Store a new cron."""

    def put(store: Store) -> None:
        count = 0
        for name, raw in crons.stored(store):
            count += 1
            if made.is_defined and _is_defined_by(made.process, name, raw):
                raise Refused(f"the cron that process {made.process} defines runs already: it is {name}")
        if count >= crons.MOST_CRONS:
            raise Refused(f"a home may have {crons.MOST_CRONS:,} crons, and this one has {count:,}")
        key = keys.cron_key(made.id)
        store.commit(Batch(puts={key: made.encode()}, expects={key: None}, sync=True))

    retrying(tools.session, put)
    tools.announce()


def _is_defined_by(process: str, name: str, raw: bytes) -> bool:
    try:
        cron = crons.parse_cron(raw, name)
    except IntegrityError:
        return False  # `views` shows it
    return cron.is_defined and cron.process == process


def remove(session: OpenStore, name: str) -> str:
    """Remove a cron, and return its ID. `name` is its ID or the beginning of it. It can be a damaged one.

    What it has sent stays. No tick of it is sent from now on.

    Raises:
        NotFound: there is no such cron.
        Refused: `name` is no ID, or the beginning of several.
    """

    def delete(store: Store) -> str:
        found, raw = crons.get_stored(store, name)
        key = keys.cron_key(found)
        store.commit(Batch(deletes={key}, expects={key: raw}, sync=True))
        return found

    return retrying(session, delete)


def views(tools: Tools, process: str | None = None) -> list[CronView]:
    """Return the crons of one process or of all: those that run, by their next tick, and then those only defined.

    The next message of each is signed to see whether it can be; nothing is sent.

    Raises:
        NotFound, Refused: as `names.resolve`.
    """
    with tools.session() as store:
        wanted = None if process is None else names.resolve(store, process)
        read = list(_read(store, wanted))
        accepted = {view.process for view, _ in read if view.cron is not None and view.cron.is_defined}
        defined = [view for view in _defined(store, wanted) if view.process not in accepted]
    now_ms = running.now(tools.environment)
    found = [_checked(tools, view, definition, now_ms) for view, definition in read]
    found.sort(key=lambda view: (view.cron is None, 0 if view.cron is None else view.cron.next_ms, str(view.id)))
    return found + defined


def _read(store: Store, wanted: str | None) -> Iterator[tuple[CronView, Message]]:
    """Yield the stored crons, each with the definition of its process, which is empty if there is a trouble."""
    for name, raw in crons.stored(store):
        try:
            cron = crons.parse_cron(raw, name)
        except IntegrityError as error:
            yield CronView(name, None, TROUBLE, trouble=error), {}
            continue
        if wanted not in (None, cron.process):
            continue
        try:
            scheduler.get_head(store, cron.process)
            yield CronView(name, cron.process, WAITING, cron), lineage.get_definition(store, cron.process)
        except (NotFound, IntegrityError) as error:
            yield CronView(name, cron.process, TROUBLE, cron, trouble=error), {}


def _checked(tools: Tools, view: CronView, definition: Message, now_ms: int) -> CronView:
    if view.cron is None or view.trouble is not None:
        return view
    try:
        running.prepare(tools, view.cron, view.cron.next_ms, definition)
    except (NotFound, Refused, HomeUnusable) as error:
        return view._replace(state=TROUBLE, trouble=error)
    return view._replace(state=DUE) if view.cron.next_ms <= now_ms else view


def _defined(store: Store, wanted: str | None) -> Iterator[CronView]:
    for key, raw in store.scan(*keys.definitions(wanted or "")):
        if not crons.may_define(raw):
            continue
        process = keys.text_of(key)
        try:
            found = crons.find_defined(lineage.get_definition(store, process))
        except (NotFound, IntegrityError) as error:
            yield CronView(None, process, TROUBLE, trouble=error)
            continue
        if found is not None:
            yield CronView(None, process, DEFINED, defined=found, trouble=found.trouble)
