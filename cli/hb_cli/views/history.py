"""The history of a process as a table, in chunks: as wide as its content, and no wider than the terminal.

Invariants:
    Nothing is printed here.
    Only the rows of one chunk are held at a time.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
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

_ID_CHARACTERS = 8
"""Enough of a message's ID to name its slot by."""

# The widths of a column, each with the least terminal width that it is for. On a narrower terminal it is not shown.
_FIXED = {
    "when": ((19, 126), (8, 96)),
    "sender": ((10, 96), (8, 56)),
    "id": ((_ID_CHARACTERS, 76),),
    "gas": ((9, 96), (7, 64)),
    "hashpath": ((13, 126),),
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
    for name in ("id", "when", "sender", *flexible, "gas", "hashpath"):
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
    return remark(_LEGEND)


def remark(text: str) -> Text:
    """Return a line about the table."""
    return Text(text, "dim")


def tables(
    slots: Iterable[hb.SlotView],
    widths: Mapping[str, int],
    sender_of: Callable[[hb.SlotView], str],
    called: Callable[[str], str],
) -> Iterator[Table]:
    """Yield the history in tables of a few hundred rows. Only the first has a header, so that they look like one.

    `sender_of` returns what a slot's sender is called, and `called` what a process is called. If there is one table,
    its columns are as wide as what they hold, within the room that `widths` give to all.
    """
    cells = (_cells(slot, widths, sender_of(slot), called) for slot in slots)
    chunk, is_first = list(islice(cells, _CHUNK_ROWS)), True
    while chunk:
        following = list(islice(cells, _CHUNK_ROWS))
        yield _chunk(chunk, _fitted(chunk, widths) if is_first and not following else widths, has_header=is_first)
        chunk, is_first = following, False


def _fitted(rows: list[dict[str, Text]], widths: Mapping[str, int]) -> dict[str, int]:
    """Return the widths that the rows need. What one column does not need of its width, the flexible ones get.

    Without any public key in the rows, there is no column for the state.
    """
    total = sum(widths.values())
    if not any(row["state"].plain for row in rows):
        widths = {name: width for name, width in widths.items() if name != "state"}
    needed = {name: max(cell_len(name), *(cell_len(row[name].plain) for row in rows)) for name in widths}
    fitted = {name: min(needed[name], width) for name, width in widths.items()}
    room = total - sum(fitted.values())
    for name in sorted(_FLEXIBLE.keys() & widths.keys(), key=lambda name: (needed[name], name)):
        more = min(needed[name] - fitted[name], room)
        fitted[name] += more
        room -= more
    return fitted


def _chunk(rows: list[dict[str, Text]], widths: Mapping[str, int], *, has_header: bool) -> Table:
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
    for cells in rows:
        table.add_row(*(cells[name] for name in widths))
    return table


def _cells(slot: hb.SlotView, widths: Mapping[str, int], sender: str, called: Callable[[str], str]) -> dict[str, Text]:
    when = render.moment(slot.timestamp_ms, "%H:%M:%S" if widths.get("when") == _TIME_ONLY else "%Y-%m-%d %H:%M:%S")
    return {
        "slot": Text(str(slot.slot), "bold"),
        "id": Text(printable(slot.message)[:_ID_CHARACTERS], "cyan"),
        "when": Text(when, "dim"),
        "sender": Text(printable(sender), "magenta"),
        "message": render.request(slot, called=called),
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
