"""Check what is stored of a process: all that can be derived is derived again, and compared.

Each finding is a value that says where it is, and how it differs.

Invariants:
    A check only reads, and never stops at the first finding.
    The store is held for short slices. Signatures are checked outside of them.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HomeUnusable, IntegrityError, NotFound, Refused
from hb.protocol import definition as definitions
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import message_id
from hb.protocol.message import Message, loads_message
from hb.records import keys
from hb.records.packing import unpack
from hb.schedule import scheduler
from hb.verify import evidence, index
from hb.verify import walk as walks
from hb.verify.evidence import (
    Finding,
    Kind,
    OnSlot,
    Stored,
    Unreadable,
    differs,
    get,
    message_in,
    read_lineage,
    signed,
    text_of,
)
from hb.verify.index import Indexed
from hb.verify.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.store import OpenStore, Store


class _Start(NamedTuple):
    """A process's head and definition, and its newest slot with an assignment (-1 if none), from one look."""

    head: Stored
    definition: Stored
    newest: int


def check_process(open_store: OpenStore, process: str, on_slot: OnSlot, *, shared: bool = True) -> Iterator[Finding]:
    """Yield everything that is wrong with what is stored of `process`.

    `on_slot(slot, last)` is called after each slot. Without `shared`, the slots that a fork shares are believed, for
    callers that check the processes that it comes from as well.

    Raises:
        NotFound: there is no such process.
        HomeUnusable: the operating system does not let the store be opened.
    """
    walked: list[Indexed] = []
    yield from check_slots(open_store, process, on_slot, walked.append, shared=shared)
    yield from index.find_strays(open_store, walked)


def check_slots(
    open_store: OpenStore,
    process: str,
    on_slot: OnSlot,
    on_walked: Callable[[Indexed], None],
    *,
    shared: bool = True,
) -> Iterator[Finding]:
    """Yield what `check_process` yields, except for stray index entries.

    `on_walked` is given, at the end, what `index.find_strays` needs to know of the process.

    Raises:
        NotFound, HomeUnusable: as `check_process`.
    """
    try:
        yield from _check_slots(open_store, process, on_slot, on_walked, shared=shared)
    except IntegrityError as error:  # the store cannot be opened: what cannot be read has its own finding
        yield Finding(process, None, Kind.STORE, None, "a store that can be read", error.message)


def _check_slots(
    open_store: OpenStore, process: str, on_slot: OnSlot, on_walked: Callable[[Indexed], None], *, shared: bool
) -> Iterator[Finding]:
    with open_store() as store:
        start = _start(store, process)
    if start.head is None and start.definition is None and start.newest < 0:
        raise NotFound(f"no process {process} here")
    line, findings = read_lineage(open_store, process)
    yield from findings
    walk = None if shared or len(line) < 2 else walks.at_origin(open_store, line[-2])
    for at in line if walk is None else line[-1:]:
        with open_store() as store:
            raw = get(store, keys.definition_key(at.process))
        definition, findings = _definition(open_store, at.process, raw, at.first)
        yield from findings
        if definition is None:
            return
        yield from _module(open_store, at.process, definition)
        if walk is None:
            walk = Walk(open_store, at.process, definition, hashpaths.base(definition))
        else:
            yield from walks.branch(walk, at, definition)
        yield from _slots(walk, at.first, min(at.last, start.newest), lambda done: on_slot(done, start.newest))
    if walk is not None:
        yield from _end_of_schedule(walk, start)
        on_walked(Indexed(process, start.newest, walk.indexed, walk.misindexed))


def _slots(walk: Walk, slot: int, last: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    while slot <= last:
        window = evidence.read_window(walk.open_store, walk.process, slot, last)
        if window.is_empty:
            end = _before_next(walk, slot, last)
            got = f"nothing, and none up to slot {end}"
            yield Finding(walk.process, slot, Kind.ASSIGNMENT, None, "the assignment", got)
            walk.chain, walk.hashpath, walk.gap = b"", "", slot if walk.gap is None else walk.gap
        else:
            yield from walks.window(walk, window, slot, on_slot)
            end = window.last
        slot = end + 1


def _before_next(walk: Walk, slot: int, last: int) -> int:
    """Return the slot before the next one of which anything is stored; `last` if none is, or it cannot be told."""
    found = []
    with walk.open_store() as store:
        for layout in (keys.assignments, keys.slot_records, keys.memory_images):
            try:
                found += [keys.slot_of(key) - 1 for key, _ in islice(store.scan(*layout(walk.process, slot, last)), 1)]
            except (IntegrityError, HomeUnusable):
                continue
    return max(slot, min(found, default=last))


def _start(store: Store, process: str) -> _Start:
    head = get(store, keys.head_key(process))
    try:
        newest = next((keys.slot_of(key) for key, _ in store.scan(*keys.assignments(process), reverse=True)), -1)
    except (IntegrityError, HomeUnusable):
        newest = _head_slot(head)
    return _Start(head, get(store, keys.definition_key(process)), newest)


def _head_slot(raw: Stored) -> int:
    """Return the slot that the bytes of a head name, or -1."""
    try:
        slot = loads_message(raw).get("slot") if isinstance(raw, bytes) else None
    except Refused:
        return -1
    return slot if type(slot) is int and 0 <= slot <= keys.LAST_SLOT else -1


# -- the definition and its images


def _definition(open_store: OpenStore, process: str, raw: Stored, slot: int) -> tuple[Message | None, list[Finding]]:
    """Return the definition, or the one in its first slot if it is damaged, and what is wrong with it."""
    message, findings = message_in(raw, process, None, Kind.DEFINITION)
    if message is not None:
        flaws = [
            *signed(message, process, None, Kind.DEFINITION),
            *differs(process, None, Kind.DEFINITION, "ID", process, message_id(message)),
        ]
        if (flaw := _unfit(message)) is not None:
            flaws.append(Finding(process, None, Kind.DEFINITION, None, "one that can be run", flaw))
        findings += flaws
        if not flaws:
            return message, findings
    with open_store() as store:
        first = get(store, keys.assignment_key(process, slot))
    assignment, _ = message_in(first, process, slot, Kind.ASSIGNMENT)
    body = None if assignment is None else unpack(assignment).get("body")
    if not isinstance(body, dict) or message_id(body) != process or _unfit(body) is not None:
        return None, findings
    return (None if signed(body, process, slot, Kind.DEFINITION) else body), findings


def _unfit(definition: Message) -> str | None:
    """Return why no process can have this definition; None if one can."""
    try:
        definitions.check(definition)
    except Refused as error:
        return error.message
    return None


def _module(open_store: OpenStore, process: str, definition: Message) -> Iterator[Finding]:
    for kind in (Kind.IMAGE, Kind.CONVERTED_IMAGE):
        name = definition.get(kind.value)
        if isinstance(name, str):
            with open_store() as store:
                raw = get(store, keys.image_key(name))
            if isinstance(raw, Unreadable):
                yield Finding(process, None, kind, None, "bytes that can be read", raw.reason)
            else:
                got = "nothing" if raw is None else message_id({"body": raw})
                yield from differs(process, None, kind, None, name, got)


# -- the end of the schedule


def _end_of_schedule(walk: Walk, start: _Start) -> Iterator[Finding]:
    """Compare the head with the last assignment, and look for what is stored of slots that nobody scheduled."""
    process = walk.process
    expected = scheduler.Head(start.newest, walk.chain, walk.timestamp_ms).encode()
    if _head_slot(start.head) > start.newest:
        got = f"nothing, though the schedule's head is slot {_head_slot(start.head)}"
        yield Finding(process, start.newest + 1, Kind.ASSIGNMENT, None, "the assignment", got)
    elif isinstance(start.head, Unreadable):
        yield Finding(process, None, Kind.HEAD, None, "bytes that can be read", start.head.reason)
    elif start.head != expected and walk.chain:
        got = "nothing" if start.head is None else text_of(start.head)[:300]
        yield Finding(process, None, Kind.HEAD, None, expected.decode(), got)
    beyond = _beyond(walk, start.newest)
    if beyond and start.head != expected:
        wanted = f"one, for slot {beyond[0].slot} has a {beyond[0].what}"
        yield Finding(process, start.newest + 1, Kind.ASSIGNMENT, None, wanted, "nothing")
    yield from beyond


def _beyond(walk: Walk, newest: int) -> list[Finding]:
    """Return findings about what was computed of slots after `newest`, and after those scheduled meanwhile."""
    found: list[Finding] = []
    if newest == keys.LAST_SLOT:
        return found
    with walk.open_store() as store:
        try:
            scheduled = store.scan(*keys.assignments(walk.process, newest + 1))
            newest = max([newest, *(keys.slot_of(key) for key, _ in scheduled)])
            for kind, layout in ((Kind.RECORD, keys.slot_records), (Kind.MEMORY_IMAGE, keys.memory_images)):
                for key, _ in store.scan(*layout(walk.process, newest + 1)):
                    wanted = "none, for the slot is not scheduled"
                    found.append(Finding(walk.process, keys.slot_of(key), kind, None, wanted, "one"))
        except (IntegrityError, HomeUnusable) as error:
            found.append(Finding(walk.process, newest + 1, Kind.STORE, None, "bytes that can be read", error.message))
    return found
