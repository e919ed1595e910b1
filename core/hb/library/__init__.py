"""`import hb`: the verbs of the command line on objects.

>>> import hb
>>> home = hb.memory()
>>> counter = home.spawn("samples/counter.wasm", initial_state={"counter": 40})
>>> counter.send("Increment").slot
1
>>> counter.send("Add", 1).result().ok
True
>>> counter.state()["counter"], counter.state(slot=1)["counter"]
(42, 41)

`hb.open()` is the home that the command line would use, `hb.open(PATH)` another one; `hb.memory()` is one that leaves
nothing behind, and `hb.frozen()` one in which the same test gives the same IDs.

A *slot*, wherever one is asked for, is what it is on the command line: a number, "now", "now~1", or the ID of a message
or of an assignment.
What a program does is a value, a `Result`; what is raised are the errors of `hb.errors`.

This is a face of `hb.node`: it must hold no AO logic. Nothing else here reads the user's environment, and it does so in
`open` alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from hb import home as homes
from hb.compute.modules import Compiled
from hb.errors import NoHome
from hb.library.home import Clock, FrozenHome, Home, wat
from hb.library.process import Process, Sent, message
from hb.library.result import Result
from hb.library.verified import VerifiedFile, verify_file
from hb.memory_home import MemoryHome
from hb.node import Node

__all__ = [
    "Clock",
    "FrozenHome",
    "Home",
    "Process",
    "Result",
    "Sent",
    "VerifiedFile",
    "frozen",
    "memory",
    "message",
    "open",
    "verify_file",
    "wat",
]

FROZEN_MS = 1_700_000_000_000
"""The time in a frozen home, until it is advanced: 2023-11-14 22:13:20 UTC."""

IN_MEMORY = ":memory:"

_COMPILED = Compiled()


def open(  # noqa: A001
    home: str | os.PathLike[str] | None = None, *, create: bool = True, lock_timeout_s: float | None = None
) -> Home:
    """The home in the directory `home`; ":memory:" is `memory()`.

    Without `home` it is the one that the command line would use: $HB_HOME, else the nearest directory `.hb` in the
    working directory or above, else the one among the user's data. Where there is none, it is made, with a key
    `default`, if `create`. `lock_timeout_s` is how long to wait while others use it (None: as its settings say).

    Its store stays open between calls as long as no other program waits for it. A child that is forked cannot use it.

    Raises:
        NoHome: there is none, and it is not to be made.
        Refused, IntegrityError, HomeUnusable: there is something else, or it is damaged, or not to be read.
    """
    if home == IN_MEMORY:
        return memory()
    path = _default_path() if home is None else Path(home)
    try:
        found = homes.open_home(path, keep_open=True)
    except NoHome:
        if not create:
            raise
        found = homes.open_home(homes.create(path).path, keep_open=True)
    return Home(Node(found, lock_timeout_s=lock_timeout_s))


def memory(*, cache: str | os.PathLike[str] | None = None) -> Home:
    """A new, empty home in memory; it is gone when nothing refers to it.

    It has a key of every name. No file is written, unless `cache` names a directory, its owner's alone, to keep
    compiled modules in: a large one takes a second or more to compile.
    """
    return Home(_node_in_memory(os.urandom(32), cache))


def frozen(
    *, now_ms: int = FROZEN_MS, seed: bytes = b"frozen", cache: str | os.PathLike[str] | None = None
) -> FrozenHome:
    """A new, empty home in memory where nothing is left to chance: its time is `now_ms`, milliseconds since 1970, until
    its `clock` is advanced, and its keys and anchors follow from `seed`.

    The same calls on it give the same IDs, states and hashpaths, today and anywhere.

    >>> one, other = (hb.frozen().spawn("samples/ledger.wasm") for _ in range(2))
    >>> one.id == other.id
    True
    """
    return FrozenHome(_node_in_memory(seed, cache), Clock(now_ms), seed)


def _default_path() -> Path:
    found = homes.find(Path.cwd(), None, os.environ.get("HB_HOME"))
    if found is None:
        import platformdirs

        found = platformdirs.user_data_path("hb", appauthor=False)
    return found.absolute()


def _node_in_memory(seed: bytes, cache: str | os.PathLike[str] | None) -> Node:
    return Node(MemoryHome(seed, cache=None if cache is None else Path(cache)), modules=_COMPILED)
