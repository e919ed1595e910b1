"""The functions of `hb.capi.fastcall`, written with the engine's public API. Tests compare the two."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import wasmtime

from hb.capi import binding, fastcall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.binary.parse import FunctionType


class Call:
    """A call of an exported function."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, type_: FunctionType) -> None:
        self._store, self._function, self._type = store, function, type_

    def __call__(self, arguments: Sequence[fastcall.Number], fuel: int) -> fastcall.Returned:
        typed = [float(a) if t[0] == "f" else a for t, a in zip(self._type.params, arguments, strict=True)]
        self._store.set_fuel(fuel)
        try:
            returned = self._function(self._store, *typed)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
            binding.raise_held(stop)
            return (), self._store.get_fuel(), stop
        count = len(self._type.results)
        values = () if count == 0 else (returned,) if count == 1 else tuple(returned)
        return values, self._store.get_fuel(), None


class Cell:
    """A global. Its floats pass through Python floats, so a signalling NaN becomes a quiet one."""

    def __init__(self, store: wasmtime.Store, global_: wasmtime.Global, type_: str) -> None:
        self._store, self._global, self.type = store, global_, type_

    def read(self) -> int:
        return fastcall.bits_of(self.type, self._global.value(self._store))

    def write(self, bits: int) -> None:
        self._global.set_value(self._store, fastcall.number_of(self.type, bits))


def host_function(store: wasmtime.Store, type_: FunctionType, function: fastcall.HostFunction) -> wasmtime.Func:
    """Return a function that a program can call. What it raises on one thread may be raised on another."""
    result = "".join(type_.results)

    def run(*arguments: fastcall.Number) -> fastcall.Number | None:
        value: fastcall.Number | None = function(*arguments)
        if not result and value is not None:
            raise TypeError("a host function that has no result gave one")
        return _signed(value, result) if result[:1] == "i" and isinstance(value, int) else value

    return wasmtime.Func(store, fastcall._engine_type(type_), run)


def _signed(value: int, type_: str) -> int:
    bits = value & fastcall._MASKS[type_]
    return bits - (fastcall._MASKS[type_] + 1) if bits > fastcall._MASKS[type_] >> 1 else bits


class Tank:
    """The fuel of a store."""

    def __init__(self, store: wasmtime.Store) -> None:
        self._store = store

    def take(self, fuel: int) -> bool:
        left = self._store.get_fuel()
        self._store.set_fuel(max(left - fuel, 0))
        return left >= fuel


class Memory:
    """The memory of a program."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store, self._memory = store, memory

    def size(self) -> int:
        return self._memory.data_len(self._store)

    def address(self) -> int:
        return ctypes.cast(self._memory.data_ptr(self._store), ctypes.c_void_p).value or 0
