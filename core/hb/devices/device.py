"""What a device is, and the table of those there are.

A device is three functions from a base, a request and a machine to a base. It gets all that it may know in
those three; it must never read a store, a file, a clock or the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from hb.cancellation import NEVER
from hb.errors import BeyondThisMachine, Refused

if TYPE_CHECKING:
    from hb.cancellation import Cancellation
    from hb.protocol.message import Message
    from hb.wasm.instance import HostFunction, Instance
    from hb.wasm.module import Module, ModuleInfo

Base = dict[str, Any]
"""A process's state while it is computed: the message that it is, and under `priv` a `Live`, which is never encoded."""


class Call(NamedTuple):
    """A call of an exported function that one device prepares and another makes."""

    function: str
    arguments: list[int | float]


@dataclass
class Live:
    """What a state holds in this program's memory alone: the instance, and how far the message at hand has come.

    `pass_number` counts a stack's passes over its devices, from 1, and `again` asks for another; `call` is what the
    program is to be called with, where another device than the one that calls it says so; `gas` is what the message has
    used so far.
    """

    instance: Instance | None = None
    pass_number: int = 1
    again: bool = False
    call: Call | None = None
    gas: int = 0


@dataclass(frozen=True)
class Machine:
    """What a transition may use of the world: the module that an image ID names, and nothing else.

    `load` gets an image ID and a cancellation. `make_instance`, if it is set, makes the instances in place of
    `Instance`, to watch them at work. `cancellation` ends the calls of instances that are made with this machine.
    `host_memory_pages` is this machine's own bound on a program's memory, in pages of 64 KiB; None for none.
    """

    load: Callable[[str, Cancellation], Module]
    make_instance: Callable[..., Instance] | None = None
    cancellation: Cancellation = NEVER
    host_memory_pages: int | None = None

    def load_module(self, image: str) -> Module:
        """Return the module that an image ID names.

        Raises:
            Interrupted: it was cancelled while the module was compiled.
        """
        return self.load(image, self.cancellation)

    def check_memory(self, pages: int) -> None:
        """Make sure that a memory of this many pages of 64 KiB may be loaded here.

        Raises:
            BeyondThisMachine: it is more than this machine allows.
        """
        most = self.host_memory_pages
        if most is not None and pages > most:
            raise BeyondThisMachine(
                f"the program needs {pages // 16} MiB of memory; this machine allows {most // 16} MiB",
                hint="if you trust the program, raise program-memory under [host] in the home's config.toml",
            )

    def under(self, cancellation: Cancellation) -> Machine:
        """Return the same machine for work that `cancellation` stops."""
        return replace(self, cancellation=cancellation)


Step = Callable[[Base, "Message", Machine], Base]


def attend(instance: Instance, request: Message) -> None:
    """Has the host of `instance` tell the time of `request`, an assignment, and draw randomness from its hash-chain."""
    now_ms, chain = request["timestamp"], request["hash-chain"]
    assert isinstance(now_ms, int)
    assert isinstance(chain, str)
    instance.host.prepare(now_ms=now_ms, seed=chain.encode(), output_bytes=instance.limits.result_bytes)


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
    functions that it gives a module that runs beside it, by (module, name). With `takes_spawn`, the message that spawns
    the process is the first that its program answers, at slot 0.
    """

    name: str
    init: Step = unchanged
    restore: Step = unchanged
    compute: Step = unchanged
    imports: Callable[[ModuleInfo], Imports] = no_imports
    takes_spawn: bool = False


STATE_KEYS = frozenset({"at-slot", "device", "hashpath", "image", "process", "results"})
"""Keys of a state that are the process device's own: no module's public key may bear one of these names."""

# Name -> module that has it as `DEVICE`. Imported when it is first used.
_DEVICES = {
    "emscripten@1.0": "hb.devices.emscripten",
    "json-iface@1.0": "hb.devices.json_iface",
    "multipass@1.0": "hb.devices.multipass",
    "patch@1.0": "hb.devices.patch",
    "stack@1.0": "hb.devices.stack",
    "wasi@1.0": "hb.devices.wasi",
    "wasm64@1.0": "hb.devices.wasm64",
}
_ALIASES = {
    "wasm-64@1.0": "wasm64@1.0",
}


# What a module of the AO ABI runs as, in this order, and how often a message goes through.
_AO_STACK = ("wasi@1.0", "emscripten@1.0", "json-iface@1.0", "wasm64@1.0", "patch@1.0", "multipass@1.0")
_AO_PASSES = 2
# What any other runs as: alone, or beside those that provide what it imports.
_PLAIN = ("wasm64@1.0",)
_IMPORTING_STACK = ("wasi@1.0", "emscripten@1.0", "wasm64@1.0")


def execution_for(names: Sequence[str], info: ModuleInfo) -> tuple[list[str], int | None]:
    """The devices that a module runs as, and the passes that a message takes through them.

    `names` are those that were asked for, by any name that they go by. Where none was, the module decides: by its ABI,
    and by whether it imports anything. `json-iface@1.0` alone is the stack that goes with it.

    Raises:
        Refused: no device has one of the names.
    """
    devices = [canonical_name(name) for name in names]
    if devices == ["json-iface@1.0"] or (not devices and info.abi == "ao"):
        return list(_AO_STACK), _AO_PASSES
    if not devices:
        return list(_IMPORTING_STACK if info.imports else _PLAIN), None
    return devices, _AO_PASSES if "multipass@1.0" in devices else None


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


@cache
def get_device(name: str) -> Device:
    """The device called `name`, or by an alias of it.

    Raises:
        Refused: no device has this name.
    """
    device = import_module(_DEVICES[canonical_name(name)]).DEVICE
    assert isinstance(device, Device)
    return device
