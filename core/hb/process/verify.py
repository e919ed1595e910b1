"""Whether what is stored of a process is what it must be: all that can be derived is derived again, and compared.

It only reads, and holds the store for short slices: signatures are checked outside of them. It must never mend
anything, nor stop at the first finding: each finding is a value that says where it is, and how it differs.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import HomeUnusable, IntegrityError, NotFound, Refused, as_text
from hb.process import cache, census, evidence, lineage, scheduler
from hb.process.evidence import (
    ASSIGNMENT,
    DEFINITION,
    HEAD,
    IMAGE,
    INDEX,
    MEMORY_IMAGE,
    PAGE,
    RECORD,
    STORE,
    Finding,
    OnSlot,
    OpenStore,
    Stored,
    Unreadable,
    Window,
    differs,
    get,
    message_in,
    page_digest,
    read_lineage,
    signed,
)
from hb.protocol import assignment as assignments
from hb.protocol import definition as definitions
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import committers, message_id
from hb.protocol.message import Message, loads_message
from hb.protocol.packing import unpack
from hb.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hb.store.store import Store

WINDOW_PAGES = 64
WINDOW_KEYS = 10_000
KNOWN_PAGES = 500_000
"""So many digests of pages are remembered; a page that many slots share is looked at once."""


class _Start(NamedTuple):
    """What one look into the store gave: a process's head and definition, and its newest slot with an assignment."""

    head: Stored
    definition: Stored
    newest: int


@dataclass
class _Walk:
    """How far a check has come: what the next slot must follow from; None where that is not known.

    `process` is whose the slots are that are looked at, from `first` on: of a fork, first those that it comes from.
    """

    open_store: OpenStore
    process: str
    definition: Message
    hashpath: str
    first: int = 0
    chain: bytes = b""
    timestamp_ms: int = 0
    previous: str | None = ""
    gap: int | None = None
    indexed: int = 0
    misindexed: set[str] = field(default_factory=set)
    pages: set[str] = field(default_factory=set)
    unseen: dict[str, int] = field(default_factory=dict)


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
    walk = None if shared or len(line) < 2 else _at_origin(open_store, line[-2])
    for at in line if walk is None else line[-1:]:
        with open_store() as store:
            raw = get(store, keys.definition_key(at.process))
        definition, findings = _definition(open_store, at.process, raw, at.first)
        yield from findings
        if definition is None:
            return
        yield from _module(open_store, at.process, definition)
        if walk is None:
            walk = _Walk(open_store, at.process, definition, hashpaths.base(definition))
        else:
            yield from _branch(walk, at, definition)
        yield from _slots(walk, at.first, min(at.last, start.newest), lambda done: on_slot(done, start.newest))
    if walk is not None:
        yield from _ends(walk, start)
        yield from _strays(walk, start.newest)


def _at_origin(open_store: OpenStore, at: lineage.Segment) -> _Walk:
    """A walk that has come to the last slot that a fork shares, by what is stored of that one."""
    with open_store() as store:
        raw = get(store, keys.slot_record_key(at.process, at.last))
        packed, _ = message_in(get(store, keys.assignment_key(at.process, at.last)), at.process, at.last, ASSIGNMENT)
    record, _ = message_in(raw, at.process, at.last, RECORD)
    hashpath = (record or {}).get("hashpath")
    chain, timestamp_ms = ((packed or {}).get(key) for key in ("hash-chain", "timestamp"))
    return _Walk(
        open_store,
        at.process,
        {},
        hashpath=str(hashpath) if _is_hashpath(hashpath) else "",
        chain=urlsafe_b64decode(chain + "=") if isinstance(chain, str) and ids.is_id(chain) else b"",
        timestamp_ms=timestamp_ms if isinstance(timestamp_ms, int) else 0,
        previous=ids.digest(raw) if isinstance(raw, bytes) else None,
    )


def _branch(walk: _Walk, at: lineage.Segment, definition: Message) -> Iterator[Finding]:
    """Goes on with the slots of a fork, which must have left where its definition says."""
    origin = definitions.origin(definition)
    assert origin is not None
    if walk.hashpath:
        yield from differs(at.process, None, f"{DEFINITION}'s fork-hashpath", walk.hashpath, origin.hashpath)
    walk.process, walk.first, walk.definition = at.process, at.first, definition
    walk.indexed, walk.misindexed = 0, set()


def _slots(walk: _Walk, slot: int, last: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    while slot <= last:
        window = evidence.read_window(walk.open_store, walk.process, slot, last)
        if window.is_empty:
            end = _before_next(walk, slot, last)
            yield Finding(walk.process, slot, ASSIGNMENT, "the assignment", f"nothing, and none up to slot {end}")
            walk.chain, walk.hashpath, walk.gap = b"", "", slot if walk.gap is None else walk.gap
        else:
            yield from _window(walk, window, slot, on_slot)
            end = window.last
        slot = end + 1


def _before_next(walk: _Walk, slot: int, last: int) -> int:
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
    """The slot that the bytes of a head name, or -1."""
    try:
        slot = loads_message(raw).get("slot") if isinstance(raw, bytes) else None
    except Refused:
        return -1
    return slot if type(slot) is int else -1


# -- what a process is


def _definition(open_store: OpenStore, process: str, raw: Stored, slot: int) -> tuple[Message | None, list[Finding]]:
    """The definition, or, where it is damaged, the one that its first slot has, if it has."""
    message, findings = message_in(raw, process, None, DEFINITION)
    if message is not None:
        flaws = [
            *signed(message, process, None, DEFINITION),
            *differs(process, None, f"{DEFINITION}'s ID", process, message_id(message)),
        ]
        try:
            definitions.check(message)
        except Refused as error:
            flaws.append(Finding(process, None, DEFINITION, "one that can be run", error.message))
        findings += flaws
        if not flaws:
            return message, findings
    with open_store() as store:
        first = get(store, keys.assignment_key(process, slot))
    assignment, _ = message_in(first, process, slot, ASSIGNMENT)
    body = None if assignment is None else unpack(assignment).get("body")
    if isinstance(body, dict) and message_id(body) == process and not signed(body, process, slot, DEFINITION):
        return body, findings
    return None, findings


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


# -- one slot


def _window(walk: _Walk, window: Window, first: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    ours: dict[str, int] = {}
    for slot in range(first, window.last + 1):
        packed, findings = message_in(window.assignments.get(slot), walk.process, slot, ASSIGNMENT)
        yield from findings
        assignment = None if packed is None else unpack(packed)
        body = None if assignment is None else assignment.get("body")
        if assignment is None or not isinstance(body, dict):
            # What follows from it is told once: here.
            walk.chain, walk.hashpath = b"", ""
        else:
            yield from _assignment(walk, assignment, body, slot)
            ours[message_id(body)] = slot
        if assignment is not None and not isinstance(body, dict):
            yield Finding(walk.process, slot, ASSIGNMENT, "a message as its body", type(body).__name__)
        yield from _computed(walk, window, assignment, slot)
        on_slot(slot)
    yield from _index(walk, ours)
    yield from _pages(walk)


def _computed(walk: _Walk, window: Window, assignment: Message | None, slot: int) -> Iterator[Finding]:
    record, image = window.records.get(slot), window.images.get(slot)
    if record is None:
        yield from _no_record(walk, slot, image)
    else:
        yield from _record(walk, record, image, assignment, slot)
    if image is not None:
        yield from _memory_image(walk, image, slot)


def _assignment(walk: _Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    process = walk.process
    yield from signed(assignment, process, slot, ASSIGNMENT, str(walk.definition["scheduler"]))
    yield from differs(process, slot, "assignment's process", process, assignment.get("process"))
    yield from differs(process, slot, "assignment's slot", slot, assignment.get("slot"))
    if not committers(body):
        yield Finding(process, slot, "assignment's message", "one that somebody signed", "one that nobody signed")
    if slot == walk.first and body != walk.definition:
        yield Finding(process, slot, "assignment's message", f"the definition {process}", message_id(body))
    yield from _chain(walk, assignment, body, slot)
    timestamp_ms = assignment.get("timestamp")
    if type(timestamp_ms) is not int or timestamp_ms < walk.timestamp_ms:
        yield Finding(
            process, slot, "assignment's timestamp", f"{walk.timestamp_ms} ms or later", as_text(timestamp_ms)
        )
    else:
        walk.timestamp_ms = timestamp_ms
    if walk.hashpath:
        walk.hashpath = hashpaths.step(walk.hashpath, assignment)


def _chain(walk: _Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    """Compares the hash-chain; where it breaks, which is told once, it is taken up again as it stands there."""
    claimed = assignment.get("hash-chain")
    if walk.chain or slot == 0:
        walk.chain = assignments.chain(walk.chain, message_id(body))
        yield from differs(walk.process, slot, "assignment's hash-chain", ids.encode(walk.chain), claimed)
    if isinstance(claimed, str) and ids.is_id(claimed):
        walk.chain = urlsafe_b64decode(claimed + "=")
    elif not walk.chain:
        yield Finding(walk.process, slot, "assignment's hash-chain", "an ID", as_text(claimed)[:80])


def _index(walk: _Walk, ours: Mapping[str, int]) -> Iterator[Finding]:
    """Compares the index entries of messages, given with their slots, all in one slice."""
    with walk.open_store() as store:
        entries = {message: get(store, keys.message_slot_key(message, walk.process)) for message in ours}
    for message, slot in ours.items():
        raw = entries[message]
        if raw == keys.encode_slot(slot):
            walk.indexed += 1
            continue
        walk.misindexed.add(message)
        got = raw.reason if isinstance(raw, Unreadable) else "nothing" if raw is None else _shown_slot(raw)
        yield Finding(walk.process, slot, f"{INDEX} of message {message}", f"slot {slot}", got)


def _shown_slot(raw: bytes) -> str:
    return f"slot {keys.decode_slot(raw)}" if len(raw) == keys.SLOT_BYTES else f"bytes {raw[:40].hex()}"


def _no_record(walk: _Walk, slot: int, image: Stored) -> Iterator[Finding]:
    if walk.gap is None:
        walk.gap = slot
    if image is not None:
        yield Finding(walk.process, slot, MEMORY_IMAGE, "none, for the slot has no record", "one")


def _record(walk: _Walk, raw: Stored, image: Stored, assignment: Message | None, slot: int) -> Iterator[Finding]:
    process = walk.process
    if walk.gap is not None:
        # Somebody may have computed it since it was looked for.
        with walk.open_store() as store:
            if store.get(keys.slot_record_key(process, walk.gap)) is None:
                yield Finding(process, walk.gap, RECORD, f"one, for slot {slot} has one", "nothing")
        walk.gap, walk.previous = None, None
    record, findings = message_in(raw, process, slot, RECORD)
    yield from findings
    if record is None or not isinstance(raw, bytes):
        walk.previous = None
        return
    try:
        cache.parse_record(raw, process, slot)
    except IntegrityError as error:
        yield Finding(process, slot, RECORD, as_text(error.expected), f"{error.what}: {as_text(error.got)}")
    yield from _links(walk, record, assignment, slot)
    walk.previous = ids.digest(raw)
    named = record.get("image")
    if named is not None or (slot == walk.first and image is None):
        got = "nothing" if image is None else ids.digest(image) if isinstance(image, bytes) else image.reason
        yield from differs(process, slot, MEMORY_IMAGE, "one" if named is None else named, got)


def _links(walk: _Walk, record: Message, assignment: Message | None, slot: int) -> Iterator[Finding]:
    """Compares what a record says of what it follows from, as far as that is known."""
    expected: dict[str, object] = {"slot": slot}
    if assignment is not None:
        expected["assignment"] = message_id(assignment)
    if walk.hashpath:
        expected["hashpath"] = walk.hashpath
    if walk.previous is not None:
        expected["previous"] = walk.previous
    for key, value in expected.items():
        yield from differs(walk.process, slot, f"{RECORD}'s {key}", value, record.get(key))
    if _is_hashpath(record.get("hashpath")):
        # Where it breaks, which was told, it is taken up again as it stands there.
        walk.hashpath = str(record["hashpath"])


def _is_hashpath(value: object) -> bool:
    return isinstance(value, str) and [ids.is_id(part) for part in value.split("/")] == [True, True]


def _memory_image(walk: _Walk, raw: Stored, slot: int) -> Iterator[Finding]:
    if not isinstance(raw, bytes):
        reason = raw.reason if raw is not None else "nothing"
        yield Finding(walk.process, slot, MEMORY_IMAGE, "bytes that can be read", reason)
        return
    try:
        image = cache.parse_image(raw, walk.process, slot)
    except IntegrityError as error:
        yield Finding(walk.process, slot, MEMORY_IMAGE, "an image", error.what)
        return
    if image.encode() != raw:
        yield Finding(walk.process, slot, MEMORY_IMAGE, "canonical JSON", "the same in another form")
    beyond = [page for page in image.held if page >= image.pages]
    if beyond:
        yield Finding(walk.process, slot, MEMORY_IMAGE, f"pages below {image.pages}", f"page {beyond[0]}")
    for digest in image.held.values():
        if digest not in walk.pages:
            walk.unseen.setdefault(digest, slot)


def _pages(walk: _Walk) -> Iterator[Finding]:
    """Looks at the pages that images of this window hold and that no one before held, a few in each slice."""
    unseen, walk.unseen = list(walk.unseen.items()), {}
    for start in range(0, len(unseen), WINDOW_PAGES):
        part = unseen[start : start + WINDOW_PAGES]
        with walk.open_store() as store:
            packed = [get(store, keys.page_key(digest)) for digest, _ in part]
        for (digest, slot), raw in zip(part, packed, strict=True):
            got = page_digest(raw)
            if got != digest:
                yield Finding(walk.process, slot, PAGE, digest, got)
            if len(walk.pages) < KNOWN_PAGES:
                walk.pages.add(digest)


# -- where a process ends


def _ends(walk: _Walk, start: _Start) -> Iterator[Finding]:
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


def _beyond(walk: _Walk, newest: int) -> list[Finding]:
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


def _strays(walk: _Walk, newest: int) -> Iterator[Finding]:
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
            got = f"{_shown_slot(raw)}, which has {has}"
            yield Finding(walk.process, None, f"{INDEX} of message {message}", "the slot of that message", got)


def _index_entries(walk: _Walk) -> Iterator[tuple[str, bytes]]:
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
