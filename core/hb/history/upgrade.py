"""Continue a process with another module: can that module take over its memory and globals?

Invariants:
    Nothing is made here. A module that does not fit is refused with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.compute.standing import worker_at
from hb.devices.device import execution_for
from hb.errors import IntegrityError, Refused
from hb.protocol import definition as definitions
from hb.protocol.message import normal_key

if TYPE_CHECKING:
    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.definition import Origin
    from hb.protocol.message import Message
    from hb.records.images import Taken
    from hb.wasm.module import Module, ModuleInfo

_ABI = {"ao": "the AO ABI", "function": "plain functions"}


def code(context: Context, definition: Message, origin: Origin, taken: Taken) -> Message:
    """Return the definition keys that make a fork of the process of `definition` continue with the image `taken`.

    Raises:
        Refused: the module is not acceptable, or does not fit the state at the slot of `origin`.
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
        _try(live, definition, said, machine)
        return said

    return context.run(work)


def check_code(old: ModuleInfo, new: ModuleInfo) -> None:
    """Make sure that a module has the ABI of the module that it replaces.

    Raises:
        Refused: it has another ABI.
    """
    if old.abi != new.abi:
        raise Refused(f"the module has {_ABI[new.abi]}, the process has {_ABI[old.abi]}")


def devices_for(definition: Message, old: ModuleInfo, new: ModuleInfo) -> tuple[list[str], int | None]:
    """Return the devices and passes of a module that replaces another: its own defaults, unless the definition names
    others."""
    had = definitions.execution_devices(definition)
    return execution_for([] if had == execution_for([], old)[0] else had, new)


def check_fit(old: Module, new: Module, pages: int) -> None:
    """Make sure that a module can take over another module's memory of `pages` pages, and its globals.

    Raises:
        Refused: it cannot; the sentence says where they differ.
    """
    _check_memory(old.info, new.info, pages)
    had, has = _globals(old), _globals(new)
    if len(had) != len(has):
        raise Refused(f"the module has {_counted(has)}, the process has {_counted(had)}")
    for number, (one, other) in enumerate(zip(had, has, strict=True), 1):
        if one != other:
            raise Refused(
                f"mutable global {number} of {len(had)} is {_described(*other)} in the module, "
                f"and {_described(*one)} in the process"
            )


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
    # A state's own name for a global ends with its index.
    return [(type_, tuple(sorted(names.get(int(name.rpartition(".")[2]), [])))) for name, type_ in module.state.globals]


def _counted(found: list[tuple[str, tuple[str, ...]]]) -> str:
    public = ", ".join(name for _, called in found for name in called) or "none"
    return f"{len(found)} mutable globals (exported: {public})"


def _described(type_: str, names: tuple[str, ...]) -> str:
    return f"of type {type_}, " + (f"exported as {', '.join(names)}" if names else "not exported")


def _try(live: Worker, definition: Message, said: Message, machine: Machine) -> None:
    """Load the state that is to be taken over into an instance of the module."""
    rest = {key: value for key, value in definition.items() if key not in definitions.CODE_KEYS}
    try:
        live.copy_to(live.process, {**rest, **said}, machine)
    except IntegrityError as error:
        raise Refused(f"the module cannot take over the state of the process: {error.what}") from error
