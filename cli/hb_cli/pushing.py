"""What `hb push`, `hb send --push`, `hb compute --push` and `hb tree` share: trees, held deliveries, exit codes.

Invariants:
    No AO logic.
    Rich is loaded for a terminal only.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TypedDict

import hb
from hb import ids
from hb.errors import HbError, IntegrityError, Interrupted, Unfinished
from hb.protocol import outcome
from hb_cli import exits
from hb_cli.terminal import output
from hb_cli.views import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hb_cli.context import Session

_SHORT_ID = 10
_MOST_NOTES = 10
_MOST_OF_CYCLE = 8
_NAMES_S = 1.0
"""How long the names that were read are believed to be all, in seconds."""


class Settings(TypedDict):
    """How far a push goes for a root, and what its assignments say; None means the home's settings, and the clock."""

    depth: int | None
    messages: int | None
    gas: int | None
    timestamp_ms: int | None
    block_height: int


class Names:
    """What the processes of a home are called: by their first name, else by the beginning of their ID."""

    def __init__(self, home: hb.Home) -> None:
        self._home = home
        self._names: dict[str, str] = {}
        self._read_s = float("-inf")

    def called(self, process: str) -> str:
        """Return what a process is called in a sentence."""
        return self._find(process) or (process[:_SHORT_ID] if ids.is_id(process) else process[:60])

    def typed(self, process: str) -> str:
        """Return what a process is called on a command line."""
        return self._find(process) or process

    def _find(self, process: str) -> str | None:
        # Whoever lives long meets processes that were not there when it began.
        if process not in self._names and monotonic() - self._read_s > _NAMES_S:
            named = self._home.names()
            self._names = {found.id: name for name, found in sorted(named.items(), reverse=True)}
            self._read_s = monotonic()
        return self._names.get(process)


class Seen:
    """What is found in a tree while it is printed: whether an outcome is an error, and what is held."""

    def __init__(self) -> None:
        self.is_failed = False
        self._held: dict[hb.HeldGroup, int] = {}

    @property
    def held(self) -> list[hb.HeldGroup]:
        """What is held, in groups."""
        return [group._replace(size=size) for group, size in self._held.items()]

    def watch(self, nodes: Iterable[hb.TreeNode]) -> Iterator[hb.TreeNode]:
        """Yield the nodes as they come, and remember what is found."""
        for node in nodes:
            if node.view is not None and outcome.failed(node.view.results):
                self.is_failed = True
            group = hb.HeldGroup.of(node)
            if group is not None:
                self._held[group] = self._held.get(group, 0) + 1
            yield node


@contextmanager
def resumable() -> Iterator[None]:
    """Run a push in a `with` block. Wherever in it Ctrl-C came, it says that nothing is lost."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted("the push was interrupted; the next one goes on where it was") from error


def print_tree(
    session: Session,
    home: hb.Home,
    nodes: Iterable[hb.TreeNode],
    names: Names,
    *,
    is_path: bool = False,
    with_results: bool = False,
) -> None:
    """Print a tree as it comes. In a pipe, with `with_results`, its root says all of its results."""
    if session.for_person:
        from hb_cli.views import tree

        output.show_each(tree.lines(nodes, output.screen_width(), names.called, is_path=is_path))
        return
    for node in nodes:
        told = fields.node_fields(node, _sender(home, node))
        if with_results and node.depth == 0 and node.view is not None:
            told["results"] = node.view.results
        output.json_line(told)


def _sender(home: hb.Home, node: hb.TreeNode) -> str | None:
    """Return the process that a message comes from; if it comes from none, the address that signed it."""
    if node.parent is not None and (node.view is None or not (node.place or "").startswith("assignments/")):
        return node.parent[0]
    if node.view is None:
        return None
    source = home.message(node.view.message).get("from-process")
    return source if isinstance(source, str) else node.view.sender


def show_trees(
    session: Session,
    home: hb.Home,
    process: hb.Process,
    slots: Iterable[int],
    pushed: hb.Pushed,
    *,
    before: Callable[[int], None] | None = None,
    with_results: bool = False,
) -> int:
    """Print the trees of messages that were pushed; return the exit code. `before` is called with each slot first.

    Raises:
        HbError: as `conclude`.
    """
    names, seen = Names(home), Seen()
    for slot in slots:
        if before is not None:
            before(slot)
        print_tree(session, home, seen.watch(process.tree(slot)), names, with_results=with_results)
    return conclude(session, home, names, pushed, seen.held, is_failed=seen.is_failed)


def tell_held(session: Session, names: Names, held: Iterable[hb.HeldGroup], *, stopped: bool) -> None:
    """Print why deliveries are held on stderr, a line for each reason. An error says of budgets if they `stopped`."""
    sizes: dict[hb.HeldGroup, int] = {}
    for group in held:
        if not (group.is_budget and stopped):
            alike = group._replace(process=group.process if group.is_budget else "", size=0)
            sizes[alike] = sizes.get(alike, 0) + group.size
    for group, size in list(sizes.items())[:_MOST_NOTES]:
        session.note(_held_sentence(group, size, names))
    if len(sizes) > _MOST_NOTES:
        session.note(f"deliveries are held for {len(sizes) - _MOST_NOTES:,} more reasons")


def _held_sentence(group: hb.HeldGroup, size: int, names: Names) -> str:
    one = size == 1
    what = f"{size:,} {'spawn' if group.reason == 'image' else 'message'}{'' if one else 's'}"
    if group.is_budget:
        return f"{what} {'is' if one else 'are'} held: {group.says}; `hb push {names.typed(group.process)}` goes on"
    target = names.called(group.target) if group.target else "nobody"
    if group.is_waiting:
        return f"{what} wait{'s' if one else ''} for {target}: {group.says}"
    return f"{what} for {target} {'is' if one else 'are'} not delivered: {group.says}"


def conclude(
    session: Session,
    home: hb.Home,
    names: Names,
    pushed: hb.Pushed,
    held: Iterable[hb.HeldGroup],
    *,
    is_failed: bool,
) -> int:
    """Print what is held on stderr, and return the exit code: 15 if an outcome is an error.

    Raises:
        HbError: a process could not be computed. Damage comes first.
        Unfinished: else, a budget was used up.
    """
    groups = list(held)
    tell_held(session, names, groups, stopped=bool(pushed.stops))
    problems = problems_of(home, names, pushed, {group.process for group in groups if group.is_budget})
    for problem in problems[1:]:
        session.note(problem.message)
    if problems:
        raise problems[0]
    return exits.PROGRAM_FAILED if is_failed else exits.DONE


def problems_of(home: hb.Home, names: Names, pushed: hb.Pushed, holding: Iterable[str] = ()) -> list[HbError]:
    """Return what kept a push from its end, the worst first. `holding` are processes that hold back for a budget."""
    found = [_trouble(process, error, names) for process, error in pushed.troubles.items()]
    found.sort(key=lambda error: not isinstance(error, IntegrityError))
    stops = list(pushed.stops.values())
    if stops:
        found.append(_stopped(home, names, stops, {*holding, *(stop.process for stop in stops)}))
    return found


def _trouble(process: str, error: HbError, names: Names) -> HbError:
    if isinstance(error, IntegrityError):
        return error  # it says where
    return type(error)(f"{names.called(process)} could not be computed: {error.message}", hint=error.hint)


def _stopped(home: hb.Home, names: Names, stops: list[hb.Stop], holding: set[str]) -> Unfinished:
    """Return the error for roots whose budgets were used up: which budget, and who goes on answering whom."""
    first = stops[0]
    round_trip = _cycle(home, names, first)
    said = f"{first.says}, and there is more of root {first.root}" + (f": {round_trip}" if round_trip else "")
    if len(stops) > 1:
        said += f"; so it is with {len(stops) - 1:,} more root{'s' if len(stops) > 2 else ''}"
    [where, *others] = sorted(holding)
    return Unfinished(said, hint=f"`hb push {'--all' if others else names.typed(where)}` goes on")


def _cycle(home: hb.Home, names: Names, stop: hb.Stop) -> str:
    try:
        cycle = home.process(stop.process, look_up=False).cycle(stop.slot)
    except IntegrityError:
        return ""  # what was asked for is why it stopped
    named = [names.called(process) for process in cycle]
    if len(named) > _MOST_OF_CYCLE:
        named[_MOST_OF_CYCLE // 2 : -_MOST_OF_CYCLE // 2] = [f"({len(named) - _MOST_OF_CYCLE:,} more)"]
    return " -> ".join(named)
