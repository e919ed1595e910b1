"""Call a function, be called by a program, and read its state, in a few microseconds.

The binding's public API builds its argument arrays and looks up types for every call, and takes ten times as long.

Invariants:
    Outcomes are not known here: a call returns values, or what stopped it.
    Values, fuel and traps are the same as through the public API.
"""
# ruff: noqa: SLF001 - reaching below the public API is what this file is for

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import wasmtime

from hb.capi import binding
from hb.capi.binding import Stop, address_of, context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.binary.parse import FunctionType

Number = int | float
HostFunction = Callable[..., Any]
"""Called with numbers, integers signed. Returns a number, or None if its type has no result."""
Returned = tuple[tuple[Number, ...], int, Stop | None]
"""What a call gave: its results, the fuel that is left, and what stopped it."""

_FORMATS = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}
# As the engine has a result: integers by their bits.
_RAW_FORMATS = {"i32": "<I", "i64": "<Q", "f32": "<f", "f64": "<d"}
_MASKS = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}
_SIZES = {"i32": 4, "i64": 8, "f32": 4, "f64": 8}


def number_of(type_: str, bits: int) -> Number:
    """Return the value that `bits` are in a global of type `type_`; integers signed."""
    number: Number = struct.unpack(_FORMATS[type_], bits.to_bytes(_SIZES[type_], "little"))[0]
    return number


def bits_of(type_: str, number: Number) -> int:
    """Return the bits of `number`.

    Raises:
        struct.error, OverflowError: the type cannot hold it.
    """
    return int.from_bytes(struct.pack(_FORMATS[type_], number), "little")


def frames(stop: BaseException | None) -> list[wasmtime.Frame]:
    """Return the functions on the stack when `stop` ended a call: the innermost first, as many as the engine keeps."""
    if isinstance(stop, wasmtime.Trap):
        return stop.frames
    if not isinstance(stop, wasmtime.WasmtimeError):
        return []
    from wasmtime import _ffi as ffi
    from wasmtime._trap import Frame, FrameList

    found = FrameList(stop)
    ffi.wasmtime_error_wasm_trace(stop.ptr(), ctypes.byref(found.vec))
    return [Frame._from_ptr(found.vec.data[place], found) for place in range(found.vec.size)]


def instantiate(store: wasmtime.Store, module: wasmtime.Module, imports: Sequence[Any]) -> wasmtime.Instance:
    """Return an instance of a module.

    Raises what the public API raises, or what was raised while the engine called us.
    """
    try:
        return wasmtime.Instance(store, module, imports)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
        binding.raise_held(stop)
        raise


def bits_for(name: str, type_: str, value: Number) -> int:
    """Return the bits of `value` for the global `name`. An integer may be given signed or unsigned.

    Raises:
        ValueError: the type cannot hold it; the text is a sentence.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the global {name!r} is of type {type_} and cannot hold {value!r}")
    if type_[0] == "f":
        try:
            bits = bits_of(type_, float(value))
        except OverflowError:
            raise ValueError(f"the global {name!r} is of type {type_} and cannot hold a number that large") from None
        if isinstance(value, int) and number_of(type_, bits) != value:
            raise ValueError(f"the global {name!r} is of type {type_} and cannot hold {value} exactly")
        return bits
    width = 32 if type_ == "i32" else 64
    if not isinstance(value, int) or not -(2 ** (width - 1)) <= value < 2**width:
        raise ValueError(f"the global {name!r} is of type {type_} and cannot hold {value!r}")
    return int(value) % (1 << width)


class Call:
    """A function of one store, ready to be called: its argument and result arrays are made once."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, type_: FunctionType) -> None:
        self._c = calls = binding.get()
        self._owners = store, function  # what the addresses below point into
        self._context = context_of(store)
        self._arguments = (calls.value_type * len(type_.params))()
        self._results = (calls.value_type * len(type_.results))()
        self._trap = ctypes.c_void_p()
        self._fuel = ctypes.c_uint64()
        self._fuel_address = ctypes.addressof(self._fuel)
        for slot, name in zip(self._arguments, type_.params, strict=True):
            slot.kind = calls.kinds[name]
        self._parameters = [(slot.of, name) for slot, name in zip(self._arguments, type_.params, strict=True)]
        self._returned = [(slot.of, name) for slot, name in zip(self._results, type_.results, strict=True)]
        addresses = [ctypes.addressof(o) for o in (function._func, self._arguments, self._results, self._trap)]
        callee, arguments, results, trap = addresses
        self._call = (self._context, callee, arguments, len(type_.params), results, len(type_.results), trap)

    def __call__(self, arguments: Sequence[Number], fuel: int) -> Returned:
        """Call it with `fuel`. The arguments are of its types, integers signed.

        Raises what was raised while the engine called us.
        """
        for (slot, name), argument in zip(self._parameters, arguments, strict=True):
            setattr(slot, name, argument)
        calls = self._c
        calls.set_fuel(self._context, fuel)
        error = calls.call(*self._call)
        calls.get_fuel(self._context, self._fuel_address)
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
        binding.raise_held(stop)
        return stop


class Cell:
    """A global of one store, read and written as bits, which are an unsigned integer."""

    def __init__(self, store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> None:
        self._c = calls = binding.get()
        self._owners = store, global_
        self.type = type_
        self._value = calls.value_type()
        self._value.kind = calls.kinds[type_]
        # A float's bits are read as an integer's: as a float it would not keep every NaN.
        bits: type[ctypes.c_uint32 | ctypes.c_uint64] = ctypes.c_uint32 if _SIZES[type_] == 4 else ctypes.c_uint64
        self._slot = bits.from_buffer(self._value, calls.value_type.of.offset)
        self._arguments = (context_of(store), ctypes.addressof(global_._global), ctypes.addressof(self._value))

    def read(self) -> int:
        """Return the bits of its value."""
        self._c.get_global(*self._arguments)
        return self._slot.value

    def write(self, bits: int) -> None:
        """Set it to the value of these bits."""
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
    """Called by the engine for every host function; returns 0, or a trap that the engine then owns."""
    try:
        hosted = _hosted[number]
        value = hosted.function(*hosted.unpack(ctypes.string_at(values, hosted.size)) if hosted.size else ())
        if hosted.result:
            content = hosted.pack(value & _MASKS[hosted.result] if hosted.result[0] == "i" else value)
            ctypes.memmove(values, content, len(content))
        elif value is not None:
            raise TypeError("a host function that has no result gave one")
    except BaseException as exception:  # raised again where the call was made
        binding.hold(exception)
        return address_of(wasmtime.Trap("host")._consume())
    return 0


_ENTER = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 3, ctypes.c_size_t)(_enter)
_LEAVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_hosted.pop)


def host_function(store: wasmtime.Store, type_: FunctionType, function: HostFunction) -> wasmtime.Func:
    """Return `function` as one that a program of `store` can call.

    Of an integer that it returns, the low bits are taken.
    What it raises ends the call, and is raised where the call was made.

    Raises:
        ValueError: its type has what is no number, or several results.
    """
    engine_type, result = _engine_type(type_), "".join(type_.results)
    layout = struct.Struct("<" + "".join(_FORMATS[name][1] + f"{16 - _SIZES[name]}x" for name in type_.params))
    number = next(_numbers)
    pack = struct.Struct(_RAW_FORMATS[result]).pack if result else struct.Struct("").pack
    _hosted[number] = _Hosted(function, layout.size, layout.unpack, result, pack)
    calls = binding.get()
    made = calls.function_type()
    # A store may go later than anything in this file when the program ends, and then calls these.
    vars(store)["host_functions"] = (_ENTER, _LEAVE)
    signature, enter, leave = (address_of(o) for o in (engine_type.ptr(), _ENTER, _LEAVE))
    calls.new_host_function(context_of(store), signature, enter, number, leave, ctypes.addressof(made))
    return wasmtime.Func._from_raw(made)


class Tank:
    """The fuel of one store, for a host function to use while a call runs."""

    def __init__(self, store: wasmtime.Store) -> None:
        self._c = binding.get()
        self._owner = store
        self._context = context_of(store)
        self._fuel = ctypes.c_uint64()
        self._address = ctypes.addressof(self._fuel)

    def take(self, fuel: int) -> bool:
        """Take `fuel`. If there is less, take all of it and return False."""
        self._c.get_fuel(self._context, self._address)
        left = self._fuel.value
        self._c.set_fuel(self._context, max(left - fuel, 0))
        return left >= fuel


class Memory:
    """A memory of one store."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._c = binding.get()
        self._owners = store, memory
        self._arguments = (context_of(store), ctypes.addressof(memory._memory))

    def size(self) -> int:
        """Return its size now, in bytes."""
        return self._c.memory_size(*self._arguments)

    def address(self) -> int:
        """Return where it lies in this program: valid until it grows."""
        return self._c.memory_address(*self._arguments) or 0


@lru_cache(maxsize=256)
def _engine_type(type_: FunctionType) -> wasmtime.FuncType:
    """Return the engine's form of a type.

    Raises:
        ValueError: it has what is no number, or more than one result.
    """
    names = (*type_.params, *type_.results)
    if len(type_.results) > 1 or not _FORMATS.keys() >= set(names):
        raise ValueError(f"no host function is of type {type_}")
    values = [getattr(wasmtime.ValType, name)() for name in names]
    return wasmtime.FuncType(values[: len(type_.params)], values[len(type_.params) :])
