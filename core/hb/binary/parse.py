"""Reads what a wasm module says of itself: its sections, types, imports, exports, globals, memory.

Responsible for the outline that inspection, the export rewriter and the loader work from. Every byte is hostile: each
read is bounded, each count is limited before it is believed, and whatever is malformed is refused with its byte
offset. It does not validate what it does not report: the engine does that.

Source: WebAssembly core specification 3.0, chapter 5 (binary format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from hb.binary import opcodes
from hb.errors import Refused

MAGIC = b"\0asm"
VERSION = b"\x01\0\0\0"

# Not the format's limits but ours: what a program has, with room to spare.
MAX_ITEMS = 100_000
MAX_PARAMETERS = 1000
MAX_NAME_BYTES = 100_000

VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
    0x69: "exnref",
}
NUMERIC = frozenset({"i32", "i64", "f32", "f64"})

EXPORT_SECTION = 7
_SECTION_NAMES = {
    0: "custom", 1: "type", 2: "import", 3: "function", 4: "table", 5: "memory", 6: "global", 7: "export", 8: "start",
    9: "element", 10: "code", 11: "data", 12: "data count", 13: "tag",
}  # fmt: skip
# The order in which sections must come, where it is not that of their numbers.
SECTION_ORDER = {section: place for place, section in enumerate((1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11))}
_TYPE_TEXT = re.compile(r"\(([a-z0-9, ]*)\) -> \(([a-z0-9, ]*)\)\Z")
_KINDS = ("function", "table", "memory", "global", "tag")


@dataclass(frozen=True)
class FunctionType:
    """What a function takes and gives: the names of wasm value types."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


def numeric_type(text: str) -> FunctionType | None:
    """The function type that an import's `type` is, where all of it is numbers; else None."""
    match = _TYPE_TEXT.match(text)
    if match is None:
        return None
    params, results = (tuple(filter(None, part.split(", "))) for part in match.groups())
    return FunctionType(params, results) if NUMERIC.issuperset(params + results) else None


class Import(NamedTuple):
    """One import: `kind` is function, table, memory, global or tag; `type` is its type as text."""

    module: str
    name: str
    kind: str
    type: str


class Export(NamedTuple):
    """One export; `item` counts all of that kind, imported ones first."""

    name: str
    kind: str
    item: int


class Global(NamedTuple):
    """A global that the module defines; `item` counts all globals, imported ones first."""

    item: int
    type: str
    mutable: bool


class MemoryType(NamedTuple):
    """A memory: sizes in pages of 64 KiB."""

    minimum: int
    maximum: int | None
    is64: bool
    shared: bool


class Section(NamedTuple):
    """Where a section lies: `start` is the offset of its number, `body` of its contents, `end` the offset after it."""

    number: int
    start: int
    body: int
    end: int


@dataclass
class Outline:
    """What `parse` found, in the module's own order. Indexes of functions and globals count imported ones first."""

    sections: list[Section] = field(default_factory=list)
    custom: list[tuple[str, int]] = field(default_factory=list)
    types: list[FunctionType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)  # the index of each one's type
    tables: list[int] = field(default_factory=list)  # the least size of each, in elements
    memories: list[MemoryType] = field(default_factory=list)
    imported: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    globals: list[Global] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    start: int | None = None
    instructions: frozenset[str] = frozenset()  # those of `opcodes.RECORDED` that the code holds


class Reader:
    """Reads the bytes of `wasm` from `position` on, never past `end`."""

    def __init__(self, wasm: bytes, position: int, end: int) -> None:
        self.wasm = wasm
        self.position = position
        self.end = end

    def malformed(self, what: str) -> Refused:
        return Refused(f"not a usable wasm module: {what} (at byte {self.position})")

    def take(self, count: int) -> bytes:
        if count > self.end - self.position:
            raise self.malformed(f"cut off: {count} bytes wanted, {self.end - self.position} left")
        start = self.position
        self.position += count
        return self.wasm[start : self.position]

    def byte(self) -> int:
        position = self.position
        if position >= self.end:
            raise self.malformed("cut off")
        self.position = position + 1
        return self.wasm[position]

    def unsigned(self, bits: int = 32) -> int:
        """An unsigned LEB128 of at most `bits` bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise self.malformed(f"an integer is longer than {bits} bits")
        if value >> bits:
            raise self.malformed(f"an integer is longer than {bits} bits")
        return value

    def count(self, what: str, limit: int = MAX_ITEMS) -> int:
        """How many items follow: no more than there are bytes left, and no more than `limit`."""
        count = self.unsigned()
        if count > limit:
            raise self.malformed(f"{count} {what}, at most {limit} are allowed")
        if count > self.end - self.position:
            raise self.malformed(f"{count} {what} do not fit into the {self.end - self.position} bytes that are left")
        return count

    def name(self) -> str:
        raw = self.take(self.count("bytes of a name", MAX_NAME_BYTES))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.malformed("a name is not UTF-8") from error

    def value_type(self) -> str:
        code = self.byte()
        known = VALUE_TYPES.get(code)
        if known is not None:
            return known
        self.position -= 1
        raise self.malformed(f"0x{code:02x} is not a value type that hb runs")


def parse(wasm: bytes, *, code: bool = True) -> Outline:
    """The outline of `wasm`; with `code`, the instructions of its functions are looked through too.

    Raises:
        Refused: it is not a wasm module, is cut off or malformed, or uses what hb does not run.
    """
    if wasm[:4] != MAGIC:
        got = wasm[:4].hex(" ") or "nothing"
        raise Refused(f"not a wasm file: it must begin with the bytes 00 61 73 6d, this begins with {got}")
    if wasm[4:8] != VERSION:
        raise Refused(f"not a wasm module of version 1: its version bytes are {wasm[4:8].hex(' ') or 'missing'}")
    outline = Outline()
    reader = Reader(wasm, 8, len(wasm))
    last = -1
    while reader.position < reader.end:
        section = _section(reader)
        if section.number != 0:
            place = SECTION_ORDER[section.number]
            if place <= last:
                again = "twice" if place == last else "out of order"
                raise reader.malformed(f"the {_SECTION_NAMES[section.number]} section comes {again}")
            last = place
        outline.sections.append(section)
        _read_section(wasm, section, outline, code=code)
        reader.position = section.end
    return outline


def _section(reader: Reader) -> Section:
    start = reader.position
    number = reader.byte()
    if number not in _SECTION_NAMES:
        reader.position = start
        raise reader.malformed(f"{number} is not a section that hb knows")
    size = reader.unsigned()
    if size > reader.end - reader.position:
        left = reader.end - reader.position
        raise reader.malformed(f"the {_SECTION_NAMES[number]} section is cut off: it has {size} bytes, {left} are left")
    return Section(number, start, reader.position, reader.position + size)


def _read_section(wasm: bytes, section: Section, outline: Outline, *, code: bool) -> None:
    reader = Reader(wasm, section.body, section.end)
    if section.number == 0:
        outline.custom.append((reader.name(), section.end - section.body))
        return
    if section.number == 10:
        if code:
            outline.instructions = _instructions(reader)
        return
    read = _READ.get(section.number)
    if read is None:
        return
    read(reader, outline)
    if reader.position != section.end:
        raise reader.malformed(
            f"the {_SECTION_NAMES[section.number]} section has {section.end - reader.position} bytes too many"
        )


def _types(reader: Reader, outline: Outline) -> None:
    for _ in range(reader.count("types")):
        form = reader.byte()
        if form != 0x60:
            reader.position -= 1
            raise reader.malformed(
                f"0x{form:02x} is not a function type, and hb runs no module with garbage-collected types"
            )
        params = tuple(reader.value_type() for _ in range(reader.count("parameters", MAX_PARAMETERS)))
        results = tuple(reader.value_type() for _ in range(reader.count("results", MAX_PARAMETERS)))
        outline.types.append(FunctionType(params, results))


def _imports(reader: Reader, outline: Outline) -> None:
    for _ in range(reader.count("imports")):
        module, name, kind = reader.name(), reader.name(), _kind(reader)
        outline.imported[kind] += 1
        if kind == "function":
            outline.functions.append(_type_index(reader, outline))
            text = str(outline.types[outline.functions[-1]])
        elif kind == "table":
            text = _table(reader, outline)
        elif kind == "memory":
            memory = _memory(reader)
            outline.memories.append(memory)
            text = memory_text(memory)
        elif kind == "global":
            type_, mutable = _global_type(reader)
            text = f"mut {type_}" if mutable else type_
        else:
            text = _tag(reader, outline)
        outline.imports.append(Import(module, name, kind, text))


def _functions(reader: Reader, outline: Outline) -> None:
    outline.functions.extend(_type_index(reader, outline) for _ in range(reader.count("functions")))


def _tables(reader: Reader, outline: Outline) -> None:
    for _ in range(reader.count("tables")):
        if reader.wasm[reader.position : reader.position + 2] == b"\x40\x00":
            reader.position += 2
            _table(reader, outline)
            reader.position = opcodes.constant_end(reader.wasm, reader.position, reader.end)
        else:
            _table(reader, outline)


def _memories(reader: Reader, outline: Outline) -> None:
    outline.memories.extend(_memory(reader) for _ in range(reader.count("memories")))


def _tags(reader: Reader, outline: Outline) -> None:
    for _ in range(reader.count("tags")):
        _tag(reader, outline)


def _globals(reader: Reader, outline: Outline) -> None:
    first = outline.imported["global"]
    for index in range(first, first + reader.count("globals")):
        type_, mutable = _global_type(reader)
        reader.position = opcodes.constant_end(reader.wasm, reader.position, reader.end)
        outline.globals.append(Global(index, type_, mutable))


def _exports(reader: Reader, outline: Outline) -> None:
    names = set()
    for _ in range(reader.count("exports")):
        export = Export(reader.name(), _kind(reader), reader.unsigned())
        if export.name in names:
            raise reader.malformed(f"two exports are called {export.name[:60]!r}")
        names.add(export.name)
        outline.exports.append(export)


def _start(reader: Reader, outline: Outline) -> None:
    outline.start = reader.unsigned()


_READ = {
    1: _types,
    2: _imports,
    3: _functions,
    4: _tables,
    5: _memories,
    6: _globals,
    7: _exports,
    8: _start,
    13: _tags,
}


def _instructions(reader: Reader) -> frozenset[str]:
    found: set[str] = set()
    for _ in range(reader.count("functions")):
        size = reader.unsigned()
        if size > reader.end - reader.position:
            raise reader.malformed(
                f"a function is cut off: it has {size} bytes, {reader.end - reader.position} are left"
            )
        body = Reader(reader.wasm, reader.position, reader.position + size)
        for _ in range(body.count("groups of locals")):
            body.unsigned()
            body.value_type()
        opcodes.walk(body.wasm, body.position, body.end, found)
        reader.position = body.end
    return frozenset(found)


def _kind(reader: Reader) -> str:
    kind = reader.byte()
    if kind >= len(_KINDS):
        reader.position -= 1
        raise reader.malformed(f"{kind} is not a kind of import or export")
    return _KINDS[kind]


def _type_index(reader: Reader, outline: Outline) -> int:
    index = reader.unsigned()
    if index >= len(outline.types):
        raise reader.malformed(f"there is no type {index}: the module has {len(outline.types)}")
    return index


def _limits(reader: Reader, known: int) -> tuple[int, int, int | None]:
    """The flags (none outside `known`), the least and the most."""
    flags = reader.byte()
    if flags & ~known:
        reader.position -= 1
        raise reader.malformed(f"limits with the flags 0x{flags:02x} are not known to hb")
    bits = 64 if flags & 4 else 32
    minimum = reader.unsigned(bits)
    return flags, minimum, reader.unsigned(bits) if flags & 1 else None


def _table(reader: Reader, outline: Outline) -> str:
    type_ = reader.value_type()
    _, minimum, maximum = _limits(reader, known=5)
    outline.tables.append(minimum)
    return f"{minimum}..{'' if maximum is None else maximum} {type_}"


def _memory(reader: Reader) -> MemoryType:
    flags, minimum, maximum = _limits(reader, known=7)
    return MemoryType(minimum, maximum, is64=bool(flags & 4), shared=bool(flags & 2))


def memory_text(memory: MemoryType) -> str:
    """A memory's type as text: `64-bit, 1..16 pages`."""
    most = "" if memory.maximum is None else str(memory.maximum)
    return f"{'shared, ' if memory.shared else ''}{'64' if memory.is64 else '32'}-bit, {memory.minimum}..{most} pages"


def _global_type(reader: Reader) -> tuple[str, bool]:
    type_ = reader.value_type()
    mutable = reader.byte()
    if mutable > 1:
        reader.position -= 1
        raise reader.malformed(f"0x{mutable:02x} does not say whether a global is mutable")
    return type_, mutable == 1


def _tag(reader: Reader, outline: Outline) -> str:
    if reader.byte() != 0:
        reader.position -= 1
        raise reader.malformed("a tag of an unknown kind")
    return str(outline.types[_type_index(reader, outline)])


def section_name(number: int) -> str:
    """What the specification calls the section."""
    return _SECTION_NAMES[number]
