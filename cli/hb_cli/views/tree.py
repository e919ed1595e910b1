"""Who caused what, as a tree on a terminal: one line for each message. Rich is loaded with this module.

Invariants:
    Nothing is printed here, and nothing is read.
    A line is made when its node comes: what comes after it is not waited for.
    No function calls itself: a chain may be thousands of messages deep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from hb.protocol import delivery
from hb_cli.terminal.output import printable
from hb_cli.views import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import hb

    Called = Callable[[str], str]

MOST_INDENTED = 16
"""From this depth on, lines are not indented further. They say their depth."""

MOST_CHILDREN = 50
"""Maximum children of a message that are shown. The others are counted."""

_ANSWER_CHARACTERS = 200
_GAS_WIDTH, _TIME_WIDTH = 8, 9
_GAS_LEAST_WIDTH, _TIME_LEAST_WIDTH = 72, 48
_ASKING = ("outbox", "spawns", "assignments")
_NO_TROUBLE = ("answer", "pending")


def lines(nodes: Iterable[hb.TreeNode], width: int, called: Called, *, is_path: bool = False) -> Iterator[Text]:
    """Yield a tree line by line, for a terminal of `width` columns. `called` returns what a process is called.

    With `is_path`, each node is the only child that is shown of the one before.
    """
    branches = _Branches(is_path=is_path)
    since_ms: int | None = None
    for node in nodes:
        yield from branches.cut_before(node.depth, called)
        if since_ms is None and node.view is not None:
            since_ms = node.view.timestamp_ms
        if branches.is_shown(node):
            yield _line(branches.guide(node), node, width, called, since_ms or 0)
    yield from branches.cut_before(0, called)


class _Branches:
    """The lines that join children to their parents: how many children are left at each depth."""

    def __init__(self, *, is_path: bool) -> None:
        self._is_path = is_path
        self._left: list[int] = []
        self._shown: list[int] = []
        self._places: list[tuple[str, int | None]] = []
        self._cut: tuple[int, int] | None = None

    def cut_before(self, depth: int, called: Called) -> Iterator[Text]:
        """Yield the line for children that are not shown, if they end before a node at `depth`."""
        if self._cut is None or depth >= self._cut[0]:
            return
        at, more = self._cut
        self._cut = None
        process, slot = self._places[at - 1]
        where = f"hb tree {called(process)} {slot} --json shows all"
        yield Text(f"{self._verticals(at)}└ … {more:,} more ({where})", "dim")

    def is_shown(self, node: hb.TreeNode) -> bool:
        """Count a node; return whether it is shown."""
        depth = node.depth
        if self._cut is not None:
            self._cut = self._cut[0], self._cut[1] + (depth == self._cut[0])
            return False
        del self._left[depth:], self._shown[depth:], self._places[depth:]
        if depth:
            # The message that tells of a spawn comes after it.
            self._left[depth - 1] -= not (_is_spawn(node) and node.slot is not None)
            self._shown[depth - 1] += 1
            if self._shown[depth - 1] > MOST_CHILDREN:
                self._cut = depth, 1
                return False
        self._left.append(1 if self._is_path else _children(node))
        self._shown.append(0)
        self._places.append((node.process, node.slot))
        return True

    def guide(self, node: hb.TreeNode) -> str:
        """Return what stands before a node."""
        depth = node.depth
        if depth == 0:
            return ""
        branch = "└ " if self._is_path or self._left[depth - 1] == 0 else "├ "
        deep = f"[{depth}] " if depth > MOST_INDENTED else ""
        return self._verticals(depth) + branch + deep

    def _verticals(self, depth: int) -> str:
        left = self._left[: min(depth, MOST_INDENTED) - 1]
        return "".join("│ " if more and not self._is_path else "  " for more in left)


def _is_spawn(node: hb.TreeNode) -> bool:
    return (node.place or "").startswith("spawns/")


def _children(node: hb.TreeNode) -> int:
    """Return how many children a node has, without the messages that tell of spawns."""
    if node.is_repeated or node.view is None or node.view.results is None:
        return 0
    return len(delivery.asked(node.view.results))


def _line(guide: str, node: hb.TreeNode, width: int, called: Called, since_ms: int) -> Text:
    name = called(node.process) if node.process else "nobody"
    line = Text.assemble((guide, "dim"), (printable(name), "magenta" if node.slot is not None else "yellow"))
    if node.slot is None:
        line += _leaf(node)
    else:
        line.append(f" {node.slot}", "bold")
        line += Text("  ") + _request(node) + Text("  ") + _outcome(node)
    right = _right(node, width, since_ms)
    line.truncate(max(width - len(right), 1), overflow="ellipsis", pad=bool(right))
    line += right
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _leaf(node: hb.TreeNode) -> Text:
    action = (node.asked or {}).get("action")
    text = Text(f"  {render.compact(action, 60)}" if isinstance(action, str) else "", "dim")
    if _is_spawn(node):
        text.append("  spawn", "dim")
    if node.reason in _NO_TROUBLE:
        return text.append(f"  {node.says}", "dim")
    return text.append(f"  held: {printable(node.says or '')}", "yellow")


def _request(node: hb.TreeNode) -> Text:
    assert node.view is not None
    if _is_spawn(node):
        return Text("spawned", "green")
    text = render.request(node.view, with_data=False)
    if (node.place or "").startswith("assignments/"):
        text.append(" assigned", "dim")
    return text


def _outcome(node: hb.TreeNode) -> Text:
    if node.is_repeated:
        return Text("shown above", "dim")
    assert node.view is not None
    found = node.view.results
    # What it asks for stands below it.
    said = None if found is None else {key: value for key, value in found.items() if key not in _ASKING}
    text = render.outcome(said, _ANSWER_CHARACTERS)
    return text.append("  altered by a trap", "yellow") if node.altered else text


def _right(node: hb.TreeNode, width: int, since_ms: int) -> Text:
    """Return the gas and the time of a message, as columns at the right."""
    text, view = Text("", "dim"), node.view
    if view is None:
        return text
    if width >= _GAS_LEAST_WIDTH:
        text.append(("" if view.gas is None else short_gas(view.gas)).rjust(_GAS_WIDTH))
    if width >= _TIME_LEAST_WIDTH:
        after_ms = view.timestamp_ms - since_ms
        text.append(
            (offset(after_ms) if node.depth else render.moment(view.timestamp_ms, "%H:%M:%S")).rjust(_TIME_WIDTH)
        )
    return text


def offset(milliseconds: int) -> str:
    """Return how much later something is: `+0.2s`, `+3m05s`, `+2h10m`, `+4d01h`."""
    sign, seconds = ("-" if milliseconds < 0 else "+"), abs(milliseconds) // 1000
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if not minutes:
        return f"{sign}{seconds}.{abs(milliseconds) % 1000 // 100}s"
    if not hours:
        return f"{sign}{minutes}m{seconds % 60:02}s"
    return f"{sign}{days}d{hours % 24:02}h" if days else f"{sign}{hours}h{minutes % 60:02}m"


def short_gas(gas: int) -> str:
    """Return an amount of gas, exactly or in millions and more: `999,999`, `9.3M`, `1.0G`."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if gas >= size:
            return f"{gas // (size // 10) / 10:,.1f}{unit}"
    return f"{gas:,}"


def summary(pushed: hb.Pushed) -> Text:
    """Return what a push did, on one line."""
    if not pushed.delivered:
        text = Text("nothing was delivered", "dim")
    else:
        text = Text(f"{pushed.delivered:,} delivered", "green")
    if pushed.spawned:
        text.append(f", {pushed.spawned:,} spawned")
    if pushed.held:
        text.append(f", {pushed.held:,} held", "yellow")
    if pushed.failed:
        text.append(f", {pushed.failed:,} failed", "red")
    return text


def delivery_line(made: hb.Delivery, called: Called) -> Text:
    """Return a delivery on one line, below the slot that asked for it, as a follower sees it."""
    source = "" if made.process is None else f"{called(made.process)} {made.slot} "
    text = Text.assemble(("     ↳ ", "dim"), (printable(source), "dim"), (f"{made.place} → ", "dim"))
    text.append(printable(called(made.target)), "magenta").append(f" {made.target_slot}", "bold")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
