"""A process's whole schedule run against other code: in which slots that would have given something else.

What comes of a slot is its state and its results; gas is counted, and is no difference. It must never write anything:
slots that are not computed are, in memory, and each time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from hb.errors import IntegrityError
from hb.history import references, upgrade
from hb.protocol import definition as definitions
from hb.protocol.message import loads_message
from hb.records import cache, images, lineage, links
from hb.verify import replay as replays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.cancellation import Cancellation
    from hb.compute.premises import Premises
    from hb.devices.device import Machine
    from hb.protocol.message import Message
    from hb.verify.evidence import OpenStore
    from hb.verify.replay import Difference
    from hb.wasm.module import Module

WINDOW_SLOTS = 1000

_DEVICE_KEYS = ("execution-device", "device-stack", "passes")


class Change(NamedTuple):
    """A slot that comes out otherwise, in what, and the gas that the old code and the new one used for it."""

    slot: int
    differences: list[Difference]
    gas_before: int
    gas_after: int


class Rerun(NamedTuple):
    """What running a schedule against other code came to: the slots up to `last` were compared."""

    process: str
    last: int
    changes: int
    first: int | None
    gas_before: int
    gas_after: int


def rerun(
    premises: Premises,
    process: str,
    module: bytes,
    to: str | int = "now",
    *,
    on_change: Callable[[Change], None],
    every: bool = False,
) -> Rerun:
    """Runs the schedule of a process up to slot `to` against `module`, from the definition on, and stores nothing.

    `on_change` hears of the first slot that comes out otherwise, where it ends; with `every`, of each such slot.

    Raises:
        NotFound: there is no such process or slot.
        Refused: the module is not acceptable, has another ABI, or cannot begin from the definition.
        IntegrityError: what is stored is damaged.
        Interrupted: the user wants to stop.
    """
    from hb.wasm.engine import run_interruptibly

    pid, last = references.resolve(premises.open_store, process, to)
    taken = images.take(module)

    def work(stop: Cancellation) -> Rerun:
        machine = premises.machine(taken.stored).under(stop)
        new = machine.load_module(taken.runs)
        before = _before(premises.open_store, pid, last, machine)
        after = _after(premises.open_store, pid, last, machine, new)
        return _compare(premises, pid, last, before, after, on_change, every=every)

    return run_interruptibly(work)


def _compare(
    premises: Premises,
    process: str,
    last: int,
    before: Iterator[Message],
    after: Iterator[Message],
    on_change: Callable[[Change], None],
    *,
    every: bool,
) -> Rerun:
    found = Rerun(process, last, 0, None, 0, 0)
    for slot, (old, new) in enumerate(zip(before, after, strict=True)):
        change = Change(slot, _differences(old, new), _gas(old), _gas(new))
        found = found._replace(
            gas_before=found.gas_before + change.gas_before, gas_after=found.gas_after + change.gas_after
        )
        premises.on_slot(slot, last)
        if change.differences:
            first = slot if found.first is None else found.first
            found = found._replace(changes=found.changes + 1, first=first)
            on_change(change)
            if not every:
                return found._replace(last=slot)
    return found


def _before(open_store: OpenStore, process: str, last: int, machine: Machine) -> Iterator[Message]:
    """The records of all slots up to `last`: those that are stored, or, where one is not, all computed again."""
    with open_store() as store:
        newest = cache.latest(store, process)
    if newest is None or newest < last:
        for _, computed in replays.run(open_store, process, last, machine):
            yield loads_message(computed.record)
        return
    for first in range(0, last + 1, WINDOW_SLOTS):
        end = min(last, first + WINDOW_SLOTS - 1)
        with open_store() as store:
            found = [record for _, record in links.records(store, process, first, end)]
        if len(found) != end - first + 1:
            raise IntegrityError("a slot record is gone", process=process, hint=f"`hb verify {process}` tells which")
        yield from found


def _after(open_store: OpenStore, process: str, last: int, machine: Machine, new: Module) -> Iterator[Message]:
    """The records of all slots up to `last`, as `new` makes them; a definition keeps its ID and the old image's."""
    with open_store() as store:
        ran = [lineage.get_definition(store, at.process) for at in lineage.segments(store, process)]
    for definition in ran:
        upgrade.check_code(machine.load_module(definitions.runs(definition)).info, new.info)

    def adapt(definition: Message) -> Message:
        old = machine.load_module(definitions.runs(definition))
        devices, passes = upgrade.devices_for(definition, old.info, new.info)
        code = definitions.code(str(definition["image"]), devices, passes, None)
        return {**{key: value for key, value in definition.items() if key not in _DEVICE_KEYS}, **code}

    other = replace(machine, load=lambda image, cancellation: new)
    for _, computed in replays.run(open_store, process, last, other, adapt):
        yield loads_message(computed.record)


def _differences(old: Message, new: Message) -> list[Difference]:
    before, after = ({"results": _without_gas(record), "state": record["state"]} for record in (old, new))
    return [found._replace(path=found.path.lstrip("/")) for found in replays.differences(before, after, "")]


def _without_gas(record: Message) -> Message:
    return {key: value for key, value in cast("Message", record["results"]).items() if key != "gas"}


def _gas(record: Message) -> int:
    gas = cast("Message", record["results"]).get("gas")
    return gas if isinstance(gas, int) else 0
