"""Parse a wasm module into an outline: its sections, types, imports, exports, globals and memory.

Inspection, the export rewriter and the loader use the outline. A malformed module is refused, and the error names the
byte offset. A module with too many sections, imports, exports or globals is refused too, because each instantiation
takes time for every one of them.

Invariants:
    A count is compared with the number of remaining bytes before it is used.
    Only what the outline reports is checked here. The engine validates the rest.

Source: WebAssembly core specification 3.0, chapter 5 (binary format).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hb.binary import opcodes
from hb.binary.reader import MAX_PARAMETERS, Reader
from hb.errors import Refused

MAGIC = b"\0asm"
VERSION = b"\x01\0\0\0"

MAX_SECTIONS = 1000
"""An empty section takes two bytes of a module, but hundreds of bytes of an outline."""
MAX_IMPORTS = 1000
MAX_EXPORTS = 4000
MAX_MUTABLE_GLOBALS = 1000
"""Each instantiation makes every import, and looks up every export and every mutable global. A large program has about
50 imports, 110 exports and 6 mutable globals."""
MAX_IMPORTED_VALUES = 5000
"""Parameters and results of all imported functions together. Code is generated for each of them of an `invoke_*`."""
MAX_EXPORTED_VALUES = 100_000
"""Parameters and results of all exported functions together."""
IMPORTED_VALUES = "parameters and results of imported functions"
EXPORTED_VALUES = "parameters and results of exported functions"

NUMERIC = frozenset({"i32", "i64", "f32", "f64"})

EXPORT_SECTION = 7
_SECTION_NAMES = {
    0: "custom", 1: "type", 2: "import", 3: "function", 4: "table", 5: "memory", 6: "global", 7: "export", 8: "start",
    9: "element", 10: "code", 11: "data", 12: "data count", 13: "tag",
}  # fmt: skip
# The place of each section in a module. It is not always the order of their numbers.
SECTION_ORDER = {section: place for place, section in enumerate((1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11))}
_TYPE_TEXT = re.compile(r"\(([a-z0-9, ]*)\) -> \(([a-z0-9, ]*)\)\Z")
_KINDS = ("function", "table", "memory", "global", "tag")


@dataclass(frozen=True)
class FunctionType:
    """The parameters and results of a function, as names of wasm value types."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def values(self) -> int:
        """The number of parameters and results."""
        return len(self.params) + len(self.results)

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


def numeric_type(text: str) -> FunctionType | None:
    """Return the function type that an import's `type` describes, or None if it has types that are not numbers."""
    match = _TYPE_TEXT.match(text)
    if match is None:
        return None
    params, results = (tuple(filter(None, part.split(", "))) for part in match.groups())
    return FunctionType(params, results) if NUMERIC.issuperset(params + results) else None


class Import(NamedTuple):
    """One import. `kind` is function, table, memory, global or tag. `type` is its type as text."""

    module: str
    name: str
    kind: str
    type: str


class Export(NamedTuple):
    """One export. `item` is its index among everything of its kind, imported ones first."""

    name: str
    kind: str
    item: int


class Global(NamedTuple):
    """A global that the module defines. `item` is its index among all globals, imported ones first."""

    item: int
    type: str
    mutable: bool


class MemoryType(NamedTuple):
    """A memory. Sizes are in pages of 64 KiB."""

    minimum: int
    maximum: int | None
    is64: bool
    shared: bool


class Section(NamedTuple):
    """A section's offsets: of its number (`start`), of its contents (`body`), and of the byte after it (`end`)."""

    number: int
    start: int
    body: int
    end: int


@dataclass
class Outline:
    """What a module declares, in its own order. Indexes of functions and globals count imported ones first.

    `custom` has the name and the size of each custom section. `imported` counts the imports of each kind. `locals` is
    the number of locals of all functions, and `catches` the number of all catch clauses of `try_table`s.
    """

    sections: list[Section] = field(default_factory=list)
    custom: list[tuple[str, int]] = field(default_factory=list)
    types: list[FunctionType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)  # the index of the type of each
    tables: list[int] = field(default_factory=list)  # the minimum size of each, in elements
    memories: list[MemoryType] = field(default_factory=list)
    imported: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    globals: list[Global] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    start: int | None = None
    instructions: frozenset[str] = frozenset()  # those of `opcodes.RECORDED` that occur in the code
    locals: int = 0
    catches: int = 0


def parse(wasm: bytes, *, code: bool = True) -> Outline:
    """Return the outline of `wasm`. With `code`, read the instructions of its functions too.

    Raises:
        Refused: it is not a wasm module; it is malformed; it uses a feature that hb does not run; or it has too many
            sections, imports, exports or globals.
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
        section = _section_header(reader)
        if section.number != 0:
            place = SECTION_ORDER[section.number]
            if place <= last:
                again = "twice" if place == last else "out of order"
                raise reader.malformed(f"the {_SECTION_NAMES[section.number]} section comes {again}")
            last = place
        outline.sections.append(section)
        check_count(len(outline.sections), MAX_SECTIONS, "sections or more")
        _read_section(wasm, section, outline, code=code)
        reader.position = section.end
    return outline


def _section_header(reader: Reader) -> Section:
    """Read the header of the next section."""
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
    """Add what a section declares to the outline."""
    reader = Reader(wasm, section.body, section.end)
    if section.number == 0:
        outline.custom.append((reader.name(), section.end - section.body))
        return
    if section.number == 10:
        if code:
            _code(reader, outline)
        return
    read = _READ.get(section.number)
    if read is None:
        return
    read(reader, outline)
    if reader.position != section.end:
        raise reader.malformed(
            f"the {_SECTION_NAMES[section.number]} section has {section.end - reader.position} bytes too many"
        )


def check_count(count: int, limit: int, what: str) -> None:
    """Raise `Refused` if a module has more than `limit` of `what`."""
    if count > limit:
        raise Refused(f"the module has {count} {what}; hb allows {limit}")


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
    values = 0
    count = reader.count("imports")
    check_count(count, MAX_IMPORTS, "imports")
    for _ in range(count):
        module, name, kind = reader.name(), reader.name(), _kind(reader)
        outline.imported[kind] += 1
        if kind == "function":
            outline.functions.append(_type_index(reader, outline))
            type_ = outline.types[outline.functions[-1]]
            values += type_.values
            check_count(values, MAX_IMPORTED_VALUES, IMPORTED_VALUES)
            text = str(type_)
        elif kind == "table":
            text = _table(reader, outline)
        elif kind == "memory":
            memory = _memory(reader)
            outline.memories.append(memory)
            text = memory_text(memory)
        elif kind == "global":
            value_type, mutable = _global_type(reader)
            text = f"mut {value_type}" if mutable else value_type
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
    check_count(sum(each.mutable for each in outline.globals), MAX_MUTABLE_GLOBALS, "mutable globals")


def _exports(reader: Reader, outline: Outline) -> None:
    names = set()
    count = reader.count("exports")
    check_count(count, MAX_EXPORTS, "exports")
    for _ in range(count):
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


def _code(reader: Reader, outline: Outline) -> None:
    """Count locals and catch clauses, and note the recorded instructions, in the code of all functions."""
    found: Counter[str] = Counter()
    for _ in range(reader.count("functions")):
        size = reader.unsigned()
        if size > reader.end - reader.position:
            raise reader.malformed(
                f"a function is cut off: it has {size} bytes, {reader.end - reader.position} are left"
            )
        body = Reader(reader.wasm, reader.position, reader.position + size)
        for _ in range(body.count("groups of locals")):
            outline.locals += body.unsigned()
            body.value_type()
        opcodes.walk(body.wasm, body.position, body.end, found)
        reader.position = body.end
    outline.catches = found.pop(opcodes.CATCH, 0)
    outline.instructions = frozenset(found)


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
    """Return the flags, the minimum and the maximum of a memory or table. Refuse flags that are not in `known`."""
    flags = reader.byte()
    if flags & ~known:
        reader.position -= 1
        raise reader.malformed(f"limits with the flags 0x{flags:02x} are not known to hb")
    bits = 64 if flags & 4 else 32
    minimum = reader.unsigned(bits)
    return flags, minimum, reader.unsigned(bits) if flags & 1 else None


def _table(reader: Reader, outline: Outline) -> str:
    """Read a table's type, add it to the outline, and return it as text."""
    type_ = reader.value_type()
    _, minimum, maximum = _limits(reader, known=5)
    outline.tables.append(minimum)
    return f"{minimum}..{'' if maximum is None else maximum} {type_}"


def _memory(reader: Reader) -> MemoryType:
    flags, minimum, maximum = _limits(reader, known=7)
    return MemoryType(minimum, maximum, is64=bool(flags & 4), shared=bool(flags & 2))


def memory_text(memory: MemoryType) -> str:
    """Return a memory's type as text: `64-bit, 1..16 pages`."""
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
    """Return the specification's name of a section."""
    return _SECTION_NAMES[number]
