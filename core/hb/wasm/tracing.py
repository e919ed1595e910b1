"""An instance that is watched: which functions are called with what, what they ask of their host, and where they trap.

Invariants:
    A watched instance gives the same results for the same gas as any other.
    What is recorded has a bound.
    An instance is watched only if somebody looks at the record: it is slower.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from hb.cancellation import NEVER
from hb.capi import fastcall
from hb.wasm.engine import PAGE_BYTES
from hb.wasm.halves import Halved
from hb.wasm.host import HostTrap
from hb.wasm.instance import HOST_CALL_GAS, Instance
from hb.wasm.longjmp import MODULE_NAME as LONGJMP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hb.cancellation import Cancellation
    from hb.capi.fastcall import Number
    from hb.protocol.definition import Limits
    from hb.wasm.host import Failure, Host
    from hb.wasm.instance import HostFunction
    from hb.wasm.memory import Mirror
    from hb.wasm.module import Module, ModuleInfo
    from hb.wasm.traps import Outcome

MAX_CALLS = 100
"""Maximum calls of exported functions that are recorded; a message rarely makes more than a handful."""

MAX_PRINTED = 1000
"""Maximum characters kept of what one host call printed, or of a text that a call was given."""

MAX_NAME = 300
"""Maximum characters kept of a function's name, which the module chooses."""

_NO_OFFSET = 2**31


@dataclass(frozen=True)
class Frame:
    """A function on the program's stack when it trapped.

    `function` is its name, from the module's name section or its exports, or None. `index` counts all functions, the
    imported ones first. `offset` is the place in its code, in bytes, or None if the engine does not know it.
    """

    function: str | None
    index: int
    offset: int | None


@dataclass
class HostCall:
    """A call of a host function. `gas` is all that it cost; `printed` is what it added to the output."""

    function: str
    arguments: list[Number]
    result: Any = None
    gas: int = 0
    printed: str | None = None
    failure: Failure | None = None


@dataclass
class FunctionCall:
    """A call of an exported function, and its first host calls, in order.

    `host_counts` and `host_gas` count all host calls, by name. `texts` are the texts that the arguments of an AO
    program's `handle` point to, and `answer` is the text that its result points to.
    """

    function: str
    arguments: list[Number]
    results: list[Number] = field(default_factory=list)
    gas: int = 0
    failure: Failure | None = None
    backtrace: list[Frame] = field(default_factory=list)
    host_calls: list[HostCall] = field(default_factory=list)
    host_counts: Counter[str] = field(default_factory=Counter)
    host_gas: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    answer: str | None = None


class Recorder:
    """Record what watched instances do while `on`: `most` host calls of each call, and the number of the others."""

    def __init__(self, most: int) -> None:
        self.on = False
        self.most = most
        self.calls: list[FunctionCall] = []
        self.left_out = 0
        self.current: FunctionCall | None = None

    def make_instance(
        self,
        module: Module,
        limits: Limits,
        imports: Mapping[tuple[str, str], HostFunction],
        *,
        cancellation: Cancellation = NEVER,
        host_memory_pages: int | None = None,
    ) -> Watched:
        """Return a watched instance; `Machine.make_instance` may be this."""
        return Watched(self, module, limits, imports, cancellation=cancellation, host_memory_pages=host_memory_pages)

    def begin(self, call: FunctionCall) -> None:
        """Record a call of an exported function; the host calls that follow belong to it."""
        if len(self.calls) < MAX_CALLS:
            self.calls.append(call)
        else:
            self.left_out += 1
        self.current = call

    def host_call(self, call: HostCall) -> None:
        """Record a host call of the function that is running."""
        if self.current is None:
            return
        if len(self.current.host_calls) < self.most:
            self.current.host_calls.append(call)
        self.current.host_counts[call.function] += 1
        self.current.host_gas[call.function] += call.gas


class Watched(Instance):
    """An instance that tells a recorder of its calls."""

    def __init__(
        self,
        recorder: Recorder,
        module: Module,
        limits: Limits,
        imports: Mapping[tuple[str, str], HostFunction],
        *,
        cancellation: Cancellation = NEVER,
        host_memory_pages: int | None = None,
    ) -> None:
        self._recorder = recorder
        self._plain = imports
        watched = {name: self._watch(".".join(name), function) for name, function in imports.items()}
        super().__init__(module, limits, watched, cancellation=cancellation, host_memory_pages=host_memory_pages)

    def fresh(self) -> Watched:
        """Return another watched instance of the same module, as it is when it starts."""
        return Watched(
            self._recorder,
            self.module,
            self.limits,
            self._plain,
            cancellation=self.cancellation,
            host_memory_pages=self.host_memory_pages,
        )

    def call(self, function: str, arguments: Sequence[Number], *, spent: int = 0) -> Outcome:
        """Call an exported function, as `Instance.call` does, and record it."""
        if not self._recorder.on:
            return super().call(function, arguments, spent=spent)
        call = FunctionCall(function, list(arguments))
        speaks_json = self.module.info.abi == "ao" and function == "handle"
        if speaks_json:
            call.texts = [self._text(argument) for argument in arguments]
        self._recorder.begin(call)
        outcome = super().call(function, arguments, spent=spent)
        self._recorder.current = None
        call.results, call.gas, call.failure = list(outcome.values), outcome.gas, outcome.failure
        if speaks_json and outcome.values:
            call.answer = self._text(outcome.values[0])
        return outcome

    def failed_by(self, trap: BaseException | None) -> None:
        """Record the backtrace of the call that fails."""
        if self._recorder.current is not None:
            self._recorder.current.backtrace = _backtrace(trap, self.module.info)

    def _watch(self, name: str, function: HostFunction) -> HostFunction:
        recorder, find_instance = self._recorder, ref(self)

        def run(host: Host, *arguments: Number) -> Any:
            instance = find_instance()
            if not recorder.on or instance is None:
                return function(host, *arguments)
            call = HostCall(name, list(arguments))
            before, printed = instance.fuel(), len(host.printed)
            try:
                call.result = function(host, *arguments)
            except HostTrap as trap:
                call.failure = trap.failure
                raise
            finally:
                call.gas = HOST_CALL_GAS + before - instance.fuel()
                if len(host.printed) > printed:
                    call.printed = _decode(bytes(host.printed[printed:]))
                recorder.host_call(call)
            return call.result

        return Halved(run) if isinstance(function, Halved) else run

    def fuel(self) -> int:
        """Return what is left of the gas of the call that runs."""
        return self._store.get_fuel()

    def _text(self, address: Number) -> str:
        """Return the text that the program has at `address`, up to the first NUL, with bad bytes replaced."""
        if isinstance(address, float):
            return ""
        start, end = self.host.unsigned(address), self.host.memory_bytes
        size = max(min(4 * MAX_PRINTED, end - start), 0)
        return _decode(self.host.read(start, size).partition(b"\0")[0]) if size else ""


def _backtrace(trap: BaseException | None, info: ModuleInfo) -> list[Frame]:
    """Return the innermost functions, as many as the engine remembers, without those that `hb` puts in between."""
    exported = {export.item: export.name for export in reversed(info.exports) if export.kind == "function"}
    frames = [frame for frame in fastcall.frames(trap) if frame.module_name != LONGJMP]
    return [
        Frame(
            (frame.func_name or exported.get(frame.func_index) or "")[:MAX_NAME] or None,
            frame.func_index,
            frame.func_offset if frame.func_offset < _NO_OFFSET else None,
        )
        for frame in frames
    ]


def _decode(content: bytes) -> str:
    text = content[: 4 * MAX_PRINTED + 4].decode("utf-8", "replace")
    return text if len(text) <= MAX_PRINTED else text[:MAX_PRINTED] + "…"


class GlobalChange(NamedTuple):
    """A mutable global that has changed: `item` is its index among all, `name` that of its export, if any."""

    item: int
    name: str | None
    type: str
    before: Number
    after: Number


class PageChange(NamedTuple):
    """A page of 64 KiB that has changed, and how many of its bytes have."""

    page: int
    bytes: int


def changed_globals(mirror: Mirror) -> list[GlobalChange]:
    """Return the mutable globals that differ from the mirror's, in index order."""
    return compare_globals(mirror.instance.module, mirror.globals, mirror.instance.raw_globals())


def compare_globals(module: Module, one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> list[GlobalChange]:
    """Return the mutable globals that differ between two states of a module, as `raw_globals` returned them."""
    exported = {export.item: export.name for export in module.info.exports if export.kind == "global"}
    changes = []
    for (name, type_), (_, before), (_, after) in zip(module.state.globals, one, other, strict=False):
        if before != after:
            # The name under which a global is kept ends with its index.
            item = int(name.rpartition(".")[2])
            numbers = (fastcall.number_of(type_, bits) for bits in (before, after))
            changes.append(GlobalChange(item, exported.get(item), type_, *numbers))
    return changes


def changed_pages(mirror: Mirror) -> list[PageChange]:
    """Return the pages of memory that differ from the mirror's, in order."""
    return [PageChange(page, _differing_bytes(mirror, page)) for page in mirror.changed()]


def _differing_bytes(mirror: Mirror, page: int) -> int:
    before, after = (int.from_bytes(content, "little") for content in (mirror.page(page), mirror.instance.page(page)))
    return PAGE_BYTES - (before ^ after).to_bytes(PAGE_BYTES, "little").count(0)
