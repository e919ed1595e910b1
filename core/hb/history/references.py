"""Slot references: numbers, `now`, and the IDs of messages and assignments.

The store has an index of messages but none of assignments. An assignment's slot is found by searching the schedule, in
short sessions.

Invariants:
    Nothing is computed or written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.errors import NotFound
from hb.history import views as history
from hb.protocol.commitment import message_id
from hb.records import keys, names, schedules
from hb.schedule import scheduler

if TYPE_CHECKING:
    from hb.storage.store import OpenStore, Store

WINDOW_SLOTS = 4000
WINDOW_BYTES = 16 << 20
"""So many assignments, and about so many bytes of them, are looked through in one slice at the most."""


def resolve(open_store: OpenStore, process: str, reference: str | int) -> tuple[str, int]:
    """Return the process ID that `process` stands for, and the slot that `reference` stands for.

    Raises:
        NotFound: there is no such process, slot, message or assignment.
        Refused: `process` is the beginning of several IDs, or `reference` is not a slot reference.
        IntegrityError: what is stored of the slot is damaged.
    """
    located = locate(open_store, process, reference)
    with open_store() as store:
        pid = names.resolve(store, process)
        return pid, history.resolve_slot(store, pid, located)


def resolve_range(open_store: OpenStore, process: str, first: str | int, last: str | int) -> tuple[str, int, int]:
    """Return the process ID that `process` stands for, and the slots that `first` and `last` stand for.

    Raises:
        NotFound, Refused, IntegrityError: as `resolve`.
    """
    located = [locate(open_store, process, reference) for reference in (first, last)]
    with open_store() as store:
        pid = names.resolve(store, process)
        start, end = (history.resolve_slot(store, pid, reference) for reference in located)
        return pid, start, end


def locate(open_store: OpenStore, process: str, reference: str | int) -> str | int:
    """Return the slot of an assignment or message ID. Return any other reference unchanged: one read can resolve it.

    Raises:
        NotFound, Refused, IntegrityError: as `resolve`.
    """
    name = str(reference)
    if not ids.is_id(name):
        return reference
    with open_store() as store:
        pid = names.resolve(store, process)
        found = scheduler.find_slot(store, pid, name)
        last = scheduler.get_head(store, pid).slot
    while found is None and last >= 0:
        with open_store() as store:
            found, last = _look(store, pid, name, last)
    if found is None:
        raise NotFound(f"no message and no assignment {name} in the schedule of process {pid}")
    return found


def _look(store: Store, process: str, name: str, last: int) -> tuple[int | None, int]:
    """Search one window of the schedule, backwards from `last`, for the assignment `name`. Return its slot or None, and
    where to continue."""
    key = b'"%s":{' % name.encode()
    size = 0
    for count, (place, raw) in enumerate(store.scan(*keys.assignments(process, 0, last), reverse=True), 1):
        slot = keys.slot_of(place)
        # A message can have the ID in its own bytes: what counts is whose ID it is.
        if key in raw and message_id(schedules.get_assignment(store, process, slot).message) == name:
            return slot, -1
        size += len(raw)
        if size >= WINDOW_BYTES or count == WINDOW_SLOTS:
            return None, slot - 1
    return None, -1
