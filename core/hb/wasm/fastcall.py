"""Calls a function, and reads a global, in a few microseconds.

The public API of the engine's binding builds its argument arrays and looks up types anew for every call, and costs
ten times as much. This is the one file that reaches below it, to the binding's own C functions; if they are not as
they were, the public API does the same work. Knows nothing of outcomes: it hands back values and traps.
"""
# ruff: noqa: SLF001 - reaching below the public API is what this file is for

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import wasmtime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hb.wasm.parse import FunctionType

Number = int | float
Stop = wasmtime.Trap | wasmtime.WasmtimeError
Returned = tuple[tuple[Number, ...], int, Stop | None]
"""What a call gave: its results, the fuel that is left, and what stopped it."""

_FORMATS = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}
_SIZES = {"i32": 4, "i64": 8, "f32": 4, "f64": 8}


class Call(Protocol):
    """A function of one store, ready to be called."""

    def __call__(self, arguments: Sequence[Number], fuel: int) -> Returned:
        """Calls it with `fuel`; arguments are of its types, integers signed.

        Raises what a host function that it called raised.
        """


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


class _Binding(NamedTuple):
    """The C functions, taking plain addresses, and the binding's own types."""

    call: Callable[..., int | None]
    set_fuel: Callable[..., int | None]
    get_fuel: Callable[..., int | None]
    get_global: Callable[..., None]
    set_global: Callable[..., int | None]
    value_type: Any
    kinds: dict[str, int]
    error_pointer: Any
    trap_pointer: Any
    raise_host_exception: Callable[[], None]


def _bind() -> _Binding:
    """Raises ImportError or AttributeError where the binding has not the parts that are needed."""
    from wasmtime import _ffi as ffi
    from wasmtime._func import maybe_raise_last_exn

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
        kinds={name: getattr(ffi, f"WASMTIME_{name.upper()}").value for name in _FORMATS},
        error_pointer=ctypes.POINTER(ffi.wasmtime_error_t),
        trap_pointer=ctypes.POINTER(ffi.wasm_trap_t),
        raise_host_exception=maybe_raise_last_exn,
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
        self._c.raise_host_exception()
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


def cell(store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> Cell:
    """The fastest way there is to read and write `global_`, of a numeric type."""
    return PrivateCell(store, global_, type_) if _binding else PublicCell(store, global_, type_)
