"""What a device is, and the table of those there are.

A device is three functions from a base, a request and a machine to a base. It gets all that it may know in
those three; it must never read a store, a file, a clock or the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hb.errors import Refused

if TYPE_CHECKING:
    from hb.protocol.message import Message
    from hb.wasm.instance import HostFunction, Instance
    from hb.wasm.module import Module, ModuleInfo

Base = dict[str, Any]
"""A process's state while it is computed: the message that it is, and under `priv` a `Live`, which is never encoded."""


@dataclass
class Live:
    """What a state holds in this program's memory alone: the instance that its module runs in."""

    instance: Instance | None = None


@dataclass(frozen=True)
class Machine:
    """What a transition may use of the world: the module that an image ID names, and nothing else."""

    load_module: Callable[[str], Module]


Step = Callable[[Base, "Message", Machine], Base]


def unchanged(base: Base, request: Message, machine: Machine) -> Base:
    """The step of a device that has nothing to do there."""
    return base


Imports = Mapping[tuple[str, str], "HostFunction"]


def no_imports(info: ModuleInfo) -> Imports:
    """What most devices give a module: nothing."""
    return {}


@dataclass(frozen=True)
class Device:
    """What a device does.

    `init` makes the state before slot 0. `restore` makes ready a base whose public keys, memory and globals are
    about to be put back from the cache. `compute` answers a request: it gives the base with the public keys as they
    now are and the request's `results`, whose `type` is `error` where the program failed. `imports` are the host
    functions that it gives a module that runs beside it, by (module, name).
    """

    name: str
    init: Step = unchanged
    restore: Step = unchanged
    compute: Step = unchanged
    imports: Callable[[ModuleInfo], Imports] = no_imports


STATE_KEYS = frozenset({"at-slot", "device", "hashpath", "image", "process", "results"})
"""Keys of a state that are the process device's own: no module's public key may bear one of these names."""

# Name -> module that has it as `DEVICE`. Imported when it is first used.
_DEVICES = {
    "stack@1.0": "hb.devices.stack",
    "wasm64@1.0": "hb.devices.wasm64",
}
_ALIASES = {
    "wasm-64@1.0": "wasm64@1.0",
}


def canonical_name(name: str) -> str:
    """The name in the table for `name`, which may have a `~` before it, be an alias, or be in other case.

    Raises:
        Refused: no device has this name.
    """
    lowered = name.removeprefix("~").lower()
    known = _ALIASES.get(lowered, lowered)
    if known not in _DEVICES:
        there_are = ", ".join(sorted(_DEVICES))
        raise Refused(f"no device is called {name!r}; there are {there_are}")
    return known


def get_device(name: str) -> Device:
    """The device called `name`, or by an alias of it.

    Raises:
        Refused: no device has this name.
    """
    device = import_module(_DEVICES[canonical_name(name)]).DEVICE
    assert isinstance(device, Device)
    return device
