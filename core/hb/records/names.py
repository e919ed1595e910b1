"""Names of processes, and prefixes of their IDs.

A name stands for one process of a home. It is no part of the process: nothing that is hashed depends on it.
"""

from __future__ import annotations

from itertools import islice
from re import compile as pattern
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.records import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import Batch, Store

PREFIX_CHARACTERS = 4
"""Minimum characters of a process ID that may stand for it, if no other ID begins with them."""

_NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HINT = "hb list shows those there are"


def resolve(store: Store, process: str) -> str:
    """Return the process ID that `process` stands for: itself, a name, or a prefix that only one ID has.

    Raises:
        NotFound: nothing has that name or prefix.
        Refused: several have that prefix.
        IntegrityError: the name stands for a process that is not here.
    """
    if ids.is_id(process) and _is_here(store, process):
        return process
    if _NAME.match(process):
        named = store.get(keys.name_key(process))
        if named is not None:
            return _process_of(store, process, named)
    if PREFIX_CHARACTERS <= len(process) < ids.ID_CHARACTERS and process.isascii():
        return _resolve_prefix(store, process)
    raise NotFound(f"no process {process!r} here", hint=_HINT)


def _resolve_prefix(store: Store, prefix: str) -> str:
    found = [keys.text_of(key) for key, _ in store.scan(*keys.definitions(prefix))]
    if not found:
        raise NotFound(f"no process is called {prefix!r}, or has an ID that begins so", hint=_HINT)
    if len(found) > 1:
        raise Refused(f"{prefix!r} is the beginning of {len(found)} process IDs: {', '.join(found[:10])}")
    return found[0]


def read_all(store: Store) -> dict[str, str]:
    """Return all names, each with the process ID that it stands for.

    Raises:
        IntegrityError: one stands for no process that is here.
    """
    return {name: _process_of(store, name, raw) for name, raw in _stored(store)}


def beginning_with(store: Store, prefix: str, most: int) -> list[str]:
    """Return the names, and then the process IDs, that begin with `prefix`: at most `most` of each."""
    spans = (keys.names(prefix), keys.definitions(prefix))
    return [keys.text_of(key) for span in spans for key, _ in islice(store.scan(*span), most)]


def _stored(store: Store) -> Iterator[tuple[str, bytes]]:
    for key, raw in store.scan(*keys.names()):
        yield keys.text_of(key), raw


def _process_of(store: Store, name: str, raw: bytes) -> str:
    process = _decode(name, raw)
    if not _is_here(store, process):
        raise IntegrityError(f"the name {name!r} stands for a process that is not here", process=process)
    return process


def _decode(name: str, raw: bytes) -> str:
    process = raw.decode("ascii", "replace")
    if not ids.is_id(process):
        raise IntegrityError(f"the name {name!r} stands for no process ID", got=repr(raw[:80]))
    return process


def _is_here(store: Store, process: str) -> bool:
    """Return whether there is anything of a process. If only a half is there, the next read tells."""
    return store.get(keys.head_key(process)) is not None or store.get(keys.definition_key(process)) is not None


def of_process(store: Store, process: str) -> list[str]:
    """Return the names of a process, sorted."""
    return [name for name, raw in _stored(store) if raw == process.encode()]


def rename(store: Store, batch: Batch, process: str, name: str, *, also: bool, replace: bool) -> tuple[str, list[str]]:
    """Have `batch` give a process another name. Return the process's ID, and the names that it loses.

    If `process` is a name, it loses that one. If it is an ID, it loses the only name that it has. With `also`, it keeps
    all. With `replace`, the name moves here from the process that has it.

    Raises:
        NotFound, IntegrityError: as `resolve`.
        Refused: as `resolve` and `give`; or an ID is given, and it is not clear which of several names is to go.
    """
    pid = resolve(store, process)
    had = of_process(store, pid)
    keeps_all = also or (process not in had and name in had)
    lost = [] if keeps_all else [each for each in ([process] if process in had else had) if each != name]
    if len(lost) > 1:
        raise Refused(
            f"process {pid} has {len(lost)} names: {', '.join(lost[:10])}",
            hint="say which one is to change, or keep them: --also",
        )
    give(store, batch, name, pid, replace=replace)
    for each in lost:
        _take(batch, each, pid)
    return pid, lost


def remove(store: Store, batch: Batch, name: str) -> str:
    """Have `batch` take a name away from its process. Return what the name stood for.

    The process need not be here, so that a name that is left over can go.

    Raises:
        NotFound: there is no such name.
    """
    raw = store.get(keys.name_key(name)) if _NAME.match(name) else None
    if raw is None:
        raise NotFound(f"no name {name!r} here", hint=_HINT)
    batch.deletes.add(keys.name_key(name))
    batch.expects[keys.name_key(name)] = raw
    return raw.decode("ascii", "backslashreplace")


def _take(batch: Batch, name: str, process: str) -> None:
    batch.deletes.add(keys.name_key(name))
    batch.expects[keys.name_key(name)] = process.encode()


def give(store: Store, batch: Batch, name: str, process: str, *, replace: bool = False) -> None:
    """Have `batch` give `process` a name. With `replace`, it moves here from the process that has it.

    Raises:
        Refused: it cannot be a name; or another process has it, and `replace` is not set.
    """
    check(name)
    holder = store.get(keys.name_key(name))
    batch.expects[keys.name_key(name)] = holder
    if holder is not None and holder != process.encode() and not replace:
        raise Refused(
            f"the name {name!r} is taken by process {_decode(name, holder)}",
            hint="give another name, or move this one: --replace",
        )
    batch.puts[keys.name_key(name)] = process.encode()


def check(name: str) -> None:
    """Make sure that `name` can be a name.

    Raises:
        Refused: it cannot. The sentence says what a name is.
    """
    if ids.is_id(name) or not _NAME.match(name):
        raise Refused(
            f"a name has 1 to 64 of A-Z a-z 0-9 . _ -, begins with a letter or digit and is no ID, got {name!r}"
        )
