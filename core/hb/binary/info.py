"""What a module declares, as `hb` shows it, checks it and keeps it beside the compiled form.

Invariants:
    Nothing here needs the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hb.binary.parse import (
    EXPORTED_VALUES,
    IMPORTED_VALUES,
    MAX_EXPORTED_VALUES,
    MAX_EXPORTS,
    MAX_IMPORTED_VALUES,
    MAX_IMPORTS,
    MAX_MUTABLE_GLOBALS,
    NUMERIC,
    Export,
    FunctionType,
    Import,
    Outline,
    check_count,
    memory_text,
    numeric_type,
    section_name,
)
from hb.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

# Instructions whose effect outlives a call and that no memory image can hold.
_UNSAVEABLE = {
    "table.set": "table.set (changes a table)",
    "table.grow": "table.grow (changes a table)",
    "table.fill": "table.fill (changes a table)",
    "table.copy": "table.copy (changes a table)",
    "table.init": "table.init (changes a table)",
    "data.drop": "data.drop (drops a data segment that memory.init reads)",
    "elem.drop": "elem.drop (drops an element segment that table.init reads)",
}
# Dropping a segment changes nothing if no instruction reads segments.
_DROPPED_FOR = {"data.drop": "memory.init", "elem.drop": "table.init"}


@dataclass(frozen=True)
class MemoryInfo:
    """The module's memory. Sizes are in pages of 64 KiB; `exported` is its name among the exports, if it has one."""

    minimum: int
    maximum: int | None
    is64: bool
    exported: str | None


@dataclass(frozen=True)
class ModuleInfo:
    """What a module declares, in its own order.

    `functions` are the exported functions by export name. `globals` are the exported mutable globals (export name ->
    type): a process's public keys. `hidden_globals` counts the mutable globals that are not exported. `unsaveable`
    names, in words, the state that no memory image can keep. `sections` and `custom_sections` are (name, bytes).
    """

    bytes: int
    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    functions: dict[str, FunctionType]
    globals: dict[str, str]
    hidden_globals: int
    memory: MemoryInfo | None
    table_elements: int
    abi: str
    has_start: bool
    unsaveable: tuple[str, ...]
    sections: tuple[tuple[str, int], ...]
    custom_sections: tuple[tuple[str, int], ...]


def check_counts(info: ModuleInfo) -> None:
    """Raise `Refused`, as `parse` does, if the module has more than an instance can be given in a moment.

    A module that an earlier `hb` compiled and kept was not held to these limits.
    """
    imported = sum(type_.values for each in info.imports if (type_ := numeric_type(each.type)) is not None)
    for count, limit, what in (
        (len(info.imports), MAX_IMPORTS, "imports"),
        (imported, MAX_IMPORTED_VALUES, IMPORTED_VALUES),
        (len(info.globals) + info.hidden_globals, MAX_MUTABLE_GLOBALS, "mutable globals"),
        (len(info.exports), MAX_EXPORTS, "exports"),
        (sum(type_.values for type_ in info.functions.values()), MAX_EXPORTED_VALUES, EXPORTED_VALUES),
    ):
        check_count(count, limit, what)


def describe(size: int, outline: Outline) -> ModuleInfo:
    """Return what `outline`, of a module of `size` bytes, says of the module.

    Raises:
        Refused: an export names a function that is not there, or the exported functions have too many parameters.
    """
    mutable = {g.item: g.type for g in outline.globals if g.mutable}
    exported = {e.item for e in outline.exports if e.kind == "global"}
    functions = {e.name: _function_type(outline, e) for e in outline.exports if e.kind == "function"}
    check_count(sum(type_.values for type_ in functions.values()), MAX_EXPORTED_VALUES, EXPORTED_VALUES)
    return ModuleInfo(
        bytes=size,
        imports=tuple(outline.imports),
        exports=tuple(outline.exports),
        functions=functions,
        globals={
            e.name: mutable[e.item] for e in outline.exports if e.kind == "global" and mutable.get(e.item) in NUMERIC
        },
        hidden_globals=len(mutable.keys() - exported),
        memory=_memory_info(outline),
        table_elements=sum(outline.tables),
        abi="ao" if {"handle", "malloc"} <= functions.keys() else "function",
        has_start=outline.start is not None,
        unsaveable=tuple(_unsaveable(outline)),
        sections=tuple((section_name(s.number), s.end - s.body) for s in outline.sections if s.number != 0),
        custom_sections=tuple(outline.custom),
    )


def _function_type(outline: Outline, export: Export) -> FunctionType:
    if export.item >= len(outline.functions):
        there_are = len(outline.functions)
        raise Refused(
            f"not a usable wasm module: the export {export.name[:60]!r} names function {export.item} of {there_are}"
        )
    return outline.types[outline.functions[export.item]]


def _memory_info(outline: Outline) -> MemoryInfo | None:
    if not outline.memories:
        return None
    memory = outline.memories[0]
    exported = next((e.name for e in outline.exports if e.kind == "memory" and e.item == 0), None)
    return MemoryInfo(memory.minimum, memory.maximum, memory.is64, exported)


def _unsaveable(outline: Outline) -> Iterator[str]:
    for name, what in _UNSAVEABLE.items():
        if name in outline.instructions and _DROPPED_FOR.get(name, name) in outline.instructions:
            yield what
    for number, type_, mutable in outline.globals:
        if mutable and type_ not in NUMERIC:
            yield f"global {number} (mutable, of type {type_})"
    if len(outline.memories) > 1:
        yield f"{len(outline.memories)} memories (one can be saved)"
    for memory in outline.memories:
        if memory.shared:
            yield f"shared memory ({memory_text(memory)})"


def to_json(info: ModuleInfo) -> dict[str, Any]:
    """Return `info` as an object that JSON can hold."""
    return {
        **vars(info),
        "functions": {n: [f.params, f.results] for n, f in info.functions.items()},
        "memory": info.memory and vars(info.memory),
    }


def from_json(fields: dict[str, Any]) -> ModuleInfo:
    """Return the inverse of `to_json`."""
    memory = fields["memory"]
    return ModuleInfo(
        **{
            **fields,
            "imports": tuple(Import(*i) for i in fields["imports"]),
            "exports": tuple(Export(*e) for e in fields["exports"]),
            "functions": {n: FunctionType(tuple(p), tuple(r)) for n, (p, r) in fields["functions"].items()},
            "memory": None if memory is None else MemoryInfo(**memory),
            "unsaveable": tuple(fields["unsaveable"]),
            "sections": tuple((n, s) for n, s in fields["sections"]),
            "custom_sections": tuple((n, s) for n, s in fields["custom_sections"]),
        }
    )
