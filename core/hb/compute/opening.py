"""Make a worker of what is stored: from a memory image, from the definition, or from the process that it forked from.

Invariants:
    Nothing is written.
    No module runs while the store is open: `find` reads, `open_at` runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.compute import worker
from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.records import cache, lineage, links, schedules

if TYPE_CHECKING:
    from hb.compute.computed import Computed
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.storage.store import Store


class Found(NamedTuple):
    """What a worker is made from: the definition, and a memory image with its record, or else the first assignment.

    `record` is the stored record of the first slot, if there is one but no image.
    """

    definition: Message
    restorable: tuple[bytes, cache.Image, dict[int, bytes]] | None
    first: Message | None = None
    record: bytes | None = None


def find(store: Store, at: lineage.Segment, limit: int, machine: Machine) -> Found:
    """Read what a worker of the process that owns the slots `at` is made from, up to the slot `limit`.

    Raises:
        NotFound: there is no such process.
        BeyondThisMachine: the memory image is larger than `machine` allows.
        IntegrityError: what is stored is damaged.
    """
    definition = lineage.get_definition(store, at.process)
    slot = cache.latest(store, at.process, first=at.first, limit=limit, required="image")
    if slot is None:
        first = schedules.get_assignment(store, at.process, at.first).message
        return Found(definition, None, first, cache.read_bytes(store, at.process, at.first))
    links.read(store, at.process, slot)
    record = cache.read_bytes(store, at.process, slot)
    assert record is not None
    image = cache.read_image(store, at.process, slot)
    machine.check_memory(image.pages)
    return Found(definition, (record, image, cache.read_pages(store, image, at.process, slot)))


def open_at(
    machine: Machine, at: lineage.Segment, found: Found, before: Worker | None
) -> tuple[Worker, Computed | None]:
    """Return a worker of the process that owns the slots `at`, and what is to be stored if it starts at the first.

    `before` is a worker at the slot of another process that a fork goes on from.

    Raises:
        IntegrityError: what was found does not fit together.
        Refused: the definition cannot be run.
    """
    process, (definition, restorable, first, _) = at.process, found
    if restorable is not None:
        return worker.resume(process, definition, *restorable, machine), None
    assert first is not None
    if at.first == 0:
        return worker.begin(process, definition, first, machine)
    if before is None:
        raise IntegrityError("a memory image that was there is gone", process=process)
    _check_origin(before, process, definition)
    return before.start_fork(process, definition, first, machine)


def _check_origin(live: Worker, process: str, definition: Message) -> None:
    """Check that a worker is at the state that a fork's definition goes on from."""
    origin = definitions.origin(definition)
    if origin is None or origin.hashpath != live.hashpath:
        raise IntegrityError(
            "the process that this one comes from has another hashpath where it left",
            process=process,
            slot=live.slot,
            expected=None if origin is None else origin.hashpath,
            got=live.hashpath,
        )
