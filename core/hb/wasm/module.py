"""A program's image: inspect it, check whether hb will run it, and load its compiled form.

A module may be a stranger's. Whatever its bytes are, each function here returns a value or raises `Refused`.

Invariants:
    A module that is not known to compile in a moment is compiled by a child program, within limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from hb import ids
from hb.binary import info as infos
from hb.binary import rewrite
from hb.binary.info import MemoryInfo, ModuleInfo
from hb.binary.parse import Export, FunctionType, Import, parse
from hb.cancellation import NEVER
from hb.errors import Refused
from hb.protocol import casing
from hb.wasm import compiled, native
from hb.wasm.compiler import DEFAULT_LIMITS, CompileLimits, compile_apart, validate_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
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

_NAMED = 5
"""Imports that a refusal names, at most."""


@dataclass(frozen=True)
class Module:
    """A compiled module. `wasm_digest` is the ID of its bytes; `state` names the exports that hold its state."""

    info: ModuleInfo
    wasm_digest: str
    state: State
    compiled: wasmtime.Module


def inspect(wasm: bytes) -> ModuleInfo:
    """Return what `wasm` declares. This loads no engine, so it does not tell whether the module is valid.

    Raises:
        Refused: it is not a wasm module, is malformed, or uses what hb does not run.
    """
    return infos.describe(len(wasm), parse(wasm))


def _no_types(wanted: Import) -> Collection[str]:
    return ()


def check(
    info: ModuleInfo,
    provided_imports: Collection[tuple[str, str]],
    reserved: Collection[str] = (),
    types_of: Callable[[Import], Collection[str]] = _no_types,
) -> None:
    """Check that a process can be made of the module.

    `provided_imports` are the (module, name) pairs that its devices provide. `types_of` gives the types that they have
    for an import's name. `reserved` are names that no public global may have.

    Raises:
        Refused: an import is not provided, or the module has state that cannot be saved, or a public global has a
            reserved name or the same key as another.
    """
    missing = [i for i in info.imports if (i.module, i.name) not in provided_imports]
    if missing:
        raise Refused(_missing_sentence(missing, types_of))
    if info.unsaveable:
        raise Refused(f"the module has state that cannot be saved: {', '.join(info.unsaveable)}")
    lowered: dict[str, str] = {}
    for name in info.globals:
        if casing.lower(name) in reserved:
            raise Refused(f"the module exports a mutable global called {name!r}, a name that is reserved in a state")
        other = lowered.setdefault(casing.lower(name), name)
        if other != name:
            raise Refused(
                f"the module exports the mutable globals {other!r} and {name!r}, which are the same key of a state"
            )


def validate(wasm: bytes) -> None:
    """Have the engine validate `wasm`, within limits. This takes some milliseconds where compiling takes a second.

    Raises:
        Refused: it is not a valid module, or takes too much to validate.
    """
    if native.is_light_to_validate(wasm, parse(wasm, code=False)):
        native.validate(wasm)
    else:
        validate_apart(wasm, DEFAULT_LIMITS, NEVER)


def load(
    wasm: bytes,
    cache: Path | None = None,
    limits: CompileLimits = DEFAULT_LIMITS,
    cancellation: Cancellation = NEVER,
) -> Module:
    """Return the compiled module of `wasm`, with its state exported. Keep compiled forms in the directory `cache`.

    A cached form is used only if it is whole and nobody but its owner can have written it. A module that is not in the
    cache is compiled within `limits`.

    Raises:
        Refused: the module is malformed, not valid, uses what the engine does not run, has too many imports, exports
            or globals, or takes too much to compile.
        Interrupted: it was cancelled while it was compiled.
        HomeUnusable: its compiled form cannot be written, or the compiler cannot be started.
    """
    digest = ids.digest(wasm)
    found = compiled.find(cache, digest) if cache is not None else None
    if found is None:
        found = _compile(wasm, digest, cache, limits, cancellation)
    description, compiled_form = found
    info = infos.from_json(description["info"])
    infos.check_counts(info)
    return Module(info, digest, _state_from_json(description["state"]), compiled_form)


def _compile(
    wasm: bytes, digest: str, cache: Path | None, limits: CompileLimits, cancellation: Cancellation
) -> tuple[dict[str, Any], wasmtime.Module]:
    if len(wasm) > native.SMALL_BYTES or not native.is_light(wasm, outline := parse(wasm)):
        return compile_apart(wasm, digest, cache, limits, cancellation)
    made = native.make(wasm, outline)
    if cache is not None:
        compiled.keep(cache, digest, *made)
    return made


def from_text(wat: str) -> bytes:
    """Return the binary form of a module in the text format.

    Raises:
        Refused: the text is not well-formed. The sentence is the engine's, with line and column.
    """
    import wasmtime

    try:
        return bytes(wasmtime.wat2wasm(wat))
    except UnicodeEncodeError as error:
        raise Refused("not a valid wasm text: it has characters that UTF-8 cannot hold") from error
    except wasmtime.WasmtimeError as error:
        what, *rest = str(error).splitlines()
        place = re.search(r":(\d+):(\d+)\s*$", rest[0]) if rest else None
        where = f" (line {place[1]}, column {place[2]})" if place else ""
        raise Refused(f"not a valid wasm text: {what.strip()[:300]}{where}") from error


def _missing_sentence(missing: list[Import], types_of: Callable[[Import], Collection[str]]) -> str:
    mistyped = [each for each in missing if types_of(each)]
    unknown = [each for each in missing if each not in mistyped]
    sentences = []
    if unknown:
        named = (f"{_named(each)} ({each.kind} {each.type})" for each in unknown)
        sentences.append(f"the module imports what none of its devices provides: {_first(named, len(unknown))}")
    if mistyped:
        named = (
            f"{_named(each)} (expected {' or '.join(types_of(each))}, got {_kind_of(each)}{each.type})"
            for each in mistyped
        )
        sentences.append(
            f"the module imports with another type than its devices provide: {_first(named, len(mistyped))}"
        )
    if any(each.module == "a" and len(each.name) <= 2 for each in unknown):
        sentences.append("short names in the module `a` are minified, and need the loader that was built with them")
    return "; ".join(sentences)


def _named(wanted: Import) -> str:
    return f"{wanted.module}.{wanted.name}"


def _kind_of(wanted: Import) -> str:
    return "" if wanted.kind == "function" else f"{wanted.kind} "


def _first(named: Iterable[str], count: int) -> str:
    return ", ".join(islice(named, _NAMED)) + (f" and {count - _NAMED} more" if count > _NAMED else "")


def _state_from_json(fields: list[Any]) -> State:
    memory, globals_ = fields
    return rewrite.State(memory, tuple((name, type_) for name, type_ in globals_))
