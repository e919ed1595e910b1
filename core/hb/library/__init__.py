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

A slot is given as on the command line: a number, "now", "now~1", or the ID of a message or of an assignment.
What a program does is a value, a `Result`. What is raised are the errors of `hb.errors`.

Invariants:
    No AO logic: each verb calls a function of a room.
    Only `open` reads the user's environment.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hb import home as homes
from hb.errors import HomeUnusable, NoHome
from hb.library.home import Clock, FrozenHome, Home
from hb.library.process import Process, message
from hb.library.scope import wat

if TYPE_CHECKING:
    from hb.binary.info import ModuleInfo
    from hb.compute.modules import Compiled
    from hb.devices.verdict import Verdict
    from hb.memory_home import MemoryHome

__all__ = [
    "Clock",
    "FrozenHome",
    "Home",
    "Process",
    "create",
    "find",
    "frozen",
    "inspect_module",
    "memory",
    "message",
    "open",
    "wat",
]

FROZEN_MS = 1_700_000_000_000
"""The time in a frozen home, until it is advanced: 2023-11-14 22:13:20 UTC."""

IN_MEMORY = ":memory:"


def open(  # noqa: A001
    home: str | os.PathLike[str] | None = None,
    *,
    create: bool = True,
    lock_timeout_s: float | None = None,
    keep_open: bool = True,
) -> Home:
    """Return the home in the directory `home`; ":memory:" is `memory()`.

    Without `home` it is the one that the command line would use: $HB_HOME, else the nearest directory `.hb` in the
    working directory or above, else the one among the user's data. If there is none and `create` is true, it is made,
    with a key `default`. `lock_timeout_s` is how long to wait while others use it; by default, what its settings say.

    With `keep_open`, its store stays open between calls as long as no other program waits for it. A child that is
    forked cannot use it.

    Raises:
        NoHome: there is none, and `create` is false.
        Refused, IntegrityError, HomeUnusable: there is something else, it is damaged, or it cannot be read.
    """
    if home == IN_MEMORY:
        return memory()
    path = _default_path() if home is None else Path(home)
    try:
        found = homes.open_home(path, keep_open=keep_open)
    except NoHome:
        if not create:
            raise
        found = homes.open_home(homes.create(path).path, keep_open=keep_open)
    return Home(found, lock_timeout_s=lock_timeout_s)


def create(path: str | os.PathLike[str], *, seed: bytes | None = None) -> Home:
    """Make a home in the directory `path`, with a key `default`, or open the one that is there.

    `seed` is the seed of the key, 32 bytes; by default it is drawn from the system.

    Raises:
        Refused: there is something else at `path`.
        IntegrityError: there is a damaged home at `path`.
        HomeUnusable: the operating system does not let it be made.
    """
    return Home(homes.create(Path(path), seed=seed))


def find(start: str | os.PathLike[str], explicit: str | None = None, named: str | None = None) -> Path:
    """Return where the home to use is, whether or not it is there yet.

    It is `explicit`, else `named` (what $HB_HOME says), else the nearest `.hb` in the directory `start` or above, else
    the one among the user's data.
    """
    found = homes.find(Path(start), None if explicit is None else Path(explicit), named)
    if found is None:
        import platformdirs

        found = platformdirs.user_data_path("hb", appauthor=False)
    return found


def inspect_module(wasm: bytes, memory_limit_pages: int | None = None) -> tuple[ModuleInfo | None, Verdict]:
    """Return what a module is, if it can be read, and the verdict: what it runs as here, or why it does not.

    `memory_limit_pages` is the memory that it may have, in pages of 64 KiB; by default what a new home allows.
    """
    from hb.config import Config
    from hb.devices import verdict

    return verdict.examine(wasm, Config().memory_limit_pages if memory_limit_pages is None else memory_limit_pages)


def memory(*, cache: str | os.PathLike[str] | None = None) -> Home:
    """A new, empty home in memory; it is gone when nothing refers to it.

    It has a key of every name. No file is written, unless `cache` names a directory, its owner's alone, to keep
    compiled modules in: a large one takes a second or more to compile.
    """
    return Home(_in_memory(os.urandom(32), cache), compiled=_compiled())


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
    return FrozenHome(_in_memory(seed, cache), Clock(now_ms), seed, compiled=_compiled())


def _default_path() -> Path:
    try:
        here = Path.cwd()
    except OSError as error:
        raise HomeUnusable(f"cannot tell the working directory: {error.strerror}") from error
    return find(here, None, os.environ.get("HB_HOME")).absolute()


@functools.cache
def _compiled() -> Compiled:
    """Return the compiled modules that all homes in memory share."""
    from hb.compute.modules import Compiled

    return Compiled()


def _in_memory(seed: bytes, cache: str | os.PathLike[str] | None) -> MemoryHome:
    from hb.memory_home import MemoryHome

    return MemoryHome(seed, cache=None if cache is None else Path(cache))
