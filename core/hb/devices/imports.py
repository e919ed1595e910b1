"""Give a module the host functions that it imports, if it imports them with the right type.

A host function has one type for memories of 32 bits and one for memories of 64 bits. Some have had several types in
the history of emscripten.

Invariants:
    Nothing here knows what a host function does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.binary.parse import Import
    from hb.wasm.host import Host
    from hb.wasm.instance import HostFunction
    from hb.wasm.module import ModuleInfo

    Number = int | float


class Provided(NamedTuple):
    """A host function and its signature: a letter for each parameter, a colon, and a letter for the result, if any.

    `i` is i32, `j` i64, `f` f64, and `p` a pointer or size: i64 on a 64-bit memory, else i32. `others` are functions
    of the same name with other signatures.
    """

    signature: str
    function: HostFunction
    others: tuple[Provided, ...] = ()


def fit(info: ModuleInfo, provided: Mapping[tuple[str, str], Provided]) -> dict[tuple[str, str], HostFunction]:
    """Return the functions of `provided` that the module imports with a type that they have, by (module, name).

    A module of 32 bits may take each i64 as two i32, the low half first. It may get an i64 as its low half, and the
    high half through its export `_emscripten_tempret_set`.

    Source: binaryen's `legalize-js-interface`.
    """
    pointer = _pointer_of(info)
    fitted = {}
    for wanted in info.imports:
        first = provided.get((wanted.module, wanted.name))
        if first is None or wanted.kind != "function":
            continue
        for entry in (first, *first.others):
            whole, halved = _type_texts(entry.signature, pointer)
            if wanted.type == whole:
                fitted[wanted.module, wanted.name] = entry.function
                break
            if wanted.type == halved and pointer == "i32" and not (entry.others and _lacks_high_half(entry, info)):
                fitted[wanted.module, wanted.name] = _of_halves(entry)
                break
    return fitted


def types_of(info: ModuleInfo, wanted: Import, provided: Mapping[tuple[str, str], Provided]) -> tuple[str, ...]:
    """Return the types, as text, that `provided` has for an import's name in a module of the same pointer size."""
    first = provided.get((wanted.module, wanted.name))
    return (
        ()
        if first is None
        else tuple(_type_texts(entry.signature, _pointer_of(info))[0] for entry in (first, *first.others))
    )


def _pointer_of(info: ModuleInfo) -> str:
    return "i64" if info.memory is not None and info.memory.is64 else "i32"


def _lacks_high_half(entry: Provided, info: ModuleInfo) -> bool:
    """Whether the function gives an i64 that the module could get one half of only."""
    from hb.wasm.halves import SET_HIGH_HALF

    return entry.signature.endswith("j") and SET_HIGH_HALF not in info.functions


@lru_cache(maxsize=512)
def _type_texts(signature: str, pointer: str) -> tuple[str, str]:
    """Return the type as a module's import has it, and the type with every i64 in halves."""
    names = {"i": "i32", "j": "i64", "f": "f64", "p": pointer}
    params, result = signature.split(":")
    halved = params.replace("j", "ii"), result.replace("j", "i")
    whole_text, halved_text = (
        f"({', '.join(names[letter] for letter in taken)}) -> ({', '.join(names[letter] for letter in given)})"
        for taken, given in ((params, result), halved)
    )
    return whole_text, halved_text


@lru_cache(maxsize=512)
def _of_halves(entry: Provided) -> HostFunction:
    """Return the function for a module that takes and gives i64 in halves."""
    from hb.wasm.halves import Halved

    params, result = entry.signature.split(":")

    def function(host: Host, *halves: Number) -> Number | None:
        rest = iter(halves)
        whole = [_joined(int(next(rest)), int(next(rest))) if letter == "j" else next(rest) for letter in params]
        value: Number | None = entry.function(host, *whole)
        return value

    return Halved(function) if result == "j" else function


def _joined(low: int, high: int) -> int:
    """Return the signed integer of 64 bits that has these halves."""
    return (high << 32) | (low & 0xFFFFFFFF)
