"""Export the state that a module does not export: its mutable globals, and its memory.

Only the export section changes. A module cannot observe its own exports, so it runs as before. Compiled modules are
kept under `VERSION`: raise it when the bytes that this file makes change.
"""

from __future__ import annotations

from typing import NamedTuple

from hb.binary.parse import EXPORT_SECTION, NUMERIC, SECTION_ORDER, Export, Outline, Section

VERSION = 1

_KIND_CODES = {"function": 0, "table": 1, "memory": 2, "global": 3, "tag": 4}


class State(NamedTuple):
    """The exports that hold an instance's state: its memory, and (name, type) of every mutable global."""

    memory: str | None
    globals: tuple[tuple[str, str], ...]


def export_state(wasm: bytes, outline: Outline) -> tuple[bytes, State]:
    """Return `wasm` with its state exported, and the names of those exports.

    Only numeric globals that the module itself defines can be saved. They come in index order.
    """
    prefix = "hb."
    while any(export.name.startswith(prefix) for export in outline.exports):
        prefix = "_" + prefix
    added: list[Export] = []
    globals_ = []
    for index, type_, mutable in outline.globals:
        if mutable and type_ in NUMERIC:
            name = f"{prefix}global.{index}"
            added.append(Export(name, "global", index))
            globals_.append((name, type_))
    memory = next((export.name for export in outline.exports if export.kind == "memory"), None)
    if memory is None and outline.memories:
        memory = f"{prefix}memory"
        added.append(Export(memory, "memory", 0))
    if added:
        wasm = _with_exports(wasm, outline, added)
    return wasm, State(memory, tuple(globals_))


def _with_exports(wasm: bytes, outline: Outline, added: list[Export]) -> bytes:
    section = _export_section(outline)
    body = unsigned(len(outline.exports) + len(added)) + b"".join(_entry(e) for e in [*outline.exports, *added])
    return wasm[: section.start] + bytes([EXPORT_SECTION]) + unsigned(len(body)) + body + wasm[section.end :]


def _export_section(outline: Outline) -> Section:
    """Return the export section, or an empty section at the place where it must stand."""
    place = SECTION_ORDER[EXPORT_SECTION]
    end = 8
    for section in outline.sections:
        if section.number == EXPORT_SECTION:
            return section
        if section.number != 0 and SECTION_ORDER[section.number] > place:
            break
        end = section.end
    return Section(EXPORT_SECTION, end, end, end)


def _entry(export: Export) -> bytes:
    name = export.name.encode("utf-8")
    return unsigned(len(name)) + name + bytes([_KIND_CODES[export.kind]]) + unsigned(export.item)


def unsigned(value: int) -> bytes:
    """Return `value` as an unsigned LEB128 integer."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
