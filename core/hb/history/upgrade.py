"""Other code for a process that has come some way: whether a module can take over its memory and its globals.

Nothing is made here: what does not fit is refused, and says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.compute.standing import stand
from hb.devices.device import execution_for
from hb.errors import IntegrityError, Refused
from hb.protocol import definition as definitions
from hb.protocol.message import normal_key

if TYPE_CHECKING:
    from hb.cancellation import Cancellation
    from hb.compute.premises import Premises
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.definition import Origin
    from hb.protocol.message import Message
    from hb.records.images import Taken
    from hb.wasm.module import Module, ModuleInfo

_ABI = {"ao": "the AO ABI", "function": "plain functions"}


def code(premises: Premises, definition: Message, origin: Origin, taken: Taken) -> Message:
    """The keys of a definition that has the process of `definition` go on with the image `taken`.

    Raises:
        Refused: the module is not acceptable, or what the process has at the slot of `origin` does not fit it.
        Interrupted, IntegrityError: as `stand`.
    """
    from hb.wasm.engine import run_interruptibly

    def work(stop: Cancellation) -> Message:
        machine = premises.machine(taken.stored).under(stop)
        new = machine.load_module(taken.runs)
        old = machine.load_module(definitions.runs(definition))
        check_code(old.info, new.info)
        devices, passes = devices_for(definition, old.info, new.info)
        said = definitions.code(taken.image, devices, passes, taken.converted)
        live = stand(premises, origin.process, origin.slot, stop, machine=machine)
        check_fit(old, new, live.base["priv"].instance.memory_pages)
        _try(live, definition, said, machine)
        return said

    return run_interruptibly(work)


def check_code(old: ModuleInfo, new: ModuleInfo) -> None:
    """Makes sure that a module is called as the one before it is.

    Raises:
        Refused: it has another ABI.
    """
    if old.abi != new.abi:
        raise Refused(f"the module has {_ABI[new.abi]}, the process has {_ABI[old.abi]}")


def devices_for(definition: Message, old: ModuleInfo, new: ModuleInfo) -> tuple[list[str], int | None]:
    """The devices and passes that a module runs as in another's place: its own, unless others were asked for."""
    had = definitions.execution_devices(definition)
    return execution_for([] if had == execution_for([], old)[0] else had, new)


def check_fit(old: Module, new: Module, pages: int) -> None:
    """Makes sure that a module can have the memory, of so many pages, and the globals that another has.

    Raises:
        Refused: it cannot; says in what they differ.
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
    """The type and the public names of every mutable global, in index order."""
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
    """Gives an instance of the module the state that it is to take over."""
    rest = {key: value for key, value in definition.items() if key not in definitions.CODE_KEYS}
    try:
        live.fork(live.process, {**rest, **said}, machine)
    except IntegrityError as error:
        raise Refused(f"the module cannot take over the state of the process: {error.what}") from error
