"""What a verb needs of the world, in one value: storage, keys, settings, modules, workers, and who may stop it.

Invariants:
    A context opens nothing by itself. Its pool may hold live workers; close that when the program is done.
    A context decides nothing.
"""

from __future__ import annotations

from copy import copy
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from hb.cancellation import NEVER, Cancellation
from hb.records import lineage
from hb.storage.storage import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from hb.compute.keys import Keys
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


class Tools:
    """What a program keeps between calls: its compiled modules and its live workers. Each is made when first used."""

    def __init__(self, make_modules: Callable[[], Modules], make_pool: Callable[[], Pool]) -> None:
        self._lock = Lock()
        self._make_modules, self._make_pool = make_modules, make_pool
        self._modules: Modules | None = None
        self._pool: Pool | None = None

    @property
    def modules(self) -> Modules:
        """The modules that this program has compiled."""
        with self._lock:
            if self._modules is None:
                self._modules = self._make_modules()
            return self._modules

    @property
    def pool(self) -> Pool:
        """The live workers of one storage."""
        with self._lock:
            if self._pool is None:
                self._pool = self._make_pool()
            return self._pool

    def with_pool(self, pool: Pool) -> Tools:
        """Return the same modules with other workers."""
        return Tools(lambda: self.modules, lambda: pool)


class Context:
    """What a verb needs of the world. Nothing in it changes: `replace` makes another one.

    `tools` has the compiled modules and the live workers of this storage; contexts share it. `timeout_s` is how long a
    session waits for others, in seconds; None waits without limit. `lease_timeout_s` is the same for a lease, and for
    room in the pool. `on_slot(slot, last)` is called after each slot that a verb deals with; `last` is where it ends.
    `cancellation` stops this verb and no other. `lineages` are those found before; they never change.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        settings: Config,
        tools: Tools,
        *,
        timeout_s: float | None = None,
        lease_timeout_s: float | None = None,
    ) -> None:
        self.storage = storage
        self.keys = keys
        self.settings = settings
        self.tools = tools
        self.timeout_s = timeout_s
        self.lease_timeout_s = lease_timeout_s
        self.on_slot: Callable[[int, int], None] = ignore
        self.cancellation: Cancellation = NEVER
        self.lineages: dict[str, lineage.Lineage] = {}

    def replace(self, **changes: object) -> Context:
        """Return this context with some of its parts changed, by their names."""
        changed = copy(self)
        assert changes.keys() <= vars(self).keys(), changes
        vars(changed).update(changes)
        return changed

    @property
    def modules(self) -> Modules:
        """The modules that this program has compiled."""
        return self.tools.modules

    @property
    def pool(self) -> Pool:
        """The live workers of this storage."""
        return self.tools.pool

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
        return machine.bounded(settings.host_memory_pages)

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

        return run_interruptibly(lambda cancellation: work(self.replace(cancellation=cancellation)), self.cancellation)
