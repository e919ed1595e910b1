"""`multipass@1.0`: make a stack pass over its devices as often as the definition says.

Invariants:
    Only the count is read.

Source: HyperBEAM's `dev_multipass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices.device import Base, Device, Live, Machine

if TYPE_CHECKING:
    from hb.protocol.message import Message


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """Ask for another pass unless this was the last."""
    live: Live = base["priv"]
    if live.pass_number < base["process"].get("passes", 1):
        live.again = True
    return base


DEVICE = Device(name="multipass@1.0", compute=compute)
