"""Check whether another module can take over a process's memory and globals, for a fork that runs the new module.

A module that does not fit is refused with the reason.

Invariants:
    Nothing is stored here.
    No message is run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.binary.layout import layout
from hb.compute.standing import worker_at
from hb.devices.device import execution_for
from hb.errors import IntegrityError, Refused
from hb.protocol import definition as definitions
from hb.protocol.message import normal_key
from hb.records import images

if TYPE_CHECKING:
    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.definition import Origin
    from hb.protocol.message import Message
    from hb.records.images import Taken
    from hb.wasm.module import Module, ModuleInfo

_ABI = {"ao": "the AO ABI", "function": "plain functions"}


def code(context: Context, definition: Message, origin: Origin, taken: Taken, *, force: bool = False) -> Message:
    """Return the keys that a fork's definition needs to run the module `taken`.

    `definition` is that of the process, and `origin` the slot where the fork leaves it. With `force`, data and tables
    may lie in other places.

    Raises:
        Refused: the module cannot run here, or does not fit the state at that slot.
        Interrupted, IntegrityError: as `worker_at`.
    """

    def work(context: Context) -> Message:
        machine = context.machine(taken.stored)
        new = machine.load_module(taken.runs)
        old = machine.load_module(definitions.runs(definition))
        check_code(old.info, new.info)
        devices, passes = devices_for(definition, old.info, new.info)
        said = definitions.code(taken.image, devices, passes, taken.converted)
        live = worker_at(context, origin.process, origin.slot, machine=machine)
        check_fit(old, new, live.base["priv"].instance.memory_pages)
        if not force:
            with context.session() as store:
                had = images.read(store, definitions.runs(definition), IntegrityError)
            check_layout(had, taken.stored[taken.runs])
        _try_to_load(live, definition, said, machine)
        return said

    return context.run(work)


def check_code(old: ModuleInfo, new: ModuleInfo) -> None:
    """Make sure that two modules have the same ABI.

    Raises:
        Refused: they differ.
    """
    if old.abi != new.abi:
        raise Refused(f"the module has {_ABI[new.abi]}, the process has {_ABI[old.abi]}")


def devices_for(definition: Message, old: ModuleInfo, new: ModuleInfo) -> tuple[list[str], int | None]:
    """Return the devices and passes for a module that replaces another.

    If the definition has the defaults of the old module, use those of the new one. Otherwise keep the
    definition's devices.
    """
    had = definitions.execution_devices(definition)
    return execution_for([] if had == execution_for([], old)[0] else had, new)


def check_fit(old: Module, new: Module, pages: int) -> None:
    """Make sure that the module `new` can take over a memory of `pages` pages, and globals, from the module `old`.

    Raises:
        Refused: it cannot. The sentence names the difference.
    """
    _check_memory(old.info, new.info, pages)
    had, has = _globals(old), _globals(new)
    if len(had) != len(has):
        raise Refused(f"the module has {_globals_text(has)}, the process has {_globals_text(had)}")
    for number, (one, other) in enumerate(zip(had, has, strict=True), 1):
        if one != other:
            raise Refused(
                f"mutable global {number} of {len(had)} is {_global_text(*other)} in the module, "
                f"and {_global_text(*one)} in the process"
            )


def check_layout(old: bytes, new: bytes) -> None:
    """Make sure that a module has its data, and its tables of functions, where another one has them.

    The memory of a process holds addresses of data and numbers of functions.

    Raises:
        Refused: it has not.
    """
    had, has = layout(old), layout(new)
    if had.tables != has.tables:
        said = f"the module's tables hold {_sizes(has.tables)}, those of the process {_sizes(had.tables)}"
    elif had.data != has.data:
        size, was = (sum(length for _, length in each.data) for each in (has, had))
        said = f"the module has its data in other places ({size:,} bytes; the process {was:,})"
    else:
        return
    raise Refused(f"{said}, so what the memory points to is not there", hint="to try it all the same: --force")


def _sizes(tables: tuple[int, ...]) -> str:
    return f"{', '.join(f'{size:,}' for size in tables) or 'no'} functions"


def _check_memory(old: ModuleInfo, new: ModuleInfo, pages: int) -> None:
    had, has = old.memory, new.memory
    if had is None or has is None:
        if had is not has:
            raise Refused(
                "the module has a memory, the process has none" if had is None else "the module has no memory"
            )
        return
    if had.is64 != has.is64:
        raise Refused(
            f"the module's memory has {_width(has.is64)} addresses, that of the process {_width(had.is64)} ones"
        )
    if has.minimum > pages:
        raise Refused(f"the module wants {has.minimum} pages of memory to start with, the process has {pages}")
    if has.maximum is not None and has.maximum < pages:
        raise Refused(f"the module allows {has.maximum} pages of memory at the most, the process has {pages}")


def _width(is64: bool) -> str:
    return "64-bit" if is64 else "32-bit"


def _globals(module: Module) -> list[tuple[str, tuple[str, ...]]]:
    """Return the type and the public names of every mutable global, in index order."""
    names: dict[int, list[str]] = {}
    for export in module.info.exports:
        if export.kind == "global":
            names.setdefault(export.item, []).append(normal_key(export.name))
    # The names in `state.globals` end with a dot and the index of the global.
    return [(type_, tuple(sorted(names.get(int(name.rpartition(".")[2]), [])))) for name, type_ in module.state.globals]


def _globals_text(found: list[tuple[str, tuple[str, ...]]]) -> str:
    public = ", ".join(name for _, called in found for name in called) or "none"
    return f"{len(found)} mutable globals (exported: {public})"


def _global_text(type_: str, names: tuple[str, ...]) -> str:
    return f"of type {type_}, " + (f"exported as {', '.join(names)}" if names else "not exported")


def _try_to_load(live: Worker, definition: Message, said: Message, machine: Machine) -> None:
    """Load the state of `live` into an instance of the new module, to see whether that works."""
    rest = {key: value for key, value in definition.items() if key not in definitions.CODE_KEYS}
    try:
        live.copy_to(live.process, {**rest, **said}, machine)
    except IntegrityError as error:
        raise Refused(f"the module cannot take over the state of the process: {error.what}") from error
