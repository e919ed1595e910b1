"""Definitions, and which process owns each slot of a fork.

A fork shares its origin's slots up to the slot where it left. Nothing is copied: a shared slot's records are stored
under the origin's ID, and a `View` of a store finds them there.

Invariants:
    Nothing is written here.
    Nothing here knows what a record contains, except a definition.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import definition as definitions
from hb.protocol.commitment import message_id
from hb.records import keys
from hb.records.cache import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from hb.protocol.definition import Origin
    from hb.protocol.message import Message
    from hb.storage.store import Batch, Store

MOST_ORIGINS = 1000
"""So many processes one can come from; each of their definitions is read before a slot of it is."""

_SAYS_FORK = b'"%s":' % definitions.FORK_KEYS[0].encode()


class Segment(NamedTuple):
    """The slots `first` to `last`, both included, that belong to `process`."""

    process: str
    first: int
    last: int


Lineage = tuple[Segment, ...]
"""Whose the slots of a process are, from slot 0 on; the last segment is the process's own, and has no end."""


def get_definition(store: Store, process: str) -> Message:
    """Return the definition of a process, every field of it checked.

    Raises:
        NotFound: there is no such process.
        IntegrityError: the stored bytes are not the definition with that ID, or one that no process can have.
    """
    raw = store.get(keys.definition_key(process))
    if raw is None:
        if store.get(keys.head_key(process)) is not None:
            raise IntegrityError("the definition is gone", process=process)
        raise NotFound(f"no process {process} here")
    definition = parse(raw, "definition", process, None)
    commitments = definition.get("commitments")
    try:
        # Its hmac commitment is over its content, and quicker to make anew than a signature is to verify.
        is_right = (
            isinstance(commitments, dict)
            and message_id(definition) == process
            and message_id(definition, "none") in commitments
        )
    except Refused as error:
        raise IntegrityError(f"the definition is not readable ({error.message})", process=process) from error
    if not is_right:
        raise IntegrityError("the definition stored here is not what the process's ID is of", process=process)
    try:
        definitions.check(definition)
    except Refused as error:
        raise IntegrityError(f"the definition is not what it must be: {error.message}", process=process) from error
    return definition


def segments(store: Store, process: str) -> Lineage:
    """Return the lineage of a process: one segment, or several for a fork.

    Raises:
        IntegrityError: its definition, or that of an ancestor, is damaged or missing.
    """
    if isinstance(store, View):
        return store.segments(process)
    return _told(store, process, store.get(keys.definition_key(process)), {})


def owner(store: Store, process: str, slot: int) -> str:
    """Return the process that owns `slot` of `process`: itself, or an ancestor that it shares the slot with.

    Raises:
        IntegrityError: as `segments`.
    """
    return owner_in(segments(store, process), slot) or process


def owner_in(line: Lineage, slot: int) -> str | None:
    """Return the process in `line` that owns `slot`, or None."""
    return next((segment.process for segment in line if segment.first <= slot <= segment.last), None)


def first_slot(store: Store, process: str) -> int:
    """Return the first slot that a process owns: the slot of its definition."""
    return segments(store, process)[-1].first


@contextmanager
def viewed(opening: AbstractContextManager[Store], known: dict[str, Lineage]) -> Iterator[Store]:
    """Open a store with `opening`, as a `View`."""
    with opening as store:
        yield View(store, known)


def _told(store: Store, process: str, definition: bytes | None, known: dict[str, Lineage]) -> Lineage:
    """Return the lineage of a process whose stored definition is `definition`."""
    if definition is None or _SAYS_FORK not in definition:
        return (Segment(process, 0, keys.LAST_SLOT),)
    return _trace(store, process, known)


def _trace(store: Store, process: str, known: dict[str, Lineage]) -> Lineage:
    """Return the lineage of a fork, and add it and its ancestors' to `known`."""
    path: dict[str, Origin | None] = {}
    at: str | None = process
    while at is not None and at not in known:
        if at in path:
            raise IntegrityError("this process comes from itself, as its definition says it", process=process, got=at)
        if len(path) > MOST_ORIGINS:
            raise IntegrityError(
                "the process comes from more others than one can",
                process=process,
                expected=f"{MOST_ORIGINS} or fewer",
                got="more",
            )
        try:
            origin = definitions.origin(get_definition(store, at))
        except (NotFound, Refused) as error:
            raise IntegrityError(
                f"a process that this one comes from is missing: {error.message}", process=process
            ) from error
        path[at] = origin
        at = None if origin is None else origin.process
    line: Lineage = () if at is None else known[at]
    for made, origin in reversed(path.items()):
        line = _after(line, made, origin)
        known[made] = line
    return line


def _after(line: Lineage, process: str, origin: Origin | None) -> Lineage:
    """Return the lineage of a process that left a process with the lineage `line`."""
    if origin is None:
        return (Segment(process, 0, keys.LAST_SLOT),)
    shared = [
        segment if segment.last <= origin.slot else segment._replace(last=origin.slot)
        for segment in line
        if segment.first <= origin.slot
    ]
    return (*shared, Segment(process, origin.slot + 1, keys.LAST_SLOT))


class View:
    """A store in which a fork's shared slots appear under the fork's own ID.

    Writes go to the keys that they name. `known` holds lineages found before; a lineage never changes.
    """

    def __init__(self, store: Store, known: dict[str, Lineage] | None = None) -> None:
        self._store = store
        self._known = {} if known is None else known

    def segments(self, process: str) -> Lineage:
        """Return the lineage of a process; see the function `segments`."""
        found = self._known.get(process)
        if found is None:
            raw = self._store.get(keys.definition_key(process))
            found = _told(self._store, process, raw, self._known)
            if raw is not None:
                self._known[process] = found
        return found

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is none."""
        kind = key[:2]
        if kind in keys.SLOTTED:
            process = keys.owner_of(key)
            line = self.segments(process)
            if len(line) > 1:
                slot = keys.slot_of(key)
                key = keys.slotted_key(kind, owner(self, process, slot), slot)
        raw = self._store.get(key)
        if raw is None and kind == keys.MESSAGE_SLOTS:
            return self._inherited(key)
        return raw

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values with start <= key < stop. A shared slot has its owner's key."""
        span = keys.span_of(start, stop)
        line = () if span is None else self.segments(span[0])
        if span is None or len(line) == 1:
            return self._store.scan(start, stop, reverse=reverse)
        _, first, last = span
        parts = [
            self._store.scan(
                *keys.slotted(start[:2], at.process, max(first, at.first), min(last, at.last)), reverse=reverse
            )
            for at in line
            if first <= at.last and at.first <= last
        ]
        return chain.from_iterable(reversed(parts) if reverse else parts)

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once."""
        self._store.commit(batch)

    def _inherited(self, key: bytes) -> bytes | None:
        """Return the index entry of a message that the process shares with an ancestor, or None."""
        message = keys.message_of(key)
        for at in self.segments(keys.process_of(key))[:-1]:
            raw = self._store.get(keys.message_slot_key(message, at.process))
            if raw is not None and len(raw) == keys.SLOT_BYTES and at.first <= keys.decode_slot(raw) <= at.last:
                return raw
        return None
