"""Run a whole schedule against other code, and find the slots that come out differently.

A slot differs if its state or its results differ. Gas is counted but is not a difference.

Invariants:
    Nothing is written here. Slots that are not computed are computed in memory, each time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hb.compute import comparison, fresh
from hb.errors import IntegrityError
from hb.history import references, upgrade
from hb.protocol import definition as definitions
from hb.records import cache, images, lineage, links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.compute.comparison import Difference
    from hb.compute.context import Context
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.records.cache import SlotRecord
    from hb.wasm.module import Module

WINDOW_SLOTS = 1000

_DEVICE_KEYS = ("execution-device", "device-stack", "passes")


class Change(NamedTuple):
    """A slot that comes out differently: where it differs, and the gas that the old and the new code used."""

    slot: int
    differences: list[Difference]
    gas_before: int
    gas_after: int


class Rerun(NamedTuple):
    """The outcome of running a schedule against other code.

    Slots up to `last` were compared, of those up to `asked`. What their memory holds was not.
    """

    process: str
    last: int
    changes: int
    first: int | None
    gas_before: int
    gas_after: int
    asked: int


def rerun(
    context: Context,
    process: str,
    module: bytes,
    to: str | int = "now",
    *,
    on_change: Callable[[Change], None],
    every: bool = False,
) -> Rerun:
    """Run the schedule of a process up to slot `to` against `module`, starting from its definition. Store nothing.

    Stop at the first slot that comes out differently, after calling `on_change` with it. With `every`, go on, and call
    `on_change` for each such slot.

    Raises:
        NotFound: there is no such process or slot.
        Refused: the module is not acceptable, has another ABI, or cannot start from the definition.
        IntegrityError: what is stored is damaged.
        Interrupted: the caller was cancelled.
    """
    pid, last = references.resolve(context.session, process, to)
    taken = images.take(module)

    def work(context: Context) -> Rerun:
        machine = context.machine(taken.stored)
        new = machine.load_module(taken.runs)
        before = _before(context, pid, last, machine)
        after = _after(context, pid, last, machine, new)
        return _compare(context, pid, last, before, after, on_change, every=every)

    return context.run(work)


def _compare(
    context: Context,
    process: str,
    last: int,
    before: Iterator[SlotRecord],
    after: Iterator[SlotRecord],
    on_change: Callable[[Change], None],
    *,
    every: bool,
) -> Rerun:
    found = Rerun(process, last, 0, None, 0, 0, last)
    for slot, (old, new) in enumerate(zip(before, after, strict=True)):
        change = Change(slot, _differences(old, new), old.gas or 0, new.gas or 0)
        found = found._replace(
            gas_before=found.gas_before + change.gas_before, gas_after=found.gas_after + change.gas_after
        )
        context.on_slot(slot, last)
        if change.differences:
            first = slot if found.first is None else found.first
            found = found._replace(changes=found.changes + 1, first=first)
            on_change(change)
            if not every:
                return found._replace(last=slot)
    return found


def _before(context: Context, process: str, last: int, machine: Machine) -> Iterator[SlotRecord]:
    """Yield the records of all slots up to `last`: the stored ones, or, if one is missing, all of them computed
    again."""
    with context.session() as store:
        newest = cache.latest(store, process)
    if newest is None or newest < last:
        for _, computed in fresh.run(context.session, process, last, machine):
            yield cache.parse_record(computed.record, process, computed.slot)
        return
    for first in range(0, last + 1, WINDOW_SLOTS):
        end = min(last, first + WINDOW_SLOTS - 1)
        with context.session() as store:
            found = list(links.records(store, process, first, end))
        if len(found) != end - first + 1:
            raise IntegrityError("a slot record is gone", process=process, hint=f"`hb verify {process}` tells which")
        yield from found


def _after(context: Context, process: str, last: int, machine: Machine, new: Module) -> Iterator[SlotRecord]:
    """Yield the records of all slots up to `last`, as `new` makes them. Definitions keep their IDs and the old image's
    ID."""
    with context.session() as store:
        ran = [lineage.get_definition(store, at.process) for at in lineage.segments(store, process)]
    for definition in ran:
        upgrade.check_code(machine.load_module(definitions.runs(definition)).info, new.info)

    def adapt(definition: Message) -> Message:
        old = machine.load_module(definitions.runs(definition))
        devices, passes = upgrade.devices_for(definition, old.info, new.info)
        code = definitions.code(str(definition["image"]), devices, passes, None)
        return {**{key: value for key, value in definition.items() if key not in _DEVICE_KEYS}, **code}

    other = replace(machine, load=lambda image, cancellation: new)
    for _, computed in fresh.run(context.session, process, last, other, adapt):
        yield cache.parse_record(computed.record, process, computed.slot)


def _differences(old: SlotRecord, new: SlotRecord) -> list[Difference]:
    before, after = (_outcome(record) for record in (old, new))
    return [found._replace(path=found.path.lstrip("/")) for found in comparison.differences(before, after, "")]


def _outcome(record: SlotRecord) -> Message:
    return {"results": comparison.without_gas(record.results), "state": record.state}
