"""What a person sees of `hb trace`: one slot from the inside. Rich is loaded with this module.

Invariants:
    All text of strangers goes through `output.printable`.
    Nothing is printed here, and nothing is computed.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hb_cli.terminal.output import plain, printable
from hb_cli.views import render, results
from hb_cli.views.counting import counted
from hb_cli.views.render import compact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    import hb

_KEY, _DIM, _GOOD, _BAD, _WAIT, _NUMBER = "cyan", "dim", "green", "red", "yellow", "bold"
_LONGEST_TEXT = 300
_MOST_RANGES = 12


def panel(trace: hb.Trace, name: str) -> RenderableType:
    """Return everything that happened in one slot."""
    title = Text.assemble(
        (printable(name), "bold magenta"), " at slot ", (str(trace.slot), _NUMBER), ", from the inside"
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_KEY, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, content in _rows(trace):
        grid.add_row(label, content)
    return Panel(grid, title=title, title_align="left", expand=False, box=box.ROUNDED)


def _rows(trace: hb.Trace) -> Iterable[tuple[str, RenderableType]]:
    yield "asked", render.request(trace.asked)
    calls: list[RenderableType] = [*map(_call, trace.calls), *_more(trace.left_out, "call")]
    yield "calls", Group(*calls) if calls else Text("none", _DIM)
    if text := results.printed(trace.results):
        yield "printed", Text(plain(text[:2000], keep="\n\t").rstrip("\n"))
    gas = trace.results.get("gas")
    if isinstance(gas, int):
        yield "gas", Text(f"{gas:,}")
    if trace.keys:
        yield "keys", Group(*(_change(each.key, each.before, each.after) for each in trace.keys))
    if trace.globals:
        names = (f"{each.name or f'global {each.item}'} ({each.type})" for each in trace.globals)
        changes = zip(names, trace.globals, strict=True)
        yield "globals", Group(*(_change(n, c.before, c.after) for n, c in changes))
    yield "memory", _memory(trace)
    if trace.undone:
        yield "then", Text("all of it was put back, as the message failed", _WAIT)
    if trace.results:
        yield "result", render.outcome(trace.results)
    yield "stored", _verdict(trace)


def _call(call: hb.FunctionCall) -> Tree:
    line = Text.assemble((f"{printable(call.function)}({_numbers(call.arguments)})", _NUMBER))
    if call.failure is None:
        line.append(f" → {_numbers(call.results)}" if call.results else "", _GOOD)
    line.append(f"   gas {call.gas:,}", _DIM)
    tree = Tree(line, guide_style=_DIM)
    for text in call.texts:
        tree.add(Text(f"with {compact(text, _LONGEST_TEXT)}", _DIM))
    for each in call.host_calls:
        tree.add(_host_call(each))
    shown = len(call.host_calls)
    if (total := call.host_counts.total()) > shown:
        for more in _more(total - shown, "host call"):
            tree.add(more)
        counts = (
            f"{printable(name)} ×{n:,} (gas {call.host_gas[name]:,})" for name, n in call.host_counts.most_common()
        )
        tree.add(Text("in all: " + ", ".join(counts), _DIM))
    if call.answer:
        tree.add(Text(f"answers {compact(call.answer, _LONGEST_TEXT)}", _DIM))
    if call.failure is not None:
        failed = tree.add(_failure(call.failure))
        for line in _backtrace(call.backtrace):
            failed.add(line)
    return tree


def _host_call(call: hb.HostCall) -> Text:
    line = Text.assemble((printable(call.function), _KEY), f"({_numbers(call.arguments)})")
    if call.failure is not None:
        line = line.append(" ").append_text(_failure(call.failure))
    elif call.result is not None:
        line.append(f" → {compact(call.result)}", _GOOD)
    line.append(f"   gas {call.gas:,}", _DIM)
    if call.printed is not None:
        line.append(f"   prints {compact(call.printed, _LONGEST_TEXT)}", _WAIT)
    return line


def _failure(failure: hb.Failure) -> Text:
    return Text(f"✗ {printable(failure.kind)}: {printable(failure.message)}", _BAD)


def _backtrace(frames: Sequence[hb.Frame]) -> Iterable[Text]:
    """Yield the functions from the innermost out. Calls of one function in a row are one line."""
    for (name, index), same in groupby(frames, key=lambda frame: (frame.function, frame.index)):
        group = list(same)
        line = Text(f"in {printable(name)}" if name else f"in function {index}")
        if name:
            line.append(f"  function {index}", _DIM)
        if group[0].offset is not None:
            line.append(f", at byte {group[0].offset}", _DIM)
        if len(group) > 1:
            line.append(f"  ×{len(group)}", _NUMBER)
        yield line


def _change(name: str, before: object, after: object) -> Text:
    one, other = ("nothing" if value is None else compact(value, _LONGEST_TEXT) for value in (before, after))  # type: ignore[arg-type]
    return Text.assemble(printable(name), "  ", (one, _DIM), " → ", (other, _NUMBER))


def _memory(trace: hb.Trace) -> Text:
    if not trace.pages_after:
        return Text("none", _DIM)
    if not trace.pages:
        line = Text("no page changed")
    else:
        changed = sum(change.bytes for change in trace.pages)
        line = Text(
            f"{counted(len(trace.pages), 'page')} of {trace.pages_after:,} changed, {counted(changed, 'byte')}: "
        )
        line.append(_ranges([change.page for change in trace.pages]), _DIM)
    if trace.pages_after != trace.pages_before:
        line.append(f"; it grew from {counted(trace.pages_before, 'page')} to {trace.pages_after:,}")
    return line


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers in order, with consecutive ones as `first-last`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(words[:_MOST_RANGES]) + (", …" if len(words) > _MOST_RANGES else "")


def _verdict(trace: hb.Trace) -> RenderableType:
    if trace.differences is None:
        return Text("not computed yet: there is nothing to compare with", _WAIT)
    if not trace.differences:
        return Text("the same", _GOOD)
    lines = (f"{each.what} differs: stored {each.stored}, traced {each.traced}" for each in trace.differences)
    return Group(*(Text(printable(line), _BAD) for line in lines))


def _numbers(values: Sequence[int | float]) -> str:
    return ", ".join(compact(value) for value in values)


def _more(count: int, what: str) -> list[Text]:
    return [Text(f"… and {counted(count, f'more {what}')}", _DIM)] if count else []
