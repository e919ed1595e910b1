"""What a person sees on a terminal: states, slots, results, tables. Rich is loaded with this module.

Invariants:
    All text of strangers goes through `output.printable`.
    Nothing is printed here, and nothing is computed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hb.protocol import message as messages
from hb_cli.terminal.output import plain, printable
from hb_cli.views import results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    import hb
    from hb.protocol.message import Message, Value

SHORT_ID = 10
_LONGEST_VALUE = 2_000
_TREE_DEPTH = 6
_MOST_ENTRIES = 20
_LINE_ENDS = re.compile(r"\s*\n\s*")
# Keys that every message of a program has, or that are shown in a place of their own.
_TOLD_ELSEWHERE = frozenset(
    {
        "target",
        "action",
        "data",
        "anchor",
        "data-protocol",
        "type",
        "variant",
        "from-process",
        "from-image",
        "reference",
    }
)
_KEY, _DIM, _GOOD, _BAD, _WAIT, _NUMBER, _NAME = "cyan", "dim", "green", "red", "yellow", "bold", "bold magenta"


def short(identifier: str | None) -> str:
    """Return the first characters of an ID, as git shortens a hash."""
    return "" if identifier is None else printable(identifier)[:SHORT_ID]


def compact(value: Value, limit: int = _LONGEST_VALUE) -> str:
    """Return a value on one line, cut at `limit` characters: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else messages.dumps(value).decode()
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def pairs(message: Message) -> str:
    """Return a message on one line: `key=value key=value`."""
    return " ".join(
        f"{printable(key)}={compact(results.uncoloured(value), 200)}" for key, value in sorted(message.items())
    )


def moment(timestamp_ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in milliseconds since 1970 as a local date and time, or as the number if no calendar has it."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ms)


def outcome(found: Message | None, limit: int = _LONGEST_VALUE) -> Text:
    """Return what a slot's results say, on one line: the error, or the answer and how much else there is."""
    if found is None:
        return Text("pending", _WAIT)
    if results.failed(found):
        return Text("✗ " + _one_line(results.text_of(found.get("error")) or "error", limit), _BAD)
    if not found:
        return Text("")
    answer = results.answer(found)
    # The values of a function are shown side by side.
    values = answer if isinstance(answer, list) and "data" not in found else [] if answer is None else [answer]
    said = ", ".join(_one_line(results.text_of(value), limit) for value in values)
    text = Text.assemble(("→ " + said if said else "", _GOOD))
    if beside := results.counts(found):
        text.append((" + " if said else "→ ") + beside, _DIM)
    return text or Text("ok", _GOOD)


def request(slot: hb.SlotView, *, with_data: bool = True, called: Callable[[str], str] = short) -> Text:
    """Return what a slot's message asked for, on one line: its action, parameters and data.

    `called` returns what a process with an ID is called.
    """
    if slot.slot == 0:
        return Text("spawn", _DIM)
    if slot.origin is not None:
        return Text(f"fork of {printable(called(slot.origin.process))} at slot {slot.origin.slot}", _DIM)
    text = Text(plain(slot.action or "(no action)"), "" if slot.action else _DIM)
    for parameter in slot.parameters:
        text.append(" " + compact(results.uncoloured(parameter), 200), _NUMBER)
    if with_data and slot.data not in (None, ""):
        text.append(" " + _one_line(results.text_of(slot.data), 200), _DIM)
    return text


def executed_by(devices: Sequence[str]) -> str:
    """Return the devices of a process in a few words. For an AO program, that is the one of its ABI and a number."""
    if "json-iface@1.0" in devices and len(devices) > 2:
        return f"json-iface@1.0 + {len(devices) - 1}"
    return printable(", ".join(devices))


def fields(values: Mapping[str, object], *, title: str) -> Panel:
    """Return a panel of names and values."""
    return Panel(_grid(values), title=Text(title, _NAME), title_align="left", expand=False, box=box.ROUNDED)


def keys(names: Sequence[tuple[str, str]]) -> Table:
    """Return a table of (name, address) pairs."""
    table = _table()
    table.add_column("key", style=_NAME, overflow="fold")
    table.add_column("address", overflow="fold")
    for name, address in names:
        table.add_row(printable(name), printable(address))
    return table


def processes(views: Sequence[hb.ProcessView], width: int) -> RenderableType:
    """Return a table of the home's processes for a terminal of `width` columns."""
    if not views:
        return Text("no processes yet; hb spawn makes one", _DIM)
    forks = width >= 80 and any(view.origin is not None for view in views)
    columns: dict[str, dict[str, Any]] = {
        "name": {"style": _NAME, "overflow": "ellipsis"},
        "process": {"style": _KEY},
        "slots": {"justify": "right"},
        "computed": {"justify": "right"},
        **({"left": {"overflow": "ellipsis"}} if forks else {}),
        **({"devices": {"overflow": "ellipsis"}} if width >= (100 if forks else 80) else {}),
        **({"latest": {"style": _DIM}} if width >= 80 else {}),
        **({"image": {"style": _DIM}} if width >= 120 else {}),
    }
    table = _table()
    for name, settings in columns.items():
        table.add_column(name, no_wrap=True, **settings)
    called = {view.process: printable(", ".join(view.names)) or short(view.process) for view in views}
    for view in views:
        cells = _process_cells(view, called)
        table.add_row(*(cells[name] for name in columns))
    return table


def _process_cells(view: hb.ProcessView, called: Mapping[str, str]) -> dict[str, str | Text]:
    if view.trouble is not None:
        blank = dict.fromkeys(("slots", "left", "devices", "latest", "image"), "")
        name, damaged = printable(", ".join(view.names)), Text("damaged", _BAD)
        return {**blank, "name": name, "process": short(view.process), "computed": damaged}
    is_behind = view.computed is None or view.computed < view.slots - 1
    left = view.origin
    return {
        "name": printable(", ".join(view.names)),
        "process": short(view.process),
        "slots": str(view.slots),
        "computed": Text("none" if view.computed is None else f"to {view.computed}", _WAIT if is_behind else ""),
        "left": "" if left is None else f"{called.get(left.process, short(left.process))} at {left.slot}",
        "devices": executed_by(view.devices),
        "latest": moment(view.latest_ms),
        "image": short(view.image),
    }


def replayed_slot(change: hb.Change, most: int) -> RenderableType:
    """Return how a slot differs with other code, path by path. At most `most` paths are shown."""
    grid = Table.grid(padding=(0, 2))
    for difference in change.differences[:most]:
        before, after = (Text(_or_nothing(value)) for value in (difference.before, difference.after))
        before.stylize(_BAD)
        after.stylize(_GOOD)
        grid.add_row(Text("  " + printable(difference.path), _KEY), before, "→", after)
    more = len(change.differences) - most
    rest = [Text(f"  … and {more:,} more", _DIM)] if more > 0 else []
    gas = Text(f"   gas {change.gas_before:,} → {change.gas_after:,}", _DIM)
    return Group(Text.assemble("slot ", (str(change.slot), _NUMBER), " differs", gas), grid, *rest)


def _or_nothing(value: Value) -> str:
    return "nothing" if value is None else compact(value, 200)


def process_line(view: hb.ProcessView, called: Callable[[str], str]) -> Text:
    """Return a process on one line: names, ID, devices. A fork has a second line: where it left.

    `called` returns what a process with an ID is called.
    """
    names = printable(", ".join(view.names)) + ("  " if view.names else "")
    line = Text.assemble((names, _NAME), (printable(view.process), _KEY), ("  " + executed_by(view.devices), _DIM))
    if view.origin is not None:
        line.append(f"\nleft {printable(called(view.origin.process))} at slot {view.origin.slot}", _DIM)
    return line


def slot_line(view: hb.SlotView, name: str = "") -> Text:
    """Return a slot on one line, as a follower sees it. `name` is what its process is called, if that is not clear."""
    line = Text.assemble(
        (printable(name) + " " * bool(name), _NAME),
        (f"{view.slot:>6}", _NUMBER),
        "  ",
        (moment(view.timestamp_ms, "%H:%M:%S"), _DIM),
        "  ",
    )
    line += request(view) + Text("  ") + outcome(view.results, 200)
    if view.state:
        line.append("  " + ("= " if view.changed is False else "") + pairs(view.state), _DIM)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def state(view: hb.StateView, name: str) -> RenderableType:
    """Return the state of a process at a slot: its public keys, the slot's results, and its hashpath."""
    public, found = view.record.state, view.record.results
    body: list[RenderableType] = [_tree(public)] if public else [Text("no public keys", _DIM)]
    if found:
        gas = found.get("gas")
        spent = f"   gas {gas:,}" if isinstance(gas, int) else ""
        body += ["", Text.assemble(("result ", _DIM), outcome(found), (spent, _DIM))]
    body.append(Text(f"hashpath {printable(view.hashpath)}", _DIM, overflow="fold"))
    title = Text.assemble((printable(name), _NAME), " at slot ", (str(view.slot), _NUMBER))
    return Panel(Group(*body), title=title, title_align="left", expand=False, box=box.ROUNDED, padding=(0, 1))


def value(content: Value) -> RenderableType:
    """Return a value on its own: a message or a list as a tree, anything else on one line."""
    if isinstance(content, dict):
        return _tree(content) if content else Text("{}", _DIM)
    if isinstance(content, list):
        return _tree(_numbered(content)) if content else Text("[]", _DIM)
    return Text(compact(content))


def results_panel(slot: int, found: Message, *, title: str = "slot") -> Panel:
    """Return a slot's results, as `hb send --wait` shows them."""
    rows = results_rows(found)
    label = Text.assemble(f"{title} ", (str(slot), _NUMBER))
    style = _BAD if results.failed(found) else _GOOD
    body: RenderableType = _grid(rows) if len(rows) > 1 else rows["result"]
    gas = found.get("gas")
    spent = [Text(f"gas {gas:,}", _DIM)] if isinstance(gas, int) else []
    return Panel(Group(body, *spent), title=label, title_align="left", expand=False, border_style=style)


def error_panel(slot: int, found: Message) -> Panel:
    """Return what went wrong at a slot, as `hb eval` shows it."""
    kind, error = results.text_of(found.get("kind")), results.text_of(found.get("error"))
    title = Text.assemble("slot ", (str(slot), _NUMBER), f" · {printable(kind)}")
    return Panel(_lines(error, _BAD), title=title, title_align="left", expand=False, border_style=_BAD)


def results_rows(found: Message | None, called: Callable[[str], str] = short) -> dict[str, RenderableType]:
    """Return the parts of a slot's results by name. `result`, the answer or the error, is always there.

    `called` returns what a process or a key with an ID is called.
    """
    rows: dict[str, RenderableType] = {"result": outcome(found)}
    if not found:
        return rows
    if results.failed(found):
        rows["result"] = _lines(results.text_of(found.get("error")), _BAD, "✗ ")
        if kind := results.text_of(found.get("kind")):
            rows["kind"] = Text(printable(kind))
    elif isinstance(answer := results.answer(found), str) and answer:
        rows["result"] = _lines(answer, _GOOD, "→ ")
    if text := results.printed(found):
        rows["printed"] = _lines(text, "")
    for name in ("outbox", "spawns", "assignments", "patches"):
        entries = results.parts(found.get(name))
        if entries:
            lines = [_entry(number, entry, called) for number, entry in entries[:_MOST_ENTRIES]]
            more = len(entries) - len(lines)
            rows[name] = Group(*lines, *([Text(f"… and {more:,} more", _DIM)] if more else []))
    return rows


def _entry(number: str, entry: Value, called: Callable[[str], str]) -> Text:
    """Return a message that a program sent, on one line: target, action, tags and data."""
    line = Text.assemble((f"{printable(number)} ", _DIM))
    entry = results.uncoloured(entry)
    if not isinstance(entry, dict):
        return line.append(compact(entry, 200))
    target, action = entry.get("target"), entry.get("action")
    if isinstance(target, str) and target:
        line.append(f"to {printable(called(target)) if len(target) == 43 else compact(target, 60)} ", _KEY)
    if isinstance(action, str):
        line.append(compact(action, 60) + " ", _NUMBER)
    tags = {key: tag for key, tag in entry.items() if key not in _TOLD_ELSEWHERE}
    line.append(" ".join(f"{printable(key)}={compact(tag, 80)}" for key, tag in sorted(tags.items())))
    if entry.get("data") not in (None, ""):
        line.append(f"{' ' if tags else ''}data {_one_line(results.text_of(entry['data']), 200)}", _DIM)
    return line


def _one_line(text: str, limit: int) -> str:
    """Return a program's text as one line, cut at `limit` characters."""
    shown = plain(_LINE_ENDS.sub(" ", text[: 2 * limit].strip()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _lines(text: str, style: str, mark: str = "") -> Text:
    """Return a program's text line by line, cut at the longest that a panel shows."""
    shown = plain(text[:_LONGEST_VALUE], keep="\n\t").strip("\n")
    body = Text.assemble((mark + shown, style), overflow="fold")
    if len(text) > _LONGEST_VALUE:
        body.append(f"\n… {len(text):,} characters in all", _DIM)
    return body


def slot_panel(view: hb.SlotView, source: str | None, called: Callable[[str], str]) -> RenderableType:
    """Return all that is known of one slot.

    `source` is the process that its message comes from, if it comes from one. `called` returns what a process or a key
    with an ID is called.
    """
    values: dict[str, object] = {
        "when": moment(view.timestamp_ms),
        "from": _named(source, called),
        "sender": _named(view.sender, called),
        "asked": request(view, with_data=False, called=called),
        "data": "" if view.slot == 0 or view.data in (None, "") else _lines(results.text_of(view.data), ""),
        **results_rows(view.results if view.computed else None, called),
        "state": value(view.state) if view.state else Text("" if view.computed else "pending", _WAIT),
        "changed": "" if view.changed is None else ("yes" if view.changed else "nothing"),
        "gas": "" if view.gas is None else f"{view.gas:,}",
        "memory": "an image is stored" if view.image else "",
        "message": view.message,
        "assignment": view.assignment,
        "process": view.process,
        "hashpath": view.hashpath or "",
    }
    shown = {name: content for name, content in values.items() if content not in ("", Text(""))}
    return fields(shown, title=f"slot {view.slot}")


def _named(identifier: str | None, called: Callable[[str], str]) -> str:
    """Return an ID, after what it is called if that is more than its beginning."""
    if not identifier:
        return ""
    name = called(identifier)
    return identifier if identifier.startswith(name) else f"{name} ({identifier})"


def _grid(values: Mapping[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_KEY, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, content in values.items():
        plain = printable(str(content)) if isinstance(content, str | int | float | bool) else content
        grid.add_row(printable(name), plain)  # type: ignore[arg-type]
    return grid


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=_DIM)


def _tree(message: Message) -> Tree:
    tree = Tree("", hide_root=True, guide_style=_DIM)
    _grow(tree, message, _TREE_DEPTH)
    return tree


def _grow(tree: Tree, message: Message, depth: int) -> None:
    for key, content in sorted(message.items()):
        nested = _numbered(content) if isinstance(content, list) else content
        label = Text(printable(key), _KEY)
        if isinstance(nested, dict) and nested and depth:
            _grow(tree.add(label), nested, depth - 1)
        else:
            tree.add(Text.assemble(label, "  ", (compact(content), _NUMBER)))


def _numbered(values: list[Value]) -> Message:
    width = len(str(len(values)))
    return {str(index).rjust(width): content for index, content in enumerate(values, 1)}
