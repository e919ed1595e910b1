"""Run a module: call its functions, meter gas, and read and write its globals and memory.

A call returns an `Outcome`, which has the results or the failure of the program. All state of an instance can be read,
and loaded into another instance.

Invariants:
    A failure of the program is a value. A failure of this machine is an exception.
    Arguments are not checked here.
    A module can reach nothing of the host except its imports.
    Only one thread at a time uses an instance. Any thread may cancel its call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

import wasmtime

from hb.binary.parse import NUMERIC, numeric_type
from hb.cancellation import NEVER
from hb.capi import allocation, epochs, fastcall
from hb.errors import Refused
from hb.wasm import engine, halves, longjmp, traps
from hb.wasm.engine import PAGE_BYTES
from hb.wasm.host import OUT_OF_GAS, Failure, Host, HostTrap
from hb.wasm.traps import Outcome

if TYPE_CHECKING:
    from hb.binary.parse import FunctionType, Import
    from hb.cancellation import Cancellation
    from hb.capi.fastcall import Number
    from hb.protocol.definition import Limits
    from hb.wasm.module import Module, ModuleInfo

HostFunction = Callable[..., Any]
"""Called with the instance's `Host` and the arguments. Returns a value or None; ends the call by raising `HostTrap`."""

HOST_CALL_GAS = 1000
"""Gas of one call of a host function. A call takes about as long as a thousand instructions."""

# A table's elements are host memory too: 8 bytes each.
MAX_TABLE_ELEMENTS = 1_000_000
# The program itself, and two for its longjmp. Each import whose result is taken in halves needs one more.
_INSTANCES = 3
_MAX_FUEL = 2**63 - 1
_MAX_MEMORY_BYTES = 2**62


class Instance:
    """One instance of `module`, in an engine store of its own.

    `start_failure` is the failure of the start function, or None. `start_gas` is the gas that it used. Do not use an
    instance whose start function failed.
    """

    def __init__(
        self,
        module: Module,
        limits: Limits,
        imports: Mapping[tuple[str, str], HostFunction] | None = None,
        *,
        cancellation: Cancellation = NEVER,
        host_memory_pages: int | None = None,
    ) -> None:
        """Make the memory and the globals as the module declares them, then run the start function if there is one.

        `limits` come from the definition and decide outcomes. `host_memory_pages` is a limit of this machine, in pages
        of 64 KiB, or None. A program that needs more is refused, which is not an outcome.

        Raises:
            Refused: the module declares more memory or table than the limits allow, or has an import that `imports`
                does not have.
            BeyondThisMachine: it needs more memory than `host_memory_pages`.
            OutOfMemory: the system gives no memory.
            Interrupted: it was cancelled while the start function ran.
        """
        self.module = module
        self.limits = limits
        self.host_memory_pages = host_memory_pages
        self._imports = imports or {}
        self._fuel = min(limits.gas, _MAX_FUEL)
        self._calls: dict[str, fastcall.Call] = {}
        self._halves: list[halves.Linked] = []
        self._exports: Mapping[str, Any] = {}
        self._memory: wasmtime.Memory | None = None
        self._place: fastcall.Memory | None = None
        self.start_failure: Failure | None = None
        self.host = Host(self, pointer_bytes=8 if module.info.memory is not None and module.info.memory.is64 else 4)
        self._store = wasmtime.Store(engine.get_engine())
        self._tank = fastcall.Tank(self._store)
        self._guard = epochs.guard(self._store)
        self.cancellation = cancellation
        most_bytes = None if host_memory_pages is None else host_memory_pages * PAGE_BYTES
        self._account = allocation.Account(most_bytes, self._guard.fail)
        self._limit_store()
        self._exports = self._instantiate()
        self.start_gas = self._fuel - self._store.get_fuel()
        state = module.state
        self._memory = self._exports.get(state.memory) if state.memory is not None else None
        self._place = None if self._memory is None else fastcall.Memory(self._store, self._memory)
        self._globals = [
            fastcall.Cell(self._store, self._exports[name], type_) for name, type_ in state.globals if self._exports
        ]
        self._public = {
            name: fastcall.Cell(self._store, self._exports[name], type_)
            for name, type_ in module.info.globals.items()
            if self._exports
        }

    @property
    def cancellation(self) -> Cancellation:
        """The cancellation that stops a call of this instance, and no other call. Set it before the call."""
        return self._guard.cancellation

    @cancellation.setter
    def cancellation(self, cancellation: Cancellation) -> None:
        self._guard.cancellation = cancellation
        cancellation.notify(epochs.wake)

    def call(self, function: str, arguments: Sequence[Number], *, spent: int = 0) -> Outcome:
        """Call an exported function. Its gas is the gas limit minus `spent`.

        The number and the types of the arguments must be those of the function. Integers are signed. A failure of the
        program is in the outcome; it is not raised.

        Raises:
            KeyError: no function of that name is exported.
            Interrupted: the instance's cancellation was cancelled.
            BeyondThisMachine: it needs more memory than this machine allows; the instance is of no further use.
            OutOfMemory: the system gave it no memory; the instance is of no further use.
        """
        call = self._calls.get(function)
        if call is None:
            failure = self._prepare(function)
            if failure is not None:
                return Outcome((), 0, failure)
            call = self._calls[function]
        guard = self._guard
        guard.check()
        fuel = max(self._fuel - spent, 0)
        guard.is_running = True
        try:
            values, fuel_left, stop = call(arguments, fuel)
        except HostTrap as trap:
            if guard.failure is not None:
                raise guard.failure from trap
            self.failed_by(trap.__cause__)
            return Outcome((), fuel - self._store.get_fuel(), trap.failure)
        finally:
            guard.is_running = False
        if guard.failure is not None:
            raise guard.failure
        if stop is None:
            return Outcome(values, fuel - fuel_left, None)
        self.failed_by(stop)
        return Outcome(values, fuel - fuel_left, traps.failure_of(stop))

    def failed_by(self, trap: BaseException | None) -> None:
        """Do nothing. A subclass can override this to learn where a call failed. The engine may give no `trap`."""

    def spend(self, gas: int) -> bool:
        """Take `gas` from the running call. If it has less left, take all of that and return False."""
        return self._tank.take(gas)

    @property
    def gas_used(self) -> int:
        """The gas that the running call has used so far, including what was spent before it."""
        return self._fuel - self._store.get_fuel()

    def fresh(self) -> Instance:
        """Return a new instance of the same module in its initial state, with the same limits and imports."""
        return Instance(
            self.module,
            self.limits,
            self._imports,
            cancellation=self.cancellation,
            host_memory_pages=self.host_memory_pages,
        )

    def read_globals(self) -> dict[str, Number]:
        """Return the values of the exported mutable globals, by export name: a process's public state."""
        return {name: fastcall.number_of(cell.type, cell.read()) for name, cell in self._public.items()}

    def write_global(self, name: str, value: Number) -> None:
        """Set an exported mutable global. An integer can be signed or unsigned.

        Raises:
            KeyError: no such global is exported.
            ValueError: its type cannot hold the value. The text is a full sentence for the user.
        """
        cell = self._public[name]
        cell.write(fastcall.bits_for(name, cell.type, value))

    def raw_globals(self) -> list[list[Any]]:
        """Return [type, bits] of every mutable global, exported or not, in index order. Bits are unsigned."""
        return [[cell.type, cell.read()] for cell in self._globals]

    @property
    def memory_pages(self) -> int:
        """The size of the memory now, in pages of 64 KiB; 0 if there is none."""
        return 0 if self._place is None else self._place.size() // PAGE_BYTES

    @property
    def most_memory_pages(self) -> int:
        """The largest size of the memory that both the module and the definition's limit allow."""
        declared = None if self.module.info.memory is None else self.module.info.memory.maximum
        most = self.limits.memory_pages
        return most if declared is None else min(declared, most)

    @property
    def memory_address(self) -> int:
        """The memory's address in this program, or 0 if there is no memory. It is valid until the module runs again."""
        return 0 if self._place is None else self._place.address()

    def page(self, index: int) -> bytes:
        """Return a copy of one page, 65536 bytes.

        Raises:
            IndexError: the memory has no such page.
        """
        if not 0 <= index < self.memory_pages:
            raise IndexError(f"no page {index}: the memory has {self.memory_pages}")
        return ctypes.string_at(self.memory_address + index * PAGE_BYTES, PAGE_BYTES)

    def load(self, raw_globals: Sequence[Sequence[Any]], pages: int, contents: Mapping[int, bytes]) -> None:
        """Load the state of another instance into this one, which must be fresh.

        `raw_globals` come from the other's `raw_globals()`. `pages` is the size of its memory. `contents` has its pages
        by number; all other pages become zero.

        Raises:
            ValueError: this module cannot have that state. Do not use the instance afterwards.
            OutOfMemory, BeyondThisMachine: as `call`.
        """
        types = [cell.type for cell in self._globals]
        if [type_ for type_, _ in raw_globals] != types:
            raise ValueError(f"the globals are of types {[t for t, _ in raw_globals]}, the module's are of {types}")
        fresh_pages = self.memory_pages
        if pages < fresh_pages:
            raise ValueError(f"a memory of {pages} pages, but the module's has {fresh_pages} when it starts")
        if not self.grow(pages - fresh_pages):
            has = "no memory" if self._memory is None else f"{fresh_pages} when it starts, and cannot have so many"
            raise ValueError(f"a memory of {pages} pages, but the module has {has}")
        address = self.memory_address
        for index, content in contents.items():
            if not 0 <= index < pages or len(content) != PAGE_BYTES:
                raise ValueError(f"page {index} of {len(content)} bytes does not fit a memory of {pages} pages")
            ctypes.memmove(address + index * PAGE_BYTES, content, PAGE_BYTES)
        for index in range(fresh_pages):
            if index not in contents and self.page(index) != _ZERO_PAGE:
                ctypes.memset(address + index * PAGE_BYTES, 0, PAGE_BYTES)
        for cell, (_, bits) in zip(self._globals, raw_globals, strict=True):
            if not 0 <= bits < (2**32 if cell.type.endswith("32") else 2**64):
                raise ValueError(f"{bits} are not the bits of a global of type {cell.type}")
            cell.write(bits)

    def grow(self, pages: int) -> bool:
        """Grow the memory by `pages` of 64 KiB. Return False if the limit or the module forbids it.

        Raises:
            OutOfMemory, BeyondThisMachine: as `call`.
        """
        if self._memory is None or not pages:
            return not pages
        try:
            self._memory.grow(self._store, pages)
        except wasmtime.WasmtimeError as error:
            if self._guard.failure is not None:
                raise self._guard.failure from error
            return False
        return True

    def shrink(self, pages: int) -> bool:
        """Undo a growth: make the memory `pages` large again. Return False if the engine still has another size.

        A program cannot tell such an instance from one that never grew.
        """
        memory = self._account.memory
        assert memory is not None
        assert self._memory is not None
        memory.resize(pages * PAGE_BYTES)
        # A growth by 0 pages makes the engine read the address and the size of the memory again.
        self._memory.grow(self._store, 0)
        return self.memory_pages == pages

    def write_raw_globals(self, raw_globals: Sequence[Sequence[Any]]) -> None:
        """Set every mutable global. The argument comes from `raw_globals()` of an instance of the same module."""
        for cell, (_, bits) in zip(self._globals, raw_globals, strict=True):
            cell.write(bits)

    def _limit_store(self) -> None:
        """Check the declared sizes, and set the store's limits for memory, tables and instances."""
        limits = self.limits
        info = self.module.info
        check_size(info, limits.memory_pages)
        if info.memory is not None:
            self._account.check(info.memory.minimum * PAGE_BYTES)
        self._store.set_limits(
            memory_size=min(limits.memory_pages * PAGE_BYTES, _MAX_MEMORY_BYTES),
            table_elements=MAX_TABLE_ELEMENTS,
            instances=_INSTANCES + len(self._imports),
        )

    def _instantiate(self) -> Mapping[str, Any]:
        """Link the imports and run the start function. Return the exports; none if the start function failed."""
        guard = self._guard
        guard.check()
        self._store.set_fuel(self._fuel)
        jumps = longjmp.link(self._store, self.module.info)
        given = {} if jumps is None else jumps.imports
        imports = [given.get(i.name) or self._host_function(i) for i in self.module.info.imports]
        guard.is_running = True
        try:
            with allocation.charged_to(self._account, self._store):
                instance = fastcall.instantiate(self._store, self.module.compiled, imports)
        except HostTrap as trap:
            self.start_failure = trap.failure
        except wasmtime.Trap as trap:
            self.start_failure = traps.failure_of(trap)
        except wasmtime.WasmtimeError as error:
            if guard.failure is None:
                raise Refused(f"the module cannot be instantiated: {' '.join(str(error).split())}") from error
        finally:
            guard.is_running = False
        if guard.failure is not None:
            raise guard.failure
        if self.start_failure is not None:
            return {}
        exports = instance.exports(self._store)
        for linked in (jumps, *self._halves):
            if linked is not None:
                linked.close_over(exports)
        return exports

    def _host_function(self, wanted: Import) -> Any:
        """Return the engine's function for an import."""
        name = f"{wanted.module}.{wanted.name}"
        function = self._imports.get((wanted.module, wanted.name))
        if function is None or wanted.kind != "function":
            raise Refused(f"the module imports {name}, which nothing provides")
        type_ = numeric_type(wanted.type)
        if type_ is None or len(type_.results) > 1:
            raise Refused(f"the module imports {name} as {wanted.type}, which no host function can be")
        if not isinstance(function, halves.Halved):
            return self._metered(type_, function, HOST_CALL_GAS)
        instead = halves.without_setter(function, self.module.info)
        if instead is not None:
            return self._metered(type_, instead, HOST_CALL_GAS)
        host_function = self._metered(halves.whole(type_), function, HOST_CALL_GAS - halves.gas(type_))
        self._halves.append(halves.Linked(self._store, type_, host_function))
        return self._halves[-1].function

    def _metered(self, type_: FunctionType, function: HostFunction, gas: int) -> wasmtime.Func:
        """Return an engine function that takes `gas` from the running call and then calls `function`."""
        # A weak reference, because a strong one would be a cycle: the engine's table of host functions keeps `run`,
        # `run` would keep the store, and the store keeps its host functions.
        find_instance = ref(self)

        def run(*arguments: Number) -> Any:
            instance = find_instance()
            assert instance is not None
            if not instance.spend(gas):
                raise HostTrap(OUT_OF_GAS)
            return function(instance.host, *arguments)

        return fastcall.host_function(self._store, type_, run)

    def _prepare(self, function: str) -> Failure | None:
        """Prepare calls of an exported function. If it cannot be called, return the failure."""
        type_ = self.module.info.functions[function]
        alien = [name for name in (*type_.params, *type_.results) if name not in NUMERIC]
        if alien:
            return Failure("unsupported-type", f"{function!r} takes or gives a {alien[0]}, which no message can carry")
        self._calls[function] = fastcall.Call(self._store, self._exports[function], type_)
        return None


def check_size(info: ModuleInfo, memory_pages: int) -> None:
    """Check that a module declares no more memory than `memory_pages`, and no more table elements than allowed.

    Raises:
        Refused: it declares more.
    """
    if info.memory is not None and info.memory.minimum > memory_pages:
        wanted = info.memory.minimum
        raise Refused(
            f"the module wants {wanted} pages of memory to start with; the limit is {memory_pages}",
            hint=f"allow it: --memory-limit {wanted}, or memory-limit in the home's config.toml",
        )
    if info.table_elements > MAX_TABLE_ELEMENTS:
        raise Refused(f"the module wants tables of {info.table_elements} elements; the limit is {MAX_TABLE_ELEMENTS}")


_ZERO_PAGE = bytes(PAGE_BYTES)
