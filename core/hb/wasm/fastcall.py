"""Calls a function, is called by a program, and reads its state, in a few microseconds.

The public API of the engine's binding builds its argument arrays and looks up types anew for every call, and costs
ten times as much. This is the one file that reaches below it, to the binding's own C functions; if they are not as
they were, the public API does the same work. Knows nothing of outcomes: it hands back values and traps.
"""
# ruff: noqa: SLF001 - reaching below the public API is what this file is for

from __future__ import annotations

import ctypes
import itertools
import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import wasmtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.binary.parse import FunctionType

Number = int | float
HostFunction = Callable[..., Any]
"""Called with numbers, integers signed; gives a number, or None where its type has no result."""
Stop = wasmtime.Trap | wasmtime.WasmtimeError
Returned = tuple[tuple[Number, ...], int, Stop | None]
"""What a call gave: its results, the fuel that is left, and what stopped it."""

_FORMATS = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}
# As the engine has a result: integers by their bits.
_RAW_FORMATS = {"i32": "<I", "i64": "<Q", "f32": "<f", "f64": "<d"}
_MASKS = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}
_SIZES = {"i32": 4, "i64": 8, "f32": 4, "f64": 8}


class Call(Protocol):
    """A function of one store, ready to be called."""

    def __call__(self, arguments: Sequence[Number], fuel: int) -> Returned:
        """Calls it with `fuel`; arguments are of its types, integers signed.

        Raises what a host function that it called raised.
        """


class Tank(Protocol):
    """The fuel of one store, for a host function to use while a call runs."""

    def take(self, fuel: int) -> bool:
        """Takes so much; where there is less, takes all of it and gives False."""


class Memory(Protocol):
    """A memory of one store."""

    def size(self) -> int:
        """Its size now, in bytes."""

    def address(self) -> int:
        """Where it lies in this program: good until it grows. 0 if it is empty."""


class Cell(Protocol):
    """A global of one store."""

    type: str

    def read(self) -> int:
        """Its value's bits, unsigned."""

    def write(self, bits: int) -> None:
        """Sets it to the value of these bits."""


def number_of(type_: str, bits: int) -> Number:
    """The value that `bits` are in a global of type `type_`; integers signed."""
    number: Number = struct.unpack(_FORMATS[type_], bits.to_bytes(_SIZES[type_], "little"))[0]
    return number


def bits_of(type_: str, number: Number) -> int:
    """The bits of `number`.

    Raises:
        struct.error, OverflowError: the type cannot hold it.
    """
    return int.from_bytes(struct.pack(_FORMATS[type_], number), "little")


_raised = threading.local()


def raise_from_host(stop: Stop) -> None:
    """Raises what the host function raised that has just ended a call on this thread; nothing if none did.

    Its cause is `stop`, which knows where in the program that was.
    """
    exception = _raised.__dict__.pop("exception", None)
    if exception is not None:
        try:
            raise exception from exception.__cause__ or stop
        finally:
            del exception  # it holds this frame


def frames(stop: BaseException | None) -> list[wasmtime.Frame]:
    """The functions on the stack when `stop` ended a call, the innermost first, as many as the engine keeps."""
    if isinstance(stop, wasmtime.Trap):
        return stop.frames
    if not isinstance(stop, wasmtime.WasmtimeError):
        return []
    try:
        from wasmtime import _ffi as ffi
        from wasmtime._trap import Frame, FrameList

        found = FrameList(stop)
        ffi.wasmtime_error_wasm_trace(stop.ptr(), ctypes.byref(found.vec))
        return [Frame._from_ptr(found.vec.data[place], found) for place in range(found.vec.size)]
    except (ImportError, AttributeError):
        return []


def instantiate(store: wasmtime.Store, module: wasmtime.Module, imports: Sequence[Any]) -> wasmtime.Instance:
    """An instance of a module that imports host functions made here.

    Raises what the public API raises, or what a host function raised.
    """
    try:
        return wasmtime.Instance(store, module, imports)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
        raise_from_host(stop)
        raise


class PublicCall:
    """A call through the public API."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, type_: FunctionType) -> None:
        self._store, self._function, self._type = store, function, type_

    def __call__(self, arguments: Sequence[Number], fuel: int) -> Returned:
        typed = [float(a) if t[0] == "f" else a for t, a in zip(self._type.params, arguments, strict=True)]
        self._store.set_fuel(fuel)
        try:
            returned = self._function(self._store, *typed)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
            raise_from_host(stop)
            return (), self._store.get_fuel(), stop
        count = len(self._type.results)
        values = () if count == 0 else (returned,) if count == 1 else tuple(returned)
        return values, self._store.get_fuel(), None


class PublicCell:
    """A global through the public API, where floats pass through Python's: a signalling NaN comes out quiet."""

    def __init__(self, store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> None:
        self._store, self._global, self.type = store, global_, type_

    def read(self) -> int:
        return bits_of(self.type, self._global.value(self._store))

    def write(self, bits: int) -> None:
        self._global.set_value(self._store, number_of(self.type, bits))


def public_host_function(store: wasmtime.Store, type_: FunctionType, function: HostFunction) -> wasmtime.Func:
    """A function that a program can call, through the public API, which may raise on one thread what is another's."""
    result = "".join(type_.results)

    def run(*arguments: Number) -> Number | None:
        value: Number | None = function(*arguments)
        if not result and value is not None:
            raise TypeError("a host function that has no result gave one")
        return _signed(value, result) if result[:1] == "i" and isinstance(value, int) else value

    return wasmtime.Func(store, _engine_type(type_), run)


def _signed(value: int, type_: str) -> int:
    bits = value & _MASKS[type_]
    return bits - (_MASKS[type_] + 1) if bits > _MASKS[type_] >> 1 else bits


class PublicTank:
    """The fuel of a store through the public API."""

    def __init__(self, store: wasmtime.Store) -> None:
        self._store = store

    def take(self, fuel: int) -> bool:
        left = self._store.get_fuel()
        self._store.set_fuel(max(left - fuel, 0))
        return left >= fuel


class PublicMemory:
    """A memory through the public API."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store, self._memory = store, memory

    def size(self) -> int:
        return self._memory.data_len(self._store)

    def address(self) -> int:
        return ctypes.cast(self._memory.data_ptr(self._store), ctypes.c_void_p).value or 0


class _Binding(NamedTuple):
    """The C functions, taking plain addresses, and the binding's own types."""

    call: Callable[..., int | None]
    set_fuel: Callable[..., int | None]
    get_fuel: Callable[..., int | None]
    get_global: Callable[..., None]
    set_global: Callable[..., int | None]
    value_type: Any
    function_type: Any
    kinds: dict[str, int]
    new_host_function: Callable[..., None]
    memory_size: Callable[..., int]
    memory_address: Callable[..., int | None]
    error_pointer: Any
    trap_pointer: Any


def _bind() -> _Binding:
    """Raises ImportError or AttributeError where the binding has not the parts that are needed."""
    from wasmtime import _ffi as ffi

    address, size = ctypes.c_void_p, ctypes.c_size_t
    # The call lets other threads run meanwhile: one may have to interrupt it. The others are too short for that.
    call = ctypes.CFUNCTYPE(address, address, address, address, size, address, size, address)
    two, three = ctypes.PYFUNCTYPE(address, address, address), ctypes.PYFUNCTYPE(address, address, address, address)
    return _Binding(
        call=call(("wasmtime_func_call", ffi.dll)),
        set_fuel=ctypes.PYFUNCTYPE(address, address, ctypes.c_uint64)(("wasmtime_context_set_fuel", ffi.dll)),
        get_fuel=two(("wasmtime_context_get_fuel", ffi.dll)),
        get_global=ctypes.PYFUNCTYPE(None, address, address, address)(("wasmtime_global_get", ffi.dll)),
        set_global=three(("wasmtime_global_set", ffi.dll)),
        value_type=ffi.wasmtime_val_t,
        function_type=ffi.wasmtime_func_t,
        kinds={name: getattr(ffi, f"WASMTIME_{name.upper()}").value for name in _FORMATS},
        new_host_function=ctypes.PYFUNCTYPE(None, *[address] * 6)(("wasmtime_func_new_unchecked", ffi.dll)),
        memory_size=ctypes.PYFUNCTYPE(size, address, address)(("wasmtime_memory_data_size", ffi.dll)),
        memory_address=two(("wasmtime_memory_data", ffi.dll)),
        error_pointer=ctypes.POINTER(ffi.wasmtime_error_t),
        trap_pointer=ctypes.POINTER(ffi.wasm_trap_t),
    )


class PrivateCall:
    """A call with argument and result arrays that are made once."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, type_: FunctionType) -> None:
        self._c = binding = _found()
        self._owners = store, function  # what the addresses below point into
        self._context = _context_of(store)
        self._arguments = (binding.value_type * len(type_.params))()
        self._results = (binding.value_type * len(type_.results))()
        self._trap = ctypes.c_void_p()
        self._fuel = ctypes.c_uint64()
        self._fuel_address = ctypes.addressof(self._fuel)
        for slot, name in zip(self._arguments, type_.params, strict=True):
            slot.kind = binding.kinds[name]
        self._parameters = [(slot.of, name) for slot, name in zip(self._arguments, type_.params, strict=True)]
        self._returned = [(slot.of, name) for slot, name in zip(self._results, type_.results, strict=True)]
        addresses = [ctypes.addressof(o) for o in (function._func, self._arguments, self._results, self._trap)]
        callee, arguments, results, trap = addresses
        self._call = (self._context, callee, arguments, len(type_.params), results, len(type_.results), trap)

    def __call__(self, arguments: Sequence[Number], fuel: int) -> Returned:
        for (slot, name), argument in zip(self._parameters, arguments, strict=True):
            setattr(slot, name, argument)
        binding = self._c
        binding.set_fuel(self._context, fuel)
        error = binding.call(*self._call)
        binding.get_fuel(self._context, self._fuel_address)
        if error or self._trap:
            return (), self._fuel.value, self._stop(error)
        return tuple([getattr(slot, name) for slot, name in self._returned]), self._fuel.value, None

    def _stop(self, error: int | None) -> Stop:
        stop: Stop
        if error:
            stop = wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, self._c.error_pointer))
        else:
            stop = wasmtime.Trap._from_ptr(ctypes.cast(self._trap, self._c.trap_pointer))
            self._trap.value = None
        raise_from_host(stop)
        return stop


class PrivateCell:
    """A global, read and written as bits."""

    def __init__(self, store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> None:
        self._c = binding = _found()
        self._owners = store, global_
        self.type = type_
        self._value = binding.value_type()
        self._value.kind = binding.kinds[type_]
        # A float's bits are read as an integer's: as a float it would not keep every NaN.
        bits: type[ctypes.c_uint32 | ctypes.c_uint64] = ctypes.c_uint32 if _SIZES[type_] == 4 else ctypes.c_uint64
        self._slot = bits.from_buffer(self._value, binding.value_type.of.offset)
        self._arguments = (_context_of(store), ctypes.addressof(global_._global), ctypes.addressof(self._value))

    def read(self) -> int:
        self._c.get_global(*self._arguments)
        return self._slot.value

    def write(self, bits: int) -> None:
        self._slot.value = bits
        error = self._c.set_global(*self._arguments)
        assert not error, "a numeric mutable global takes every value of its type"


class _Hosted(NamedTuple):
    """A host function, and how its arguments and results lie in the engine's array, 16 bytes each."""

    function: HostFunction
    size: int
    unpack: Callable[[bytes], tuple[Number, ...]]
    result: str
    pack: Callable[..., bytes]


# What programs can call, by a number that is never used twice; the engine says when one goes.
_hosted: dict[int, _Hosted] = {}
_numbers = itertools.count(1)


def _enter(number: int, caller: int, values: int, count: int) -> int | None:
    """Called by the engine for every host function; gives 0, or a trap that the engine then owns."""
    try:
        hosted = _hosted[number]
        value = hosted.function(*hosted.unpack(ctypes.string_at(values, hosted.size)) if hosted.size else ())
        if hosted.result:
            content = hosted.pack(value & _MASKS[hosted.result] if hosted.result[0] == "i" else value)
            ctypes.memmove(values, content, len(content))
        elif value is not None:
            raise TypeError("a host function that has no result gave one")
    except BaseException as exception:  # raised again where the call was made
        _raised.exception = exception
        return ctypes.cast(wasmtime.Trap("host")._consume(), ctypes.c_void_p).value
    return 0


def _address_of(thunk: Any) -> int | None:
    return ctypes.cast(thunk, ctypes.c_void_p).value


_ENTER = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 3, ctypes.c_size_t)(_enter)
_LEAVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_hosted.pop)


def private_host_function(store: wasmtime.Store, type_: FunctionType, function: HostFunction) -> wasmtime.Func:
    """A function that a program can call, which gets its arguments as the engine has them."""
    engine_type, result = _engine_type(type_), "".join(type_.results)
    layout = struct.Struct("<" + "".join(_FORMATS[name][1] + f"{16 - _SIZES[name]}x" for name in type_.params))
    number = next(_numbers)
    pack = struct.Struct(_RAW_FORMATS[result]).pack if result else struct.Struct("").pack
    _hosted[number] = _Hosted(function, layout.size, layout.unpack, result, pack)
    made = _found().function_type()
    # As the program ends, a store may go later than anything in this file, and then calls these.
    vars(store)["host_functions"] = (_ENTER, _LEAVE)
    signature, enter, leave = (_address_of(o) for o in (engine_type.ptr(), _ENTER, _LEAVE))
    _found().new_host_function(_context_of(store), signature, enter, number, leave, ctypes.addressof(made))
    return wasmtime.Func._from_raw(made)


class PrivateTank:
    """The fuel of a store."""

    def __init__(self, store: wasmtime.Store) -> None:
        self._c = _found()
        self._owner = store
        self._context = _context_of(store)
        self._fuel = ctypes.c_uint64()
        self._address = ctypes.addressof(self._fuel)

    def take(self, fuel: int) -> bool:
        self._c.get_fuel(self._context, self._address)
        left = self._fuel.value
        self._c.set_fuel(self._context, max(left - fuel, 0))
        return left >= fuel


class PrivateMemory:
    """A memory."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._c = _found()
        self._owners = store, memory
        self._arguments = (_context_of(store), ctypes.addressof(memory._memory))

    def size(self) -> int:
        return self._c.memory_size(*self._arguments)

    def address(self) -> int:
        return self._c.memory_address(*self._arguments) or 0


@lru_cache(maxsize=256)
def _engine_type(type_: FunctionType) -> wasmtime.FuncType:
    """The engine's form of a type.

    Raises:
        ValueError: it has what is no number, or more than one result.
    """
    names = (*type_.params, *type_.results)
    if len(type_.results) > 1 or not _FORMATS.keys() >= set(names):
        raise ValueError(f"no host function is of type {type_}")
    values = [getattr(wasmtime.ValType, name)() for name in names]
    return wasmtime.FuncType(values[: len(type_.params)], values[len(type_.params) :])


def _found() -> _Binding:
    assert _binding is not None
    return _binding


def _context_of(store: wasmtime.Store) -> int:
    address = ctypes.cast(store._context(), ctypes.c_void_p).value
    assert address is not None
    return address


_binding: _Binding | None
try:
    _binding = _bind()
except (ImportError, AttributeError):
    _binding = None


def prepare(store: wasmtime.Store, function: wasmtime.Func, type_: FunctionType) -> Call:
    """The fastest way there is to call `function`, whose parameters and results are all numeric."""
    return PrivateCall(store, function, type_) if _binding else PublicCall(store, function, type_)


def host_function(store: wasmtime.Store, type_: FunctionType, function: HostFunction) -> wasmtime.Func:
    """`function` as one that a program of `store` can call; of an integer it gives, only the low bits are taken.

    What it raises ends the call, and is raised where the call was made.

    Raises:
        ValueError: its type has what is no number, or several results.
    """
    return (private_host_function if _binding else public_host_function)(store, type_, function)


def tank(store: wasmtime.Store) -> Tank:
    """The fastest way there is to take fuel while a call runs."""
    return PrivateTank(store) if _binding else PublicTank(store)


def memory(store: wasmtime.Store, exported: wasmtime.Memory) -> Memory:
    """The fastest way there is to find a memory."""
    return PrivateMemory(store, exported) if _binding else PublicMemory(store, exported)


def cell(store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> Cell:
    """The fastest way there is to read and write `global_`, of a numeric type."""
    return PrivateCell(store, global_, type_) if _binding else PublicCell(store, global_, type_)
