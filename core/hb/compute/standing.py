"""A process at one of its slots, live, for what is to be tried there and not kept.

It must never write: whatever is computed on the way there, or done with the worker afterwards, is gone with it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from hb.cancellation import NEVER
from hb.compute import driver as compute
from hb.records import lineage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.cancellation import Cancellation
    from hb.compute.premises import Premises
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.storage.store import Batch, Store


def stand(
    premises: Premises,
    process: str,
    slot: int,
    cancellation: Cancellation = NEVER,
    *,
    machine: Machine | None = None,
) -> Worker:
    """A worker at `slot`, which is scheduled: from the latest image before it, and by the messages since.

    `machine` runs the modules (None: the premises' own). `premises.on_slot` hears of the slots on the way. To be called
    on the thread of `hb.wasm.engine.run_interruptibly`, as all that the worker does.

    Raises:
        NotFound: there is no such process.
        IntegrityError: what is stored is damaged, or a slot on the way came out otherwise than it is stored.
        Interrupted: the user wants to stop.
    """

    known: dict[str, lineage.Lineage] = {}

    @contextmanager
    def open_store() -> Iterator[Store]:
        with premises.open_store() as store:
            yield lineage.View(_Unwritten(store), known)

    shop = compute.Workshop(
        open_store=open_store,
        lock=lambda process: nullcontext(),  # two that store nothing are in nobody's way
        machine=(premises.machine(None) if machine is None else machine).under(cancellation),
        on_slot=lambda reached: premises.on_slot(reached, slot),
    )
    live = compute.open_worker(shop, process, slot)
    compute.advance(shop, live, slot, last_image=False)
    return live


class _Unwritten:
    """A store to which nothing that is committed comes."""

    def __init__(self, store: Store) -> None:
        self.get = store.get
        self.scan = store.scan

    def commit(self, batch: Batch) -> None:
        """Drops the batch."""
