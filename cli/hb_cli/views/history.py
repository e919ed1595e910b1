"""The history of a process as a table that fits the width of a terminal, in chunks.

Invariants:
    Nothing is printed here.
    Only the rows of one chunk are held at a time.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from hb_cli.terminal.output import printable
from hb_cli.views import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import hb

_CHUNK_ROWS = 200
# Two spaces of padding and the column divider, which is one more.
_GAP = 3
_LEGEND = "= the slot changed nothing · --slot N shows one slot in full"

# The widths of a column, each with the least terminal width that it is for. On a narrower terminal it is not shown.
_FIXED = {
    "when": ((19, 126), (8, 96)),
    "sender": ((10, 96), (8, 56)),
    "gas": ((9, 96), (7, 64)),
    "hashpath": ((13, 76),),
}
_TIME_ONLY = 8
# These share what is left, in these proportions. A program with public keys gives short answers.
_FLEXIBLE = {"message": 4, "result": 3, "state": 5}
_FLEXIBLE_AO = {"message": 4, "result": 4, "state": 2}
_RIGHT = frozenset({"slot", "gas"})


def layout(terminal_width: int, last_slot: int, devices: Sequence[str] = ()) -> dict[str, int]:
    """Return the columns to show on a terminal of `terminal_width`, in order, with the width of each.

    `devices` are those of the process. A process of the AO ABI gives long answers and has few public keys.
    """
    flexible = _FLEXIBLE_AO if "json-iface@1.0" in devices else _FLEXIBLE
    widths = {"slot": max(4, len(str(last_slot)))}
    for name in ("when", "sender", *flexible, "gas", "hashpath"):
        fitting = [width for width, least in _FIXED.get(name, ((0, 0),)) if terminal_width >= least]
        if fitting:
            widths[name] = fitting[0]
    free = terminal_width - sum(widths.values()) - _GAP * (len(widths) - 1)
    share = sum(flexible.values())
    for name, part in flexible.items():
        widths[name] = max(4, free * part // share)
    return widths


def legend() -> Text:
    """Return what the signs in the table mean."""
    return Text(_LEGEND, "dim")


def tables(
    slots: Iterable[hb.SlotView], widths: Mapping[str, int], sender_name: Callable[[str | None], str]
) -> Iterator[Table]:
    """Yield the history in tables of a few hundred rows. Only the first has a header, so that they look like one."""
    rows = iter(slots)
    is_first = True
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield _chunk(chunk, widths, sender_name, is_first)
        is_first = False


def _chunk(
    slots: list[hb.SlotView], widths: Mapping[str, int], sender_name: Callable[[str | None], str], has_header: bool
) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        show_header=has_header,
        header_style="dim",
    )
    for name, width in widths.items():
        table.add_column(
            name, width=width, no_wrap=True, overflow="ellipsis", justify="right" if name in _RIGHT else "left"
        )
    for slot in slots:
        cells = _cells(slot, widths, sender_name)
        table.add_row(*(cells[name] for name in widths))
    return table


def _cells(slot: hb.SlotView, widths: Mapping[str, int], sender_name: Callable[[str | None], str]) -> dict[str, Text]:
    when = render.moment(slot.timestamp_ms, "%H:%M:%S" if widths.get("when") == _TIME_ONLY else "%Y-%m-%d %H:%M:%S")
    return {
        "slot": Text(str(slot.slot), "bold"),
        "when": Text(when, "dim"),
        "sender": Text(printable(sender_name(slot.sender)), "magenta"),
        "message": render.request(slot),
        "result": render.outcome(slot.results if slot.computed else None, 400),
        "state": _state(slot),
        "gas": Text(_gas(slot.gas, widths.get("gas", 0)), "dim"),
        "hashpath": Text(_short_hashpath(slot.hashpath), "dim"),
    }


def _state(slot: hb.SlotView) -> Text:
    if not slot.computed or slot.state is None:
        return Text("")
    text = render.pairs(slot.state)
    return Text(f"= {text}", "dim") if slot.changed is False else Text(text)


def _short_hashpath(hashpath: str | None) -> str:
    """Return the first characters of both halves of a hashpath."""
    if hashpath is None:
        return ""
    before, slash, added = hashpath.partition("/")
    return printable(before[:6] + slash + added[:6])


def _gas(gas: int | None, width: int) -> str:
    """Return the gas exactly if that fits the column, else in thousands, millions or billions."""
    if gas is None:
        return ""
    exact = f"{gas:,}"
    for unit in "kMGT":
        if len(exact) <= width:
            break
        gas = gas // 1000
        exact = f"{gas:,} {unit}"
    return exact
