"""The C functions of the engine that its Python binding does not offer, or offers ten times slower.

This file and the ones that use it reach below the binding's public API: `fastcall` to call, `epochs` to end a call,
`allocation` to give a program its memory.

Invariants:
    The release of wasmtime is pinned to one major version, whose C API does not change.
    A binding of another shape is refused before anything runs.
"""
# ruff: noqa: SLF001 - reaching below the public API is what this file is for

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import wasmtime

from hb.errors import HbError

if TYPE_CHECKING:
    from collections.abc import Callable

Stop = wasmtime.Trap | wasmtime.WasmtimeError

NUMBER_TYPES = ("i32", "i64", "f32", "f64")


class Binding(NamedTuple):
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
    new_error: Callable[[bytes], int]
    set_deadline: Callable[..., None]
    on_deadline: Callable[..., None]
    set_memory_creator: Callable[..., None]


@cache
def get() -> Binding:
    """Return the C functions.

    Raises:
        HbError: this release of wasmtime does not have all of them.
    """
    try:
        return bind()
    except (ImportError, AttributeError) as error:
        raise HbError(
            f"this release of wasmtime is not one that hb can drive: {error}",
            hint="install the release that hb asks for: pip install 'wasmtime==50.0.1'",
        ) from error


def bind() -> Binding:
    """Look the C functions up.

    Raises:
        ImportError, AttributeError: the binding does not have all of them.
    """
    from wasmtime import _ffi as ffi

    address, size = ctypes.c_void_p, ctypes.c_size_t
    # A call lets other threads run meanwhile: one may have to end it. The others are too short for that.
    call = ctypes.CFUNCTYPE(address, address, address, address, size, address, size, address)
    two, three = ctypes.PYFUNCTYPE(address, address, address), ctypes.PYFUNCTYPE(address, address, address, address)
    four = ctypes.PYFUNCTYPE(None, *[address] * 4)
    return Binding(
        call=call(("wasmtime_func_call", ffi.dll)),
        set_fuel=ctypes.PYFUNCTYPE(address, address, ctypes.c_uint64)(("wasmtime_context_set_fuel", ffi.dll)),
        get_fuel=two(("wasmtime_context_get_fuel", ffi.dll)),
        get_global=ctypes.PYFUNCTYPE(None, address, address, address)(("wasmtime_global_get", ffi.dll)),
        set_global=three(("wasmtime_global_set", ffi.dll)),
        value_type=ffi.wasmtime_val_t,
        function_type=ffi.wasmtime_func_t,
        kinds={name: getattr(ffi, f"WASMTIME_{name.upper()}").value for name in NUMBER_TYPES},
        new_host_function=ctypes.PYFUNCTYPE(None, *[address] * 6)(("wasmtime_func_new_unchecked", ffi.dll)),
        memory_size=ctypes.PYFUNCTYPE(size, address, address)(("wasmtime_memory_data_size", ffi.dll)),
        memory_address=two(("wasmtime_memory_data", ffi.dll)),
        error_pointer=ctypes.POINTER(ffi.wasmtime_error_t),
        trap_pointer=ctypes.POINTER(ffi.wasm_trap_t),
        new_error=ctypes.PYFUNCTYPE(address, ctypes.c_char_p)(("wasmtime_error_new", ffi.dll)),
        set_deadline=ctypes.PYFUNCTYPE(None, address, ctypes.c_uint64)(
            ("wasmtime_context_set_epoch_deadline", ffi.dll)
        ),
        on_deadline=four(("wasmtime_store_epoch_deadline_callback", ffi.dll)),
        set_memory_creator=ctypes.PYFUNCTYPE(None, address, address)(
            ("wasmtime_config_host_memory_creator_set", ffi.dll)
        ),
    )


def address_of(thing: Any) -> int:
    """Return the address that a pointer or a callback of `ctypes` holds."""
    address = ctypes.cast(thing, ctypes.c_void_p).value
    assert address is not None
    return address


def context_of(store: wasmtime.Store) -> int:
    """Return the address of a store's context, which most C functions want."""
    return address_of(store._context())


_held = threading.local()


def hold(exception: BaseException) -> None:
    """Keep what was raised while the engine called us, until the call that the engine runs for us has ended."""
    _held.exception = exception


def raise_held(stop: Stop) -> None:
    """Raise what was held on this thread; do nothing if nothing was.

    Its cause is `stop`, which knows where in the program that was.
    """
    exception = _held.__dict__.pop("exception", None)
    if exception is not None:
        try:
            raise exception from exception.__cause__ or stop
        finally:
            del exception  # it holds this frame
