"""Proofs of deliveries: what it takes to check a message whose sender is not in this home.

The proof is the sender's definition, and the assignment and the record of the slot whose results ask for the message.
An import stores it, and an export passes it on.

Invariants:
    Nothing is believed here: `hb.verify.senders` checks a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.errors import IntegrityError
from hb.records import keys

if TYPE_CHECKING:
    from hb.storage.store import Batch, Store

LENGTH_BYTES = 4


class Proof(NamedTuple):
    """What a slot of the sender `process` asks for: the stored bytes of the sender's definition, and of the slot's
    assignment and record."""

    process: str
    slot: int
    definition: bytes
    assignment: bytes
    record: bytes


def find(store: Store, process: str, slot: int) -> Proof | None:
    """Return the proof that is stored for a slot of a sender; None if there is none.

    Raises:
        IntegrityError: a part of it is missing.
    """
    raw = store.get(keys.proof_key(process, slot))
    if raw is None:
        return None
    definition = store.get(keys.sender_key(process))
    end = LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "big")
    if definition is None or end > len(raw):
        what = "its slot ends too soon" if definition is not None else "the sender's definition is gone"
        raise IntegrityError(f"the proof of a delivery is not whole: {what}", process=process, slot=slot)
    return Proof(process, slot, definition, raw[LENGTH_BYTES:end], raw[end:])


def of_sender(store: Store, process: str, slot: int) -> Proof | None:
    """Return what is stored of a slot of a sender that is here; None if it is not, or if the slot is not computed."""
    definition, assignment, record = store.get_many(
        [keys.definition_key(process), keys.assignment_key(process, slot), keys.slot_record_key(process, slot)]
    )
    if definition is None or assignment is None or record is None:
        return None
    return Proof(process, slot, definition, assignment, record)


def look_up(store: Store, process: str, slot: int) -> Proof | None:
    """Return the proof of a slot of a sender: what is stored of the sender, or else the proof that is.

    Raises:
        IntegrityError: as `find`.
    """
    return of_sender(store, process, slot) or find(store, process, slot)


def put(batch: Batch, proof: Proof) -> None:
    """Put a proof into `batch`."""
    length = len(proof.assignment).to_bytes(LENGTH_BYTES, "big")
    batch.puts[keys.sender_key(proof.process)] = proof.definition
    batch.puts[keys.proof_key(proof.process, proof.slot)] = length + proof.assignment + proof.record
