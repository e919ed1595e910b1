"""`json-iface@1.0`: the AO ABI. The module's `handle` gets a message and its environment as JSON, and answers in JSON.

The stack of devices runs in two passes:

1. This device writes both texts to memory that the module's `malloc` gives, and prepares the call of `handle`.
   `wasm64@1.0` makes the call.
2. This device reads the answer and turns it into the results.

Invariants:
    No address, size or text from the module is trusted. Anything wrong with them becomes an error in `results`.

Source: HyperBEAM's `dev_json_iface`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices import ao_json
from hb.devices.ao_json import results_of, results_of_text
from hb.devices.device import Base, Call, Device, Live, Machine, no_imports
from hb.errors import Refused
from hb.protocol import definition as definitions
from hb.protocol.message import dumps
from hb.wasm.host import Failure, HostTrap

if TYPE_CHECKING:
    from hb.devices.device import Imports
    from hb.protocol.message import Message
    from hb.wasm.instance import Instance
    from hb.wasm.module import ModuleInfo

__all__ = ["DEVICE", "results_of", "results_of_text"]

HANDLE, ALLOCATE, FREE = "handle", "malloc", "free"
CALLER, REPEATER = "wasm64@1.0", "multipass@1.0"
_WRITE, _READ = 1, 2  # numbers of the two passes

_MAX_TEXT_BYTES = 2**31 - 1  # the largest argument of a 32-bit `malloc`


class _FailedError(Exception):
    """The message fails for a reason outside `handle`: in `malloc` or `free`, or in its JSON."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = Failure(kind, sentence)


def imports(info: ModuleInfo) -> Imports:
    """Check that a module has the AO ABI. It gets no host functions.

    Raises:
        Refused: an export that the ABI requires is missing, or has another type.
    """
    pointer = "i64" if info.memory is not None and info.memory.is64 else "i32"
    if info.memory is None:
        raise Refused("a module of the AO ABI has a memory; this one has none")
    for name, takes in ((HANDLE, 2), (ALLOCATE, 1)):
        found, wanted = info.functions.get(name), ((pointer,) * takes, (pointer,))
        if found is None:
            raise Refused(f"a module of the AO ABI exports {name!r}; this one does not")
        if (found.params, found.results) != wanted:
            is_, should = _type_text(found.params, found.results), _type_text(*wanted)
            raise Refused(f"a module of the AO ABI exports {name!r} of type {should}; this one's is {is_}")
    return no_imports(info)


def _type_text(params: tuple[str, ...], results: tuple[str, ...]) -> str:
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def init(base: Base, request: Message, machine: Machine) -> Base:
    """Check that the stack has the other devices that the AO ABI needs, and two passes.

    Raises:
        Refused: it lacks one.
    """
    devices = definitions.execution_devices(base["process"])
    here = devices.index("json-iface@1.0")
    if CALLER not in devices[here:] or REPEATER not in devices or base["process"].get("passes", 1) < _READ:
        raise Refused(
            f"json-iface@1.0 needs {CALLER} after it and {REPEATER} in the stack",
            hint="`--device json-iface@1.0` by itself stands for the whole stack",
        )
    return base


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """In the first pass, prepare the call. In the second pass, turn the answer into the results."""
    live: Live = base["priv"]
    try:
        if live.pass_number == _WRITE:
            live.call = Call(HANDLE, _write_texts(base, request))
        elif live.pass_number == _READ:
            return _with_results(base, _results(base, request))
    except _FailedError as why:
        failure = why.failure
        return _with_results(base, {"type": "error", "error": failure.message, "kind": failure.kind})
    return base


def _write_texts(base: Base, request: Message) -> list[int | float]:
    """Write the message and the environment to the program's memory, each with a final NUL. Return the addresses."""
    definition, process = base["process"], str(request["process"])
    try:
        message = ao_json.message_json(request, definition["image"])
        environment = ao_json.environment_json(definition, process)
    except ao_json.NotJson as why:
        raise _FailedError("message", str(why)) from why
    return [_write_text(base["priv"], text + b"\0") for text in (message, environment)]


def _write_text(live: Live, text: bytes) -> int:
    """Write a text to memory from the program's `malloc`. Return its address."""
    size, instance = len(text), _instance(live)
    if size > _MAX_TEXT_BYTES:
        raise _FailedError("message", f"the message is {size} bytes of JSON, more than a program can be given")
    address = _call(live, ALLOCATE, size)[0]
    if address == 0:
        raise _FailedError("allocation", f"the program's malloc gave no memory for the {size} bytes of its message")
    try:
        instance.host.write(address, text)
    except HostTrap:
        where = f"the {size} bytes of its message an address outside its memory"
        raise _FailedError("allocation", f"the program's malloc gave for {where}") from None
    return address


def _call(live: Live, function: str, argument: int) -> tuple[int, ...]:
    """Call the program's `malloc` or `free`. Its gas counts as gas of the message."""
    outcome = _instance(live).call(function, [argument], spent=live.gas)
    live.gas += outcome.gas
    if outcome.failure is not None:
        raise _FailedError(outcome.failure.kind, f"in its {function}, {outcome.failure.message}")
    return outcome.values  # type: ignore[return-value]


def _results(base: Base, request: Message) -> Message:
    """Read the program's answer, free the two texts, and return the results."""
    live, definition = base["priv"], base["process"]
    text = _read_text(_instance(live), base["results"]["output"][0])
    functions = _instance(live).module.info.functions
    if FREE in functions and len(functions[FREE].params) == 1 and not functions[FREE].results:
        for address in live.call.arguments:
            _call(live, FREE, address)
    return results_of_text(text, str(request["process"]), definition["image"])


def _read_text(instance: Instance, address: int) -> bytes:
    """Return the text at `address`, up to the NUL that ends it."""
    host, limit = instance.host, instance.limits.result_bytes
    start = address % (1 << 8 * host.pointer_bytes)
    if start >= host.memory_bytes:
        raise _FailedError("result", "the program's handle gave an address outside its memory")
    try:
        return host.text(address, limit)
    except HostTrap:
        if host.memory_bytes - start > limit:
            raise _FailedError("result", f"the program's answer is longer than the limit of {limit} bytes") from None
        raise _FailedError("result", "the program's answer has no end: no NUL comes after it") from None


def _with_results(base: Base, results: Message) -> Base:
    """Return the base with these results, to which the gas and the printed text are added."""
    live: Live = base["priv"]
    limit = _instance(live).limits.result_bytes
    if len(dumps(results)) > limit:
        sentence = f"the results are longer than the limit of {limit} bytes"
        results = {"type": "error", "error": sentence, "kind": "result"}
    results["gas"] = live.gas
    printed = _instance(live).host.printed
    if printed:
        results["print"] = printed.decode("utf-8", "replace")
    return {**base, "results": results}


def _instance(live: Live) -> Instance:
    assert live.instance is not None
    return live.instance


DEVICE = Device(name="json-iface@1.0", init=init, compute=compute, imports=imports, takes_spawn=True)
