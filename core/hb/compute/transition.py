"""From one state of a process to the next: what `process@1.0` does with an assignment.

A transition is a function of the state, the assignment and the module that runs. What a program does is a value in
`results`, never an exception.

Invariants:
    No store, clock or environment is read.

Source: HyperBEAM's `dev_process` (`init`, `compute`, `run_as`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices.device import STATE_KEYS, Base, Device, Live, Machine, get_device, prepare_host
from hb.protocol import definition as definitions
from hb.protocol import outcome
from hb.protocol.definition import PROCESS_DEVICE

if TYPE_CHECKING:
    from hb.protocol.message import Message

NOT_PUBLIC = STATE_KEYS | {"priv"}


def initialise(definition: Message, assignment: Message, machine: Machine) -> Base:
    """Return state 0: the process as it is made, before any message but the one that spawned it.

    Raises:
        Refused: its devices, its image or its initial state are not acceptable.
    """
    base: Base = {"device": PROCESS_DEVICE, "process": definition}
    return {**_run_as_execution("init", base, assignment, machine), "at-slot": 0, "results": {}}


def takes_spawn(definition: Message) -> bool:
    """Return whether the definition is itself computed as the message of slot 0."""
    return any(get_device(name).takes_spawn for name in definitions.execution_devices(definition))


def restore(definition: Message, slot: int, public: Message, results: Message, machine: Machine) -> Base:
    """Return the base of a stored state, with a fresh instance. Its memory and globals are still to be loaded."""
    base: Base = {"device": PROCESS_DEVICE, "process": definition}
    base = _run_as_execution("restore", base, {}, machine)
    return {**base, **public, "at-slot": slot, "results": results}


def compute_slot(base: Base, assignment: Message, machine: Machine) -> Base:
    """Return the state after `assignment`, the next one of the schedule.

    If the program failed (`results/type` is `error`), the public keys are those of `base`. The instance may then have
    any state, and whoever keeps it live must restore it.

    Raises:
        Interrupted: the machine's cancellation was cancelled; there is no state.
    """
    live = Live(base["priv"].instance)
    if live.instance is not None:
        prepare_host(live.instance, assignment)
    before = {**base, "priv": live}
    del before["results"]
    after = _run_as_execution("compute", before, assignment, machine)
    if outcome.failed(after["results"]):
        after = {**before, "results": after["results"]}
    return {**after, "at-slot": assignment["slot"]}


def public_state(base: Base) -> Message:
    """Return the public keys of the execution devices, without those of the process itself."""
    return {key: value for key, value in base.items() if key not in NOT_PUBLIC}


def _run_as_execution(step: str, base: Base, request: Message, machine: Machine) -> Base:
    """Take one step as the execution device, and be the process device again."""
    name = base["process"]["execution-device"]
    device: Device = get_device(name)
    after: Base = getattr(device, step)({**base, "device": name}, request, machine)
    return {**after, "device": base["device"]}
