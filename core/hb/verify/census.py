"""List the processes and the names that are in a store, damaged or not.

Invariants:
    Nothing here is written, or looks at what a process is made of.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.records import keys, names
from hb.verify.evidence import Finding, Kind, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import OpenStore, Store

WINDOW_KEYS = 1000
"""Maximum definitions, heads, schedules or names that are read in one slice."""


def check_names(open_store: OpenStore) -> Iterator[Finding]:
    """Yield a finding for each name that cannot be one, or that stands for no process."""
    start, stop = keys.names()
    while True:
        try:
            with open_store() as store:
                read = _window(store, start, stop)
                findings = [finding for key, raw in read for finding in check_name(store, key, raw)]
        except IntegrityError as error:
            yield Finding(None, None, Kind.STORE, None, "a store that can be read", error.message)
            return
        yield from findings
        if len(read) < WINDOW_KEYS:
            return
        start = read[-1][0] + b"\0"


def check_name(store: Store, key: bytes, raw: bytes) -> Iterator[Finding]:
    """Yield what is wrong with the name stored under `key`."""
    name, process = text_of(key[2:]), raw.decode("ascii", "replace")
    if not ids.is_id(process) or store.get(keys.head_key(process)) is None:
        yield Finding(None, None, Kind.NAME, name, "the ID of a process that is here", text_of(raw)[:80])
    try:
        names.check(name)
    except Refused as error:
        yield Finding(None, None, Kind.NAME, name, "what can be a name", error.message)


def processes(open_store: OpenStore) -> list[str]:
    """Return every process ID with a definition, a head or a schedule, in order."""
    return sorted({*_named(open_store, keys.definitions()), *_named(open_store, keys.heads()), *_scheduled(open_store)})


def _named(open_store: OpenStore, span: keys.Range) -> Iterator[str]:
    start, stop = span
    while True:
        with open_store() as store:
            read = [key for key, _ in _window(store, start, stop)]
        yield from (text_of(key[2:]) for key in read)
        if len(read) < WINDOW_KEYS:
            return
        start = read[-1] + b"\0"


def _scheduled(open_store: OpenStore) -> Iterator[str]:
    after = None
    while True:
        with open_store() as store:
            found, after = _schedules(store, after)
        yield from found
        if after is None:
            return


def _window(store: Store, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
    return list(islice(store.scan(start, stop), WINDOW_KEYS))


def _schedules(store: Store, after: bytes | None) -> tuple[list[str], bytes | None]:
    """Return the next processes that have a schedule, and the last of them if there may be more."""
    found: list[str] = []
    while (first := next(store.scan(*keys.schedules(after)), None)) is not None:
        after = first[0][2:].split(b"/")[0]
        found.append(text_of(after))
        if len(found) == WINDOW_KEYS:
            return found, after
    return found, None
