"""`multipass@1.0`: has a stack pass over its devices again until it has done so as often as the definition says.

It must never look at anything but the count.

Source: HyperBEAM's `dev_multipass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices.device import Base, Device, Live, Machine

if TYPE_CHECKING:
    from hb.protocol.message import Message


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """Asks for another pass unless this was the last."""
    live: Live = base["priv"]
    if live.pass_number < base["process"].get("passes", 1):
        live.again = True
    return base


DEVICE = Device(name="multipass@1.0", compute=compute)
