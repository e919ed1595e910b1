"""Results of 64 bits for modules that take them in halves: the low one as the result, the high one by a call.

Such a module exports a function that takes the high half. A small module in between calls the host function and then
that export, so that no frame of this machine's Python lies between two frames of the program: those would take from
the program's stack, and how much depends on the Python.

Invariants:
    No host function calls the program.
    A call costs the same gas as one of any other host function, and what the program's export uses.

Source: binaryen's `legalize-js-interface`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hb.binary.parse import FunctionType
from hb.wasm.engine import get_engine
from hb.wasm.host import Failure, Host, HostTrap
from hb.wasm.longjmp import MODULE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import wasmtime

    from hb.wasm.module import ModuleInfo

SET_HIGH_HALF = "_emscripten_tempret_set"
_SETTER = FunctionType(("i32",), ())


class Halved:
    """A host function whose result of 64 bits the program takes in halves."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, host: Host, *arguments: int | float) -> Any:
        """Return the result, whole."""
        return self._function(host, *arguments)


def without_setter(function: Halved, info: ModuleInfo) -> Callable[..., Any] | None:
    """Return what stands for `function` in a module that takes no high half; None if the module does."""
    if info.functions.get(SET_HIGH_HALF) == _SETTER:
        return None

    def run(host: Host, *arguments: int | float) -> None:
        function(host, *arguments)
        raise HostTrap(Failure("trap", f"the host cannot call the program's {SET_HIGH_HALF!r} now"))

    return run


def whole(type_: FunctionType) -> FunctionType:
    """Return the type of the host function behind an import of type `type_`."""
    return FunctionType(type_.params, ("i64",))


def gas(type_: FunctionType) -> int:
    """Return the gas that the module in between uses for one call of an import of type `type_`."""
    return 11 + len(type_.params)


class Linked:
    """The module in between, for one import of one instance, in its store."""

    def __init__(self, store: wasmtime.Store, type_: FunctionType, host_function: wasmtime.Func) -> None:
        import wasmtime

        self._store = store
        self._exports = wasmtime.Instance(store, _compiled(type_.params), [host_function]).exports(store)

    @property
    def function(self) -> Any:
        """What the program imports."""
        return self._exports["function"]

    def close_over(self, program: Mapping[str, Any]) -> None:
        """Hand the high halves to the program, whose exports these are."""
        import wasmtime

        table = self._exports["setter"]
        assert isinstance(table, wasmtime.Table)
        table.set(self._store, 0, program[SET_HIGH_HALF])


@lru_cache(maxsize=16)
def _compiled(params: tuple[str, ...]) -> wasmtime.Module:
    import wasmtime

    arguments = " ".join(f"(local.get {n})" for n in range(len(params)))
    # Nothing that costs gas follows the last call: a program that fails there has paid for all of it.
    text = f"""(module ${MODULE_NAME}
  (import "host" "function" (func $host (param {" ".join(params)}) (result i64)))
  (type $set (func (param i32)))
  (table (export "setter") 1 funcref)
  (func (export "function") (param {" ".join(params)}) (result i32) (local $whole i64)
    (local.set $whole (call $host {arguments}))
    (i32.wrap_i64 (local.get $whole))
    (call_indirect (type $set) (i32.wrap_i64 (i64.shr_u (local.get $whole) (i64.const 32))) (i32.const 0))))"""
    return wasmtime.Module(get_engine(), text)
