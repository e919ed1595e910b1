"""What is stored, as it is read to be checked, and what is wrong with it.

Bytes that cannot be read are values here, so that a check goes on around them.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import BadSignature, HomeUnusable, IntegrityError, Refused, as_text
from hb.protocol.commitment import verify
from hb.protocol.message import Message, dumps, loads_message
from hb.records import cache, keys, lineage

if TYPE_CHECKING:
    from hb.storage.store import OpenStore, Store

WINDOW_SLOTS = 200
WINDOW_BYTES = 8 << 20
"""Maximum slots, and bytes of assignments, that are read in one slice. One assignment may exceed the bytes."""

_RECORD_KEYS = frozenset(
    ("assignment", "changed", "engine", "hashpath", "image", "previous", "results", "slot", "state")
)

OnSlot = Callable[[int, int], None]


class Kind(StrEnum):
    """What a finding is about. The value is how a sentence names it."""

    ASSIGNMENT = "assignment"
    DEFINITION = "definition"
    IMAGE = "image"
    CONVERTED_IMAGE = "converted-image"
    RECORD = "slot record"
    MEMORY_IMAGE = "memory image"
    PAGE = "memory page"
    INDEX = "index entry"
    HEAD = "head of the schedule"
    NAME = "name"
    REPLAY = "replay"
    DELIVERY = "delivered message"
    PROOF = "proof of a delivered message"
    DELIVERED = "record of the delivery"
    HELD = "record of the held delivery"
    ASSIGNED = "record of the assignment by a program"
    CURSOR = "cursor of deliveries"
    QUEUED = "entry of the queue of deliveries"
    ROOT = "budget of a push"
    ATTESTATION = "attestation"
    STORE = "store"
    DAMAGE = "damage"
    """What was met as an `IntegrityError`; `part` is its sentence."""


PREVIOUS = "previous"
"""`part` of a finding about the digest that a slot record has of the record before it."""

DELIVERY_RECORDS = frozenset((Kind.DELIVERED, Kind.HELD, Kind.ASSIGNED, Kind.CURSOR, Kind.QUEUED, Kind.ROOT))
"""The kinds of what pushes remember. It follows from schedules and results."""

_DERIVED = DELIVERY_RECORDS | {
    Kind.RECORD,
    Kind.MEMORY_IMAGE,
    Kind.PAGE,
    Kind.INDEX,
    Kind.HEAD,
    Kind.NAME,
    Kind.REPLAY,
}


class Finding(NamedTuple):
    """Something that is not what it must be.

    `part` says more about what it is: a key of a record or message; the message ID of an index entry; the digest of a
    page; the name; the path at which a replay differs; the place of a delivery in the results; the number of an entry
    of the queue; the message that is a root. `expected` and `got` are texts for a person to read.
    """

    process: str | None
    slot: int | None
    kind: Kind
    part: str | None = None
    expected: str | None = None
    got: str | None = None

    @property
    def what(self) -> str:
        """What it is about, in words. No code reads them: it reads `kind` and `part`."""
        kind, part = self.kind, self.part
        if part is None or kind is Kind.PAGE:
            return str(kind)
        if kind is Kind.DAMAGE:
            return part
        if kind is Kind.REPLAY:
            return f"{kind}: {part}"
        if kind in DELIVERY_RECORDS:
            return f"{kind} {part}"
        if kind is Kind.INDEX:
            return f"{kind} of message {part}"
        return f"{kind} {part!r}" if kind is Kind.NAME else f"{kind}'s {part}"

    @property
    def is_derived(self) -> bool:
        """Whether it is about something that follows from the schedule, and can be made again from it."""
        return self.kind in _DERIVED

    @property
    def is_about_previous(self) -> bool:
        """Whether a slot record and the one before it do not fit: either may be the wrong one."""
        return self.kind is Kind.RECORD and self.part == PREVIOUS

    def as_damage(self, sentence: str, *, hint: str | None = None) -> IntegrityError:
        """Return the error to raise where this ends other work; `sentence` says what work."""
        return IntegrityError(
            f"{sentence}: {self.what}",
            process=self.process,
            slot=self.slot,
            expected=self.expected,
            got=self.got,
            hint=hint,
        )


def finding_of(error: IntegrityError) -> Finding:
    """Return damage as a finding."""
    expected = None if error.expected is None else as_text(error.expected)
    got = None if error.got is None else as_text(error.got)
    return Finding(error.process, error.slot, Kind.DAMAGE, error.what, expected, got)


class Unreadable(NamedTuple):
    """In place of stored bytes: why they cannot be read."""

    reason: str


Stored = bytes | Unreadable | None


class Window(NamedTuple):
    """What is stored of the slots up to `last`, by slot."""

    last: int
    assignments: Mapping[int, Stored]
    records: Mapping[int, Stored]
    images: Mapping[int, Stored]

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is stored of these slots."""
        return all(raw is None for part in self[1:] for raw in part.values())


def text_of(raw: bytes) -> str:
    """Return stored bytes that should be text as text, whatever they are."""
    return raw.decode("utf-8", "backslashreplace")


def get(store: Store, key: bytes) -> Stored:
    """Return what is stored under `key`."""
    try:
        return store.get(key)
    except (IntegrityError, HomeUnusable) as error:
        return Unreadable(error.message)


def get_all(store: Store, wanted: Sequence[bytes]) -> list[Stored]:
    """Return what is stored under these keys, read in one go unless some of it cannot be read."""
    try:
        return list(store.get_many(wanted))
    except (IntegrityError, HomeUnusable):
        return [get(store, key) for key in wanted]


def read_window(open_store: OpenStore, process: str, first: int, newest: int) -> Window:
    """Return what is stored of as many slots from `first` on as fit in a window, read in one slice."""
    last = min(newest, first + WINDOW_SLOTS - 1)
    with open_store() as store:
        try:
            return _scan(store, process, first, last)
        except (IntegrityError, HomeUnusable):
            # A scan ends where the damage begins. Single reads find what lies around it.
            slots = range(first, last + 1)
            return Window(
                last,
                {slot: get(store, keys.assignment_key(process, slot)) for slot in slots},
                {slot: get(store, keys.slot_record_key(process, slot)) for slot in slots},
                {slot: get(store, keys.memory_image_key(process, slot)) for slot in slots},
            )


def _scan(store: Store, process: str, first: int, last: int) -> Window:
    found: dict[int, Stored] = {}
    length = 0
    for key, raw in store.scan(*keys.assignments(process, first, last)):
        found[keys.slot_of(key)] = raw
        length += len(raw)
        if length >= WINDOW_BYTES:
            last = min(last, max(first, keys.slot_of(key)))
            break
    return Window(
        last,
        found,
        {keys.slot_of(key): raw for key, raw in store.scan(*keys.slot_records(process, first, last))},
        {keys.slot_of(key): raw for key, raw in store.scan(*keys.memory_images(process, first, last))},
    )


def message_in(raw: Stored, process: str, slot: int | None, kind: Kind) -> tuple[Message | None, list[Finding]]:
    """Return the message in stored bytes, which must be its canonical form, and what is wrong with them."""
    if isinstance(raw, Unreadable):
        return None, [Finding(process, slot, kind, None, "bytes that can be read", raw.reason)]
    if raw is None:
        return None, [Finding(process, slot, kind, None, f"the {kind}", "nothing")]
    try:
        message = loads_message(raw)
        written = dumps(message)
    except Refused as error:
        return None, [Finding(process, slot, kind, None, "canonical JSON", error.message)]
    if written == raw:
        return message, []
    return message, [Finding(process, slot, kind, None, "canonical JSON", "the same in another form")]


def signed(message: Message, process: str, slot: int | None, kind: Kind, signer: str | None = None) -> list[Finding]:
    """Return what is wrong with the commitments of a message, which `signer`, or anybody, must have made.

    Raises:
        Refused: a library that a signature needs is not installed.
    """
    try:
        signers = verify(message)
    except Refused as error:
        if error.hint and not isinstance(error, BadSignature):
            raise
        return [Finding(process, slot, kind, "commitments", "ones that verify", error.message)]
    if not signers:
        return [Finding(process, slot, kind, "signer", signer or "somebody", "nobody")]
    if signer is not None and signer not in signers:
        return [Finding(process, slot, kind, "signer", signer, ", ".join(signers))]
    return []


def differs(
    process: str, slot: int | None, kind: Kind, part: str | None, expected: object, got: object
) -> list[Finding]:
    """Return a finding if two values differ in type or content; else none."""
    if expected == got and type(expected) is type(got):
        return []
    return [Finding(process, slot, kind, part, as_text(expected), as_text(got)[:300])]


def read_lineage(open_store: OpenStore, process: str) -> tuple[lineage.Lineage, list[Finding]]:
    """Return which process owns which slots; no segments if that cannot be told."""
    try:
        with open_store() as store:
            return lineage.segments(store, process), []
    except IntegrityError as error:
        wanted = "that of this process, and of all that it comes from"
        return (), [Finding(error.process or process, None, Kind.DEFINITION, None, wanted, error.message)]


def unlike_record(record: Message) -> str | None:
    """Return a key of a slot record, or of the state in it, that no record has; None if there is no such key."""
    from hb.compute.transition import NOT_PUBLIC

    state = record.get("state")
    strange = (record.keys() - _RECORD_KEYS) | (NOT_PUBLIC & state.keys() if isinstance(state, dict) else set())
    return min(strange, default=None)


def page_digest(raw: Stored) -> str:
    """Return the digest of the page of memory in stored bytes, or a phrase that says why there is none."""
    if raw is None:
        return "nothing"
    if isinstance(raw, Unreadable):
        return raw.reason
    content = cache.decompress(raw)
    return "bytes that are no page" if content is None else ids.digest(content)
