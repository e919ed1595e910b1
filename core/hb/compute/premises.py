"""What the verbs beside the path of a message need of the world, in one value: a home at work, as they may see it.

It holds nothing open. It must never decide anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from hb.devices.device import Machine
    from hb.protocol.commitment import Key
    from hb.verify.evidence import OnSlot, OpenStore


class Premises(NamedTuple):
    """The store in slices, the lock of computes, a machine, and a way to compute a process to a slot.

    `machine` takes images, by ID, that are not stored. `on_slot` hears of each slot that was dealt with, and of the
    last one. `scheduler_key` is what this home signs assignments with; `announce` tells followers that there is one.
    """

    open_store: OpenStore
    lock: Callable[[str], AbstractContextManager[None]]
    machine: Callable[[dict[str, bytes] | None], Machine]
    compute: Callable[[str, int], int]
    on_slot: OnSlot
    scheduler_key: Callable[[], Key]
    announce: Callable[[], None]
