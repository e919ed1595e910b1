"""Where a module puts its data in memory, and how many functions its tables hold.

Memory holds addresses of data, and numbers of functions in tables. So a module can go on with another one's memory only
if both lie in the same places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.binary import opcodes
from hb.binary.parse import parse
from hb.binary.reader import Reader

if TYPE_CHECKING:
    from hb.binary.parse import Section

_DATA = 11
_ACTIVE, _PASSIVE, _ACTIVE_IN = 0, 1, 2


class Layout(NamedTuple):
    """The layout of a module: for each data segment, its address as the bytes of a constant expression (b"" if it has
    none) and its length; and the size of each table that it makes."""

    data: tuple[tuple[bytes, int], ...]
    tables: tuple[int, ...]


def layout(wasm: bytes) -> Layout:
    """Return the layout of a module.

    Raises:
        Refused: it is malformed.
    """
    outline = parse(wasm, code=False)
    sections = [section for section in outline.sections if section.number == _DATA]
    data = tuple(segment for section in sections for segment in _segments(wasm, section))
    return Layout(data, tuple(outline.tables))


def _segments(wasm: bytes, section: Section) -> list[tuple[bytes, int]]:
    reader = Reader(wasm, section.body, section.end)
    segments = []
    for _ in range(reader.count("data segments")):
        kind = reader.unsigned()
        if kind not in (_ACTIVE, _PASSIVE, _ACTIVE_IN):
            raise reader.malformed(f"{kind} is no kind of data segment")
        if kind == _ACTIVE_IN:
            reader.unsigned()
        start = reader.position
        if kind != _PASSIVE:
            reader.position = opcodes.constant_end(wasm, start, reader.end)
        address = wasm[start : reader.position]
        size = reader.count("bytes of data", len(wasm))
        reader.read(size)
        segments.append((address, size))
    return segments
