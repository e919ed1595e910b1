"""`wasm64@1.0`: a message calls an exported function of the image.

The function is the message's `function`, else its `action`. The arguments are its `parameters`. The image's exported
mutable globals are the process's public keys, in lower case.

Invariants:
    Everything that a module does, traps included, becomes a value in `results`. It is never raised.

Source: HyperBEAM's `dev_wasm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.devices.device import STATE_KEYS, Base, Call, Device, Live, Machine, get_device, prepare_host
from hb.devices.wasi import exited
from hb.errors import Refused
from hb.protocol import definition as definitions
from hb.protocol.message import PRIVATE_PREFIX, normal_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.protocol.message import Message, Value
    from hb.wasm.instance import HostFunction, Instance
    from hb.wasm.module import ModuleInfo

    Number = int | float

# The smallest and the largest argument of each integer type. An argument can be signed or unsigned.
_RANGES = {"i32": (-(2**31), 2**32 - 1), "i64": (-(2**63), 2**64 - 1)}
_FLOATS = frozenset({"f32", "f64"})
_NUMBERS = _FLOATS | _RANGES.keys()


class _NotACallError(Exception):
    """The message asks for no call, or for one that the module does not have. `kind` goes into the slot's results."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class _NotAnArgumentError(Exception):
    """A value cannot be an argument of the type that is needed. The text says why."""


def instantiate(base: Base, request: Message, machine: Machine) -> Base:
    """Return the base with a fresh instance of its image.

    Raises:
        Refused: as `imports_of`; or the image declares more memory than allowed; or it fails when it starts.
    """
    from hb.wasm.instance import Instance

    definition = base["process"]
    module = machine.load_module(definitions.runs(definition))
    imports = imports_of(module.info, definitions.execution_devices(definition))
    instance = (machine.make_instance or Instance)(
        module,
        definitions.limits(definition),
        imports,
        cancellation=machine.cancellation,
        host_memory_pages=machine.host_memory_pages,
    )
    if instance.start_failure is not None:
        raise Refused(f"the module fails when it starts: {instance.start_failure.message}")
    return {**base, "priv": Live(instance)}


def imports_of(info: ModuleInfo, devices: Sequence[str]) -> dict[tuple[str, str], HostFunction]:
    """Return the host functions that `devices` provide to a module, by module and name of the import.

    Raises:
        Refused: the module has an import that none of the devices provides, has state that cannot be saved, or has a
            public key with a reserved name.
    """
    from hb.wasm import longjmp
    from hb.wasm.module import check

    private = {name for name in info.globals if normal_key(name).startswith(PRIVATE_PREFIX)}
    imports: dict[tuple[str, str], HostFunction] = {}
    for name in devices:
        imports.update(get_device(name).imports(info))
    check(
        info,
        imports.keys() | longjmp.provided(info),
        STATE_KEYS | private,
        lambda wanted: [text for name in devices for text in get_device(name).types_of(info, wanted)],
    )
    return imports


def init(base: Base, request: Message, machine: Machine) -> Base:
    """Make an instance, and set its public globals from the definition's `initial-state`.

    Raises:
        Refused: as `instantiate`; or `initial-state` has a name that is not a public global, or a value of the wrong
            type.
    """
    base = instantiate(base, request, machine)
    instance = _instance(base)
    _start_runtime(instance, request)
    for key, value in base["process"].get("initial-state", {}).items():
        _set_public_key(instance, key, value)
    return {**base, **_public_keys(instance)}


def _start_runtime(instance: Instance, request: Message) -> None:
    """Call the functions that start the runtime of the module's language, if the module exports them."""
    functions = instance.module.info.functions
    starts = ("__wasm_call_ctors", "_initialize", "_start") if instance.module.info.abi == "ao" else ("_initialize",)
    prepare_host(instance, request)
    for name in ("emscripten_stack_init", *[start for start in starts if start in functions][:1]):
        if name in functions and not functions[name].params:
            failure = instance.call(name, []).failure
            if failure is not None and failure != exited(0):
                raise Refused(f"the module fails when it starts: {failure.message}")


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """Call the function that the message names. `results` is `{type, output, gas}` or `{type, error, kind, gas}`.

    If another device has prepared a call, make that call instead. Only the first pass makes a call. Later passes
    read the public keys again, because another device may have called functions of the module since.
    """
    live: Live = base["priv"]
    if live.pass_number > 1:
        return {**base, **_public_keys(_instance(base))}
    if live.call is not None:
        return _with_call(base, live.call.function, live.call.arguments)
    message = request["body"]
    assert isinstance(message, dict)
    try:
        call = _call_of(message, _instance(base))
    except _NotACallError as why:
        return _with_error(base, why.kind, str(why))
    return _with_call(base, call.function, call.arguments)


def _call_of(message: Message, instance: Instance) -> Call:
    """Return the call that `message` asks for.

    Raises:
        _NotACallError: it does not ask for a call that the module can make.
    """
    function = message.get("function", message.get("action"))
    if not isinstance(function, str):
        raise _NotACallError("no-function", "the message names no function: it has neither `function` nor `action`")
    signature = instance.module.info.functions.get(function)
    if signature is None:
        there_are = ", ".join(sorted(instance.module.info.functions)) or "none"
        raise _NotACallError("unknown-function", f"no function {function!r} is exported; there are: {there_are}")
    try:
        arguments = _arguments(function, signature.params, message.get("parameters", []))
    except _NotAnArgumentError as why:
        raise _NotACallError("wrong-arguments", str(why)) from why
    unsupported = sorted(set(signature.results) - _NUMBERS)
    if unsupported:
        what = f"a value of type {unsupported[0]}, which no message can carry"
        raise _NotACallError("wrong-results", f"{function!r} gives {what}")
    return Call(function, arguments)


def _with_call(base: Base, function: str, arguments: Sequence[Number]) -> Base:
    """Call a function. Return the base with its results and the new public keys."""
    live, instance = base["priv"], _instance(base)
    outcome = instance.call(function, arguments, spent=live.gas)
    live.gas += outcome.gas
    if outcome.failure is not None:
        results = _with_error(base, outcome.failure.kind, outcome.failure.message, live.gas)["results"]
    else:
        results = {"type": "ok", "output": list(outcome.values), "gas": live.gas}
    if instance.host.printed:
        results["print"] = instance.host.printed.decode("utf-8", "replace")
    return {**base, **_public_keys(instance), "results": results}


def _instance(base: Base) -> Instance:
    instance = base["priv"].instance
    assert instance is not None
    return instance  # type: ignore[no-any-return]


def _with_error(base: Base, kind: str, sentence: str, gas: int = 0) -> Base:
    """Return the base with an error as its results."""
    return {**base, "results": {"type": "error", "error": sentence, "kind": kind, "gas": gas}}


def _public_keys(instance: Instance) -> Message:
    return {normal_key(name): value for name, value in instance.read_globals().items()}


def _set_public_key(instance: Instance, key: str, value: Value) -> None:
    """Set the exported global whose name, in lower case, is `key`."""
    public = instance.module.info.globals
    name = next((name for name in public if normal_key(name) == key), None)
    if name is None:
        there_are = ", ".join(sorted(map(normal_key, public))) or "none"
        raise Refused(
            f"initial-state sets {key!r}, but the module exports no mutable global with that name; it has: {there_are}"
        )
    try:
        instance.write_global(name, _number(public[name], value))
    except (_NotAnArgumentError, ValueError) as why:
        raise Refused(f"initial-state cannot set {key!r}: {why}") from why


def _arguments(function: str, types: Sequence[str], parameters: Value) -> list[Number]:
    """Return a message's `parameters` as arguments of the given wasm types."""
    if not isinstance(parameters, list):
        raise _NotAnArgumentError(f"`parameters` must be a list, got {_kind_of(parameters)}")
    if len(parameters) != len(types):
        wanted = f"{len(types)} argument{'' if len(types) == 1 else 's'}"
        raise _NotAnArgumentError(f"{function!r} takes {wanted} ({', '.join(types) or 'none'}), got {len(parameters)}")
    numbers = []
    for position, (wasm_type, parameter) in enumerate(zip(types, parameters, strict=True), 1):
        try:
            numbers.append(_number(wasm_type, parameter))
        except _NotAnArgumentError as why:
            raise _NotAnArgumentError(f"argument {position} of {function!r}: {why}") from why
    return numbers


def _number(wasm_type: str, value: Value) -> Number:
    """Return `value` as a number of the wasm type. A float without a fraction is accepted for an integer type.

    Raises:
        _NotAnArgumentError: it is not a number, or the type cannot hold it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotAnArgumentError(f"expected {wasm_type}, got {_kind_of(value)}")
    if wasm_type in _FLOATS:
        try:
            return float(value)
        except OverflowError:
            raise _NotAnArgumentError(f"expected {wasm_type}, got an integer too large for it") from None
    if wasm_type not in _RANGES:
        raise _NotAnArgumentError(f"a message cannot carry a value of type {wasm_type}")
    if isinstance(value, float):
        if not value.is_integer():
            raise _NotAnArgumentError(f"expected {wasm_type}, got {value!r}")
        value = int(value)
    least, most = _RANGES[wasm_type]
    if not least <= value <= most:
        raise _NotAnArgumentError(f"expected {wasm_type}, from {least} to {most}, got a value outside")
    return value if value <= most // 2 else value - (most + 1)


def _kind_of(value: Value) -> str:
    """Return words for the type of `value`, for an error."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    kinds = {
        bool: "a boolean",
        type(None): "null",
        bytes: "bytes",
        list: "a list",
        dict: "a message",
        int: "an integer",
        float: "a float",
    }
    return kinds.get(type(value), "an atom")


DEVICE = Device(name="wasm64@1.0", init=init, restore=instantiate, compute=compute)
