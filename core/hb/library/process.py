"""Processes as objects: what one does with a process.

It must never hold AO logic, nor read the user's environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb.errors import ProgramFailed
from hb.library.result import Result
from hb.node import build_message

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from hb.environment import Environment
    from hb.history.difference import Difference
    from hb.history.rerun import Change
    from hb.history.trace import Trace
    from hb.library.home import Home
    from hb.node import SlotView
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message, Value
    from hb.verify.evidence import Finding


def message(
    action: str | None = None,
    *parameters: Value,
    data: str | bytes | None = None,
    tags: Mapping[str, Value] | None = None,
    anchor: str | None = None,
) -> Message:
    """An unsigned message, as `Process.send_all` takes them.

    >>> hb.message("Add", 5, tags={"Subject": "Hello"})
    {'subject': 'Hello', 'action': 'Add', 'parameters': [5]}

    Raises:
        Refused: a value is none that a message can hold, or a tag is called as a key that a message has anyway.
    """
    return build_message(action, list(parameters), data=data, tags=dict(tags or {}), anchor=anchor)


@dataclass(frozen=True)
class Sent:
    """A message that has a slot. `fresh` is False where the schedule had it already.

    `message` and `assignment` are IDs.
    """

    process: Process
    slot: int
    message: str
    assignment: str
    fresh: bool

    def result(self) -> Result:
        """What the program did with it; computes its slot if need be.

        Raises:
            Interrupted, IntegrityError: as `Process.compute`.
        """
        return self.process.result(self.slot)


class Process:
    """A process of a home: its schedule, and the state at each slot."""

    def __init__(self, home: Home, process: str) -> None:
        self.home = home
        self.id = process

    def __repr__(self) -> str:
        return f"Process({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and (self.home, self.id) == (other.home, other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def definition(self) -> dict[str, Any]:
        """The message that spawned it and says what it is."""
        return self.home.node.definition(self.id)

    @property
    def slots(self) -> int:
        """How many messages are scheduled, the one that spawned it among them: the newest has slot `slots - 1`."""
        return self.home.node.process(self.id).slots

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
    ) -> Sent:
        """Gives the process a message; it has its slot, on disk, when this returns. Nothing is computed.

        It is signed by `signer`: a key, or the name of one of the home's; by default the one that the settings name.
        Without an `anchor` it gets a random one, so that two equal messages are two. `timestamp_ms` and `block_height`
        are what its assignment says, in place of the clock and of 0.

        >>> ledger = home.spawn("samples/ledger.wasm")
        >>> ledger.send("Mint", 1, 100, signer="alice").slot
        1

        Raises:
            Refused: the message is not acceptable; nothing was scheduled.
            NotFound: the home has no such key.
        """
        environment = self.home.environment(timestamp_ms, block_height)
        unsigned = message(action, *parameters, data=data, tags=tags, anchor=anchor)
        return self._schedule([unsigned], signer, environment)[0]

    def send_all(
        self,
        messages: Sequence[Message],
        *,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> list[Sent]:
        """Gives the process several messages, in order: all of them get a slot, or none does.

        Those that `message` made are signed and get an anchor if they have none; those that carry commitments are taken
        as they are.

        >>> [sent.slot for sent in ledger.send_all([hb.message("Mint", account, 10) for account in range(3)])]
        [2, 3, 4]

        Raises:
            Refused: one is not acceptable, and the sentence says which; nothing was scheduled.
        """
        environment = self.home.environment(timestamp_ms, block_height)
        return self._schedule(messages, signer, environment)

    def compute(self, slot: int | str = "now") -> int:
        """Computes up to `slot`, and gives its number.

        Raises:
            NotFound: there is no such slot.
            Interrupted: Ctrl-C came; what was computed until then is kept.
            IntegrityError: what is stored is damaged.
        """
        return self.home.node.compute(self.id, slot)

    def state(self, slot: int | str = "now") -> dict[str, Any]:
        """The state at `slot`, computed if need be: the public keys, `at-slot`, `process` and that slot's `results`.

        >>> ledger.state(slot=1)["results"]["type"]
        'ok'

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        return self.home.node.state(self.id, slot).state

    def hashpath(self, slot: int | str = "now") -> str:
        """The hashpath at `slot`: it commits to the definition and to every message up to there.

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        return self.home.node.state(self.id, slot).hashpath

    def result(self, slot: int | str = "now") -> Result:
        """What the program did with the message of `slot`, computed if need be.

        >>> ledger.send("Transfer", 1, 2, 1000).result().output
        [0]

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        record = self.home.node.state(self.id, slot).record
        return Result(record.results, record.state)

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
    ) -> Result:
        """What a message would be answered at `slot`: it takes no slot, and nothing is stored.

        It is signed if there is a `signer`; else it says that it is from the address `sender`, by default that of the
        home's own key. It gets the time of the slot, or of the clock at the newest, unless `timestamp_ms` is given.

        >>> ledger.call("Supply", slot=1).output, ledger.call("Supply").output, ledger.slots
        ([100], [130], 6)

        Raises:
            NotFound: there is no such slot.
            Refused: the message cannot be sent, or `timestamp_ms` is before the slot's.
            Interrupted, IntegrityError: as `compute`.
        """
        from hb.history import calling

        answer = calling.call(
            self.home.node.context,
            self.id,
            slot,
            message(action, *parameters, data=data, tags=tags, anchor=anchor),
            environment=self.home.environment(timestamp_ms, block_height),
            limit_bytes=self.home.node.config.message_limit_bytes,
            signer=None if signer is None else self.home.signer(signer),
            sender=self.home.address() if sender is None else sender,
        )
        return Result(answer.results, answer.state)

    def history(self, first: int | str = 0, last: int | str = "now") -> Iterator[SlotView]:
        """The slots `first` to `last`, both included, as they are: this computes nothing.

        >>> [(slot.slot, slot.action) for slot in ledger.history(1, 2)]
        [(1, 'Mint'), (2, 'Mint')]

        Raises:
            NotFound: there is no such slot.
            IntegrityError: what is stored is damaged.
        """
        return self.home.node.history(self.id, first, last)

    def trace(self, slot: int | str = "now", *, host_calls: int = 20) -> Trace:
        """What happened inside one slot, which is executed again: calls, gas, changes, and where a trap was.

        Of the host calls of each call, the first `host_calls` are there, and all are counted. Nothing is stored.

        >>> (call,) = ledger.trace(slot=1).calls
        >>> call.function, call.arguments, call.results
        ('Mint', [1, 100], [100])

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        from hb.history import trace

        return trace.trace(self.home.node.context, self.id, slot, host_calls=host_calls)

    def diff(self, before: int | str, after: int | str = "now") -> Difference:
        """In what the states at two slots differ: public keys, globals, memory to the byte, results, gas.

        >>> found = ledger.diff(1, 2)
        >>> found.keys, found.memory.changed_pages
        ([], 1)

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        from hb.history import difference

        return difference.difference(self.home.node.context, self.id, before, after)

    def replay(
        self, module: bytes | str | os.PathLike[str], to: int | str = "now", *, every: bool = False
    ) -> list[Change]:
        """Runs the schedule up to `to` against other code, and gives the first slot that differs; none, if none does.

        With `every`, it gives each such slot. Nothing is stored.

        >>> ledger.replay("samples/ledger.wat")
        []

        Raises:
            Refused: the module is not acceptable, has another ABI, or cannot begin from the definition.
            NotFound, Interrupted, IntegrityError: as `compute`.
        """
        from hb.history import rerun

        changes: list[Change] = []
        context, other = self.home.node.context, self.home.module(module)
        rerun.rerun(context, self.id, other, to, on_change=changes.append, every=every)
        return changes

    def export(self, path: str | os.PathLike[str], to: int | str = "now", *, every_image: bool = False) -> None:
        """Writes the history up to `to` to a file, for `Home.import_history`. A file that is there is written over.

        With `every_image` it has all memory images that are stored, not only those that are needed.

        Raises:
            NotFound: there is no such slot.
            Refused, HomeUnusable: the file cannot be written.
            IntegrityError: what is stored is damaged.
        """
        from hb.files import transfer

        transfer.export(self.home.node.context, self.id, to, Path(path), every_image=every_image)

    def witness(
        self, path: str | os.PathLike[str], slot: int | str = "now", *, attest: Sequence[str | Key] = ()
    ) -> None:
        """Writes to a file what it takes to run one slot again anywhere: `hb.verify_file` does. It is written over.

        It is attested by each key in `attest`, after it was run: what it claims is signed.

        >>> ledger.witness(scratch / "ledger.witness", slot=2, attest=["auditor"])
        >>> found = hb.verify_file(scratch / "ledger.witness")
        >>> found.slot, found.hashpath == ledger.hashpath(2), found.attested_by == (home.address("auditor"),)
        (2, True, True)

        Raises:
            NotFound, Interrupted, IntegrityError: as `compute`.
            Refused, HomeUnusable: the file cannot be written.
        """
        from hb.files import challenge, witness

        context = self.home.node.context
        made = witness.make(context, self.id, slot)
        for each in attest:
            made = challenge.attest(made, self.home.signer(each), context.machine)
        witness.write(made, Path(path))

    def fork(
        self,
        slot: int | str = "now",
        *,
        module: bytes | str | os.PathLike[str] | None = None,
        name: str | None = None,
        tags: Mapping[str, Value] | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Process:
        """A new process that shares this one's history up to `slot`, and goes its own way from there.

        With `module`, bytes or a .wasm or .wat file, it goes on with other code: an upgrade tried on a real history.

        >>> other = ledger.fork(slot=1)
        >>> other.send("Balance", 1).result().output, ledger.send("Balance", 1).result().output
        ([100], [110])

        Raises:
            NotFound: there is no such slot.
            Refused: the module cannot take over the state, or a tag or the name is not acceptable; nothing was made.
            Interrupted, IntegrityError: as `compute`.
        """
        from hb.history.fork import fork

        environment = self.home.environment(timestamp_ms, block_height)
        scheduled = fork(
            self.home.node.context,
            self.id,
            slot,
            signer=self.home.signer(signer),
            environment=environment,
            module=None if module is None else self.home.module(module),
            tags=dict(tags or {}),
            anchor=anchor,
            name=name,
        )
        return Process(self.home, scheduled.process)

    def verify(self, *, replay: bool = False) -> list[Finding]:
        """Everything that is wrong with what is stored of it; with `replay`, every message is run again too.

        >>> ledger.verify(replay=True)
        []

        Raises:
            Interrupted: Ctrl-C came.
        """
        return list(self.home.node.verify(self.id, replay=replay))

    def eval(self, code: str, *, signer: str | Key | None = None) -> Any:
        """Has a program of the AO ABI evaluate `code`, as a message with the action `Eval`; gives its answer.

        The message has a slot, as any other, and what it changes stays changed.

        Raises:
            ProgramFailed: the outcome is an error. To look at that one, use `send("Eval", data=code).result()`.
        """
        result = self.send("Eval", data=code, signer=signer).result()
        if not result.ok:
            raise ProgramFailed(f"the program failed ({result.kind}): {result.line}", results=result.raw)
        return result.answer

    def _schedule(self, messages: Sequence[Message], signer: str | Key | None, environment: Environment) -> list[Sent]:
        key = self.home.signer(signer)
        sent = self.home.node.send(self.id, messages, signer=key, environment=environment)
        return [Sent(self, each.slot, each.message, each.assignment, each.fresh) for each in sent]
