"""Whether what is stored of a process is what it must be: all that can be derived is derived again, and compared.

It only reads, and holds the store for short slices: signatures are checked outside of them. It must never mend
anything, nor stop at the first finding: each finding is a value that says where it is, and how it differs.

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
from hb.protocol.packing import unpack
from hb.records import keys
from hb.schedule import scheduler
from hb.verify import census, evidence
from hb.verify import walk as walks
from hb.verify.evidence import (
    ASSIGNMENT,
    DEFINITION,
    HEAD,
    IMAGE,
    INDEX,
    MEMORY_IMAGE,
    RECORD,
    STORE,
    Finding,
    OnSlot,
    Stored,
    Unreadable,
    differs,
    get,
    message_in,
    read_lineage,
    signed,
)
from hb.verify.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.store import OpenStore, Store

WINDOW_KEYS = 10_000


class _Start(NamedTuple):
    """What one look into the store gave: a process's head and definition, and its newest slot with an assignment."""

    head: Stored
    definition: Stored
    newest: int


def check_process(open_store: OpenStore, process: str, on_slot: OnSlot, *, shared: bool = True) -> Iterator[Finding]:
    """Everything that is wrong with what is stored of `process`; `on_slot` hears of each slot looked at, and the last.

    Without `shared` the slots that a fork shares are taken as they are: for who looks at what it comes from as well.

    Raises:
        NotFound: there is no such process.
        HomeUnusable: the operating system would not let the store be opened.
    """
    try:
        yield from _check_process(open_store, process, on_slot, shared=shared)
    except IntegrityError as error:  # of opening it: what reading it raises is a finding where it is read
        yield Finding(process, None, STORE, "a store that can be read", error.message)


def _check_process(open_store: OpenStore, process: str, on_slot: OnSlot, *, shared: bool) -> Iterator[Finding]:
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
        yield from _ends(walk, start)
        yield from _strays(walk, start.newest)


def _slots(walk: Walk, slot: int, last: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    while slot <= last:
        window = evidence.read_window(walk.open_store, walk.process, slot, last)
        if window.is_empty:
            end = _before_next(walk, slot, last)
            yield Finding(walk.process, slot, ASSIGNMENT, "the assignment", f"nothing, and none up to slot {end}")
            walk.chain, walk.hashpath, walk.gap = b"", "", slot if walk.gap is None else walk.gap
        else:
            yield from walks.window(walk, window, slot, on_slot)
            end = window.last
        slot = end + 1


def _before_next(walk: Walk, slot: int, last: int) -> int:
    """The slot before the next one of which anything is stored; `last` if none is, or it cannot be told."""
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
    return slot if type(slot) is int and slot <= keys.LAST_SLOT else -1


# -- what a process is


def _definition(open_store: OpenStore, process: str, raw: Stored, slot: int) -> tuple[Message | None, list[Finding]]:
    """Return the definition, or if it is damaged, the one in the process's first slot if that one is sound."""
    message, findings = message_in(raw, process, None, DEFINITION)
    if message is not None:
        flaws = [
            *signed(message, process, None, DEFINITION),
            *differs(process, None, f"{DEFINITION}'s ID", process, message_id(message)),
        ]
        if (flaw := _unfit(message)) is not None:
            flaws.append(Finding(process, None, DEFINITION, "one that can be run", flaw))
        findings += flaws
        if not flaws:
            return message, findings
    with open_store() as store:
        first = get(store, keys.assignment_key(process, slot))
    assignment, _ = message_in(first, process, slot, ASSIGNMENT)
    body = None if assignment is None else unpack(assignment).get("body")
    if not isinstance(body, dict) or message_id(body) != process or _unfit(body) is not None:
        return None, findings
    return (None if signed(body, process, slot, DEFINITION) else body), findings


def _unfit(definition: Message) -> str | None:
    """Return why no process can have this definition; None if one can."""
    try:
        definitions.check(definition)
    except Refused as error:
        return error.message
    return None


def _module(open_store: OpenStore, process: str, definition: Message) -> Iterator[Finding]:
    for key in (IMAGE, "converted-image"):
        name = definition.get(key)
        if isinstance(name, str):
            with open_store() as store:
                raw = get(store, keys.image_key(name))
            if isinstance(raw, Unreadable):
                yield Finding(process, None, key, "bytes that can be read", raw.reason)
            else:
                yield from differs(process, None, key, name, "nothing" if raw is None else message_id({"body": raw}))


# -- where a process ends


def _ends(walk: Walk, start: _Start) -> Iterator[Finding]:
    """Compares the head with the last assignment, and looks for what is stored of slots that nobody scheduled."""
    process = walk.process
    expected = scheduler.Head(start.newest, walk.chain, walk.timestamp_ms).encode()
    if _head_slot(start.head) > start.newest:
        got = f"nothing, though the schedule's head is slot {_head_slot(start.head)}"
        yield Finding(process, start.newest + 1, ASSIGNMENT, "the assignment", got)
    elif isinstance(start.head, Unreadable):
        yield Finding(process, None, HEAD, "bytes that can be read", start.head.reason)
    elif start.head != expected and walk.chain:
        got = "nothing" if start.head is None else start.head.decode("utf-8", "backslashreplace")[:300]
        yield Finding(process, None, HEAD, expected.decode(), got)
    beyond = _beyond(walk, start.newest)
    if beyond and start.head != expected:
        yield Finding(
            process, start.newest + 1, ASSIGNMENT, f"one, for slot {beyond[0].slot} has a {beyond[0].what}", "nothing"
        )
    yield from beyond


def _beyond(walk: Walk, newest: int) -> list[Finding]:
    found: list[Finding] = []
    if newest == keys.LAST_SLOT:
        return found
    with walk.open_store() as store:
        try:
            newest = max(
                [newest, *(keys.slot_of(key) for key, _ in store.scan(*keys.assignments(walk.process, newest + 1)))]
            )
            for what, layout in ((RECORD, keys.slot_records), (MEMORY_IMAGE, keys.memory_images)):
                for key, _ in store.scan(*layout(walk.process, newest + 1)):
                    found.append(
                        Finding(walk.process, keys.slot_of(key), what, "none, for the slot is not scheduled", "one")
                    )
        except (IntegrityError, HomeUnusable) as error:
            found.append(Finding(walk.process, newest + 1, STORE, "bytes that can be read", error.message))
    return found


def _strays(walk: Walk, newest: int) -> Iterator[Finding]:
    """Index entries of this process that no slot accounts for; each is looked at only where there are too many."""
    entries = [(name, raw) for name, raw in _index_entries(walk) if name not in walk.misindexed]
    if len(entries) == walk.indexed:
        return
    known = sum(len(raw) == keys.SLOT_BYTES and keys.decode_slot(raw) <= newest for _, raw in entries)
    for message, raw in entries:
        slot = keys.decode_slot(raw) if len(raw) == keys.SLOT_BYTES else -1
        if 0 <= slot <= newest and known == walk.indexed:
            continue
        with walk.open_store() as store:
            stored = None if slot < 0 else get(store, keys.assignment_key(walk.process, slot))
        assignment, _ = message_in(stored, walk.process, slot, ASSIGNMENT)
        if assignment is None and slot <= newest:
            continue  # that slot's own findings say so
        body = None if assignment is None else assignment.get("body")
        has = f"message {message_id(body)}" if isinstance(body, dict) else "no message"
        if has != f"message {message}":
            got = f"{walks.shown_slot(raw)}, which has {has}"
            yield Finding(walk.process, None, f"{INDEX} of message {message}", "the slot of that message", got)


def _index_entries(walk: Walk) -> Iterator[tuple[str, bytes]]:
    start, stop = keys.messages()
    suffix = b"/" + walk.process.encode()
    while True:
        read = 0
        with walk.open_store() as store:
            found = []
            try:
                for key, raw in store.scan(start, stop):
                    read += 1
                    start = key + b"\0"
                    if key.endswith(suffix):
                        found.append((census.text_of(key[2 : -len(suffix)]), raw))
                    if read == WINDOW_KEYS:
                        break
            except (IntegrityError, HomeUnusable):
                # Each slot looked for its own entry, and said so if it could not read it.
                read = 0
        yield from found
        if read < WINDOW_KEYS:
            return
