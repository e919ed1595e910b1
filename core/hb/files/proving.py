"""Proofs of deliveries in files: which messages have one, and how it is written and read.

A proof lies just before the assignment of the first message that it is the proof of.

Invariants:
    Nothing that is read is believed here: `verify.senders` checks a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError
from hb.files import archive
from hb.protocol import delivery
from hb.records import keys, proofs
from hb.records.proofs import Proof
from hb.verify import deliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hb.files.archive import Record, Writer
    from hb.protocol.delivery import Place
    from hb.protocol.message import Message
    from hb.records.lineage import Segment
    from hb.storage.store import OpenStore

WINDOW_BYTES = 8 << 20
"""Maximum bytes of proofs that are read in one session. One proof may exceed it."""

KNOWN_SLOTS = 200_000
"""Maximum slots of senders whose proofs are known to be written. A proof that was forgotten is written again."""

KNOWN_SENDERS = 10_000
"""The same for definitions of senders."""

_KEY_BYTES = ids.ID_CHARACTERS + keys.SLOT_BYTES


def place_of(assignment: bytes) -> Place | None:
    """Return where the message in a stored assignment says that it was delivered from; None if it does not."""
    if not any(mark in assignment for mark in deliveries.MARKS):
        return None
    body = deliveries.body_in(assignment)
    return None if body is None else delivery.origin(body)


def find(open_store: OpenStore, assignment: bytes, *, without: Collection[str] = ()) -> Proof | None:
    """Return the proof of the message in a stored assignment; None if it needs none, or if there is none here.

    Messages of the processes in `without` need none.

    Raises:
        IntegrityError: a proof that is stored is not whole.
    """
    place = place_of(assignment)
    if place is None or place.process in without:
        return None
    with open_store() as store:
        return proofs.look_up(store, place.process, place.slot)


def version_for(open_store: OpenStore, line: Iterable[Segment]) -> int:
    """Return the version of the file of a history: 2 if a message in it has a proof.

    Raises:
        IntegrityError: as `find`.
    """
    line = list(line)
    own = {at.process for at in line}
    for at in line:
        for _, assignment in deliveries.marked(open_store, at):
            if find(open_store, assignment, without=own) is not None:
                return 2
    return 1


class ProofWriter:
    """Writes each proof of a file once."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._slots: set[tuple[str, int]] = set()
        self._senders: set[str] = set()

    def has(self, place: Place) -> bool:
        """Return whether the proof of a place is known to be in the file."""
        return (place.process, place.slot) in self._slots

    def put(self, proof: Proof) -> None:
        """Write a proof, unless the file has it."""
        at = proof.process, proof.slot
        if at in self._slots:
            return
        if proof.process not in self._senders:
            self._writer.put(archive.SENDER, proof.process.encode(), proof.definition)
        key = proof.process.encode() + keys.encode_slot(proof.slot)
        self._writer.put(archive.SENDER_ASSIGNMENT, key, proof.assignment)
        self._writer.put(archive.SENDER_RECORD, key, proof.record)
        if len(self._slots) < KNOWN_SLOTS:
            self._slots.add(at)
        if len(self._senders) < KNOWN_SENDERS:
            self._senders.add(proof.process)


class Prover:
    """Writes the proofs of the messages in a history, each before the first of them.

    Messages of the processes `own`, which are in the history, need none.
    """

    def __init__(self, open_store: OpenStore, writer: Writer, own: Collection[str]) -> None:
        self._open_store, self._own = open_store, own
        self._proofs = ProofWriter(writer)
        self._places: dict[int, Place] = {}
        self._read: dict[tuple[str, int], Proof | None] = {}

    def expect(self, first: int, assignments: Iterable[bytes]) -> None:
        """Hear of the stored assignments of the slots from `first` on, which are written next."""
        found = ((slot, place_of(assignment)) for slot, assignment in enumerate(assignments, first))
        self._places = {slot: place for slot, place in found if place is not None and place.process not in self._own}
        self._read = {}

    def write(self, slot: int) -> None:
        """Write the proof of the message in a slot, if it needs one and there is one.

        Raises:
            IntegrityError: a proof that is stored is not whole.
        """
        place = self._places.get(slot)
        if place is None or self._proofs.has(place):
            return
        if (place.process, place.slot) not in self._read:
            self._read_from(slot)
        proof = self._read[place.process, place.slot]
        if proof is not None:
            self._proofs.put(proof)

    def _read_from(self, first: int) -> None:
        """Read the proofs of the messages from slot `first` on, as many as fit in a window."""
        self._read, length = {}, 0
        with self._open_store() as store:
            for slot, place in self._places.items():
                at = place.process, place.slot
                if slot < first or at in self._read or self._proofs.has(place):
                    continue
                proof = self._read[at] = proofs.look_up(store, *at)
                length += 0 if proof is None else sum(map(len, proof[2:]))
                if length >= WINDOW_BYTES:
                    return


class ProofReader:
    """Takes the records of proofs, which have one order.

    `find_sender(process)` returns a sender's definition that the file had before; None if it had none.
    """

    def __init__(self, find_sender: Callable[[str], bytes | None]) -> None:
        self._find_sender = find_sender
        self._parts: list[Record] = []

    @property
    def is_empty(self) -> bool:
        """Whether no proof was begun since the last one was taken."""
        return not self._parts

    def add(self, record: Record) -> None:
        """Take the next record.

        Raises:
            IntegrityError: it is out of place.
        """
        order = [archive.SENDER, archive.SENDER_ASSIGNMENT, archive.SENDER_RECORD]
        before = self._parts[-1].kind if self._parts else None
        if before is None and record.kind == archive.SENDER_ASSIGNMENT:
            before = archive.SENDER  # the definition was in the file before
        at = 0 if before is None else order.index(before) + 1
        if at == len(order) or record.kind != order[at]:
            raise IntegrityError("it has a part of a proof there that is out of place", got=repr(record.kind))
        is_same = not self._parts or (record.key[: ids.ID_CHARACTERS] == self._parts[-1].key[: ids.ID_CHARACTERS])
        if not is_same or (at == 2 and record.key != self._parts[-1].key):
            raise IntegrityError("it has parts of different proofs where one is", got=repr(record.key[:80]))
        self._parts.append(record)

    def take(self, body: Message) -> Proof | None:
        """Return the proof that comes before the message `body`, if there is one.

        Raises:
            IntegrityError: it is not whole, or the message does not say that it comes from there.
        """
        parts, self._parts = self._parts, []
        if not parts:
            return None
        if parts[-1].kind != archive.SENDER_RECORD:
            raise IntegrityError("it has a proof that is not whole")
        process, slot = _place(parts[-1].key)
        definition = parts[0].value if parts[0].kind == archive.SENDER else self._find_sender(process)
        if definition is None:
            raise IntegrityError("it has a proof without the definition of the sender", process=process, slot=slot)
        place = delivery.origin(body)
        if place is None or (place.process, place.slot) != (process, slot):
            got = "nothing" if place is None else f"slot {place.slot} of {place.process}"
            raise IntegrityError(
                "it has a proof of another slot than the one that the message comes from",
                process=process,
                slot=slot,
                expected=f"slot {slot} of {process}",
                got=got,
            )
        return Proof(process, slot, definition, parts[-2].value, parts[-1].value)


def _place(key: bytes) -> tuple[str, int]:
    process = key[: ids.ID_CHARACTERS].decode("ascii", "replace")
    if len(key) != _KEY_BYTES or not ids.is_id(process):
        raise IntegrityError("it has a proof under a key that is no slot of a process", got=repr(key[:80]))
    return process, keys.decode_slot(key[ids.ID_CHARACTERS :])
