"""A home at work: the verbs that a person or a program has over the processes in it.

It wires the parts and holds the store for short slices only. It must never print, read the user's environment, or
know what the bytes of a record are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from hb.compute.modules import Compiled, Modules
from hb.environment import Environment, system_environment
from hb.errors import NotFound
from hb.history import references
from hb.history import views as history
from hb.history.views import ProcessView, SlotView, StateView
from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from hb.records import cache, keys, lineage, names
from hb.schedule import scheduler
from hb.schedule.scheduler import Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from hb.compute.context import Context
    from hb.config import Config
    from hb.home import Home
    from hb.memory_home import MemoryHome
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.storage.store import Store
    from hb.verify.evidence import Finding
    from hb.verify.replay import Note

__all__ = [
    "Environment",
    "Node",
    "ProcessView",
    "Scheduled",
    "SlotView",
    "StateView",
    "build_message",
    "system_environment",
]


class Node:
    """The processes of one home.

    `lock_timeout_s` is how long to wait for the home where others hold it (None: as its settings say). `on_slot` hears
    of every slot that is computed: its number, and the slot that the compute is to end at. `modules` are compiled
    ones, by image ID, that nodes share; it is added to.
    """

    def __init__(
        self,
        home: Home | MemoryHome,
        *,
        lock_timeout_s: float | None = None,
        on_slot: Callable[[int, int], None] | None = None,
        modules: Compiled | None = None,
    ) -> None:
        self.home = home
        self._lock_timeout_s = lock_timeout_s
        self._on_slot = on_slot
        self._modules = Modules(home.cache, modules)

    @property
    def config(self) -> Config:
        """The home's settings, read when they are first asked for."""
        return self.context.settings

    def default_limits(self) -> Limits:
        """The limits that a definition gets where a spawn names none: the home's settings."""
        config = self.config
        return Limits(
            gas=config.gas_limit, memory_pages=config.memory_limit_pages, result_bytes=config.result_limit_bytes
        )

    def spawn(
        self,
        image: bytes | str,
        *,
        signer: Key,
        environment: Environment,
        devices: Sequence[str] = (),
        initial_state: Message | None = None,
        tags: Message | None = None,
        limits: Limits | None = None,
        anchor: str | None = None,
        name: str | None = None,
    ) -> Scheduled:
        """Makes a process from an image: its bytes, or the ID of one that is stored.

        The definition is signed by `signer` and is the message in slot 0. A spawn that is repeated with the same
        anchor is the same process, and is not made twice. Its module has run once, at slot 0, before it is accepted.

        Raises:
            Refused: the module, the initial state, a device, a tag, a limit or the name is not acceptable.
            NotFound: no image with that ID is stored.
        """
        from hb.compute import spawning

        wanted = spawning.Wanted(limits or self.default_limits(), devices, initial_state, tags, anchor, name)
        return spawning.spawn(self.context, image, wanted, signer=signer, environment=environment)

    def send(
        self, process: str, messages: Sequence[Message], *, signer: Key | None, environment: Environment
    ) -> list[Scheduled]:
        """Gives each message the next slot of a process, in order; each is on disk when this returns.

        Unsigned messages get their target, a random anchor if they have none, and are signed by `signer`; those that
        carry commitments are taken as they are, if they verify. All are looked at before any is scheduled.

        Raises:
            Refused: a message is not acceptable; none of them was scheduled.
            BadSignature: a message's commitment does not verify; none of them was scheduled.
            NotFound: there is no such process.
        """
        from hb.schedule import sending

        settings = self.config
        answers = sending.send(
            self._session,
            process,
            messages,
            signer=signer,
            scheduler_key=self.context.scheduler_key(),
            environment=environment,
            limits=sending.SendLimits(settings.batch_limit_messages, settings.message_limit_bytes),
        )
        self.context.storage.announce()
        return answers

    def compute(self, process: str, slot: str | int = "now") -> int:
        """Computes a process up to `slot`, and returns that slot's number.

        Raises:
            NotFound: there is no such process or slot.
            Interrupted: the user wants to stop; what was computed until then is stored.
            IntegrityError: what is stored is damaged.
        """
        from hb.compute import driver

        slot = references.locate(self._session, process, slot)
        with self._session() as store:
            pid = names.resolve(store, process)
            target = history.resolve_slot(store, pid, slot)
            if cache.is_computed(store, pid, target):
                return target
        self.context.run(lambda context: driver.compute(context, pid, target))
        return target

    def follow(self, process: str, on_slot: Callable[[SlotView], None]) -> None:
        """Keeps a process live, computes what is scheduled, as it is, and tells of each slot, until interrupted.

        Raises:
            Interrupted: the user wants to stop; this is how it ends.
            NotFound, IntegrityError: as `compute`.
        """
        from hb.compute import following

        with self._session() as store:
            pid = names.resolve(store, process)
            start = cache.latest(store, pid)

        def tell(first: int, last: int) -> None:
            for view in self._history(pid, first, last):
                on_slot(view)

        self.context.run(lambda context: following.follow(context, pid, 0 if start is None else start + 1, tell))

    def state(self, process: str, slot: str | int = "now") -> StateView:
        """The state of a process at `slot`, which is computed if it was not.

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        slot = references.locate(self._session, process, slot)
        with self._session() as store:
            pid = names.resolve(store, process)
            number = history.resolve_slot(store, pid, slot)
            found = history.find_state(store, pid, number)
        if found is not None:
            return found
        self.compute(pid, number)
        with self._session() as store:
            found = history.find_state(store, pid, number)
        assert found is not None
        return found

    def history(self, process: str, first: str | int = 0, last: str | int = "now") -> Iterator[SlotView]:
        """The slots `first` to `last`, both included, as they are: those not computed yet are pending.

        Raises:
            NotFound: there is no such process or slot.
            IntegrityError: what is stored is damaged.
        """
        first, last = (references.locate(self._session, process, bound) for bound in (first, last))
        with self._session() as store:
            pid = names.resolve(store, process)
            start, end = history.resolve_slot(store, pid, first), history.resolve_slot(store, pid, last)
        return self._history(pid, start, end)

    def processes(self) -> list[ProcessView]:
        """Return all processes of the home, the oldest first, and those that are damaged last, with their trouble."""
        with self._session() as store:
            named = names.read_all(store)
            views = [history.listed(store, process, named) for process in scheduler.processes(store)]
        return sorted(views, key=lambda view: (view.trouble is not None, view.spawned_ms, view.process))

    def process(self, process: str) -> ProcessView:
        """One process, as `processes` shows it.

        Raises:
            NotFound: there is no such process.
        """
        with self._session() as store:
            return history.process_view(store, names.resolve(store, process), names.read_all(store))

    def definition(self, process: str) -> Message:
        """The definition of a process.

        Raises:
            NotFound: there is no such process.
        """
        with self._session() as store:
            return lineage.get_definition(store, names.resolve(store, process))

    def resolve(self, process: str) -> str:
        """The process ID that `process` stands for: itself, a name, or a prefix that only one has.

        Raises:
            NotFound: nothing has that name or prefix.
            Refused: several have that prefix.
        """
        with self._session() as store:
            return names.resolve(store, process)

    def names(self) -> dict[str, str]:
        """All names, and the process ID that each stands for."""
        with self._session() as store:
            return names.read_all(store)

    def stored_message(self, name: str) -> Message:
        """The scheduled message with the ID `name`; the message of slot 0 is the definition.

        Raises:
            NotFound: no schedule here has it.
        """
        with self._session() as store:
            for key, raw in store.scan(*keys.message_slots(name)):
                body = scheduler.indexed(store, keys.process_of(key), name, raw)[1]["body"]
                assert isinstance(body, dict)
                return body
        raise NotFound(f"no message {name} here")

    def verify(
        self,
        process: str,
        *,
        replay: bool = False,
        shared: bool = True,
        on_slot: Callable[[int, int], None] | None = None,
        on_note: Callable[[Note], None] = lambda note: None,
    ) -> Iterator[Finding]:
        """Everything that is wrong with what is stored of a process; with `replay`, also what comes out otherwise.

        It reads only. Without `shared`, the slots that a fork shares are not looked at, but run again. `on_slot` hears
        of each slot looked at and of the last; with `replay`, it does so twice.

        Raises:
            NotFound: there is no such process.
            Interrupted: the user wants to stop.
        """
        from hb.verify import audit

        return audit.verify(
            self.context if on_slot is None else replace(self.context, on_slot=on_slot),
            process,
            replay=replay,
            shared=shared,
            on_note=on_note,
        )

    def verify_all(
        self,
        processes: Iterable[str],
        *,
        replay: bool = False,
        on_process: Callable[[str], None] = lambda process: None,
        on_slot: Callable[[int, int], None] | None = None,
        on_note: Callable[[Note], None] = lambda note: None,
    ) -> Iterator[Finding]:
        """Yield what is wrong with all `processes` of the home, given by ID, and with its names.

        Raises:
            NotFound, Interrupted: as `verify`.
        """
        from hb.verify import audit

        context = self.context if on_slot is None else replace(self.context, on_slot=on_slot)
        return audit.verify_all(context, processes, replay=replay, on_process=on_process, on_note=on_note)

    def verify_names(self) -> Iterator[Finding]:
        """Names that stand for no process."""
        from hb.verify import census

        return census.check_names(self._session)

    def process_ids(self) -> list[str]:
        """The IDs of all processes of which anything is here that makes one, damaged or not."""
        from hb.verify import census

        return census.processes(self._session)

    def repair(self, process: str, *, replay: bool = False) -> list[str]:
        """Makes again what is damaged of a process, if it follows from what is not; returns what was done, a line each.

        Raises:
            Refused: its schedule, its definition or its image is damaged, and nothing was mended.
            NotFound, Interrupted: as `verify`.
        """
        from hb.verify import audit

        return audit.repair(self.context, process, replay=replay)

    def repair_names(self) -> list[str]:
        """Takes back the names that stand for no process; returns what was done, a line each."""
        from hb.verify import census, repair

        return repair.mend_names(self._session, list(census.check_names(self._session)))

    @cached_property
    def context(self) -> Context:
        """What verbs need of the world; read when it is first asked for."""
        from hb.compute.context import Context, ignore

        settings = self.home.settings()
        return Context(
            storage=self.home.storage,
            keys=self.home,
            settings=settings,
            modules=self._modules,
            timeout_s=settings.lock_timeout_s if self._lock_timeout_s is None else self._lock_timeout_s,
            lease_timeout_s=self._lock_timeout_s,
            on_slot=self._on_slot or ignore,
        )

    # -- how it is done

    def _session(self) -> AbstractContextManager[Store]:
        return self.context.session()

    def _history(self, process: str, start: int, end: int) -> Iterator[SlotView]:
        from hb.history import selection

        yield from selection.select(self._session, process, start, end)
