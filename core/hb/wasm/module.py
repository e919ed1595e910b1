"""A program's image: what is in it, whether hb will run it, and its compiled form.

Responsible for inspection (without the engine), for refusing with a sentence what cannot run or be saved, and for
compiling. A module is a stranger: whatever its bytes are, what comes out of here is a value or `Refused`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hb import ids
from hb.binary import rewrite
from hb.binary.parse import NUMERIC, Export, FunctionType, Import, Outline, memory_text, parse, section_name
from hb.cancellation import NEVER
from hb.errors import Refused
from hb.wasm import compiled
from hb.wasm.compiler import DEFAULT_LIMITS, SMALL_BYTES, CompileLimits, compile_apart
from hb.wasm.engine import get_engine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import wasmtime

    from hb.binary.rewrite import State
    from hb.cancellation import Cancellation

__all__ = [
    "CompileLimits",
    "Export",
    "FunctionType",
    "Import",
    "MemoryInfo",
    "Module",
    "ModuleInfo",
    "check",
    "from_text",
    "inspect",
    "load",
    "validate",
]

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
# Without an instruction that would miss what was dropped, dropping changes nothing.
_DROPPED_FOR = {"data.drop": "memory.init", "elem.drop": "table.init"}


@dataclass(frozen=True)
class MemoryInfo:
    """The module's memory: sizes in pages of 64 KiB; `exported` is its name among the exports, if it has one."""

    minimum: int
    maximum: int | None
    is64: bool
    exported: str | None


@dataclass(frozen=True)
class ModuleInfo:
    """What a module says of itself, in its own order.

    `functions` are the exported ones by export name; `globals` the exported mutable ones (export name -> type), which
    are a process's public keys; `hidden_globals` counts the mutable ones that are not exported. `unsaveable` lists, in
    words, what holds state that no memory image can keep. `sections` are (name, bytes); `custom_sections` likewise.
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


@dataclass(frozen=True)
class Module:
    """A compiled module. `wasm_digest` is the ID of the bytes it was made of; `state` says where its state is found."""

    info: ModuleInfo
    wasm_digest: str
    state: State
    compiled: wasmtime.Module


def inspect(wasm: bytes) -> ModuleInfo:
    """What is in `wasm`. Loads no engine, and so does not tell whether the module is valid: `load` does.

    Raises:
        Refused: it is not a wasm module, is malformed, or uses what hb does not run.
    """
    return _info(len(wasm), parse(wasm))


def check(info: ModuleInfo, provided_imports: Collection[tuple[str, str]], reserved: Collection[str] = ()) -> None:
    """Whether a process may be made of the module.

    `provided_imports` are the (module, name) pairs that its devices offer; `reserved` the names that no public global
    may bear.

    Raises:
        Refused: it imports what nothing provides, has state that cannot be saved, or public globals of bad names.
    """
    missing = [i for i in info.imports if (i.module, i.name) not in provided_imports]
    if missing:
        raise Refused(_missing_sentence(missing))
    if info.unsaveable:
        raise Refused(f"the module has state that cannot be saved: {', '.join(info.unsaveable)}")
    lowered: dict[str, str] = {}
    for name in info.globals:
        if name.lower() in reserved:
            raise Refused(f"the module exports a mutable global called {name!r}, a name that is reserved in a state")
        other = lowered.setdefault(name.lower(), name)
        if other != name:
            raise Refused(
                f"the module exports the mutable globals {other!r} and {name!r}, which are the same key of a state"
            )


def validate(wasm: bytes) -> None:
    """Whether the engine takes `wasm` for a module; tens of milliseconds, where compiling it takes a second.

    Raises:
        Refused: it does not.
    """
    import wasmtime

    try:
        wasmtime.Module.validate(get_engine(), wasm)
    except wasmtime.WasmtimeError as error:
        raise _not_valid(error) from error


def load(
    wasm: bytes,
    cache: Path | None = None,
    limits: CompileLimits = DEFAULT_LIMITS,
    cancellation: Cancellation = NEVER,
) -> Module:
    """The compiled module of `wasm`, its state exported. Compiled forms are kept in the directory `cache`.

    What is found in the cache is used only if it is whole and nobody but its owner can have written it. What is not
    found there is compiled within `limits`.

    Raises:
        Refused: the module is malformed, not valid, uses what the engine does not run, or takes too much to compile.
        Interrupted: it was cancelled while it was compiled.
        HomeUnusable: its compiled form can be written nowhere.
    """
    digest = ids.digest(wasm)
    found = compiled.find(cache, digest) if cache is not None else None
    if found is None and len(wasm) > SMALL_BYTES:
        found = compile_apart(wasm, digest, cache, limits, cancellation)
    elif found is None:
        found = make(wasm)
        if cache is not None:
            compiled.keep(cache, digest, *found)
    description, native = found
    return Module(_info_from_json(description["info"]), digest, _state_from_json(description["state"]), native)


def make(wasm: bytes) -> tuple[dict[str, Any], wasmtime.Module]:
    """The description of `wasm`, as a cache keeps it, and its compiled form, for however long that takes.

    Raises:
        Refused: as `load`.
    """
    outline = parse(wasm)
    info = _info(len(wasm), outline)
    rewritten, state = rewrite.export_state(wasm, outline)
    description = {"info": _info_to_json(info), "state": [state.memory, state.globals]}
    return description, _compile(rewritten, wasm)


def from_text(wat: str) -> bytes:
    """The binary form of a module in the text format.

    Raises:
        Refused: it is not well-formed; the sentence has the engine's own, with line and column.
    """
    import wasmtime

    try:
        return bytes(wasmtime.wat2wasm(wat))
    except UnicodeEncodeError as error:
        raise Refused("not a valid wasm text: it has characters that UTF-8 has not") from error
    except wasmtime.WasmtimeError as error:
        what, *rest = str(error).splitlines()
        place = re.search(r":(\d+):(\d+)\s*$", rest[0]) if rest else None
        where = f" (line {place[1]}, column {place[2]})" if place else ""
        raise Refused(f"not a valid wasm text: {what.strip()[:300]}{where}") from error


def _compile(rewritten: bytes, original: bytes) -> wasmtime.Module:
    import wasmtime

    try:
        return wasmtime.Module(get_engine(), rewritten)
    except wasmtime.WasmtimeError as error:
        reason: Exception = error
    try:
        # For its offsets: those of the rewritten form mean nothing to the reader.
        wasmtime.Module.validate(get_engine(), original)
    except wasmtime.WasmtimeError as error:
        reason = error
    raise _not_valid(reason) from reason


def _not_valid(reason: Exception) -> Refused:
    return Refused(f"not a valid wasm module: {_one_line(reason)}")


def _one_line(error: Exception) -> str:
    """The engine's reasons, the general ones first, without their layout."""
    lines = (re.sub(r"^\s*(\d+: )?", "", line).strip() for line in str(error).splitlines())
    return ": ".join(line.rstrip(":") for line in lines if line and line != "Caused by:")[:300]


def _missing_sentence(missing: list[Import]) -> str:
    named = ", ".join(f"{i.module}.{i.name} ({i.kind} {i.type})" for i in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    sentence = f"the module imports what none of its devices provides: {named}{more}"
    if {i.module for i in missing} == {"a"} and all(len(i.name) <= 2 for i in missing):
        sentence += "; names as short as these are minified, and need the loader that they were made for"
    return sentence


def _info(size: int, outline: Outline) -> ModuleInfo:
    mutable = {g.item: g.type for g in outline.globals if g.mutable}
    exported = {e.item for e in outline.exports if e.kind == "global"}
    functions = {e.name: _function_type(outline, e) for e in outline.exports if e.kind == "function"}
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


def _info_to_json(info: ModuleInfo) -> dict[str, Any]:
    return {
        **vars(info),
        "functions": {n: [f.params, f.results] for n, f in info.functions.items()},
        "memory": info.memory and vars(info.memory),
    }


def _info_from_json(fields: dict[str, Any]) -> ModuleInfo:
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


def _state_from_json(fields: list[Any]) -> State:
    memory, globals_ = fields
    return rewrite.State(memory, tuple((name, type_) for name, type_ in globals_))
