"""A home at work: the verbs that a person or a program has over the processes in it.

It wires the parts and holds the store for short slices only. It must never print, read the user's environment, or
know what the bytes of a record are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.environment import Environment, system_environment
from hb.errors import IntegrityError, Interrupted, NotFound
from hb.history import references
from hb.history import views as history
from hb.history.views import ProcessView, SlotView, StateView
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.definition import Limits
from hb.protocol.request import build_message
from hb.records import cache, keys, lineage, names
from hb.schedule import scheduler
from hb.schedule.scheduler import Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from hb.compute.driver import Workshop
    from hb.compute.premises import Premises
    from hb.config import Config
    from hb.devices.device import Machine
    from hb.home import Home
    from hb.memory_home import MemoryHome
    from hb.protocol.message import Message
    from hb.schedule.intake import Prepared
    from hb.storage.store import Store
    from hb.verify.evidence import Finding
    from hb.wasm.module import Module

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

SCHEDULE_MESSAGES = 1000
"""So many messages are signed and synced as one batch at the most: others wait no longer than that takes."""

FOLLOW_SECONDS = 0.02
"""How often a follower looks whether anything was scheduled: at one file's time, not into the store."""


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
        modules: dict[str, Module] | None = None,
    ) -> None:
        self.home = home
        self._lock_timeout_s = lock_timeout_s
        self._on_slot = on_slot
        self._config: Config | None = None
        self._modules: dict[str, Module] = {} if modules is None else modules
        self._lineages: dict[str, lineage.Lineage] = {}

    @property
    def config(self) -> Config:
        """The home's settings, read when they are first asked for."""
        if self._config is None:
            self._config = self.home.settings()
        return self._config

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
        from hb.compute import transition
        from hb.devices.device import execution_for
        from hb.records import images
        from hb.schedule import spawning
        from hb.wasm.engine import run_interruptibly

        taken = images.take(image if isinstance(image, bytes) else self._stored_image(image))
        machine = self._machine(taken.stored)
        module = run_interruptibly(lambda stop: machine.load_module(taken.runs))
        executed_by, passes = execution_for(devices, module.info)
        scheduler_key = self._scheduler_key()
        definition = sign(
            definitions.build(
                image=taken.image,
                scheduler=scheduler_key.address,
                devices=executed_by,
                passes=passes,
                converted=taken.converted,
                initial_state=initial_state,
                anchor=ids.encode(environment.random_bytes(16)) if anchor is None else anchor,
                tags=tags or {},
                limits=limits or self.default_limits(),
            ),
            signer,
        )
        definitions.check(definition)
        opened, scheduled, assignment = scheduler.open_schedule(
            message_id(definition), definition, key=scheduler_key, environment=environment
        )
        run_interruptibly(lambda stop: transition.initialise(definition, assignment, machine))
        made = spawning.store(self._slice, definition, opened, scheduled, taken.stored, name)
        self._announce()
        return made

    def send(
        self, process: str, messages: Sequence[Message], *, signer: Key | None, environment: Environment
    ) -> list[Scheduled]:
        """Give each message the next slot of a process, in order. Each is on disk when this returns.

        An unsigned message gets its target, a random anchor if it has none, and the signature of `signer`. One with
        commitments is taken as it is, if they verify. All are checked before any is scheduled.

        Raises:
            Refused: a message is not acceptable; none of them was scheduled.
            BadSignature: a message's commitment does not verify; none of them was scheduled.
            NotFound: there is no such process.
        """
        from hb.schedule import intake

        key = self._scheduler_key()
        most, limit = self.config.batch_limit_messages, self.config.message_limit_bytes
        if len(messages) > most:
            raise intake.beyond(f"{most} messages may be sent at once, got {len(messages)}", "batch-messages")

        def prepare() -> list[Prepared]:
            return [
                intake.prepare(message, definition, signer, place, limit, environment)
                for place, message in enumerate(messages, 1)
            ]

        def schedule(store: Store, target: str, part: Sequence[Prepared]) -> list[Scheduled]:
            return scheduler.schedule(store, target, part, key=key, environment=environment)

        # One short message is signed sooner than the store is opened again. Nothing else is, while others wait.
        is_short = len(messages) == 1 and intake.is_short(messages[0])
        with self._slice() as store:
            target = names.resolve(store, process)
            definition = lineage.get_definition(store, target)
            scheduler.check_scheduler(definition, target, key)
            answers = schedule(store, target, prepare()) if is_short else []
        if not is_short:
            for part in scheduler.parts(prepare(), SCHEDULE_MESSAGES):
                with self._slice() as store:
                    answers += schedule(store, target, part)
        self._announce()
        return answers

    def compute(self, process: str, slot: str | int = "now") -> int:
        """Computes a process up to `slot`, and returns that slot's number.

        Raises:
            NotFound: there is no such process or slot.
            Interrupted: the user wants to stop; what was computed until then is stored.
            IntegrityError: what is stored is damaged.
        """
        from hb.compute.driver import compute
        from hb.wasm.engine import run_interruptibly

        slot = references.locate(self._slice, process, slot)
        with self._slice() as store:
            pid = names.resolve(store, process)
            target = history.resolve_slot(store, pid, slot)
            if cache.is_computed(store, pid, target):
                return target
        run_interruptibly(lambda stop: compute(self._workshop(target, stop), pid, target))
        return target

    def follow(self, process: str, on_slot: Callable[[SlotView], None]) -> None:
        """Keeps a process live, computes what is scheduled, as it is, and tells of each slot, until interrupted.

        Raises:
            Interrupted: the user wants to stop; this is how it ends.
            NotFound, IntegrityError: as `compute`.
        """
        from hb.wasm.engine import run_interruptibly

        with self._slice() as store:
            pid = names.resolve(store, process)
            start = cache.latest(store, pid)
        run_interruptibly(lambda stop: self._follow(pid, 0 if start is None else start + 1, on_slot, stop))

    def state(self, process: str, slot: str | int = "now") -> StateView:
        """The state of a process at `slot`, which is computed if it was not.

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        slot = references.locate(self._slice, process, slot)
        with self._slice() as store:
            pid = names.resolve(store, process)
            number = history.resolve_slot(store, pid, slot)
            found = history.find_state(store, pid, number)
        if found is not None:
            return found
        self.compute(pid, number)
        with self._slice() as store:
            found = history.find_state(store, pid, number)
        assert found is not None
        return found

    def history(self, process: str, first: str | int = 0, last: str | int = "now") -> Iterator[SlotView]:
        """The slots `first` to `last`, both included, as they are: those not computed yet are pending.

        Raises:
            NotFound: there is no such process or slot.
            IntegrityError: what is stored is damaged.
        """
        first, last = (references.locate(self._slice, process, bound) for bound in (first, last))
        with self._slice() as store:
            pid = names.resolve(store, process)
            start, end = history.resolve_slot(store, pid, first), history.resolve_slot(store, pid, last)
        return self._history(pid, start, end)

    def processes(self) -> list[ProcessView]:
        """Return all processes of the home, the oldest first, and those that are damaged last, with their trouble."""
        with self._slice() as store:
            named = names.read_all(store)
            views = [history.listed(store, process, named) for process in scheduler.processes(store)]
        return sorted(views, key=lambda view: (view.trouble is not None, view.spawned_ms, view.process))

    def process(self, process: str) -> ProcessView:
        """One process, as `processes` shows it.

        Raises:
            NotFound: there is no such process.
        """
        with self._slice() as store:
            return history.process_view(store, names.resolve(store, process), names.read_all(store))

    def definition(self, process: str) -> Message:
        """The definition of a process.

        Raises:
            NotFound: there is no such process.
        """
        with self._slice() as store:
            return lineage.get_definition(store, names.resolve(store, process))

    def resolve(self, process: str) -> str:
        """The process ID that `process` stands for: itself, a name, or a prefix that only one has.

        Raises:
            NotFound: nothing has that name or prefix.
            Refused: several have that prefix.
        """
        with self._slice() as store:
            return names.resolve(store, process)

    def names(self) -> dict[str, str]:
        """All names, and the process ID that each stands for."""
        with self._slice() as store:
            return names.read_all(store)

    def stored_message(self, name: str) -> Message:
        """The scheduled message with the ID `name`; the message of slot 0 is the definition.

        Raises:
            NotFound: no schedule here has it.
        """
        with self._slice() as store:
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
    ) -> Iterator[Finding]:
        """Everything that is wrong with what is stored of a process; with `replay`, also what comes out otherwise.

        It reads only. Without `shared`, the slots that a fork shares are not looked at, but run again. `on_slot` hears
        of each slot looked at and of the last; with `replay`, it does so twice.

        Raises:
            NotFound: there is no such process.
            Interrupted: the user wants to stop.
        """
        from hb.verify import audit

        return audit.verify(self.premises(on_slot), process, replay=replay, shared=shared)

    def verify_names(self) -> Iterator[Finding]:
        """Names that stand for no process."""
        from hb.verify import census

        return census.check_names(self._slice)

    def process_ids(self) -> list[str]:
        """The IDs of all processes of which anything is here that makes one, damaged or not."""
        from hb.verify import census

        with self._slice() as store:
            return census.processes(store)

    def repair(self, process: str, *, replay: bool = False) -> list[str]:
        """Makes again what is damaged of a process, if it follows from what is not; returns what was done, a line each.

        Raises:
            Refused: its schedule, its definition or its image is damaged, and nothing was mended.
            NotFound, Interrupted: as `verify`.
        """
        from hb.verify import audit

        return audit.repair(self.premises(), process, replay=replay)

    def repair_names(self) -> list[str]:
        """Takes back the names that stand for no process; returns what was done, a line each."""
        from hb.verify import census, repair

        return repair.mend_names(self._slice, list(census.check_names(self._slice)))

    def premises(self, on_slot: Callable[[int, int], None] | None = None) -> Premises:
        """What verbs that live elsewhere need of this home; `on_slot` hears of the slots that they deal with."""
        from hb.compute.premises import Premises

        return Premises(
            open_store=self._slice,
            lock=lambda process: self.home.computing(process, None),
            machine=self._machine,
            compute=self.compute,
            on_slot=on_slot or (lambda slot, last: None),
            scheduler_key=self._scheduler_key,
            announce=self._announce,
        )

    # -- how it is done

    def _slice(self) -> AbstractContextManager[Store]:
        return lineage.viewed(self.home.slice(self._timeout_s()), self._lineages)

    def _timeout_s(self) -> float | None:
        return self._lock_timeout_s if self._lock_timeout_s is not None else self.config.lock_timeout_s

    def _scheduler_key(self) -> Key:
        return self.home.key(self.config.scheduler_key)

    def _announce(self) -> None:
        """Lets those who follow a process know that something was scheduled."""
        self.home.announce()

    def _stored_image(self, image: str) -> bytes:
        from hb.records import images

        with self._slice() as store:
            return images.read(store, image)

    def _machine(self, given: dict[str, bytes] | None = None) -> Machine:
        from hb.devices.device import Machine
        from hb.records import images
        from hb.schedule import intake

        most = self.config.module_limit_bytes
        for wasm in (given or {}).values():
            if len(wasm) > most:
                raise intake.beyond(f"a module may have {most} bytes, got {len(wasm)}", "module-limit")

        def load_module(image: str) -> Module:
            from hb.wasm import module

            if image not in self._modules:
                wasm = (given or {}).get(image)
                limits = module.CompileLimits(self.config.compile_limit_s, self.config.compile_limit_mb)
                if wasm is None:
                    with self._slice() as store:
                        wasm = images.read(store, image, IntegrityError)
                self._modules[image] = module.load(wasm, self.home.cache, limits)
            return self._modules[image]

        return Machine(load_module)

    def _workshop(self, target: int, stop: Event) -> Workshop:
        from hb.compute.driver import Workshop

        on_slot = self._on_slot
        return Workshop(
            open_store=self._slice,
            lock=lambda process: self.home.computing(process, None),
            machine=self._machine(),
            on_slot=(lambda slot: None) if on_slot is None else (lambda slot: on_slot(slot, target)),
            stopped=stop.is_set,
        )

    def _spawned_before(self, store: Store, process: str) -> Scheduled | None:
        return scheduler.find_scheduled(store, process, process)

    def _history(self, process: str, start: int, end: int) -> Iterator[SlotView]:
        from hb.history import selection

        yield from selection.select(self._slice, process, start, end)

    def _follow(self, process: str, first: int, on_slot: Callable[[SlotView], None], stop: Event) -> None:
        from hb.compute import driver as compute

        live = None
        while True:
            seen = self.home.announced()
            with self._slice() as store:
                newest = scheduler.get_head(store, process).slot
            shop = self._workshop(newest, stop)
            with shop.lock(process):
                live = live or compute.open_worker(shop, process, newest)
                reached = min(newest, live.slot + compute.RUN_SLOTS)
                compute.advance(shop, live, reached, last_image=False)
            for view in self._history(process, first, reached):
                on_slot(view)
            first = reached + 1
            while not stop.is_set() and reached == newest and self.home.announced() == seen:
                stop.wait(FOLLOW_SECONDS)
            if stop.is_set():
                compute.keep_image(shop, live)
                raise Interrupted(f"stopped following at slot {reached}")
