"""What a person sees of `hb module inspect`: the verdict on a module, and what the module is made of.

Invariants:
    All text of the module goes through `output.printable`.
    Nothing is printed here, and no bytes of a module are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hb_cli.terminal.output import printable
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    import hb

_PAGE_BYTES = 65536
_MOST_NAMES = 60
_MOST_RUNTIME_NAMES = 12
_MOST_SIGNATURES = 40
_MOST_TYPED_IMPORTS = 8
_KEY, _DIM, _GOOD, _BAD = "cyan", "dim", "green", "red"
_ABIS = {"ao": "AO: handle and malloc are exported", "function": "functions: a message calls one by its name"}


def view(name: str, length: int, info: hb.ModuleInfo | None, verdict: hb.Verdict) -> RenderableType:
    """Return the panel of a module called `name`, of `length` bytes: the verdict, then what it is made of, if known."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_KEY, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("verdict", _verdict(verdict))
    for label, content in _rows(info) if info is not None else ():
        grid.add_row(label, content)
    title = Text.assemble((printable(name), "bold magenta"), (f" · {size(length)}", _DIM))
    style = _BAD if verdict.runs_as is None else _GOOD
    return Panel(grid, title=title, title_align="left", expand=False, box=box.ROUNDED, border_style=style)


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= least:
            return f"{count / least:.1f}".removesuffix(".0") + f" {unit}"
    return counted(count, "byte")


def _rows(info: hb.ModuleInfo) -> Iterator[tuple[str, RenderableType]]:
    yield "ABI", Text(_ABIS.get(info.abi, info.abi))
    yield "memory", _memory(info.memory)
    groups = _imports(info)
    yield "imports", Group(*groups) if groups else Text("none", _DIM)
    yield "functions", _functions(info)
    if info.globals:
        yield "public keys", Text("\n".join(f"{printable(key)} {type_}" for key, type_ in info.globals.items()))
    if info.hidden_globals:
        yield "kept too", Text(f"{info.hidden_globals} mutable globals that are not exported")
    if info.table_elements:
        yield "tables", Text(counted(info.table_elements, "element"))
    if info.has_start:
        yield "start", Text("a function runs when it is instantiated")
    if info.unsaveable:
        yield "unsaveable", Text("\n".join(map(printable, info.unsaveable)), _BAD)
    sections = [*info.sections, *((f"custom {name!r}", length) for name, length in info.custom_sections)]
    largest = sorted(sections, key=lambda section: -section[1])[:6]
    yield "sections", Text(" · ".join(f"{printable(name)} {size(length)}" for name, length in largest), _DIM)


def _verdict(verdict: hb.Verdict) -> Text:
    if verdict.runs_as is None:
        text = Text.assemble(("✗ " + printable(verdict.sentence), f"bold {_BAD}"))
        return text.append(f"\nhint: {printable(verdict.hint)}", _DIM) if verdict.hint else text
    text = Text.assemble(("✓ " + printable(verdict.sentence), f"bold {_GOOD}"))
    return text.append("\n" + " → ".join(verdict.devices), _DIM) if len(verdict.devices) > 1 else text


def _memory(memory: hb.MemoryInfo | None) -> Text:
    if memory is None:
        return Text("none", _DIM)
    kind = "memory64" if memory.is64 else "32-bit"
    text = Text(f"{kind}, {_pages(memory.minimum)} to start with")
    if memory.maximum is not None:
        text.append(f", {_pages(memory.maximum)} at most")
    return text


def _pages(count: int) -> str:
    return f"{counted(count, 'page')} ({size(count * _PAGE_BYTES)})"


def _imports(info: hb.ModuleInfo) -> list[Text]:
    """Return the imports by the module that they name; with their types if there are few."""
    with_types = len(info.imports) <= _MOST_TYPED_IMPORTS
    groups: dict[str, list[str]] = {}
    for wanted in info.imports:
        groups.setdefault(wanted.module, []).append(f"{wanted.name} {wanted.type}" if with_types else wanted.name)
    return [
        Text.assemble(
            (printable(module), "bold"), f" ({len(names)})  ", (_listed(names, " · " if with_types else ", "), _DIM)
        )
        for module, names in groups.items()
    ]


def _functions(info: hb.ModuleInfo) -> Text:
    """Return the exported functions. Of an AO module, which exports its runtime, only `handle` has its type."""
    if not info.functions:
        return Text("none", _DIM)
    if info.abi == "ao":
        text = Text(f"handle {info.functions['handle']}")
        others = [name for name in info.functions if name != "handle"]
        return text.append(f"\n{_listed(others, ', ', _MOST_RUNTIME_NAMES)}", _DIM)
    signatures = [f"{name} {type_}" for name, type_ in info.functions.items()]
    return Text(_listed(signatures[:_MOST_SIGNATURES], "\n")).append(_rest(len(signatures) - _MOST_SIGNATURES), _DIM)


def _listed(names: list[str], separator: str, most: int = _MOST_NAMES) -> str:
    return separator.join(map(printable, names[:most])) + _rest(len(names) - most)


def _rest(count: int) -> str:
    return f" … and {count:,} more; --json has them" if count > 0 else ""
