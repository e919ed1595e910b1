"""What a slot of a sender asks for: from what is stored of the sender here, or from a proof.

Invariants:
    A proof is a stranger's: its IDs, signatures and links are checked before it is used.
    What is stored here of the sender is checked with the sender. If it contradicts itself, nothing is derived from it.
    Nothing is written.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import HomeUnusable, IntegrityError, Refused
from hb.protocol import assignment as assignments
from hb.protocol import definition as definitions
from hb.protocol import delivery
from hb.protocol.commitment import message_id
from hb.protocol.message import loads_message
from hb.records import cache, deliveries, links, proofs, schedules
from hb.records.packing import unpack
from hb.verify.evidence import (
    WINDOW_BYTES,
    Finding,
    Kind,
    differs,
    finding_of,
    message_in,
    signed,
    unlike_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb.protocol.delivery import Asked, Place, Source
    from hb.protocol.message import Message
    from hb.records.proofs import Proof
    from hb.storage.store import OpenStore, Store

KNOWN_SLOTS = 256
"""Maximum slots of senders that are read together and remembered. Messages of one slot usually lie close together."""

KNOWN_SENDERS = 1000
"""Maximum definitions of senders that are remembered."""


class Wanting(NamedTuple):
    """What a slot asks for, by kind and place, and what the messages that are sent for it are made from.

    `root` is None if the slot's message was assigned to the process, and nothing here says by whose results.
    """

    definition: Message
    source: Source
    root: str | None
    asked: dict[tuple[str, int], Asked]


class Flawed(NamedTuple):
    """In place of what a slot asks for: what is wrong with its proof."""

    findings: list[Finding]


class _Read(NamedTuple):
    """What was read of a slot: a proof, or what is stored of the sender itself, with the root that it leads to."""

    proof: Proof
    is_own: bool
    root: str | None = None


class Senders:
    """What slots of senders ask for. Those that are expected are read together."""

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store = open_store
        self._slots: dict[tuple[str, int], Wanting | Flawed | None] = {}
        self._expected: dict[tuple[str, int], None] = {}
        self._sources: dict[str, tuple[Message, Source] | None] = {}

    def expect(self, places: Iterable[Place]) -> None:
        """Hear of the places that will be asked for next, in this order."""
        self._expected = dict.fromkeys((place.process, place.slot) for place in places)

    def find(self, place: Place) -> Wanting | Flawed | None:
        """Return what the slot of `place` asks for.

        It is None if neither the slot's record nor a proof is here, or if what is stored of the sender is damaged.
        """
        key = place.process, place.slot
        if key not in self._slots:
            self._slots.clear()
            for read, found in self._read_next(key):
                self._slots[read] = self._judged(found)
        return self._slots[key]

    def _read_next(self, first: tuple[str, int]) -> list[tuple[tuple[str, int], _Read | Flawed | None]]:
        """Return what is stored of a slot, and of some that are expected after it, read in one session."""
        self._expected.pop(first, None)
        read: list[tuple[tuple[str, int], _Read | Flawed | None]] = []
        length = 0
        with self._open_store() as store:
            for key in [first, *islice(self._expected, KNOWN_SLOTS - 1)]:
                found = _read(store, *key)
                read.append((key, found))
                self._expected.pop(key, None)
                length += sum(map(len, found.proof[2:])) if isinstance(found, _Read) else 0
                if length >= WINDOW_BYTES:
                    break
        return read

    def _judged(self, found: _Read | Flawed | None) -> Wanting | Flawed | None:
        if not isinstance(found, _Read):
            return found
        return self._stored(found.proof, found.root) if found.is_own else proven(found.proof)

    def _stored(self, own: Proof, root: str | None) -> Wanting | None:
        process, slot = own.process, own.slot
        if process not in self._sources:
            if len(self._sources) >= KNOWN_SENDERS:
                self._sources.clear()
            self._sources[process] = _source(process, own.definition)
        known = self._sources[process]
        if known is None:
            return None
        try:
            assignment = cache.parse(own.assignment, "assignment", process, slot)
            record = cache.parse_record(own.record, process, slot)
            if record.assignment != message_id(assignment):
                return None
            wanting = _wanting(*known, slot, assignment.get("body"), record.results)
            return None if wanting is None else wanting._replace(root=root)
        except (IntegrityError, Refused):
            return None


def _read(store: Store, process: str, slot: int) -> _Read | Flawed | None:
    """Return what is stored of a slot of a sender, or its proof; None if neither is here, or the sender is damaged."""
    try:
        own = proofs.of_sender(store, process, slot)
        if own is not None:
            is_right = is_sound(store, process, slot, own.record)
            return _Read(own, is_own=True, root=find_root(store, process, slot)) if is_right else None
    except (IntegrityError, HomeUnusable):
        return None
    try:
        proof = proofs.find(store, process, slot)
    except (IntegrityError, HomeUnusable) as error:
        return Flawed([Finding(process, slot, Kind.PROOF, None, "a proof that is whole", error.message)])
    return None if proof is None else _Read(proof, is_own=False)


def find_root(store: Store, process: str, slot: int) -> str | None:
    """Return the root of the message in a slot; None if nothing here says what it is part of.

    A message that was assigned to the process is part of what the assignment is part of, and only the home that made
    the assignment knows that.

    Raises:
        IntegrityError: what is stored is damaged.
    """
    seen: set[tuple[str, int]] = set()
    while (process, slot) not in seen:
        seen.add((process, slot))
        assigned = deliveries.find_assigned(store, process, slot)
        if assigned is None:
            body = schedules.get_assignment(store, process, slot).body
            return None if _is_assigned(body, process) else delivery.root_of(body)
        process, slot, _ = assigned
    return None


def _is_assigned(body: Message, process: str) -> bool:
    return "target" in body and body["target"] != process


def is_sound(store: Store, process: str, slot: int, record: bytes) -> bool:
    """Return whether a slot's record does not contradict what is stored beside it.

    The record after it names its digest. The newest one is compared with the record before it, and its assignment.
    """
    after = cache.read_bytes(store, process, slot + 1)
    if after is not None:
        return b'"previous":"%s"' % ids.digest(record).encode() in after
    try:
        return links.read(store, process, slot) is not None
    except IntegrityError:
        return False


def proven(proof: Proof) -> Wanting | Flawed:
    """Return what a slot of a sender asks for, as its proof says it, or what is wrong with the proof.

    Raises:
        Refused: a library that a signature needs is not installed.
    """
    process, slot = proof.process, proof.slot
    findings = list(_flaws(proof))
    if findings:
        return Flawed(findings)
    assignment = unpack(loads_message(proof.assignment))
    results = cache.parse_record(proof.record, process, slot).results
    known = _source(process, proof.definition)
    wanting = None if known is None else _wanting(*known, slot, assignment["body"], results)
    if wanting is None:
        return Flawed([Finding(process, slot, Kind.RECORD, "results", "ones that can be read", "others")])
    return wanting


def _source(process: str, raw: bytes) -> tuple[Message, Source] | None:
    """Return a sender's definition, and what its messages say of it; None if it is not the definition it must be."""
    try:
        definition = loads_message(raw)
        if message_id(definition) != process:
            return None
        definitions.check(definition)
        return definition, delivery.source(process, definition)
    except Refused:
        return None


def _wanting(definition: Message, source: Source, slot: int, body: object, results: Message) -> Wanting | None:
    if not isinstance(body, dict):
        return None
    asked: list[Asked] = []
    try:
        if slot >= first_slot(definition):  # what a shared slot asks for is delivered for the process that owns it
            asked = delivery.asked(results)
    except ValueError:  # a place with more digits than an integer may be read from
        return None
    root = None if _is_assigned(body, source.process) else delivery.root_of(body)
    return Wanting(definition, source, root, {(each.kind, each.place): each for each in asked})


def first_slot(definition: Message) -> int:
    """Return the first slot that the process with this definition owns."""
    origin = definitions.origin(definition)
    return 0 if origin is None else origin.slot + 1


def _flaws(proof: Proof) -> Iterator[Finding]:
    """Yield what is wrong with a proof, and stop where the rest would only follow from it."""
    process, slot = proof.process, proof.slot
    definition, findings = message_in(proof.definition, process, None, Kind.DEFINITION)
    if definition is not None and not findings:
        findings = [
            *signed(definition, process, None, Kind.DEFINITION),
            *differs(process, None, Kind.DEFINITION, "ID", process, message_id(definition)),
        ]
    yield from findings
    if findings or definition is None:
        return
    try:
        definitions.check(definition)
    except Refused as error:
        yield Finding(process, None, Kind.DEFINITION, None, "one that can be run", error.message)
        return
    packed, findings = message_in(proof.assignment, process, slot, Kind.ASSIGNMENT)
    if packed is not None and not findings:
        findings = list(_assignment_flaws(process, slot, definition, unpack(packed)))
    yield from findings
    if packed is not None and not findings:
        yield from _record_flaws(process, slot, unpack(packed), proof.record)


def _assignment_flaws(process: str, slot: int, definition: Message, assignment: Message) -> Iterator[Finding]:
    kind = Kind.ASSIGNMENT
    yield from signed(assignment, process, slot, kind, str(definition["scheduler"]))
    yield from differs(process, slot, kind, "process", process, assignment.get("process"))
    yield from differs(process, slot, kind, "slot", slot, assignment.get("slot"))
    flaw = assignments.find_flaw(assignment)
    if flaw is not None and flaw.key not in {"process", "slot"}:
        yield Finding(process, slot, kind, flaw.key, flaw.expected, flaw.got)
    first = first_slot(definition)
    if slot < first:
        yield Finding(process, slot, kind, "slot", f"one of its own, {first} or later", str(slot))
    elif slot == first and assignment.get("body") != definition:
        yield Finding(process, slot, kind, "message", f"the definition {process}", "another message")


def _record_flaws(process: str, slot: int, assignment: Message, raw: bytes) -> Iterator[Finding]:
    kind = Kind.RECORD
    record, findings = message_in(raw, process, slot, kind)
    yield from findings
    if record is None:
        return
    try:
        cache.parse_record(raw, process, slot)
    except IntegrityError as error:
        yield finding_of(error)
        return
    yield from differs(process, slot, kind, "slot", slot, record["slot"])
    yield from differs(process, slot, kind, "assignment", message_id(assignment), record["assignment"])
    if (strange := unlike_record(record)) is not None:
        yield Finding(process, slot, kind, None, "no keys but its own", strange[:80])
