"""Forks: processes that share another's history up to a slot and continue on their own.

The message in a fork's first own slot is its definition. That slot has the state of the slot before it. Nothing of the
origin is copied. Slots of the origin that were not computed are computed; otherwise the origin does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import driver, spawning
from hb.errors import Conflict, IntegrityError, NotFound, Refused
from hb.history import references
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.definition import Origin
from hb.records import keys, lineage, links, names, schedules
from hb.schedule import scheduler

if TYPE_CHECKING:
    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.protocol.message import Message
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import Store


class _Left(NamedTuple):
    """Where a fork leaves: the origin's slot and hashpath, its definition, the head of its schedule at that slot, and
    the stored assignment of the slot."""

    origin: Origin
    definition: Message
    head: scheduler.Head
    assignment: bytes | None


def fork(
    context: Context,
    process: str,
    slot: str | int,
    *,
    signer: Key,
    environment: Environment,
    module: bytes | None = None,
    force: bool = False,
    tags: Message | None = None,
    anchor: str | None = None,
    name: str | None = None,
    replace: bool = False,
) -> Scheduled:
    """Make a process that shares the history of `process` up to `slot`. The slot is computed if it was not.

    Its definition is signed by `signer` and is the message in its first own slot, the one after `slot`. If `module` is
    given, the bytes of an image, the fork runs it from there on; with `force` also if its data lie in other places. A
    fork that is repeated with the same anchor is the same process, and is not made twice. With `replace`, `name` moves
    here from the process that has it.

    Raises:
        NotFound: there is no such process or slot.
        Refused: a tag, the name or the module is not acceptable, the module cannot take over the state, or the process
            has as many ancestors as one may have.
        Interrupted, IntegrityError: as `driver.compute`.
    """
    if name is not None:
        names.check(name)
    pid, number = references.resolve(context.session, process, slot)
    with context.session() as store:
        owner = lineage.owner(store, pid, number)
        if len(lineage.segments(store, owner)) > lineage.MOST_ORIGINS:
            raise Refused(f"a process comes from {lineage.MOST_ORIGINS} others at the most, and {owner} does already")
    driver.ensure_computed(context, pid, number)
    with context.session() as store:
        left = _left(store, owner, number)
    scheduler_key = context.scheduler_key()
    taken = code = None
    if module is not None:
        from hb.history import upgrade
        from hb.records import images

        taken = images.take(module)
        code = upgrade.code(context, left.definition, left.origin, taken, force=force)
    definition = sign(
        definitions.fork(
            left.definition,
            left.origin,
            scheduler=scheduler_key.address,
            anchor=ids.encode(environment.random_bytes(16)) if anchor is None else anchor,
            tags=tags or {},
            code=code,
        ),
        signer,
    )
    opened, scheduled, _ = scheduler.open_schedule(
        message_id(definition), definition, key=scheduler_key, environment=environment, after=left.head
    )
    # The slot may have been removed meanwhile.
    opened.expects[keys.assignment_key(owner, number)] = left.assignment
    stored = {} if taken is None else taken.stored
    try:
        made = spawning.keep(context.session, definition, opened, scheduled, stored, name, replace=replace)
    except Conflict as error:
        raise NotFound(f"slot {number} of process {owner} was removed meanwhile") from error
    context.storage.announce()
    return made


def _left(store: Store, owner: str, slot: int) -> _Left:
    record = links.read(store, owner, slot)
    if record is None:
        raise IntegrityError("a slot that was just computed is gone", process=owner, slot=slot)
    return _Left(
        Origin(owner, slot, record.hashpath),
        lineage.get_definition(store, owner),
        scheduler.head_after(schedules.get_assignment(store, owner, slot)),
        store.get(keys.assignment_key(owner, slot)),
    )
