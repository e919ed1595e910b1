"""Walk a schedule slot by slot: derive again what follows from the slots before, and compare it with what is stored.

Invariants:
    The walk only reads.
    It never stops at the first finding. Where a chain breaks, it says so once and goes on from what is stored there.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, Refused, as_text
from hb.protocol import assignment as assignments
from hb.protocol import definition as definitions
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import committers, message_id
from hb.records import cache, keys
from hb.records.packing import unpack
from hb.verify.evidence import (
    PREVIOUS,
    Finding,
    Kind,
    Stored,
    Unreadable,
    Window,
    differs,
    get,
    get_all,
    message_in,
    page_digest,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeGuard

    from hb.protocol.message import Message
    from hb.records.lineage import Segment
    from hb.storage.store import OpenStore

WINDOW_PAGES = 64
KNOWN_PAGES = 500_000
"""Maximum digests of pages that are remembered, so that a page that many slots share is read once."""


@dataclass
class Walk:
    """How far a check has come: what the next slot must follow from; None or empty if that is not known.

    `process` owns the slots that are looked at, from `first` on. Of a fork, the processes that it comes from are walked
    first. `chain` is the hash-chain, `previous` the digest of the record before, `gap` the first slot that has no
    record though it may need one. `indexed` counts the messages whose index entry is right; `misindexed` holds the IDs
    of the others. `unseen` are the pages yet to be looked at, with the slot of the first image that holds them.
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


def at_origin(open_store: OpenStore, at: Segment) -> Walk:
    """Return a walk that has come to the last slot that a fork shares. What is stored of that slot is believed."""
    with open_store() as store:
        raw = get(store, keys.slot_record_key(at.process, at.last))
        assignment = get(store, keys.assignment_key(at.process, at.last))
    packed, _ = message_in(assignment, at.process, at.last, Kind.ASSIGNMENT)
    record, _ = message_in(raw, at.process, at.last, Kind.RECORD)
    hashpath = (record or {}).get("hashpath")
    timestamp_ms = (packed or {}).get("timestamp")
    return Walk(
        open_store,
        at.process,
        {},
        hashpath=hashpath if is_hashpath(hashpath) else "",
        chain=_chain_value((packed or {}).get("hash-chain")),
        timestamp_ms=timestamp_ms if _is_time(timestamp_ms) else 0,
        previous=ids.digest(raw) if isinstance(raw, bytes) else None,
    )


def branch(walk: Walk, at: Segment, definition: Message) -> Iterator[Finding]:
    """Go on with the slots of a fork. It must have left its origin where its definition says."""
    origin = definitions.origin(definition)
    assert origin is not None
    if walk.hashpath:
        yield from differs(at.process, None, Kind.DEFINITION, "fork-hashpath", walk.hashpath, origin.hashpath)
    walk.process, walk.first, walk.definition = at.process, at.first, definition
    walk.indexed, walk.misindexed = 0, set()


def window(walk: Walk, seen: Window, first: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    """Go on with what was read of the slots from `first` on; call `on_slot(slot)` after each."""
    ours: dict[str, int] = {}
    for slot in range(first, seen.last + 1):
        packed, findings = message_in(seen.assignments.get(slot), walk.process, slot, Kind.ASSIGNMENT)
        yield from findings
        assignment = None if packed is None else unpack(packed)
        body = None if assignment is None else assignment.get("body")
        if assignment is None or not isinstance(body, dict):
            # This slot's own finding tells it. The slots after it are not blamed for what follows.
            walk.chain, walk.hashpath = b"", ""
        else:
            yield from _assignment(walk, assignment, body, slot)
            ours[message_id(body)] = slot
        if assignment is not None and not isinstance(body, dict):
            yield Finding(walk.process, slot, Kind.ASSIGNMENT, None, "a message as its body", type(body).__name__)
        yield from _computed(walk, seen, assignment, slot)
        on_slot(slot)
    yield from _index(walk, ours)
    yield from _pages(walk)


# -- the schedule


def _assignment(walk: Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    process, kind = walk.process, Kind.ASSIGNMENT
    yield from signed(assignment, process, slot, kind, str(walk.definition["scheduler"]))
    yield from differs(process, slot, kind, "process", process, assignment.get("process"))
    yield from differs(process, slot, kind, "slot", slot, assignment.get("slot"))
    if not committers(body):
        yield Finding(process, slot, kind, "message", "one that somebody signed", "one that nobody signed")
    if slot == walk.first and body != walk.definition:
        yield Finding(process, slot, kind, "message", f"the definition {process}", message_id(body))
    yield from _chain(walk, assignment, body, slot)
    flaw = assignments.find_flaw(assignment)
    if flaw is not None and flaw.key not in {"process", "slot", "hash-chain"}:
        yield Finding(process, slot, kind, flaw.key, flaw.expected, flaw.got)
    timestamp_ms = assignment.get("timestamp")
    if _is_time(timestamp_ms):
        if timestamp_ms < walk.timestamp_ms:
            yield Finding(process, slot, kind, "timestamp", f"{walk.timestamp_ms} ms or later", str(timestamp_ms))
        else:
            walk.timestamp_ms = timestamp_ms
    if walk.hashpath:
        try:
            walk.hashpath = hashpaths.step(walk.hashpath, assignment)
        except Refused as error:
            walk.hashpath = ""
            yield Finding(process, slot, kind, "path", "one that a hashpath goes on with", error.message)


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= assignments.MAX_NUMBER


def _chain(walk: Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    """Compare the hash-chain, and go on from what the assignment says, if that can be one."""
    claimed = assignment.get("hash-chain")
    said = _chain_value(claimed)
    if walk.chain or slot == 0:
        expected = assignments.chain(walk.chain, message_id(body))
        yield from differs(walk.process, slot, Kind.ASSIGNMENT, "hash-chain", ids.encode(expected), claimed)
        walk.chain = said or expected
    else:
        if not said:
            yield Finding(walk.process, slot, Kind.ASSIGNMENT, "hash-chain", "an ID", as_text(claimed)[:80])
        walk.chain = said


def _chain_value(claimed: object) -> bytes:
    """Return the 32 bytes of a hash-chain as an assignment has it, or none if it is no ID."""
    try:
        return ids.decode(claimed) if isinstance(claimed, str) and ids.is_id(claimed) else b""
    except ValueError:
        return b""


def _index(walk: Walk, ours: Mapping[str, int]) -> Iterator[Finding]:
    """Compare the index entries of messages, given with their slots, in one slice."""
    with walk.open_store() as store:
        entries = get_all(store, [keys.message_slot_key(message, walk.process) for message in ours])
    for (message, slot), raw in zip(ours.items(), entries, strict=True):
        if raw == keys.encode_slot(slot):
            walk.indexed += 1
            continue
        walk.misindexed.add(message)
        got = raw.reason if isinstance(raw, Unreadable) else "nothing" if raw is None else shown_slot(raw)
        yield Finding(walk.process, slot, Kind.INDEX, message, f"slot {slot}", got)


def shown_slot(raw: bytes) -> str:
    """Return what an index entry holds as a sentence shows it."""
    return f"slot {keys.decode_slot(raw)}" if len(raw) == keys.SLOT_BYTES else f"bytes {raw[:40].hex()}"


# -- what was computed


def _computed(walk: Walk, seen: Window, assignment: Message | None, slot: int) -> Iterator[Finding]:
    record, image = seen.records.get(slot), seen.images.get(slot)
    if record is None:
        yield from _no_record(walk, slot, image)
    else:
        yield from _record(walk, record, image, assignment, slot)
    if image is not None:
        yield from _memory_image(walk, image, slot)


def _no_record(walk: Walk, slot: int, image: Stored) -> Iterator[Finding]:
    if walk.gap is None:
        walk.gap = slot
    if image is not None:
        yield Finding(walk.process, slot, Kind.MEMORY_IMAGE, None, "none, for the slot has no record", "one")


def _record(walk: Walk, raw: Stored, image: Stored, assignment: Message | None, slot: int) -> Iterator[Finding]:
    process, kind = walk.process, Kind.RECORD
    if walk.gap is not None:
        # Another program may have computed it since.
        with walk.open_store() as store:
            missing = get(store, keys.slot_record_key(process, walk.gap)) is None
        if missing:
            yield Finding(process, walk.gap, kind, None, f"one, for slot {slot} has one", "nothing")
        walk.gap, walk.previous = None, None
    record, findings = message_in(raw, process, slot, kind)
    yield from findings
    if record is None or not isinstance(raw, bytes):
        walk.previous = None
        return
    try:
        cache.parse_record(raw, process, slot)
    except IntegrityError as error:
        yield Finding(process, slot, kind, None, as_text(error.expected), f"{error.what}: {as_text(error.got)}")
    yield from _links(walk, record, assignment, slot)
    walk.previous = ids.digest(raw)
    named = record.get("image")
    if named is not None or (slot == walk.first and image is None):
        got = "nothing" if image is None else ids.digest(image) if isinstance(image, bytes) else image.reason
        yield from differs(process, slot, Kind.MEMORY_IMAGE, None, "one" if named is None else named, got)


def _links(walk: Walk, record: Message, assignment: Message | None, slot: int) -> Iterator[Finding]:
    """Compare what a record says it follows from, as far as that is known, and go on from what it says."""
    expected: dict[str, object] = {"slot": slot}
    if assignment is not None:
        expected["assignment"] = message_id(assignment)
    if walk.hashpath:
        expected["hashpath"] = walk.hashpath
    if walk.previous is not None:
        expected[PREVIOUS] = walk.previous
    for key, value in expected.items():
        yield from differs(walk.process, slot, Kind.RECORD, key, value, record.get(key))
    hashpath = record.get("hashpath")
    if is_hashpath(hashpath):
        walk.hashpath = hashpath


def is_hashpath(value: object) -> TypeGuard[str]:
    """Whether a value is a hashpath as a slot record has it: two IDs."""
    return isinstance(value, str) and [bool(_chain_value(part)) for part in value.split("/")] == [True, True]


def _memory_image(walk: Walk, raw: Stored, slot: int) -> Iterator[Finding]:
    process, kind = walk.process, Kind.MEMORY_IMAGE
    if not isinstance(raw, bytes):
        yield Finding(process, slot, kind, None, "bytes that can be read", "nothing" if raw is None else raw.reason)
        return
    try:
        image = cache.parse_image(raw, process, slot)
    except IntegrityError as error:
        yield Finding(process, slot, kind, None, "an image", error.what)
        return
    if image.encode() != raw:
        yield Finding(process, slot, kind, None, "canonical JSON", "the same in another form")
    beyond = next((page for page in image.held if page >= image.pages), None)
    if beyond is not None:
        yield Finding(process, slot, kind, None, f"pages below {image.pages}", f"page {beyond}")
    most = definitions.limits(walk.definition).memory_pages
    if image.pages > most:
        yield Finding(process, slot, kind, None, f"at most {most} pages", f"{image.pages} pages")
    for digest in image.held.values():
        if digest not in walk.pages:
            walk.unseen.setdefault(digest, slot)


def _pages(walk: Walk) -> Iterator[Finding]:
    """Look at the pages that images of this window hold and no image before, a few in each slice."""
    unseen, walk.unseen = list(walk.unseen.items()), {}
    for start in range(0, len(unseen), WINDOW_PAGES):
        part = unseen[start : start + WINDOW_PAGES]
        with walk.open_store() as store:
            packed = get_all(store, [keys.page_key(digest) for digest, _ in part])
        for (digest, slot), raw in zip(part, packed, strict=True):
            got = page_digest(raw)
            if got != digest:
                yield Finding(walk.process, slot, Kind.PAGE, digest, digest, got)
            if len(walk.pages) < KNOWN_PAGES:
                walk.pages.add(digest)
