"""Crons as a table on a terminal. Rich is loaded with this module.

Invariants:
    All text of strangers goes through `output.printable`.
    Nothing is printed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from hb.protocol import interval
from hb_cli.terminal.output import printable
from hb_cli.views import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import hb
    from hb.protocol.message import Message

_STYLES = {"due": "yellow", "trouble": "red", "defined": "dim"}
_LONGEST_ACTION = 60


def table(views: Sequence[hb.CronView], names: Mapping[str, str], now_ms: int, width: int) -> Table | Text:
    """Return a table of crons for a terminal of `width` columns. `names` has the names of processes."""
    if not views:
        return Text("no crons yet; hb cron add makes one", "dim")
    columns: dict[str, dict[str, Any]] = {
        "cron": {"style": "cyan"},
        "process": {"style": "bold magenta", "overflow": "ellipsis"},
        "every": {"justify": "right"},
        "next": {},
        **({"last": {"style": "dim"}} if width >= 70 else {}),
        "action": {"overflow": "ellipsis"},
        "state": {"overflow": "fold", "no_wrap": False},
    }
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for name, settings in columns.items():
        shown.add_column(name, **{"no_wrap": True, **settings})
    for view in views:
        cells = _cells(view, names, now_ms)
        shown.add_row(*(cells[name] for name in columns))
    return shown


def tick_line(tick: hb.Tick, name: str) -> Text:
    """Return a tick that was sent, on one line."""
    return Text.assemble(
        (render.short(tick.cron), "cyan"),
        "  ",
        (printable(name), "bold magenta"),
        "  slot ",
        (str(tick.slot), "bold"),
        ("  tick of " + render.moment(tick.tick_ms), "dim"),
    )


def _cells(view: hb.CronView, names: Mapping[str, str], now_ms: int) -> dict[str, str | Text]:
    process = view.process or ""
    state = Text(view.state, _STYLES.get(view.state, ""))
    if view.trouble is not None:
        state.append(": " + printable(view.trouble.message))
    elif view.state == "defined":
        state.append(", not running")
    cells: dict[str, str | Text] = {
        "cron": render.short(view.id),
        "process": printable(names.get(process, "")) or render.short(process),
        "every": "",
        "next": "",
        "last": "",
        "action": "",
        "state": state,
    }
    if view.cron is not None:
        cron = view.cron
        cells["every"] = "once" if cron.every_ms is None else interval.written(cron.every_ms)
        cells["next"] = "now" if cron.next_ms <= now_ms else f"in {_roughly(cron.next_ms - now_ms)}"
        cells["last"] = "" if cron.last_ms is None else f"{_roughly(max(0, now_ms - cron.last_ms))} ago"
        cells["action"] = _action(cron.message)
    elif view.defined is not None:
        cells["every"] = printable(view.defined.interval)[:20]
        cells["action"] = _action(view.defined.message or {})
    return cells


def _roughly(length_ms: int) -> str:
    """Return a length of time in its longest unit, rounded down. Less than a second is 0s."""
    units = [(name, unit_ms) for name, unit_ms in interval.UNITS_MS.items() if name != "ms"]
    name, unit_ms = next(((name, unit_ms) for name, unit_ms in reversed(units) if length_ms >= unit_ms), units[0])
    return f"{length_ms // unit_ms}{name}"


def _action(message: Message) -> str:
    """Return what a cron's message asks for, on one line."""
    parameters = message.get("parameters")
    words = [message.get("action", ""), *(parameters if isinstance(parameters, list) else [])]
    return render.compact(" ".join(render.compact(word, _LONGEST_ACTION) for word in words), _LONGEST_ACTION)
