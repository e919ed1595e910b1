"""Homes as objects: what one does in a home.

Invariants:
    No AO logic: a verb here calls a function of a room, with this home's context.
    The user's environment is not read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hb.errors import NotFound, Refused
from hb.library.process import Process
from hb.library.scope import Scope

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from hb.compute.modules import Compiled
    from hb.environment import Environment
    from hb.files.witness import Witness
    from hb.history.pushed import Delivery, HeldGroup
    from hb.history.views import ProcessView, SlotView
    from hb.library.place import Place
    from hb.library.verified import VerifiedFile
    from hb.protocol.commitment import Key
    from hb.protocol.definition import Limits
    from hb.protocol.message import Message, Value
    from hb.push.engine import Pushed
    from hb.push.trap import TrapDelivery, Verdict
    from hb.schedule.cron import Tick, Trouble
    from hb.schedule.crontab import CronView
    from hb.verify.evidence import Finding
    from hb.verify.replay import Note


class Clock:
    """The time in a frozen home: `now_ms`, in milliseconds since 1970."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def advance(self, milliseconds: int) -> None:
        """Let time pass: what is sent from now on says so.

        Raises:
            Refused: time would run backwards.
        """
        if milliseconds < 0:
            raise Refused(f"time never runs backwards: 0 milliseconds or more, got {milliseconds}")
        self.now_ms += milliseconds


class Home(Scope):
    """A home, and the processes in it. Safe to use from several threads."""

    def __repr__(self) -> str:
        return f"Home({str(self.path or ':memory:')!r})"

    @property
    def path(self) -> Path | None:
        """Its directory; None if it is in memory."""
        return self._place_path("path")

    @property
    def typed(self) -> Path | None:
        """The file that keeps what was typed at a prompt; None if the home is in memory."""
        return self._place_path("typed")

    # -- processes

    def spawn(
        self,
        module: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        replace: bool = False,
        initial_state: Mapping[str, Value] | None = None,
        tags: Mapping[str, Value] | None = None,
        devices: Sequence[str] = (),
        gas_limit: int | None = None,
        memory_limit_pages: int | None = None,
        result_limit_bytes: int | None = None,
        anchor: str | None = None,
        authority: Sequence[str] | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Process:
        """Make a process of `module`: its bytes, a .wasm or .wat file, the ID of a stored image, or a name that the
        settings give to one under `[modules]`.

        `name` is a name for it in this home; with `replace`, it moves here from the process that has it.
        `initial_state` are the public keys before the first message, and `devices` what executes it (by default, what
        the module asks for). Limits that are not given are the home's settings.
        `authority` are the addresses that may deliver what processes send to it: by default the home's own. With an
        empty list nobody may. A tag of that name takes their place.

        With the same `anchor`, and all else the same, it is the same process, and is not made twice:
        `process.made.fresh` tells.

        Raises:
            Refused: the module, or something else that was given, is not acceptable; nothing was made.
            NotFound: no image with that ID is stored, or the home has no such key.
            Interrupted: it was cancelled; nothing was made.
        """
        from hb.compute import spawning

        wanted = spawning.Wanted(
            limits=self._limits(gas_limit, memory_limit_pages, result_limit_bytes),
            devices=devices,
            initial_state=None if initial_state is None else dict(initial_state),
            tags=dict(tags or {}),
            anchor=anchor,
            name=name,
            replace=replace,
            authority=[authority] if isinstance(authority, str) else authority,
        )
        made = spawning.spawn(
            self.context,
            self.image(module),
            wanted,
            signer=self.signer(signer),
            environment=self.environment(timestamp_ms, block_height),
        )
        return Process(self, made.process, made=made)

    def process(self, process: str, *, look_up: bool = True) -> Process:
        """Return the process that `process` stands for: its ID, a name, or the first 4 or more characters of its ID.

        Without `look_up`, the first verb looks it up, and raises what this would.

        Raises:
            NotFound: there is none.
            Refused: several IDs begin with it.
        """
        found = Process(self, process)
        if look_up:
            found.look_up()
        return found

    def processes(self) -> list[Process]:
        """Return all processes, the oldest first. Damaged ones are last."""
        return [Process(self, view.process) for view in self.process_views()]

    def push(
        self,
        *,
        depth: int | None = None,
        messages: int | None = None,
        gas: int | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> Pushed:
        """Deliver what all processes that this home schedules ask for, and go on until nothing is left.

        What was held is tried again; see `Process.push`.

        Raises:
            Interrupted: it was cancelled; the next push goes on.
            IntegrityError: what is stored is damaged.
        """
        from hb.library import live, pushing
        from hb.push import queue

        context = self.context
        wanted = queue.undelivered(context.session, context.scheduler_key().address)
        return pushing.push(
            self,
            [(process, None) for process in wanted],
            budget=pushing.budget(self, depth, messages, gas),
            environment=self.environment(timestamp_ms, block_height),
            on_delivery=live.telling(on_delivery),
        )

    def follow(
        self,
        on_slot: Callable[[SlotView], None],
        *,
        on_delivery: Callable[[Delivery], None] | None = None,
        on_pushed: Callable[[Pushed], None] | None = None,
        on_trouble: Callable[[Trouble], None] | None = None,
    ) -> None:
        """Keep all processes live: compute what is scheduled and deliver what it asks for, until cancelled.

        Crons run, too. See `Process.follow`. A process that cannot be computed is told to `on_pushed`, and the others
        go on.

        Raises:
            Interrupted: it was cancelled; this is how it ends.
        """
        from hb.library import live

        live.follow(self, None, on_slot, on_delivery, on_pushed, on_trouble)

    def held(self, processes: Collection[str] | None = None) -> list[HeldGroup]:
        """Return the deliveries that are held, in groups: of these process IDs, and for them; None means all.

        Raises:
            IntegrityError: what is stored of them is damaged.
        """
        from hb.history import pushed

        return pushed.held(self.context.session, processes)

    def process_views(self) -> list[ProcessView]:
        """Return a view of each process, the oldest first. Damaged ones are last, with their `trouble`."""
        from hb.history import views

        return views.list_processes(self.context.session)

    def process_ids(self) -> list[str]:
        """Return the ID of every process with any record, including damaged ones."""
        from hb.verify import census

        return census.processes(self.context.session)

    def names(self) -> dict[str, Process]:
        """Return the names, and the process that each stands for."""
        from hb.records import names

        with self.context.session() as store:
            found = names.read_all(store)
        return {name: Process(self, process) for name, process in found.items()}

    def beginning_with(self, prefix: str, most: int = 1000) -> list[str]:
        """Return the names, and then the process IDs, that begin with `prefix`: at most `most` of each.

        This reads little, and nothing of what the processes are: for what a shell offers when Tab is pressed.
        """
        from hb.records import names

        with self.context.session() as store:
            return names.beginning_with(store, prefix, most)

    def message(self, name: str) -> Message:
        """Return the scheduled message with the ID `name`. The message of slot 0 is the definition.

        Raises:
            NotFound: no schedule here has it.
        """
        from hb.schedule import scheduler

        with self.context.session() as store:
            found = scheduler.find_message(store, name)
        if found is None:
            raise NotFound(f"no message {name} here")
        return found

    # -- crons

    def crons(self, process: str | None = None) -> list[CronView]:
        """Return the crons of a process, or of all: those that run, by their next tick, and those only defined.

        Raises:
            NotFound, Refused: as `process`.
        """
        from hb.library import crons

        return crons.views(self, process)

    def run_crons(
        self,
        process: str | None = None,
        *,
        on_tick: Callable[[Tick], None] | None = None,
        on_trouble: Callable[[Trouble], None] | None = None,
    ) -> list[Tick]:
        """Send every tick that is due now, of one process or of all, and return what was sent. Nothing is computed.

        Each tick is sent at most once, however many programs do this at once. Ticks are sent in the order of their
        times. `on_tick` is called after each is on the disk, and `on_trouble` with each cron that cannot send.

        Raises:
            Unfinished: a cron cannot send, and there is no `on_trouble`. The others did: `done` has what was sent.
            NotFound, Refused: as `process`.
            Interrupted: it was cancelled. What was sent stays.
        """
        from hb.library import crons

        return crons.run(self, process, on_tick, on_trouble)

    def remove_cron(self, cron: str) -> str:
        """Remove the cron with the ID `cron`, or whose ID alone begins with these 6 or more characters. Return its ID.

        Raises:
            NotFound: there is none.
            Refused: several IDs begin so.
        """
        from hb.library import crons

        return crons.remove(self, cron)

    # -- keys

    def new_key(self, name: str) -> str:
        """Make a key to sign with; return its address.

        Raises:
            Refused: there is one with that name, or no key can have it.
        """
        return self.place.make_key(name).address

    def secret_key(self, name: str) -> dict[str, str]:
        """Return a whole key, its secret included, as a JSON Web Key: for its owner's backup.

        Raises:
            NotFound, Refused, HomeUnusable: there is no such key, or its file cannot be used.
        """
        from hb import keyring

        directory = self._key_directory()
        if directory is None:
            raise NotFound("the keys of a home in memory are in no file")
        return keyring.secret(directory, name)

    # -- files

    def import_history(
        self, path: str | os.PathLike[str], *, name: str | None = None, replace: bool = False, replay: bool = True
    ) -> Process:
        """Take in the history in a file. All of it is verified, and with `replay` run again, before anything is stored.

        If the process is here already, what is missing is added, if everything that both have is equal.
        `process.imported` says what was stored. With `replace`, `name` moves here from the process that has it.

        Raises:
            NotFound: there is no such file.
            Refused: it is not a history, or differs from the process that is here; nothing was stored.
            IntegrityError: something in it is not what it must be; nothing was stored.
            Interrupted: it was cancelled; what is stored is a whole, perhaps shorter, process.
        """
        from hb.files import transfer

        done = transfer.import_history(self.context, Path(path), name=name, replay=replay, replace=replace)
        return Process(self, done.process, imported=done)

    def attest(
        self,
        witness: str | os.PathLike[str],
        to: str | os.PathLike[str] | None = None,
        *,
        signer: str | Key | None = None,
    ) -> Witness:
        """Run the witness in a file again, and sign what it claims. Write it to `to`, by default to the same file.

        Raises:
            NotFound: there is no such file or key.
            Refused: it is not a witness, or cannot be signed.
            IntegrityError: it does not come out as it says; nothing was signed.
        """
        from hb.files import challenge
        from hb.files import witness as witnesses

        key = self.signer(signer)
        signed = challenge.attest(witnesses.read(Path(witness)), key, self.context.machine)
        witnesses.write(signed, Path(witness if to is None else to))
        return signed

    def verify_file(self, path: str | os.PathLike[str], *, replay: bool = False) -> VerifiedFile:
        """Return what is wrong with a history or a witness in a file; see `hb.verify_file`.

        The home lends and keeps compiled modules. Nothing else of it is used.

        Raises:
            NotFound, Refused, HomeUnusable, Interrupted: as `hb.verify_file`.
        """
        from hb.library import verified

        return verified.verified(Path(path), self.context.machine, replay=replay, on_slot=self.context.on_slot)

    def find_file_damage(
        self, path: str | os.PathLike[str], *, replay: bool = False, on_note: Callable[[Note], None] | None = None
    ) -> Iterator[Finding]:
        """Yield what `verify_file` finds in a history, as it is found; see `hb.find_file_damage`.

        Raises:
            NotFound, Refused, HomeUnusable, Interrupted: as `hb.verify_file`.
        """
        from hb.library import verified

        on_slot = self.context.on_slot
        return verified.damage(Path(path), self.context.machine, replay=replay, on_slot=on_slot, on_note=on_note)

    # -- checks

    def verify(
        self,
        *,
        replay: bool = False,
        on_process: Callable[[str], None] | None = None,
        on_note: Callable[[Note], None] | None = None,
    ) -> Iterator[Finding]:
        """Yield everything that is wrong with what is stored in this home, its names included; see `Process.verify`.

        Slots that forks share are checked once, with the process that owns them. `on_process` is called with the ID of
        each process before it is checked. With `replay`, `on_note` is told of slots that another engine computed.

        Raises:
            Interrupted: it was cancelled.
        """
        from hb.verify import audit
        from hb.verify import replay as replays

        return audit.verify_all(
            self.context,
            self.process_ids(),
            replay=replay,
            on_process=on_process or (lambda process: None),
            on_note=on_note or replays.ignore,
        )

    def verify_names(self) -> Iterator[Finding]:
        """Yield the names that stand for no process."""
        from hb.verify import census

        return census.check_names(self.context.session)

    def repair_store(self) -> list[str]:
        """Bring a store that cannot be opened to where it can. Return what was done, a line each.

        Raises:
            IntegrityError: what is damaged cannot be made again from what is whole.
        """
        from hb.storage.storage import Patience

        context = self.context
        return context.storage.repair(Patience(context.timeout_s, context.cancellation))

    def repair_leftovers(self) -> list[str]:
        """Delete names that stand for no process, and what pushes remember of processes that are not here. Return what
        was done, a line each."""
        from hb.verify import census, repair

        return repair.mend_names(self.context.session, list(census.check_names(self.context.session)))

    def _limits(self, gas: int | None, memory_pages: int | None, result_bytes: int | None) -> Limits:
        from hb.protocol.definition import Limits

        settings = self.settings
        return Limits(
            gas=settings.gas_limit if gas is None else gas,
            memory_pages=settings.memory_limit_pages if memory_pages is None else memory_pages,
            result_bytes=settings.result_limit_bytes if result_bytes is None else result_bytes,
        )


class FrozenHome(Home):
    """A home in which time passes only when its `clock` is advanced, and nothing is random."""

    push_patience_s = None

    def __init__(self, place: Place, clock: Clock, seed: bytes, *, compiled: Compiled | None = None) -> None:
        super().__init__(place, compiled=compiled)
        self.clock = clock
        self._random = _repeatable(seed)

    def trap(self, trap: Callable[[TrapDelivery], Verdict] | None) -> None:
        """Have `trap` look at each message before a push delivers it; None ends that.

        It returns None to let the message go, "hold" to keep it until `release` or the next push of everything, "drop"
        to lose it, or the message that is delivered in its place. What was done is in the tree.
        """
        self.push_trap = trap

    def release(self, delivery: TrapDelivery) -> Pushed:
        """Deliver a message that the trap holds, and push on. To release several in another order is to reorder them.

        Raises:
            Interrupted, IntegrityError: as `push`.
        """
        from hb.library import pushing

        return pushing.release(self, delivery, pushing.budget(self), self.environment())

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """Return the world as the next message sees it: the clock's time, except for what is given, and no
        randomness."""
        from hb.environment import Environment

        return Environment(
            now_ms=lambda: self.clock.now_ms,
            random_bytes=self._random,
            timestamp_ms=timestamp_ms,
            block_height=block_height,
        )


def _repeatable(seed: bytes) -> Callable[[int], bytes]:
    """Return a source of bytes that look random, and are the same for the same seed."""
    from hashlib import shake_256
    from itertools import count

    numbers = count()
    return lambda size: shake_256(b"hb frozen home\0" + seed + next(numbers).to_bytes(8, "big")).digest(size)
