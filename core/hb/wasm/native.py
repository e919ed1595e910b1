"""Have the engine validate and compile a module, in this program.

Both can take long: a few kilobytes of module can take the compiler minutes and gigabytes. `is_light` tells which
modules are known to compile in a moment. All others are compiled by a child program, within limits: see `compiler`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hb.binary import info as infos
from hb.binary import rewrite
from hb.binary.parse import Outline, parse
from hb.errors import Refused
from hb.wasm.engine import get_engine

if TYPE_CHECKING:
    import wasmtime

SMALL_BYTES = 4096
"""Maximum bytes of a light module."""

# The compiler's work for one instruction grows with the values that a call or a block takes and gives, with the locals
# that each loop must carry, and steeply with the catch clauses around a call: 100 of them cost 27 s in 4 KB. Tables
# cost memory for each element. Within these limits the hardest module that was found takes 0.3 s and 50 MB.
_LIGHT_TYPE_VALUES = 16
_LIGHT_LOCALS = 1000
_LIGHT_CATCHES = 8
_LIGHT_TABLE_ELEMENTS = 10_000

_LIGHT_VALIDATION = 64 << 20
"""Bytes of module times the values of its largest function type: validating it takes a second or less."""


def is_light(wasm: bytes, outline: Outline) -> bool:
    """Whether compiling `wasm`, of that outline, is known to take less than a second and little memory."""
    return (
        len(wasm) <= SMALL_BYTES
        and _largest_type(outline) <= _LIGHT_TYPE_VALUES
        and outline.locals <= _LIGHT_LOCALS
        and outline.catches <= _LIGHT_CATCHES
        and sum(outline.tables) <= _LIGHT_TABLE_ELEMENTS
    )


def is_light_to_validate(wasm: bytes, outline: Outline) -> bool:
    """Whether validating `wasm`, of that outline, is known to take about a second or less."""
    return len(wasm) * max(_largest_type(outline), 1) <= _LIGHT_VALIDATION


def _largest_type(outline: Outline) -> int:
    return max((type_.values for type_ in outline.types), default=0)


def validate(wasm: bytes) -> None:
    """Have the engine validate `wasm`.

    Raises:
        Refused: it is not a valid module.
    """
    import wasmtime

    try:
        wasmtime.Module.validate(get_engine(), wasm)
    except wasmtime.WasmtimeError as error:
        raise _not_valid(error) from error


def make(wasm: bytes, outline: Outline | None = None) -> tuple[dict[str, Any], wasmtime.Module]:
    """Compile `wasm`, however long that takes; return its description, as a cache keeps it, and its compiled form.

    Raises:
        Refused: the module is malformed, not valid, or uses what the engine does not run.
    """
    outline = outline or parse(wasm)
    info = infos.describe(len(wasm), outline)
    rewritten, state = rewrite.export_state(wasm, outline)
    description = {"info": infos.to_json(info), "state": [state.memory, state.globals]}
    return description, _compile(rewritten, wasm)


def _compile(rewritten: bytes, original: bytes) -> wasmtime.Module:
    import wasmtime

    try:
        return wasmtime.Module(get_engine(), rewritten)
    except wasmtime.WasmtimeError as error:
        reason: Exception = error
    try:
        # The offsets in this error are those of the original, which the reader has.
        wasmtime.Module.validate(get_engine(), original)
    except wasmtime.WasmtimeError as error:
        reason = error
    raise _not_valid(reason) from reason


def _not_valid(reason: Exception) -> Refused:
    return Refused(f"not a valid wasm module: {_one_line(reason)}")


def _one_line(error: Exception) -> str:
    """Return the engine's reasons on one line, the most general first."""
    lines = (re.sub(r"^\s*(\d+: )?", "", line).strip() for line in str(error).splitlines())
    return ": ".join(line.rstrip(":") for line in lines if line and line != "Caused by:")[:300]
