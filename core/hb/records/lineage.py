"""Read definitions, and find the process that owns each slot of a fork.

A fork shares the slots of its origin up to the slot where it left. Nothing is copied: the records of a shared slot are
stored under the ID of the process that owns it, and a `View` of a store finds them there.

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
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from hb.protocol.definition import Origin
    from hb.protocol.message import Message
    from hb.storage.store import Batch, Store

MOST_ORIGINS = 1000
"""Maximum ancestors of a process. All their definitions are read before the first slot."""

# Every fork's stored definition contains these bytes. A definition without them need not be parsed.
_FORK_MARK = b'"%s":' % definitions.FORK_KEYS[0].encode()


class Segment(NamedTuple):
    """The slots `first` to `last`, both included, that belong to `process`."""

    process: str
    first: int
    last: int


Lineage = tuple[Segment, ...]
"""The owners of a process's slots, from slot 0. The last segment belongs to the process itself, and has no end."""


def get_definition(store: Store, process: str) -> Message:
    """Return the definition of a process. Check every field of it.

    Raises:
        NotFound: there is no such process.
        IntegrityError: the definition is missing, but the head is stored; or the stored bytes do not have that
            ID; or a field has a value that no definition can have.
    """
    raw = store.get(keys.definition_key(process))
    if raw is None:
        if store.get(keys.head_key(process)) is not None:
            raise IntegrityError("the definition is gone", process=process)
        raise NotFound(f"no process {process} here")
    definition = parse(raw, "definition", process, None)
    commitments = definition.get("commitments")
    try:
        # The hmac commitment covers all of the content. Computing it is faster than verifying a signature.
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
    return _lineage_of(store, process, store.get(keys.definition_key(process)), {})


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
    """Open a store with `opening`, and give a `View` of it. `known` keeps the lineages that are found."""
    with opening as store:
        yield View(store, known)


def _lineage_of(store: Store, process: str, definition: bytes | None, known: dict[str, Lineage]) -> Lineage:
    """Return the lineage of a process with the stored `definition`. Without a definition it is one segment."""
    if definition is None or _FORK_MARK not in definition:
        return (Segment(process, 0, keys.LAST_SLOT),)
    return _trace(store, process, known)


def _trace(store: Store, process: str, known: dict[str, Lineage]) -> Lineage:
    """Return the lineage of a fork. Add its lineage, and the lineages of its ancestors, to `known`."""
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
        line = _lineage_after_fork(line, made, origin)
        known[made] = line
    return line


def _lineage_after_fork(line: Lineage, process: str, origin: Origin | None) -> Lineage:
    """Return the lineage of a process that left `origin`, where `line` is the lineage of the origin's process."""
    if origin is None:
        return (Segment(process, 0, keys.LAST_SLOT),)
    shared = [
        segment if segment.last <= origin.slot else segment._replace(last=origin.slot)
        for segment in line
        if segment.first <= origin.slot
    ]
    return (*shared, Segment(process, origin.slot + 1, keys.LAST_SLOT))


class View:
    """A store in which a fork's shared slots can be read under the fork's own ID.

    Writes are passed on as they are. `known` keeps lineages, which never change.
    """

    def __init__(self, store: Store, known: dict[str, Lineage] | None = None) -> None:
        self._store = store
        self._known = {} if known is None else known

    def segments(self, process: str) -> Lineage:
        """Return the lineage of a process; see the function `segments`."""
        found = self._known.get(process)
        if found is None:
            raw = self._store.get(keys.definition_key(process))
            found = _lineage_of(self._store, process, raw, self._known)
            if raw is not None:
                self._known[process] = found
        return found

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is none."""
        raw = self._store.get(self._at_owner(key))
        return self._shared_entry(key) if raw is None and key[:2] == keys.MESSAGE_SLOTS else raw

    def get_many(self, wanted: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under these keys, in their order."""
        found = self._store.get_many([self._at_owner(key) for key in wanted])
        for at, key in enumerate(wanted):
            if found[at] is None and key[:2] == keys.MESSAGE_SLOTS:
                found[at] = self._shared_entry(key)
        return found

    def _at_owner(self, key: bytes) -> bytes:
        """Return the key under which the owner of a slot has its record. Other keys stay as they are."""
        kind = key[:2]
        if kind not in keys.SLOTTED:
            return key
        process = keys.owner_of(key)
        if len(self.segments(process)) == 1:
            return key
        slot = keys.slot_of(key)
        return keys.slotted_key(kind, owner(self, process, slot), slot)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values with start <= key < stop. The key of a shared slot has its owner's ID."""
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

    def _shared_entry(self, key: bytes) -> bytes | None:
        """Return the index entry of a message that the process shares with an ancestor, or None."""
        message = keys.message_of(key)
        for at in self.segments(keys.process_of(key))[:-1]:
            raw = self._store.get(keys.message_slot_key(message, at.process))
            if raw is not None and len(raw) == keys.SLOT_BYTES and at.first <= keys.decode_slot(raw) <= at.last:
                return raw
        return None
