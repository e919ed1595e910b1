"""What a person sees of `hb diff`: how two states differ. Rich is loaded with this module.

Invariants:
    All text of strangers goes through `output.printable`.
    Nothing is printed here, and no states are compared.
"""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hb_cli.terminal.output import plain, printable
from hb_cli.views.counting import counted
from hb_cli.views.render import compact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    import hb
    from hb.protocol.message import Value

_KEY, _DIM, _GOOD, _BAD, _WAIT, _NUMBER = "cyan", "dim", "green", "red", "yellow", "bold"
_MOST_CHANGES = 100
_MOST_RANGES = 20
_MOST_LINES = 40
_LONGEST_VALUE = 200
_LONGEST_TEXT = 20_000
_HEX_BYTES = 8
_LEAST_TEXT = 4


def panel(found: hb.Difference, name: str, *, is_short: bool) -> RenderableType:
    """Return how two states differ, or, if `is_short`, only how much."""
    before, after = found.before.slot, found.after.slot
    title = Text.assemble(
        (printable(name), "bold magenta"), " from slot ", (str(before), _NUMBER), " to slot ", (str(after), _NUMBER)
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_KEY, no_wrap=True)
    grid.add_column(overflow="fold")
    if found.is_none:
        grid.add_row("state", Text("the same", _GOOD))
    for label, content in _counts(found) if is_short else _rows(found):
        grid.add_row(label, content)
    return Panel(grid, title=title, title_align="left", expand=False, box=box.ROUNDED)


def _counts(found: hb.Difference) -> Iterator[tuple[str, RenderableType]]:
    for label, changed in (("keys", found.keys), ("results", found.results), ("globals", found.globals)):
        if changed:
            yield label, Text(f"{len(changed):,} changed")
    yield "memory", _memory_line(found.memory)
    yield from _gas(found.before, found.after)


def _rows(found: hb.Difference) -> Iterator[tuple[str, RenderableType]]:
    if found.keys:
        yield "keys", Group(*_changes(found.keys))
    if found.results:
        yield "results", Group(*_changes(found.results))
    yield from _gas(found.before, found.after)
    if found.globals:
        shown = [_global(each) for each in found.globals[:_MOST_CHANGES]]
        yield "globals", Group(*shown, *_more(len(found.globals) - len(shown)))
    yield "memory", Group(_memory_line(found.memory), *_ranges(found.memory))


def _gas(before: hb.Side, after: hb.Side) -> Iterator[tuple[str, RenderableType]]:
    if before.gas is not None or after.gas is not None:
        one, other = ("none" if side.gas is None else f"{side.gas:,}" for side in (before, after))
        yield "gas", Text(one if one == other else f"{one} → {other}")


def _changes(changes: Sequence[hb.ValueChange]) -> list[RenderableType]:
    shown: list[RenderableType] = []
    for change in changes[:_MOST_CHANGES]:
        shown += _change(change)
    return shown + _more(len(changes) - _MOST_CHANGES)


def _change(change: hb.ValueChange) -> Iterable[RenderableType]:
    path = printable(change.path)
    if not change.was_there:
        return [Text.assemble(("+ ", _GOOD), (path, _KEY), "  ", (_shown(change.after), _NUMBER))]
    if not change.is_there:
        return [Text.assemble(("- ", _BAD), (path, _KEY), "  ", (_shown(change.before), _DIM))]
    if _has_lines(change.before) and _has_lines(change.after):
        return [Text.assemble(("~ ", _WAIT), (path, _KEY)), *_lines(str(change.before), str(change.after))]
    values = (_shown(change.before), _DIM), " → ", (_shown(change.after), _NUMBER)
    return [Text.assemble(("~ ", _WAIT), (path, _KEY), "  ", *values)]


def _shown(value: Value) -> str:
    return compact(value, _LONGEST_VALUE)


def _has_lines(value: Value) -> bool:
    return isinstance(value, str) and "\n" in value and len(value) <= _LONGEST_TEXT


def _lines(before: str, after: str) -> Iterator[Text]:
    """Return how two texts of several lines differ, line by line, with one line of context."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    compared = [line for line in list(lines)[2:] if not line.startswith("@@")]
    for line in compared[:_MOST_LINES]:
        style = {"+": _GOOD, "-": _BAD}.get(line[:1], _DIM)
        yield Text("    " + plain(line)[:_LONGEST_VALUE], style)
    if len(compared) > _MOST_LINES:
        yield Text(f"    … and {len(compared) - _MOST_LINES:,} more lines", _DIM)


def _global(change: hb.GlobalChange) -> Text:
    name = printable(change.name or f"global {change.item}")
    return Text.assemble((name, _KEY), f" ({change.type})  ", (str(change.before), _DIM), f" → {change.after}")


def _memory_line(memory: hb.MemoryDifference) -> Text:
    if not memory.pages_before and not memory.pages_after:
        return Text("none", _DIM)
    count = len(memory.ranges) + memory.left_out
    line = Text("the same")
    if memory.changed_bytes:
        bytes_, pages = counted(memory.changed_bytes, "byte"), counted(memory.changed_pages, "page")
        line = Text(f"{bytes_} changed, in {counted(count, 'range')} on {pages}")
    if memory.pages_before != memory.pages_after:
        line.append(f"; from {counted(memory.pages_before, 'page')} to {memory.pages_after:,}")
    else:
        line.append(f" of {memory.pages_after:,}" if memory.changed_bytes else "", _DIM)
    return line


def _ranges(memory: hb.MemoryDifference) -> list[RenderableType]:
    if not memory.ranges:
        return []
    shown = memory.ranges[:_MOST_RANGES]
    places = [f"page {each.page:,} +{each.offset:#06x}" for each in shown]
    sizes = [counted(each.size, "byte") for each in shown]
    lines: list[RenderableType] = [
        Text.assemble(
            (place.ljust(max(map(len, places))), _KEY),
            f"  {size.rjust(max(map(len, sizes)))}  ",
            (_hex(each.before, each.size), _DIM),
            " → ",
            (_hex(each.after, each.size), _NUMBER),
            *_texts(each),
        )
        for place, size, each in zip(places, sizes, shown, strict=True)
    ]
    return lines + _more(len(memory.ranges) + memory.left_out - len(shown))


def _hex(content: bytes, size: int) -> str:
    return content[:_HEX_BYTES].hex(" ") + (" …" if size > _HEX_BYTES else "")


def _texts(each: hb.MemoryRange) -> list[str | tuple[str, str]]:
    """Return both contents as text, if at least one is mostly text."""
    texts = ["".join(chr(byte) if 32 <= byte < 127 else "·" for byte in side) for side in (each.before, each.after)]
    if not any(len(text) >= _LEAST_TEXT and text.count("·") <= len(text) // 4 for text in texts):
        return []
    return ["   ", (texts[0], _DIM), " → ", texts[1]]


def _more(count: int) -> list[RenderableType]:
    return [Text(f"… and {count:,} more", _DIM)] if count > 0 else []
