"""A process computed from its definition on, without any of the records that are stored.

Invariants:
    Nothing is written.
    Stored records and memory images are not read. The schedule is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.compute import worker
from hb.errors import Interrupted
from hb.records import lineage, schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.compute.computed import Computed
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.storage.store import OpenStore

WINDOW_SLOTS = 100
WINDOW_BYTES = 8 << 20
"""Maximum slots and bytes of assignments that are read at once; one assignment may exceed the bytes."""


def run(
    open_store: OpenStore,
    process: str,
    last: int,
    machine: Machine,
    adapt: Callable[[Message], Message] = lambda definition: definition,
) -> Iterator[tuple[Worker, Computed]]:
    """The slots of a process up to `last`, computed from the definition on: each with the worker that is at it.

    Of a fork, the processes that it comes from are run first; their workers have their IDs. What runs is what `adapt`
    makes of a definition.

    Raises:
        Refused: a definition cannot be run.
        Interrupted: the user wants to stop.
        IntegrityError: the schedule, or a definition, cannot be read.
    """
    with open_store() as store:
        line = lineage.segments(store, process)
    live: Worker | None = None
    for at in line:
        with open_store() as store:
            definition = adapt(lineage.get_definition(store, at.process))
            first = schedules.get_assignment(store, at.process, at.first).message
        if live is None:
            live, computed = worker.begin(at.process, definition, first, machine)
        else:
            live, computed = live.start_fork(at.process, definition, first, machine)
        yield live, computed
        while live.slot < min(last, at.last):
            with open_store() as store:
                start, end = live.slot + 1, min(last, at.last, live.slot + WINDOW_SLOTS)
                following = schedules.stretch(store, at.process, start, end, WINDOW_BYTES)
            for assignment in schedules.read_stretch(at.process, start, following):
                if machine.cancellation.is_cancelled:
                    raise Interrupted(f"interrupted at slot {live.slot} of {last}")
                computed = live.compute_next(assignment.message)
                yield live, computed
        if live.slot >= last:
            return
