"""`stack@1.0`: several devices as one. Each step is taken by all of them, in the order of `device-stack`.

Invariants:
    The base passes from device to device. Of it, this file reads only the stack, the type of the results, and `priv`.

Source: HyperBEAM's `dev_stack`, in its fold mode, and `dev_multipass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices.device import Base, Device, Live, Machine, get_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.message import Message


def _devices(base: Base) -> Iterator[Device]:
    for name in base["process"]["device-stack"]:
        yield get_device(name)


def init(base: Base, request: Message, machine: Machine) -> Base:
    """Run every device's `init`, in order."""
    for device in _devices(base):
        base = device.init(base, request, machine)
    return base


def restore(base: Base, request: Message, machine: Machine) -> Base:
    """Run every device's `restore`, in order."""
    for device in _devices(base):
        base = device.restore(base, request, machine)
    return base


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """Run every device's `compute`, in order, and pass again while one of them asks for another pass.

    If a device fails, it is the last one to run, and its results are the slot's.
    """
    live: Live = base["priv"]
    while True:
        live.again = False
        for device in _devices(base):
            base = device.compute(base, request, machine)
            if base.get("results", {}).get("type") == "error":
                return base
        if not live.again:
            return base
        live.pass_number += 1


DEVICE = Device(name="stack@1.0", init=init, restore=restore, compute=compute)
