"""Processes as objects: what one does with a process.

Invariants:
    No AO logic: a verb here calls a function of a room, with the home's context.
    The user's environment is not read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hb.errors import ProgramFailed, Unfinished
from hb.library.kept import Kept

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hb.environment import Environment
    from hb.files.summary import Imported
    from hb.history.pushed import Delivery
    from hb.history.tree import Node
    from hb.history.views import SlotView
    from hb.library.result import Answer, Result
    from hb.library.scope import Scope
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message, Value
    from hb.push.engine import Pushed
    from hb.records.crons import Cron
    from hb.schedule.cron import Trouble
    from hb.schedule.scheduler import Scheduled
    from hb.verify.evidence import Finding
    from hb.verify.replay import Note


def message(
    action: str | None = None,
    *parameters: Value,
    data: str | bytes | None = None,
    tags: Mapping[str, Value] | None = None,
    anchor: str | None = None,
) -> Message:
    """Return an unsigned message, as `Process.send_all` takes them.

    >>> hb.message("Add", 5, tags={"Subject": "Hello"})
    {'subject': 'Hello', 'action': 'Add', 'parameters': [5]}

    Raises:
        Refused: a message cannot hold a value, or a tag has the name of a key that every message has.
    """
    from hb.protocol.request import build_message

    return build_message(action, list(parameters), data=data, tags=dict(tags or {}), anchor=anchor)


class Sent:
    """A message that has a slot. `fresh` is False if the schedule had it already.

    `message` and `assignment` are IDs.
    """

    def __init__(self, process: Process, slot: int, message: str, assignment: str, fresh: bool) -> None:
        self.process = process
        self.slot = slot
        self.message = message
        self.assignment = assignment
        self.fresh = fresh

    def result(self) -> Result:
        """Return what the program did with it. Its slot is computed if it was not.

        Raises:
            Interrupted, IntegrityError: as `Process.compute`.
        """
        return self.process.result(self.slot)

    @property
    def tree(self) -> list[Node]:
        """What it caused, as far as that is delivered: this message first, and each message before its children."""
        return list(self.process.tree(self.slot))


class Process(Kept):
    """A process of a home: its schedule, and the state at each slot. Safe to use from several threads.

    `made` is how it came to be, if the call that returned it made it: a `Scheduled`. `imported` says what an import
    stored.
    """

    def __init__(
        self, home: Scope, process: str, *, made: Scheduled | None = None, imported: Imported | None = None
    ) -> None:
        super().__init__(home, process)
        self.made = made
        self.imported = imported

    def bound(self, **options: Any) -> Process:
        """Return the same process with verbs that can be cancelled or that report progress; see `Home.bound`."""
        return Process(self.home.bound(**options), self.name, made=self.made, imported=self.imported)

    # -- messages

    def send(
        self,
        action: str | None = None,
        *parameters: Value,
        data: str | bytes | None = None,
        tags: Mapping[str, Value] | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
        push: bool = False,
    ) -> Sent:
        """Give the process a message. It has its slot, on disk, when this returns. Nothing is computed.

        With `push`, what its results ask for is delivered and computed too, and so on, until nothing of it is left;
        see `push`. Then `tree` of what this returns has everything that it caused.

        It is signed by `signer`: a key, or the name of one of the home's; by default the one that the settings name.
        Without an `anchor` it gets a random one, so that two equal messages are two. `timestamp_ms` and `block_height`
        are what its assignment says, in place of the clock and of 0.

        >>> ledger = home.spawn("samples/ledger.wasm", name="ledger")
        >>> ledger.send("Mint", 1, 100, signer="alice").slot
        1

        Raises:
            Refused: the message is not acceptable; nothing was scheduled.
            NotFound: the home has no such key.
        """
        unsigned = message(action, *parameters, data=data, tags=tags, anchor=anchor)
        sent = self.send_all([unsigned], signer=signer, timestamp_ms=timestamp_ms, block_height=block_height)[0]
        if push:
            self.push(sent.slot, timestamp_ms=timestamp_ms, block_height=block_height)
        return sent

    def send_all(
        self,
        messages: Sequence[Message],
        *,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> list[Sent]:
        """Give the process several messages, in order. All are checked before any is scheduled.

        Messages that `message` made are signed, and get an anchor if they have none. Messages that carry commitments
        are taken as they are. Up to 1,000 messages are scheduled at once, whole or not at all.

        >>> [sent.slot for sent in ledger.send_all([hb.message("Mint", account, 10) for account in range(3)])]
        [2, 3, 4]

        Raises:
            Refused: one is not acceptable, and the sentence says which; nothing was scheduled.
            Unfinished: scheduling failed after the first thousand; `done` has those that are scheduled.
        """
        from hb.schedule import sending

        context, settings = self.home.context, self.home.settings
        try:
            scheduled = sending.send(
                context.session,
                self.name,
                messages,
                signer=self.home.signer(signer),
                scheduler_key=context.scheduler_key(),
                environment=self._environment(timestamp_ms, block_height),
                limits=sending.SendLimits(settings.batch_limit_messages, settings.message_limit_bytes),
            )
        except Unfinished as error:
            context.storage.announce()
            raise Unfinished(error.message, done=self._sent(error.done), hint=error.hint) from error
        context.storage.announce()
        return self._sent(scheduled)

    def _sent(self, scheduled: Sequence[Scheduled]) -> list[Sent]:
        if scheduled:
            self._id = scheduled[0].process
        return [Sent(self, each.slot, each.message, each.assignment, each.fresh) for each in scheduled]

    def push(
        self,
        slot: int | str | None = None,
        *,
        depth: int | None = None,
        messages: int | None = None,
        gas: int | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
        on_delivery: Callable[[Delivery], None] | None = None,
        is_last_root: bool = True,
    ) -> Pushed:
        """Deliver what the message of `slot` asks for, compute that, and go on until nothing is left.

        Without a `slot`, everything that is not delivered yet is, and what was held is tried again. What is before
        `slot` goes first: a process's messages never change their order. `depth`, `messages` and `gas` bound what is
        delivered for one root, the message that began it all; by default they are the home's settings.

        `on_delivery` is called after each delivery, when it is stored. With a `slot`, the push ends when nothing of its
        root is left; unless `is_last_root`, it goes on until nothing is left of other roots too.

        Raises:
            NotFound: there is no such slot.
            Refused: another home schedules for the process.
            Interrupted: it was cancelled; the next push goes on.
            IntegrityError: what is stored of the process is damaged.
        """
        from hb.library import live, pushing

        process, number, root = live.wanted(self, slot)
        return pushing.push(
            self.home,
            [(process, number)],
            budget=pushing.budget(self.home, depth, messages, gas),
            environment=self._environment(timestamp_ms, block_height),
            root=root if is_last_root else None,
            on_delivery=live.telling(on_delivery),
        )

    # -- crons

    def every(
        self,
        interval_ms: int,
        action: str | None = "Cron",
        *parameters: Value,
        data: str | bytes | None = None,
        tags: Mapping[str, Value] | None = None,
        missed: str = "skip",
        signer: str | None = None,
    ) -> Cron:
        """Make a cron that sends a message each `interval_ms` milliseconds from now on. `Home.run_crons` sends it.

        It is signed by the home's key called `signer`. Of several ticks that were missed, only the newest is sent; with
        `missed="run"`, all are.

        Raises:
            NotFound: the home has no such key.
            Refused: another home schedules for the process, or the interval or the message is not acceptable.
        """
        from hb.library import crons

        wanted = message(action, *parameters, data=data, tags=tags)
        return crons.add(self.home, self.name, wanted, interval_ms, is_once=False, missed=missed, signer=signer)

    def at(
        self,
        time_ms: int,
        action: str | None = "Cron",
        *parameters: Value,
        data: str | bytes | None = None,
        tags: Mapping[str, Value] | None = None,
        signer: str | None = None,
    ) -> Cron:
        """Make a cron that sends a message once, at `time_ms`, milliseconds since 1970. After that the cron is gone.

        If the time has passed, the next `Home.run_crons` sends it.

        Raises:
            NotFound, Refused: as `every`.
        """
        from hb.library import crons

        wanted = message(action, *parameters, data=data, tags=tags)
        return crons.add(self.home, self.name, wanted, time_ms, is_once=True, missed="skip", signer=signer)

    def accept_cron(self, *, missed: str = "skip", signer: str | None = None) -> Cron:
        """Make the cron that its definition asks for, with `Cron-Interval` and `Cron-Tag-*` tags, as on the AO network.

        Raises:
            Refused: its definition asks for none, or for one that cannot run here, or it runs already; or as `every`.
            NotFound: as `every`.
        """
        from hb.library import crons

        return crons.accept(self.home, self.name, missed=missed, signer=signer)

    def eval(self, code: str, *, signer: str | Key | None = None) -> Any:
        """Have a program of the AO ABI evaluate `code`, as a message with the action `Eval`. Return its answer.

        The message has a slot like any other, and what it changes stays changed.

        Raises:
            ProgramFailed: the outcome is an error. To look at that, use `send("Eval", data=code).result()`.
        """
        result = self.send("Eval", data=code, signer=signer).result()
        if not result.ok:
            raise ProgramFailed(f"the program failed ({result.kind}): {result.line}", results=result.raw)
        return result.answer

    def call(
        self,
        action: str | None = None,
        *parameters: Value,
        slot: int | str = "now",
        data: str | bytes | None = None,
        tags: Mapping[str, Value] | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        sender: str | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Answer:
        """Return what a message would be answered at `slot`. It takes no slot, and nothing is stored.

        It is signed if there is a `signer`; else it claims to be from the address `sender`, by default that of the
        home's own key. It gets the time of the slot, or of the clock at the newest, unless `timestamp_ms` is given.

        >>> ledger.call("Supply", slot=1).output, ledger.call("Supply").output, ledger.slots
        ([100], [130], 5)

        Raises:
            NotFound: there is no such slot.
            Refused: the message cannot be sent, or `timestamp_ms` is before the slot's time.
            Interrupted, IntegrityError: as `compute`.
        """
        unsigned = message(action, *parameters, data=data, tags=tags, anchor=anchor)
        environment = self._environment(timestamp_ms, block_height)
        return self.ask(unsigned, slot, signer=signer, sender=sender, environment=environment)

    def ask(
        self,
        unsigned: Message,
        slot: int | str = "now",
        *,
        signer: str | Key | None = None,
        sender: str | None = None,
        environment: Environment | None = None,
    ) -> Answer:
        """Return what an unsigned message would be answered at `slot`; see `call`.

        Raises:
            NotFound, Refused, Interrupted, IntegrityError: as `call`.
        """
        from hb.history import calling
        from hb.library.result import Answer

        answer = calling.call(
            self.home.context,
            self.name,
            slot,
            unsigned,
            environment=self._environment() if environment is None else environment,
            limit_bytes=self.home.settings.message_limit_bytes,
            signer=None if signer is None else self.home.signer(signer),
            sender=self.home.claimed_sender() if sender is None else sender,
        )
        return Answer(answer.results, answer.state, answer.process, answer.slot, answer.message)

    # -- computing

    def follow(
        self,
        on_slot: Callable[[SlotView], None],
        *,
        push: bool = False,
        on_delivery: Callable[[Delivery], None] | None = None,
        on_pushed: Callable[[Pushed], None] | None = None,
        on_trouble: Callable[[Trouble], None] | None = None,
    ) -> None:
        """Keep the process live, compute each slot as it is scheduled, and call `on_slot` with it, until cancelled.

        With `push`, deliver what each slot asks for too, and what follows from that. `on_delivery` is called after each
        delivery, and `on_pushed` when nothing is left for now. What is held is tried again when its target came. Its
        crons run, too, and `on_trouble` is called with each that cannot send.

        Raises:
            Interrupted: it was cancelled; this is how it ends.
            Refused: another home schedules for the process, and it is to be pushed.
            NotFound, IntegrityError: as `compute`.
        """
        if push:
            from hb.library import live

            live.follow(self.home, [self.id], on_slot, on_delivery, on_pushed, on_trouble)
            return
        from hb.compute import following

        def tell(first: int, last: int) -> None:
            for view in self.select(first, last):
                on_slot(view)

        newest = self.view().computed
        start = 0 if newest is None else newest + 1
        self.home.context.run(lambda context: following.follow(context, self.id, start, tell))

    def result(self, slot: int | str = "now") -> Result:
        """Return what the program did with the message of `slot`, computed if it was not.

        >>> ledger.send("Transfer", 1, 2, 1000).result().output
        [0]

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        from hb.library.result import Result

        record = self.state_view(slot).record
        return Result(record.results, record.state)

    # -- forks

    def fork(
        self,
        slot: int | str = "now",
        *,
        module: bytes | str | os.PathLike[str] | None = None,
        force: bool = False,
        name: str | None = None,
        replace: bool = False,
        tags: Mapping[str, Value] | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Process:
        """Make a process that shares this one's history up to `slot` and continues on its own.

        With `module`, bytes or a .wasm or .wat file, it continues with other code: an upgrade tried on real history.
        It is refused if its data or tables lie in other places than those of the process, unless `force` is given.
        With `replace`, `name` moves here from the process that has it.

        >>> other = ledger.fork(slot=1)
        >>> other.send("Balance", 1).result().output, ledger.send("Balance", 1).result().output
        ([100], [110])

        Raises:
            NotFound: there is no such slot.
            Refused: the module cannot take over the state, or a tag or the name is not acceptable; nothing was made.
            Interrupted, IntegrityError: as `compute`.
        """
        from hb.history.fork import fork

        made = fork(
            self.home.context,
            self.name,
            slot,
            signer=self.home.signer(signer),
            environment=self._environment(timestamp_ms, block_height),
            module=None if module is None else self.home.module(module),
            force=force,
            tags=dict(tags or {}),
            anchor=anchor,
            name=name,
            replace=replace,
        )
        return Process(self.home, made.process, made=made)

    # -- checks

    def verify(self, *, replay: bool = False) -> list[Finding]:
        """Return everything that is wrong with what is stored of it. With `replay`, run every message again too.

        >>> ledger.verify(replay=True)
        []

        Raises:
            Interrupted: it was cancelled.
        """
        return list(self.find_damage(replay=replay))

    def find_damage(
        self, *, replay: bool = False, shared: bool = True, on_note: Callable[[Note], None] | None = None
    ) -> Iterator[Finding]:
        """Yield what `verify` returns, as it is found. Without `shared`, skip the slots that a fork shares.

        With `replay`, `on_note` is told of slots that another engine computed, whose gas is not compared.

        Raises:
            Interrupted: it was cancelled.
        """
        from hb.verify import audit
        from hb.verify import replay as replays

        return audit.verify(
            self.home.context, self.name, replay=replay, shared=shared, on_note=on_note or replays.ignore
        )

    def repair(self, *, replay: bool = False) -> list[str]:
        """Compute again what is damaged, if it follows from an intact schedule. Return what was done, a line each.

        Raises:
            Refused: its schedule, its definition or its image is damaged; nothing was changed.
            Interrupted: it was cancelled.
        """
        from hb.verify import audit

        return audit.repair(self.home.context, self.name, replay=replay)
