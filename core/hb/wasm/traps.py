"""What a call did, and what the engine's traps are called in a slot's results.

Invariants:
    The sentences are ours and not the engine's: a record does not change with the engine's release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import wasmtime

from hb.wasm.host import OUT_OF_GAS, Failure

if TYPE_CHECKING:
    from hb.capi.binding import Stop
    from hb.capi.fastcall import Number


class Outcome(NamedTuple):
    """What a call did: its results, the gas that it used, and its failure or None. Integers are signed.

    The engine checks the gas only at calls and in loops. So a call can use a few instructions more than its gas and
    still succeed. `gas` is then the whole of its gas.
    """

    values: tuple[Number, ...]
    gas: int
    failure: Failure | None


# By the name of the engine's trap code: the kind of failure, and the sentence.
_TRAPS = {
    "UNREACHABLE": ("trap", "the program executed an unreachable instruction"),
    "MEMORY_OUT_OF_BOUNDS": ("trap", "the program accessed memory out of bounds"),
    "HEAP_MISALIGNED": ("trap", "the program accessed memory at an unaligned address"),
    "TABLE_OUT_OF_BOUNDS": ("trap", "the program accessed a table out of bounds"),
    "INDIRECT_CALL_TO_NULL": ("trap", "the program called a null function"),
    "BAD_SIGNATURE": ("trap", "the program called a function of another type than it expected"),
    "INTEGER_OVERFLOW": ("trap", "an integer operation overflowed"),
    "INTEGER_DIVISION_BY_ZERO": ("trap", "the program divided an integer by zero"),
    "BAD_CONVERSION_TO_INTEGER": ("trap", "the program converted a float that no integer can hold"),
    "NULL_REFERENCE": ("trap", "the program used a null reference"),
    "ALLOCATION_TOO_LARGE": ("trap", "the program allocated more than the engine can give"),
    "STACK_OVERFLOW": ("stack-overflow", "the program used up its stack"),
    "OUT_OF_FUEL": (OUT_OF_GAS.kind, OUT_OF_GAS.message),
}
_UNCAUGHT = ("trap", "the program threw an exception that it did not catch")


def failure_of(stop: Stop) -> Failure:
    """Return the failure of a program that `stop` ended."""
    if not isinstance(stop, wasmtime.Trap):
        return Failure("trap", " ".join(str(stop).split())[:300])
    code = stop.trap_code
    if code is None:
        return Failure(*_UNCAUGHT)
    kind, sentence = _TRAPS.get(code.name, ("trap", f"the program trapped: {code.name.lower().replace('_', ' ')}"))
    return Failure(kind, sentence)
