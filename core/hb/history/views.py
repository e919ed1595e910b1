"""The past of a process as it is stored, slot by slot: what came in and what came out.

Invariants:
    Nothing is computed or written here.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import definition as definitions
from hb.protocol.commitment import committers, message_id
from hb.records import cache, keys, lineage, links, names, schedules
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.assignment import Assignment
    from hb.protocol.definition import Origin
    from hb.protocol.message import Message, Value
    from hb.records.cache import SlotRecord
    from hb.storage.store import OpenStore, Store

_REFERENCE = r"now(?:~([0-9]{1,20}))?"
_NUMBER = r"[0-9]{1,20}"
_PREFIX = r"[A-Za-z0-9_-]{6,42}"
_SHOWN = 10
LISTED_AT_ONCE = 20
"""Maximum processes that one session of a list reads."""


class StateView(NamedTuple):
    """The state of a process at a slot: the message that it is, its hashpath, and the slot's record."""

    process: str
    slot: int
    state: Message
    hashpath: str
    record: SlotRecord


class ProcessView(NamedTuple):
    """A process as a list shows it. `slots` counts the scheduled slots; `computed` is the newest computed slot, or
    None.

    `origin` is where it left another process, if it is a fork. `trouble` says what is damaged, if something is; then
    only `process` and `names` are known.
    """

    process: str
    names: list[str]
    slots: int
    computed: int | None
    image: str
    devices: list[str]
    spawned_ms: int
    latest_ms: int
    origin: Origin | None = None
    trouble: IntegrityError | None = None


class SlotView(NamedTuple):
    """One slot: its assignment, and what computing it gave. If it is not computed, `computed` is False and the rest is
    None.

    `sender` is the address that signed the message. `state` holds the public keys. `changed` is False if the slot
    changed nothing. `image` says whether a memory image is stored. `origin` says where a fork left another process; it
    is set at the fork's first own slot.
    """

    process: str
    slot: int
    timestamp_ms: int
    sender: str | None
    message: str
    assignment: str
    action: str | None
    parameters: list[Value]
    data: Value = None
    computed: bool = False
    hashpath: str | None = None
    results: Message | None = None
    state: Message | None = None
    changed: bool | None = None
    gas: int | None = None
    image: bool = False
    origin: Origin | None = None


def resolve_slot(store: Store, process: str, reference: str | int) -> int:
    """Return the slot that `reference` stands for: a number, `now`, `now~K`, or the ID of a scheduled message.

    The first 6 or more characters of a message ID are enough if no other message of the process begins with them. The
    IDs of assignments are for `references.resolve`.

    Raises:
        Refused: it is none of these, or the beginning of several IDs.
        NotFound: the schedule has no such slot or message.
    """
    head = scheduler.get_head(store, process)
    text = str(reference)
    if (match := re.fullmatch(_REFERENCE, text)) is not None:
        slot = head.slot - int(match[1] or 0)
    elif re.fullmatch(_NUMBER, text):
        slot = int(text)
    elif ids.is_id(text):
        found = scheduler.find_slot(store, process, text)
        if found is None:
            raise NotFound(f"no message {text} in the schedule of process {process}")
        slot = found
    elif re.fullmatch(_PREFIX, text):
        slot = _find_message(store, process, text)
    else:
        raise Refused(f"a slot is a number, now, now~K, or the ID of a message or an assignment, got {text!r}")
    if not 0 <= slot <= head.slot:
        raise NotFound(f"slot {text} is not scheduled: process {process} has slots 0 to {head.slot}")
    return slot


def _find_message(store: Store, process: str, prefix: str) -> int:
    """Return the slot of the only message of `process` whose ID begins with `prefix`."""
    owners = {segment.process for segment in lineage.segments(store, process)}
    names = (keys.message_of(key) for key, _ in store.scan(*keys.messages(prefix)) if keys.process_of(key) in owners)
    # A fork has not all messages of its origin.
    scheduled = (name for name in names if scheduler.find_slot(store, process, name) is not None)
    found = list(islice(scheduled, _SHOWN + 1))
    if not found:
        raise NotFound(
            f"no message has an ID that begins with {prefix!r} in the schedule of process {process}",
            hint="a slot is a number, now, now~K, or the ID of a message or an assignment",
        )
    if len(found) > 1:
        several = f"{_SHOWN} or more" if len(found) > _SHOWN else len(found)
        raise Refused(f"{prefix!r} is the beginning of {several} message IDs: {', '.join(found[:_SHOWN])}")
    slot = scheduler.find_slot(store, process, found[0])
    assert slot is not None
    return slot


def slot_views(store: Store, process: str, first: int, last: int) -> Iterator[SlotView]:
    """Yield the views of slots `first` to `last`, both included and scheduled, in order.

    Raises:
        IntegrityError: what is stored of one of them is damaged.
    """
    records = {record.slot: record for record in links.records(store, process, first, last)}
    images = {keys.slot_of(key) for key, _ in store.scan(*keys.memory_images(process, first, last))}
    for assignment in schedules.assignments(store, process, first, last):
        yield view(process, assignment, records.get(assignment.slot), image=assignment.slot in images)


def view(process: str, assignment: Assignment, record: SlotRecord | None, *, image: bool) -> SlotView:
    """Return the view of a slot from its assignment and, if it is computed, its record.

    Raises:
        IntegrityError: the record belongs to another assignment.
    """
    message, slot = assignment.body, assignment.slot
    senders = committers(message)
    action = message.get("action", message.get("function"))
    parameters = message.get("parameters", [])
    seen = SlotView(
        process=process,
        slot=slot,
        timestamp_ms=assignment.timestamp_ms,
        sender=senders[0] if senders else None,
        message=message_id(message),
        assignment=message_id(assignment.message),
        action=action if isinstance(action, str) else None,
        parameters=parameters if isinstance(parameters, list) else [parameters],
        data=message.get("data"),
        origin=definitions.origin(message) if slot and message_id(message) == assignment.process else None,
    )
    if record is None:
        return seen
    links.check_assignment(record, seen.assignment, message_id(assignment.message, "every"), process)
    return seen._replace(
        computed=True,
        hashpath=record.hashpath,
        results=record.results,
        state=record.state,
        changed=record.changed,
        gas=record.gas,
        image=image,
    )


def list_processes(session: OpenStore) -> list[ProcessView]:
    """Return a view of each process, the oldest first. Damaged ones are last, with their `trouble`.

    Each session reads only a few processes, so that others wait no longer than that takes.
    """
    with session() as store:
        named, processes = names.read_all(store), scheduler.processes(store)
        found = [listed(store, process, named) for process in processes[:LISTED_AT_ONCE]]
    for first in range(LISTED_AT_ONCE, len(processes), LISTED_AT_ONCE):
        with session() as store:
            found += [listed(store, process, named) for process in processes[first : first + LISTED_AT_ONCE]]
    return sorted(found, key=lambda view: (view.trouble is not None, view.spawned_ms, view.process))


def listed(store: Store, process: str, named: dict[str, str]) -> ProcessView:
    """Return a process as a list shows it, or as one in trouble: one damaged process must not hide the others.

    `named` maps each name to the process ID that it stands for.
    """
    try:
        return process_view(store, process, named)
    except (IntegrityError, Refused, NotFound) as error:
        trouble = error if isinstance(error, IntegrityError) else IntegrityError(error.message, process=process)
        return ProcessView(process, _names_of(process, named), 0, None, "", [], 0, 0, trouble=trouble)


def process_view(store: Store, process: str, named: dict[str, str]) -> ProcessView:
    """Return a process as a list shows it; `named` maps each name to the process ID that it stands for.

    Raises:
        NotFound: there is no such process.
        IntegrityError: what is stored of it is damaged.
    """
    definition = lineage.get_definition(store, process)
    head = scheduler.get_head(store, process)
    spawned = schedules.get_assignment(store, process, lineage.first_slot(store, process)).timestamp_ms
    return ProcessView(
        process=process,
        names=_names_of(process, named),
        slots=head.slot + 1,
        computed=cache.latest(store, process),
        image=str(definition["image"]),
        devices=definitions.execution_devices(definition),
        spawned_ms=spawned,
        latest_ms=head.timestamp_ms,
        origin=definitions.origin(definition),
    )


def _names_of(process: str, named: dict[str, str]) -> list[str]:
    return [name for name, pid in named.items() if pid == process]


def find_state(store: Store, process: str, slot: int) -> StateView | None:
    """Return the state of `slot`, or None if it is not computed.

    Raises:
        IntegrityError: what is stored of it is damaged.
    """
    record = links.read(store, process, slot)
    if record is None:
        return None
    state: Message = {
        **record.state,
        "at-slot": slot,
        "device": definitions.PROCESS_DEVICE,
        "process": lineage.get_definition(store, lineage.owner(store, process, slot)),
        "results": record.results,
    }
    image = record.image or cache.image_digest(store, process, slot)
    if image is not None:
        state["image"] = image
    return StateView(process, slot, state, record.hashpath, record)
