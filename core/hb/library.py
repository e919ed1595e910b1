"""`import hb`: the verbs of the command line on objects.

>>> import hb
>>> home = hb.memory()
>>> counter = home.spawn("samples/counter.wasm", initial_state={"counter": 40})
>>> counter.send("Increment").slot
1
>>> counter.send("Add", 1).result().ok
True
>>> counter.state()["counter"], counter.state(slot=1)["counter"]
(42, 41)

`hb.open()` is the home that the command line would use, `hb.open(PATH)` another one; `hb.memory()` is one that leaves
nothing behind, and `hb.frozen()` one in which the same test gives the same IDs.

A *slot*, wherever one is asked for, is what it is on the command line: a number, "now", "now~1", or the ID of a message
or of an assignment.
What a program does is a value, a `Result`; what is raised are the errors of `hb.errors`.

This is a face of `hb.node`: it must hold no AO logic. Nothing else here reads the user's environment, and it does so in
`open` alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb import home as homes
from hb import ids
from hb.environment import Environment, system_environment
from hb.errors import NoHome, ProgramFailed, Refused
from hb.memory_home import MemoryHome
from hb.node import Node, SlotView, build_message
from hb.process import outcome
from hb.protocol.commitment import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hb.process.evidence import Finding
    from hb.process.trace import Trace
    from hb.protocol.definition import Limits
    from hb.protocol.message import Message, Value
    from hb.wasm.module import Module

FROZEN_MS = 1_700_000_000_000
"""The time in a frozen home, until it is advanced: 2023-11-14 22:13:20 UTC."""

IN_MEMORY = ":memory:"
_COMPILED_MODULES = 32
"""So many compiled modules are kept for the homes in memory of this program."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LONGEST_LINE = 1000

_compiled: dict[str, Module] = {}


def open(  # noqa: A001
    home: str | os.PathLike[str] | None = None, *, create: bool = True, lock_timeout_s: float | None = None
) -> Home:
    """The home in the directory `home`; ":memory:" is `memory()`.

    Without `home` it is the one that the command line would use: $HB_HOME, else the nearest directory `.hb` in the
    working directory or above, else the one among the user's data. Where there is none, it is made, with a key
    `default`, if `create`. `lock_timeout_s` is how long to wait while others use it (None: as its settings say).

    Raises:
        NoHome: there is none, and it is not to be made.
        Refused, IntegrityError, HomeUnusable: there is something else, or it is damaged, or not to be read.
    """
    if home == IN_MEMORY:
        return memory()
    path = _default_path() if home is None else Path(home)
    try:
        found = homes.open_home(path)
    except NoHome:
        if not create:
            raise
        found = homes.create(path)
    return Home(Node(found, lock_timeout_s=lock_timeout_s))


def memory(*, cache: str | os.PathLike[str] | None = None) -> Home:
    """A new, empty home in memory; it is gone when nothing refers to it.

    It has a key of every name. No file is written, unless `cache` names a directory, its owner's alone, to keep
    compiled modules in: a large one takes a second or more to compile.
    """
    return Home(_node_in_memory(os.urandom(32), cache))


def frozen(
    *, now_ms: int = FROZEN_MS, seed: bytes = b"frozen", cache: str | os.PathLike[str] | None = None
) -> FrozenHome:
    """A new, empty home in memory where nothing is left to chance: its time is `now_ms`, milliseconds since 1970, until
    its `clock` is advanced, and its keys and anchors follow from `seed`.

    The same calls on it give the same IDs, states and hashpaths, today and anywhere.

    >>> one, other = (hb.frozen().spawn("samples/ledger.wasm") for _ in range(2))
    >>> one.id == other.id
    True
    """
    return FrozenHome(_node_in_memory(seed, cache), Clock(now_ms), seed)


def wat(text: str) -> bytes:
    """The module that `text`, in the WebAssembly text format, is.

    >>> hb.wat("(module)").hex()
    '0061736d01000000'

    Raises:
        Refused: it is not well-formed; the sentence says where.
    """
    from hb.wasm import module

    return module.from_text(text)


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


class Clock:
    """The time in a frozen home: `now_ms`, in milliseconds since 1970."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def advance(self, milliseconds: int) -> None:
        """Lets so many milliseconds pass: what is sent from now on says so.

        Raises:
            Refused: time would run backwards.
        """
        if milliseconds < 0:
            raise Refused(f"time never runs backwards: 0 milliseconds or more, got {milliseconds}")
        self.now_ms += milliseconds


@dataclass(frozen=True)
class Result:
    """What a program did with one message; `raw` has it all, as `hb state PROCESS results` shows it."""

    raw: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the program did not fail."""
        return not outcome.failed(self.raw)

    @property
    def error(self) -> str | None:
        """Why it failed; None if it did not."""
        return None if self.ok else _text(self.raw.get("error"))

    @property
    def kind(self) -> str | None:
        """In what way it failed, in a word: `trap`, `out-of-gas`, `wrong-arguments`, ...; None if it did not."""
        return None if self.ok else _text(self.raw.get("kind"))

    @property
    def output(self) -> Any:
        """What it gave back: of an exported function a list of numbers, of an AO program what that made of it."""
        return self.raw.get("output")

    @property
    def answer(self) -> Any:
        """The answer as a person reads it: `data`, else `output`, and of a map with one of these, that."""
        return outcome.answer(self.raw)

    @property
    def outbox(self) -> list[dict[str, Any]]:
        """The messages that it sends, in order."""
        return [entry for _, entry in outcome.parts(self.raw.get("outbox")) if isinstance(entry, dict)]

    @property
    def printed(self) -> str:
        """What it printed."""
        return _text(self.raw.get("print"))

    @property
    def gas(self) -> int:
        """What it cost, in the engine's units."""
        gas = self.raw.get("gas", 0)
        return gas if isinstance(gas, int) else 0


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
        unsigned = message(action, *parameters, data=data, tags=tags, anchor=_anchor(anchor, environment))
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
        ready = [
            given if given.keys() & {"anchor", "commitments"} else {**given, "anchor": _anchor(None, environment)}
            for given in messages
        ]
        return self._schedule(ready, signer, environment)

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
        return Result(_message(self.state(slot)["results"]))

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
        from hb.process import trace

        return trace.trace(self.home.node.premises(), self.id, slot, host_calls=host_calls)

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
            raise ProgramFailed(f"the program failed ({result.kind}): {_line(result.error)}", results=result.raw)
        return result.answer

    def _schedule(self, messages: Sequence[Message], signer: str | Key | None, environment: Environment) -> list[Sent]:
        key = self.home.signer(signer)
        sent = self.home.node.send(self.id, messages, signer=key, environment=environment)
        return [Sent(self, each.slot, each.message, each.assignment, each.fresh) for each in sent]


class Home:
    """A home, and the processes in it. `node` is the engine below, for what has no verb here."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def spawn(
        self,
        module: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        initial_state: Mapping[str, Value] | None = None,
        tags: Mapping[str, Value] | None = None,
        devices: Sequence[str] = (),
        gas_limit: int | None = None,
        memory_limit_pages: int | None = None,
        result_limit_bytes: int | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Process:
        """Makes a process of `module`: its bytes, a .wasm or .wat file, or the ID of an image that is stored.

        `name` is a name for it in this home, `initial_state` the public keys before the first message, `devices` what
        it is executed by (by default what the module asks for). Limits are the home's settings where none are given.
        With the same `anchor`, and all else the same, it is the same process, and not made twice.

        Raises:
            Refused: the module, or something else that was given, is not acceptable; nothing was made.
            NotFound: no image with that ID is stored, or the home has no such key.
        """
        environment = self.environment(timestamp_ms, block_height)
        scheduled = self.node.spawn(
            self._image(module),
            signer=self.signer(signer),
            environment=environment,
            devices=devices,
            initial_state=None if initial_state is None else dict(initial_state),
            tags=dict(tags or {}),
            limits=self._limits(gas_limit, memory_limit_pages, result_limit_bytes),
            anchor=_anchor(anchor, environment),
            name=name,
        )
        return Process(self, scheduled.process)

    def process(self, process: str) -> Process:
        """The process that `process` stands for: its ID, a name, or the first characters of its ID, 4 or more.

        Raises:
            NotFound: there is none.
            Refused: several IDs begin so.
        """
        return Process(self, self.node.resolve(process))

    def processes(self) -> list[Process]:
        """All processes, the one that was spawned first first."""
        return [Process(self, view.process) for view in self.node.processes()]

    def names(self) -> dict[str, Process]:
        """The names there are, and the process that each stands for."""
        return {name: Process(self, process) for name, process in self.node.names().items()}

    def new_key(self, name: str) -> str:
        """Makes a key to sign with, and gives its address.

        Raises:
            Refused: there is one of that name, or no key can have it.
        """
        return self.node.home.make_key(name).address

    def address(self, key: str | None = None) -> str:
        """The address of a key: what messages that it signed say they are from. By default the one that signs.

        Raises:
            NotFound: there is no such key.
        """
        return self.signer(key).address

    def signer(self, signer: str | Key | None = None) -> Key:
        """The key that `signer` stands for: itself, a name, or by default the one that the settings name.

        Raises:
            NotFound: there is no such key.
        """
        return signer if isinstance(signer, Key) else self.node.home.key(signer or self.node.config.sender_key)

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """The world as the next message sees it: this machine's clock and randomness, but for what is given."""
        return system_environment(timestamp_ms=timestamp_ms, block_height=block_height)

    def _image(self, module: bytes | str | os.PathLike[str]) -> bytes | str:
        if isinstance(module, bytes):
            return module
        if isinstance(module, str) and ids.is_id(module):
            return module
        path, limit = Path(module), self.node.config.module_limit_bytes
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise Refused(f"cannot read the module {str(path)!r}: {error.strerror}") from error
        if path.suffix != ".wat" or len(content) > limit:
            return content
        try:
            return wat(content.decode())
        except UnicodeDecodeError as error:
            raise Refused(f"the module {str(path)!r} is not UTF-8 text") from error

    def _limits(self, gas: int | None, memory_pages: int | None, result_bytes: int | None) -> Limits:
        given = {"gas": gas, "memory_pages": memory_pages, "result_bytes": result_bytes}
        return self.node.default_limits()._replace(**{name: n for name, n in given.items() if n is not None})


class FrozenHome(Home):
    """A home where time passes when its `clock` is advanced, and nothing is left to chance."""

    def __init__(self, node: Node, clock: Clock, seed: bytes) -> None:
        super().__init__(node)
        self.clock = clock
        self._random = _repeatable(seed)

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """The world as the next message sees it: the clock's time, but for what is given, and no randomness."""
        return Environment(
            now_ms=lambda: self.clock.now_ms,
            random_bytes=self._random,
            timestamp_ms=self.clock.now_ms if timestamp_ms is None else timestamp_ms,
            block_height=block_height,
        )


def _default_path() -> Path:
    found = homes.find(Path.cwd(), None, os.environ.get("HB_HOME"))
    if found is None:
        import platformdirs

        found = platformdirs.user_data_path("hb", appauthor=False)
    return found.absolute()


def _node_in_memory(seed: bytes, cache: str | os.PathLike[str] | None) -> Node:
    if len(_compiled) > _COMPILED_MODULES:
        _compiled.clear()
    return Node(MemoryHome(seed, cache=None if cache is None else Path(cache)), modules=_compiled)


def _repeatable(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random, the same for the same seed."""
    from hashlib import shake_256
    from itertools import count

    numbers = count()
    return lambda size: shake_256(b"hb frozen home\0" + seed + next(numbers).to_bytes(8, "big")).digest(size)


def _anchor(anchor: str | None, environment: Environment) -> str:
    return ids.encode(environment.random_bytes(16)) if anchor is None else anchor


def _message(value: Value) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def _line(text: str | None) -> str:
    """A stranger's text on one line, without what a terminal obeys."""
    plain = _ESCAPES.sub("", text or "")[:_LONGEST_LINE]
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _text(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else "" if value is None else str(value)
