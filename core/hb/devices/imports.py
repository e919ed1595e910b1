"""Host functions by name and signature, fitted to the module that imports them.

Responsible for giving a module a host function only where it declares the type that the function is of, on its own
pointer size. It must never know what a host function does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.wasm.host import Host
    from hb.wasm.instance import HostFunction
    from hb.wasm.module import ModuleInfo

    Number = int | float


class Provided(NamedTuple):
    """A host function and its signature: a letter for each parameter, a colon, and one for the result if there is one.

    `i` is i32, `j` i64, `f` f64, and `p` a pointer or size: i64 on a 64-bit memory, else i32.
    """

    signature: str
    function: HostFunction


def fit(info: ModuleInfo, provided: Mapping[tuple[str, str], Provided]) -> dict[tuple[str, str], HostFunction]:
    """Those of `provided` that the module imports with their own type, by (module, name).

    A module of 32 bits may take each i64 as two i32, the low half first, and give an i64 as its low half, with the
    high one handed to its export `_emscripten_tempret_set`.

    Source: binaryen's `legalize-js-interface`.
    """
    pointer = "i64" if info.memory is not None and info.memory.is64 else "i32"
    fitted = {}
    for wanted in info.imports:
        entry = provided.get((wanted.module, wanted.name))
        if entry is None or wanted.kind != "function":
            continue
        whole, halved = _type_texts(entry.signature, pointer)
        if wanted.type == whole:
            fitted[wanted.module, wanted.name] = entry.function
        elif wanted.type == halved and pointer == "i32":
            fitted[wanted.module, wanted.name] = _of_halves(entry)
    return fitted


@lru_cache(maxsize=512)
def _type_texts(signature: str, pointer: str) -> tuple[str, str]:
    """The type as a module's import has it, and what it is where every i64 is in halves."""
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
    """The function for a module that takes and gives i64 in halves."""
    from hb.wasm.halves import Halved

    params, result = entry.signature.split(":")

    def function(host: Host, *halves: Number) -> Number | None:
        rest = iter(halves)
        whole = [_joined(int(next(rest)), int(next(rest))) if letter == "j" else next(rest) for letter in params]
        value: Number | None = entry.function(host, *whole)
        return value

    return Halved(function) if result == "j" else function


def _joined(low: int, high: int) -> int:
    """The signed integer of 64 bits whose halves these are."""
    return (high << 32) | (low & 0xFFFFFFFF)
