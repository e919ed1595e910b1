"""longjmp for modules that emscripten made: their `invoke_*` imports as WebAssembly instead of host calls.

Such a module calls a function that may jump through an import `invoke_SIGNATURE(function, arguments...)`. If
`_emscripten_throw_longjmp` is called below it, the import must return, with the stack pointer as it was, after it has
called `setThrew(1, 0)`.

Two small modules do that here, so that a jump never leaves WebAssembly. The program imports the *gate*. The gate hands
each call on, through a table, to the *catcher*. The catcher imports the program's own functions, calls the one that was
asked for, and catches what the gate throws.

Invariants:
    What a program does is not known here.
    No state is added: the gate's table is set once, before anything runs.

Source: emscripten's `invoke_*` and `_emscripten_throw_longjmp`; WebAssembly 3.0, exception handling.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from hb.binary.parse import FunctionType, numeric_type
from hb.wasm.engine import get_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import wasmtime

    from hb.wasm.module import ModuleInfo

MODULE_NAME = "hb.longjmp"
"""The name that a backtrace has for modules that `hb` puts in between."""

THROW = "_emscripten_throw_longjmp"
_INVOKE = re.compile(r"invoke_[A-Za-z0-9_]*", re.ASCII)
_SAVE = ("emscripten_stack_get_current", "stackSave")
_RESTORE = ("_emscripten_stack_restore", "stackRestore")


class Invokes(NamedTuple):
    """The imports that are provided here, and the program's exports that they need.

    `types` has the type of each of `names`. `pointer` is the type of addresses.
    """

    names: tuple[str, ...]
    types: tuple[FunctionType, ...]
    throws: bool
    pointer: str
    table: str
    save: str
    restore: str


def find(info: ModuleInfo) -> Invokes | None:
    """Return what is provided of a module's imports from `env`; None if that is nothing, or an export is missing."""
    wanted = [i for i in info.imports if i.module == "env" and i.kind == "function"]
    # Names go into the text of a module.
    invokes = {i.name: numeric_type(i.type) for i in wanted if _INVOKE.fullmatch(i.name)}
    throws = any(i.name == THROW for i in wanted)
    table = next((e.name for e in info.exports if e.kind == "table"), None)
    save = next((name for name in _SAVE if name in info.functions), None)
    restore = next((name for name in _RESTORE if name in info.functions), None)
    if not (invokes or throws) or table is None or save is None or restore is None or "setThrew" not in info.functions:
        return None
    pointer = info.functions[save].results
    types = tuple(type_ for type_ in invokes.values() if type_ is not None and type_.params[:1] == pointer)
    if len(types) < len(invokes) or pointer not in {("i32",), ("i64",)}:
        return None
    return Invokes(tuple(invokes), types, throws, pointer[0], table, save, restore)


def provided(info: ModuleInfo) -> set[tuple[str, str]]:
    """Return the imports of a module that are provided here, as (module, name)."""
    found = find(info)
    if found is None:
        return set()
    return {("env", name) for name in found.names} | ({("env", THROW)} if found.throws else set())


def link(store: wasmtime.Store, info: ModuleInfo) -> Linked | None:
    """Return the gate and the catcher for an instance of the module; None if it needs none."""
    invokes = find(info)
    return None if invokes is None else Linked(store, invokes)


class Linked:
    """The gate and the catcher of one instance, in its store."""

    def __init__(self, store: wasmtime.Store, invokes: Invokes) -> None:
        """Make the gate: what the program's instance imports."""
        import wasmtime

        self._store = store
        self._invokes = invokes
        gate, self._catcher = _compiled(invokes)
        self._gate = wasmtime.Instance(store, gate, []).exports(store)

    @property
    def imports(self) -> Mapping[str, Any]:
        """What the program imports from `env`, by name."""
        names = [*self._invokes.names, *([THROW] if self._invokes.throws else [])]
        return {name: self._gate[name] for name in names}

    def close_over(self, program: Mapping[str, Any]) -> None:
        """Make the catcher, over the exports of the program's instance, and have the gate call it."""
        import wasmtime

        invokes = self._invokes
        given = [self._gate["jump"], *(program[n] for n in (invokes.table, invokes.save, invokes.restore, "setThrew"))]
        catcher = wasmtime.Instance(self._store, self._catcher, given).exports(self._store)
        table = self._gate["catchers"]
        assert isinstance(table, wasmtime.Table)
        for place, name in enumerate(invokes.names):
            table.set(self._store, place, catcher[name])


@lru_cache(maxsize=8)
def _compiled(invokes: Invokes) -> tuple[wasmtime.Module, wasmtime.Module]:
    import wasmtime

    return wasmtime.Module(get_engine(), _gate(invokes)), wasmtime.Module(get_engine(), _catcher(invokes))


def _gate(invokes: Invokes) -> str:
    functions = []
    for place, (name, type_) in enumerate(zip(invokes.names, invokes.types, strict=True)):
        functions.append(
            f'(type $t{place} (func {_signature(type_)})) (func (export "{name}") (type $t{place})'
            f" (call_indirect $catchers (type $t{place}) {_locals(0, len(type_.params))} (i32.const {place})))"
        )
    return f"""(module ${MODULE_NAME}
  (tag $jump (export "jump"))
  (table $catchers (export "catchers") {len(functions)} funcref)
  (func (export "{THROW}") (throw $jump))
  {" ".join(functions)})"""


def _catcher(invokes: Invokes) -> str:
    functions = []
    for place, (name, type_) in enumerate(zip(invokes.names, invokes.types, strict=True)):
        callee = FunctionType(type_.params[1:], type_.results)
        index = "(local.get 0)" if invokes.pointer == "i32" else "(i32.wrap_i64 (local.get 0))"
        arguments = _locals(1, len(type_.params))
        nothing = " ".join(f"({result}.const 0)" for result in type_.results)
        functions.append(
            f"""(type $t{place} (func {_signature(callee)}))
  (func (export "{name}") {_signature(type_)} (local $stack {invokes.pointer})
    (local.set $stack (call $save))
    (block $jumped
      (try_table (catch $jump $jumped)
        (return (call_indirect $functions (type $t{place}) {arguments} {index}))))
    (call $restore (local.get $stack))
    (call $set_threw ({invokes.pointer}.const 1) (i32.const 0))
    {nothing})"""
        )
    pointer = invokes.pointer
    return f"""(module ${MODULE_NAME}
  (import "gate" "jump" (tag $jump))
  (import "program" "table" (table $functions 0 funcref))
  (import "program" "save" (func $save (result {pointer})))
  (import "program" "restore" (func $restore (param {pointer})))
  (import "program" "setThrew" (func $set_threw (param {pointer} i32)))
  {" ".join(functions)})"""


def _signature(type_: FunctionType) -> str:
    params, results = " ".join(type_.params), " ".join(type_.results)
    return f"(param {params}) (result {results})"


def _locals(first: int, stop: int) -> str:
    return " ".join(f"(local.get {n})" for n in range(first, stop))
