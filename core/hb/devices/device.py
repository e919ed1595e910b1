"""Define what a device is, and list the devices that there are.

A device is three functions that take a base, a request and a machine, and return a base.

Invariants:
    A device knows only its three arguments: it reads no store, no file, no clock and no environment.
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
    from hb.binary.parse import Import
    from hb.cancellation import Cancellation
    from hb.protocol.message import Message
    from hb.wasm.instance import HostFunction, Instance
    from hb.wasm.module import Module, ModuleInfo

Base = dict[str, Any]
"""A process's state while it is computed: a message, with a `Live` under `priv`, which is never encoded."""


class Call(NamedTuple):
    """A call of an exported function. One device prepares it, another makes it."""

    function: str
    arguments: list[int | float]


@dataclass
class Live:
    """The part of a state that lives in this program's memory only: the instance, and the progress of one message.

    `pass_number` counts a stack's passes over its devices, from 1; `again` asks for another pass. `call` is the call
    to make, if another device has prepared one. `gas` is the gas that the message has used so far.
    """

    instance: Instance | None = None
    pass_number: int = 1
    again: bool = False
    call: Call | None = None
    gas: int = 0


@dataclass(frozen=True)
class Machine:
    """What a transition may use of the world: the module that an image ID names, and nothing else.

    `load` gets an image ID and a cancellation. If `make_instance` is set, it makes the instances in place of
    `Instance`, to record what they do. `cancellation` ends the calls of instances that are made with this machine.
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
                f"the program needs {-(-pages // 16)} MiB of memory; this machine allows {most // 16} MiB",
                hint="if you trust the program, raise program-memory under [host] in the home's config.toml",
            )

    def under(self, cancellation: Cancellation) -> Machine:
        """Return the same machine for work that `cancellation` stops."""
        return replace(self, cancellation=cancellation)

    def bounded(self, host_memory_pages: int | None) -> Machine:
        """Return the same machine with this bound on a program's memory."""
        return replace(self, host_memory_pages=host_memory_pages)


Step = Callable[[Base, "Message", Machine], Base]


def prepare_host(instance: Instance, request: Message) -> None:
    """Give the host of `instance` the time of `request`, an assignment, and its hash-chain to draw randomness from."""
    now_ms, chain = request["timestamp"], request["hash-chain"]
    assert isinstance(now_ms, int)
    assert isinstance(chain, str)
    instance.host.prepare(now_ms=now_ms, seed=chain.encode(), output_bytes=instance.limits.result_bytes)


def unchanged(base: Base, request: Message, machine: Machine) -> Base:
    """Return the base as it is: the step of a device that has nothing to do."""
    return base


Imports = Mapping[tuple[str, str], "HostFunction"]


def no_imports(info: ModuleInfo) -> Imports:
    """Return no host functions, as most devices do."""
    return {}


def no_types(info: ModuleInfo, wanted: Import) -> tuple[str, ...]:
    """Return no types, as a device does that provides nothing."""
    return ()


@dataclass(frozen=True)
class Device:
    """The functions of one device.

    `init` makes the state before slot 0. `restore` prepares a base whose public keys, memory and globals will be put
    back from the cache. `compute` answers a request: it returns the base with the public keys as they now are, and
    with the request's `results`, whose `type` is `error` if the program failed. `imports` are the host
    functions that it gives a module that runs beside it, by (module, name). `types_of` gives the types that it has for
    an import's name, whatever type the module wants. With `takes_spawn`, the message that spawns the process is the
    first that its program answers, at slot 0.
    """

    name: str
    init: Step = unchanged
    restore: Step = unchanged
    compute: Step = unchanged
    imports: Callable[[ModuleInfo], Imports] = no_imports
    types_of: Callable[[ModuleInfo, Import], tuple[str, ...]] = no_types
    takes_spawn: bool = False


STATE_KEYS = frozenset({"at-slot", "device", "hashpath", "image", "process", "results"})
"""Keys of a state that belong to the process device. No public key of a module may have one of these names."""

# Device name -> the module that holds it as `DEVICE`. It is imported when the device is first used.
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


# The stack that a module of the AO ABI runs as, and how often a message passes through it.
_AO_STACK = ("wasi@1.0", "emscripten@1.0", "json-iface@1.0", "wasm64@1.0", "patch@1.0", "multipass@1.0")
_AO_PASSES = 2
# What any other module runs as: alone, or beside the devices that provide imports.
_PLAIN = ("wasm64@1.0",)
_IMPORTING_STACK = ("wasi@1.0", "emscripten@1.0", "wasm64@1.0")


def execution_for(names: Sequence[str], info: ModuleInfo) -> tuple[list[str], int | None]:
    """Return the devices that a module runs as, and how often a message passes through them.

    `names` are the devices that were asked for, by any of their names. If there are none, the module decides: by its
    ABI, and by whether it imports anything. `json-iface@1.0` alone stands for its whole stack.

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
    """Return the name in the table for `name`, which may begin with `~`, be an alias, or differ in case.

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
    """Return the device that is called `name`, or has it as an alias.

    Raises:
        Refused: no device has this name.
    """
    device = import_module(_DEVICES[canonical_name(name)]).DEVICE
    assert isinstance(device, Device)
    return device
