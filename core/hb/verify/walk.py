"""A schedule walked slot by slot: what follows from what was before is derived again, and compared with what is stored.

It only reads, and must never mend anything, nor stop at the first finding.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, as_text
from hb.protocol import assignment as assignments
from hb.protocol import definition as definitions
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import committers, message_id
from hb.protocol.packing import unpack
from hb.records import cache, keys
from hb.verify.evidence import (
    ASSIGNMENT,
    DEFINITION,
    INDEX,
    MEMORY_IMAGE,
    PAGE,
    RECORD,
    Finding,
    Stored,
    Unreadable,
    Window,
    differs,
    get,
    message_in,
    page_digest,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hb.protocol.message import Message
    from hb.records.lineage import Segment
    from hb.storage.store import OpenStore

WINDOW_PAGES = 64
KNOWN_PAGES = 500_000
"""So many digests of pages are remembered; a page that many slots share is looked at once."""


@dataclass
class Walk:
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


def at_origin(open_store: OpenStore, at: Segment) -> Walk:
    """A walk that has come to the last slot that a fork shares, by what is stored of that one."""
    with open_store() as store:
        raw = get(store, keys.slot_record_key(at.process, at.last))
        packed, _ = message_in(get(store, keys.assignment_key(at.process, at.last)), at.process, at.last, ASSIGNMENT)
    record, _ = message_in(raw, at.process, at.last, RECORD)
    hashpath = (record or {}).get("hashpath")
    chain, timestamp_ms = ((packed or {}).get(key) for key in ("hash-chain", "timestamp"))
    return Walk(
        open_store,
        at.process,
        {},
        hashpath=str(hashpath) if _is_hashpath(hashpath) else "",
        chain=urlsafe_b64decode(chain + "=") if isinstance(chain, str) and ids.is_id(chain) else b"",
        timestamp_ms=timestamp_ms if type(timestamp_ms) is int and 0 <= timestamp_ms <= assignments.MAX_NUMBER else 0,
        previous=ids.digest(raw) if isinstance(raw, bytes) else None,
    )


def branch(walk: Walk, at: Segment, definition: Message) -> Iterator[Finding]:
    """Goes on with the slots of a fork, which must have left where its definition says."""
    origin = definitions.origin(definition)
    assert origin is not None
    if walk.hashpath:
        yield from differs(at.process, None, f"{DEFINITION}'s fork-hashpath", walk.hashpath, origin.hashpath)
    walk.process, walk.first, walk.definition = at.process, at.first, definition
    walk.indexed, walk.misindexed = 0, set()


def window(walk: Walk, seen: Window, first: int, on_slot: Callable[[int], None]) -> Iterator[Finding]:
    """Goes on with what was read of the slots from `first` on; `on_slot` hears of each."""
    ours: dict[str, int] = {}
    for slot in range(first, seen.last + 1):
        packed, findings = message_in(seen.assignments.get(slot), walk.process, slot, ASSIGNMENT)
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
        yield from _computed(walk, seen, assignment, slot)
        on_slot(slot)
    yield from _index(walk, ours)
    yield from _pages(walk)


def _computed(walk: Walk, seen: Window, assignment: Message | None, slot: int) -> Iterator[Finding]:
    record, image = seen.records.get(slot), seen.images.get(slot)
    if record is None:
        yield from _no_record(walk, slot, image)
    else:
        yield from _record(walk, record, image, assignment, slot)
    if image is not None:
        yield from _memory_image(walk, image, slot)


def _assignment(walk: Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    process = walk.process
    yield from signed(assignment, process, slot, ASSIGNMENT, str(walk.definition["scheduler"]))
    yield from differs(process, slot, "assignment's process", process, assignment.get("process"))
    yield from differs(process, slot, "assignment's slot", slot, assignment.get("slot"))
    if not committers(body):
        yield Finding(process, slot, "assignment's message", "one that somebody signed", "one that nobody signed")
    if slot == walk.first and body != walk.definition:
        yield Finding(process, slot, "assignment's message", f"the definition {process}", message_id(body))
    yield from _chain(walk, assignment, body, slot)
    flaw = assignments.find_flaw(assignment)
    if flaw is not None and flaw.key not in {"process", "slot", "hash-chain"}:
        yield Finding(process, slot, f"assignment's {flaw.key}", flaw.expected, flaw.got)
    timestamp_ms = assignment.get("timestamp")
    if type(timestamp_ms) is int and 0 <= timestamp_ms <= assignments.MAX_NUMBER:
        if timestamp_ms < walk.timestamp_ms:
            yield Finding(
                process, slot, "assignment's timestamp", f"{walk.timestamp_ms} ms or later", str(timestamp_ms)
            )
        else:
            walk.timestamp_ms = timestamp_ms
    if walk.hashpath:
        walk.hashpath = hashpaths.step(walk.hashpath, assignment)


def _chain(walk: Walk, assignment: Message, body: Message, slot: int) -> Iterator[Finding]:
    """Compares the hash-chain; where it breaks, which is told once, it is taken up again as it stands there."""
    claimed = assignment.get("hash-chain")
    if walk.chain or slot == 0:
        walk.chain = assignments.chain(walk.chain, message_id(body))
        yield from differs(walk.process, slot, "assignment's hash-chain", ids.encode(walk.chain), claimed)
    if isinstance(claimed, str) and ids.is_id(claimed):
        walk.chain = urlsafe_b64decode(claimed + "=")
    elif not walk.chain:
        yield Finding(walk.process, slot, "assignment's hash-chain", "an ID", as_text(claimed)[:80])


def _index(walk: Walk, ours: Mapping[str, int]) -> Iterator[Finding]:
    """Compares the index entries of messages, given with their slots, all in one slice."""
    with walk.open_store() as store:
        entries = {message: get(store, keys.message_slot_key(message, walk.process)) for message in ours}
    for message, slot in ours.items():
        raw = entries[message]
        if raw == keys.encode_slot(slot):
            walk.indexed += 1
            continue
        walk.misindexed.add(message)
        got = raw.reason if isinstance(raw, Unreadable) else "nothing" if raw is None else shown_slot(raw)
        yield Finding(walk.process, slot, f"{INDEX} of message {message}", f"slot {slot}", got)


def shown_slot(raw: bytes) -> str:
    return f"slot {keys.decode_slot(raw)}" if len(raw) == keys.SLOT_BYTES else f"bytes {raw[:40].hex()}"


def _no_record(walk: Walk, slot: int, image: Stored) -> Iterator[Finding]:
    if walk.gap is None:
        walk.gap = slot
    if image is not None:
        yield Finding(walk.process, slot, MEMORY_IMAGE, "none, for the slot has no record", "one")


def _record(walk: Walk, raw: Stored, image: Stored, assignment: Message | None, slot: int) -> Iterator[Finding]:
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


def _links(walk: Walk, record: Message, assignment: Message | None, slot: int) -> Iterator[Finding]:
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


def _memory_image(walk: Walk, raw: Stored, slot: int) -> Iterator[Finding]:
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


def _pages(walk: Walk) -> Iterator[Finding]:
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
