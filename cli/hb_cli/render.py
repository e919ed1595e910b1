"""What a person sees on a terminal: state, history, tables. Rich is loaded with this module and not before.

All text of strangers goes through `output.printable`. Must never print, and never compute anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hb.protocol import message as messages
from hb_cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from hb.node import ProcessView, SlotView, StateView
    from hb.protocol.message import Message, Value

SHORT_ID = 10
_LONGEST_VALUE = 2_000
_TREE_DEPTH = 6
_KEY, _DIM, _GOOD, _BAD, _WAIT, _NUMBER, _NAME = "cyan", "dim", "green", "red", "yellow", "bold", "bold magenta"


def short(identifier: str | None) -> str:
    """The first characters of an ID, as git shortens a hash: enough to tell it, and to type it."""
    return "" if identifier is None else printable(identifier)[:SHORT_ID]


def compact(value: Value, limit: int = _LONGEST_VALUE) -> str:
    """A value on one line, safe for a terminal, cut at `limit` characters: text as it is, the rest as JSON."""
    text = value if isinstance(value, str) else messages.dumps(value).decode()
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def pairs(message: Message) -> str:
    """A message on one line: `key=value key=value`."""
    return " ".join(f"{printable(key)}={compact(value, 200)}" for key, value in sorted(message.items()))


def moment(timestamp_ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time in milliseconds since 1970 as a local date and time; the number itself where no calendar reaches."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ms)


def outcome(results: Message | None, limit: int = _LONGEST_VALUE) -> Text:
    """What a slot's results say, on one line: the output, or the error."""
    if results is None:
        return Text("pending", _WAIT)
    if results.get("type") == "error":
        return Text("✗ " + compact(results.get("error", "error"), limit), _BAD)
    if not results:
        return Text("")
    output = results.get("output")
    if isinstance(output, list):
        return Text("→ " + ", ".join(compact(value, limit) for value in output) if output else "ok", _GOOD)
    rest = {key: value for key, value in results.items() if key not in ("type", "gas")}
    return Text(compact(rest, limit) if rest else "ok", _GOOD)


def request(slot: SlotView) -> Text:
    """What a slot's message asked for, on one line: its action and parameters."""
    if slot.slot == 0:
        return Text("spawn", _DIM)
    text = Text(printable(slot.action or "(no action)"), "" if slot.action else _DIM)
    for parameter in slot.parameters:
        text.append(" " + compact(parameter, 200), _NUMBER)
    return text


def fields(values: Mapping[str, object], *, title: str) -> Panel:
    """A panel of names and values."""
    return Panel(_grid(values), title=Text(title, _NAME), title_align="left", expand=False, box=box.ROUNDED)


def keys(names: Sequence[tuple[str, str]]) -> Table:
    """The table of (name, address) pairs."""
    table = _table()
    table.add_column("key", style=_NAME, overflow="fold")
    table.add_column("address", overflow="fold")
    for name, address in names:
        table.add_row(printable(name), printable(address))
    return table


def processes(views: Sequence[ProcessView], width: int) -> RenderableType:
    """The table of the home's processes, fitted to a terminal of `width` columns."""
    if not views:
        return Text("no processes yet; hb spawn makes one", _DIM)
    table = _table()
    table.add_column("name", style=_NAME, overflow="ellipsis", no_wrap=True)
    table.add_column("process", style=_KEY, no_wrap=True)
    table.add_column("slots", justify="right", no_wrap=True)
    table.add_column("computed", justify="right", no_wrap=True)
    if width >= 80:
        table.add_column("devices", overflow="ellipsis", no_wrap=True)
        table.add_column("latest", style=_DIM, no_wrap=True)
    if width >= 120:
        table.add_column("image", style=_DIM, no_wrap=True)
    for view in views:
        is_behind = view.computed is None or view.computed < view.slots - 1
        row: list[str | Text] = [
            printable(", ".join(view.names)),
            short(view.process),
            str(view.slots),
            Text("none" if view.computed is None else f"to {view.computed}", _WAIT if is_behind else ""),
        ]
        if width >= 80:
            row += [printable(", ".join(view.devices)), moment(view.latest_ms)]
        if width >= 120:
            row.append(short(view.image))
        table.add_row(*row)
    return table


def process_line(view: ProcessView) -> Text:
    """A process on one line: its names, its ID in full, its devices."""
    names = printable(", ".join(view.names)) + ("  " if view.names else "")
    return Text.assemble(
        (names, _NAME), (printable(view.process), _KEY), ("  " + printable(", ".join(view.devices)), _DIM)
    )


def slot_line(view: SlotView) -> Text:
    """A slot on one line, as a follower sees it go by."""
    line = Text.assemble((f"{view.slot:>6}", _NUMBER), "  ", (moment(view.timestamp_ms, "%H:%M:%S"), _DIM), "  ")
    line += request(view) + Text("  ") + outcome(view.results, 200)
    if view.state:
        line.append("  " + ("= " if view.changed is False else "") + pairs(view.state), _DIM)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def state(view: StateView, name: str) -> RenderableType:
    """The state of a process at a slot: its public keys, the slot's results, and what it follows from."""
    public, results = cast("Message", view.record["state"]), cast("Message", view.record["results"])
    body: list[RenderableType] = [_tree(public)] if public else [Text("no public keys", _DIM)]
    if results:
        gas = results.get("gas")
        spent = f"   gas {gas:,}" if isinstance(gas, int) else ""
        body += ["", Text.assemble(("result ", _DIM), outcome(results), (spent, _DIM))]
    body.append(Text(f"hashpath {printable(view.hashpath)}", _DIM, overflow="fold"))
    title = Text.assemble((printable(name), _NAME), " at slot ", (str(view.slot), _NUMBER))
    return Panel(Group(*body), title=title, title_align="left", expand=False, box=box.ROUNDED, padding=(0, 1))


def value(content: Value) -> RenderableType:
    """A value on its own: a message or a list as a tree, all else on one line."""
    if isinstance(content, dict):
        return _tree(content) if content else Text("{}", _DIM)
    if isinstance(content, list):
        return _tree(_numbered(content)) if content else Text("[]", _DIM)
    return Text(compact(content))


def results_panel(slot: int, results: Message) -> Panel:
    """A slot's results, as `hb send --wait` shows them."""
    failed = results.get("type") == "error"
    rest = {key: part for key, part in results.items() if key not in ("type", "output", "error")}
    body = Group(outcome(results), *([Text(pairs(rest), _DIM)] if rest else []))
    title = Text.assemble("slot ", (str(slot), _NUMBER))
    return Panel(body, title=title, title_align="left", expand=False, border_style=_BAD if failed else _GOOD)


def slot_panel(view: SlotView, sender: str) -> RenderableType:
    """All that is known of one slot."""
    values: dict[str, object] = {
        "when": moment(view.timestamp_ms),
        "sender": f"{sender} ({view.sender})" if view.sender and sender != short(view.sender) else view.sender or "",
        "asked": request(view),
        "result": outcome(view.results),
        "state": value(view.state) if view.state else Text("" if view.computed else "pending", _WAIT),
        "changed": "" if view.changed is None else ("yes" if view.changed else "nothing"),
        "gas": "" if view.gas is None else f"{view.gas:,}",
        "memory": "an image is stored" if view.image else "",
        "message": view.message,
        "assignment": view.assignment,
        "process": view.process,
        "hashpath": view.hashpath or "",
    }
    shown = {name: content for name, content in values.items() if content != ""}
    return fields(shown, title=f"slot {view.slot}")


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


def module(facts: Mapping[str, Value]) -> RenderableType:
    """What a module is: the facts that `hb module inspect` tells."""
    return fields({name: _fact(fact) for name, fact in facts.items() if fact not in ([], {}, None)}, title="module")


def _fact(fact: Value) -> RenderableType:
    if isinstance(fact, dict):
        return _tree(fact)
    if isinstance(fact, list):
        # Each element is a small map whose values, in their own order, say it all: `env read function (i32) -> ()`.
        words = (element.values() if isinstance(element, dict) else [element] for element in fact)
        return Text("\n".join(" ".join(compact(word) for word in line) for line in words))
    return Text(compact(fact))
