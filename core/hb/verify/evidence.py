"""What is stored, as it is read to be checked, and what is wrong with it: bytes that cannot be read are values too.

Source: docs/format.md, which says what each record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
"""So many slots, and about so many bytes of assignments, are read in one slice at the most."""

ASSIGNMENT, DEFINITION, IMAGE = "assignment", "definition", "image"
RECORD, MEMORY_IMAGE, PAGE = "slot record", "memory image", "memory page"
INDEX, HEAD, NAME, REPLAY = "index entry", "head of the schedule", "name", "replay"
STORE, PREVIOUS = "store", "slot record's previous"

_RECORD_KEYS = frozenset(
    ("assignment", "changed", "engine", "hashpath", "image", "previous", "results", "slot", "state")
)
_DERIVED = (RECORD, MEMORY_IMAGE, PAGE, INDEX, HEAD, NAME, REPLAY)

OnSlot = Callable[[int, int], None]


class Finding(NamedTuple):
    """Something that is not what it must be. `what` names it; `expected` and `got` are texts, where there are such."""

    process: str | None
    slot: int | None
    what: str
    expected: str | None = None
    got: str | None = None

    @property
    def is_derived(self) -> bool:
        """Whether it is about something that follows from the schedule, and can be made again from it."""
        return self.what.startswith(_DERIVED)

    def as_damage(self, sentence: str, *, hint: str | None = None) -> IntegrityError:
        """What is raised where it was met on the way to something else; `sentence` says what that means there."""
        return IntegrityError(
            f"{sentence}: {self.what}",
            process=self.process,
            slot=self.slot,
            expected=self.expected,
            got=self.got,
            hint=hint,
        )


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


def get(store: Store, key: bytes) -> Stored:
    """What is stored under `key`."""
    try:
        return store.get(key)
    except (IntegrityError, HomeUnusable) as error:
        return Unreadable(error.message)


def read_window(open_store: OpenStore, process: str, first: int, newest: int) -> Window:
    """What is stored of the slots from `first` on, in one slice; as many as fit in a window."""
    last = min(newest, first + WINDOW_SLOTS - 1)
    with open_store() as store:
        try:
            return _scan(store, process, first, last)
        except (IntegrityError, HomeUnusable):
            # A scan ends where the damage begins: what lies around it is there for single reads.
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


def message_in(raw: Stored, process: str, slot: int | None, what: str) -> tuple[Message | None, list[Finding]]:
    """The message in stored bytes, which must be its canonical form."""
    if isinstance(raw, Unreadable):
        return None, [Finding(process, slot, what, "bytes that can be read", raw.reason)]
    if raw is None:
        return None, [Finding(process, slot, what, f"the {what}", "nothing")]
    try:
        message = loads_message(raw)
        canonical = dumps(message) == raw
    except Refused as error:
        return None, [Finding(process, slot, what, "canonical JSON", error.message)]
    return message, [] if canonical else [Finding(process, slot, what, "canonical JSON", "the same in another form")]


def signed(message: Message, process: str, slot: int | None, what: str, signer: str | None = None) -> list[Finding]:
    """What is wrong with the commitments of a message, which `signer`, or somebody, must have made."""
    try:
        signers = verify(message)
    except Refused as error:
        if error.hint and not isinstance(error, BadSignature):
            raise  # it is not installed what would tell
        return [Finding(process, slot, f"{what}'s commitments", "ones that verify", error.message)]
    if not signers:
        return [Finding(process, slot, f"{what}'s signer", signer or "somebody", "nobody")]
    if signer is not None and signer not in signers:
        return [Finding(process, slot, f"{what}'s signer", signer, ", ".join(signers))]
    return []


def differs(process: str, slot: int | None, what: str, expected: object, got: object) -> list[Finding]:
    """A finding where two values differ in type or content; else none."""
    return (
        []
        if expected == got and type(expected) is type(got)
        else [Finding(process, slot, what, as_text(expected), as_text(got)[:300])]
    )


def read_lineage(open_store: OpenStore, process: str) -> tuple[lineage.Lineage, list[Finding]]:
    """Whose the slots of a process are; none where that cannot be told."""
    try:
        with open_store() as store:
            return lineage.segments(store, process), []
    except IntegrityError as error:
        wanted = "that of this process, and of all that it comes from"
        return (), [Finding(error.process or process, None, DEFINITION, wanted, error.message)]


def unlike_record(record: Message) -> str | None:
    """A key of a slot record, or of the state in it, that none has there; None if there is no such key."""
    from hb.compute.transition import NOT_PUBLIC

    state = record.get("state")
    strange = (record.keys() - _RECORD_KEYS) | (NOT_PUBLIC & state.keys() if isinstance(state, dict) else set())
    return min(strange, default=None)


def page_digest(raw: Stored) -> str:
    """The digest of the page of memory in stored bytes, or why there is none."""
    if raw is None:
        return "nothing"
    if isinstance(raw, Unreadable):
        return raw.reason
    content = cache.decompress(raw)
    return "bytes that are no page" if content is None else ids.digest(content)
