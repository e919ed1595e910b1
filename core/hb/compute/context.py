"""What a verb needs of the world, in one value: storage, keys, settings, modules, workers, and who may stop it.

Invariants:
    A context opens nothing by itself. Its pool may hold live workers; close that when the program is done.
    A context decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from hb.cancellation import NEVER, Cancellation
from hb.records import lineage
from hb.storage.storage import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from hb.compute.modules import Modules
    from hb.compute.pool import Pool
    from hb.config import Config
    from hb.devices.device import Machine
    from hb.protocol.commitment import Key
    from hb.storage.storage import Storage
    from hb.storage.store import Store

Result = TypeVar("Result")


def ignore(slot: int, last: int) -> None:
    """Do nothing: the `on_slot` of a caller that shows no progress."""


class Keys(Protocol):
    """The signing keys of a home, by name."""

    def key(self, name: str) -> Key:
        """Return the key called `name`, ready to sign.

        Raises:
            NotFound: there is none.
            Refused: no key can have this name, or its file is not a key's.
            HomeUnusable: the operating system does not let it be read.
        """


@dataclass(frozen=True, eq=False, repr=False)
class Context:
    """What a verb needs of the world.

    `pool` holds the live workers of this storage; contexts share it. `timeout_s` is how long a session waits for
    others, in seconds; None waits without limit. `lease_timeout_s` is the same for a lease, and for room in the pool.
    `on_slot(slot, last)` is called after each slot that a verb deals with; `last` is where it ends. `cancellation`
    stops this verb and no other. `lineages` are those found before; they never change.
    """

    storage: Storage
    keys: Keys
    settings: Config
    modules: Modules
    pool: Pool
    timeout_s: float | None = None
    lease_timeout_s: float | None = None
    on_slot: Callable[[int, int], None] = ignore
    cancellation: Cancellation = NEVER
    lineages: dict[str, lineage.Lineage] = field(default_factory=dict)

    def session(self) -> AbstractContextManager[Store]:
        """Open the store for a few reads and at most one batch. A fork's shared slots appear under its own ID.

        Raises:
            HomeBusy, Interrupted, NoHome, Refused, IntegrityError, HomeUnusable: as `Storage.session`.
        """
        return lineage.viewed(self.storage.session(Patience(self.timeout_s, self.cancellation)), self.lineages)

    def lease(self, process: str) -> AbstractContextManager[None]:
        """Be the only one to compute `process` for a `with` block.

        Raises:
            HomeBusy, Interrupted, NoHome, HomeUnusable: as `Storage.lease`.
        """
        return self.storage.lease(process, Patience(self.lease_timeout_s, self.cancellation))

    def room(self, process: str, size_bytes: int) -> AbstractContextManager[None]:
        """Have room for a live worker of `process` for a `with` block. Ask for it before the lease, never after it.

        Raises:
            HomeBusy, Interrupted: as `Pool.room`.
        """
        return self.pool.room(process, size_bytes, Patience(self.lease_timeout_s, self.cancellation))

    def machine(self, given: Mapping[str, bytes] | None = None) -> Machine:
        """Return a machine that runs the modules in the store, and those in `given`, by image ID.

        This context's cancellation stops what runs on it.

        Raises:
            Refused: a given module is larger than this machine allows.
        """
        from hb.compute.modules import ModuleLimits

        settings = self.settings
        limits = ModuleLimits(settings.module_limit_bytes, settings.compile_limit_s, settings.compile_limit_mb)
        machine = self.modules.machine(self.session, limits, given).under(self.cancellation)
        return replace(machine, host_memory_pages=settings.host_memory_pages)

    def scheduler_key(self) -> Key:
        """Return the key that signs this home's assignments.

        Raises:
            NotFound, Refused, HomeUnusable: as `Keys.key`.
        """
        return self.keys.key(self.settings.scheduler_key)

    def run(self, work: Callable[[Context], Result]) -> Result:
        """Return what `work` returns. It runs on a thread with the stack that modules need.

        Ctrl-C, or this context's cancellation, cancels the context that `work` is given.

        Raises:
            Interrupted: the work was cancelled.
        """
        from hb.wasm.engine import run_interruptibly

        return run_interruptibly(lambda cancellation: work(replace(self, cancellation=cancellation)), self.cancellation)
