"""Systems of real AO modules: a home with processes that talk to each other, and what their messages caused as text.

    system = System(fetch("modules"), tmp_path / "compiled", AOS)
    ping, pong = system.aos("ping", LUA), system.aos("pong", LUA)
    sent = ping.send("Start", push=True)
    assert system.outline(sent.tree) == tree(...)

In the text each message has a line: where the results of the message above ask for it, the name of the process that got
it, and its action.
"""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import compiled
import hb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hb import Process
    from hb.history.tree import Node

AOS = "aos2_0_6.wasm"
WITH_LUA = [AOS, "aos.wasm", "sqlite.wasm"]
"""Modules that run Lua code. They are of different ages, and differ in whom they trust."""


class System:
    """A frozen home for processes of the modules in a directory. `names` are those that are compiled beforehand."""

    def __init__(self, modules: Path, cache: Path, *names: str) -> None:
        for name in names:
            compiled.put(modules / name, cache)
        self.home = hb.frozen(cache=cache)
        self._modules = modules

    def spawn(self, name: str, module: str, **options: Any) -> Process:
        """Make a process of a module, called `name`. Nothing is sent to it."""
        return self.home.spawn(self._modules / module, name=name, **options)

    def aos(self, name: str, lua: str = "", *, module: str = AOS, **options: Any) -> Process:
        """Make a process of a module with Lua, called `name`, whose owner has it run `lua`."""
        process = self.spawn(name, module, **options)
        if lua:
            process.eval(lua)
        return process

    def outline(self, nodes: Iterable[Node]) -> str:
        """Return messages as a text, a line each, indented by their depth.

        A process without a name in the home is `?`, and a message without an action `-`. If nothing was delivered, the
        reason is in brackets.
        """
        names = {process.id: name for name, process in self.home.names().items()}
        return "\n".join(_line(node, names.get(node.process, "?")) for node in nodes)

    def is_intact(self) -> bool:
        """Whether nothing is wrong with what is stored, and every message gives the same when it is run again."""
        return not list(self.home.verify(replay=True))


def tree(text: str) -> str:
    """Return an outline as it stands in a test, without the indentation that it has there."""
    return dedent(text).strip()


def assigning(message: str, *processes: Process) -> str:
    """Return Lua code that has a message, given by its ID, assigned to processes."""
    targets = ", ".join(f'"{process.id}"' for process in processes)
    return f'ao.assign({{Processes = {{{targets}}}, Message = "{message}"}})'


def _line(node: Node, name: str) -> str:
    place = "" if node.place is None else f"{node.place} "
    what = f"({node.reason})" if node.view is None else node.view.action or "-"
    return f"{'  ' * node.depth}{place}{name}: {what}"
