"""The key of every record, and the version of the format. DO NOT CHANGE.

Homes that were written with these keys must stay readable. A change of any constant here, or of what a record holds,
needs a new FORMAT and a migration (`records/formats.py`). `docs/format.md` describes the same, byte by byte.

IDs are 43 characters of base64url, stored as ASCII. Slots are 8 bytes, big-endian, so that keys sort by slot.

Invariants:
    This module holds key layouts and nothing else.
    It never reads or writes a store, and does not know what a record contains.
"""

from __future__ import annotations

# The version of every key and record here.
FORMAT = b"1"
FORMAT_KEY = b"format"

# What is under each prefix; "+" joins.
_DEFINITION = b"p/"  #       + process ID                         the definition: canonical JSON of a message
_IMAGE = b"i/"  #            + image ID                           the bytes of a module
_HEAD = b"h/"  #             + process ID                         the head of the schedule: canonical JSON
_ASSIGNMENT = b"a/"  #       + process ID + "/" + slot            the assignment with its message: canonical JSON
_MESSAGE_SLOT = b"m/"  #     + message ID + "/" + process ID      the slot of that message, 8 bytes
_SLOT_RECORD = b"s/"  #      + process ID + "/" + slot            what computing the slot gave: canonical JSON
_MEMORY_IMAGE = b"v/"  #     + process ID + "/" + slot            a memory image: page table and globals
_PAGE = b"g/"  #             + digest of the page                 a page of memory, compressed
_NAME = b"n/"  #             + name, UTF-8                        the process ID that the name stands for
_CURSOR = b"c/"  #           + process ID                         what is to be delivered next of its results
_DELIVERED = b"d/"  #        + process ID + "/" + slot + ordinal   where a delivery went
_HELD = b"w/"  #             + process ID + "/" + slot + ordinal   a delivery that was not made, and why
_QUEUED = b"q/"  #           + number                             a slot whose results are to be delivered
_ROOT = b"b/"  #             + message ID                         what a push has used of the budget of a root
_ASSIGNED = b"u/"  #         + process ID + "/" + slot            the delivery that gave this slot to a message
_PROOF = b"e/"  #            + process ID [+ "/" + slot]          a sender that is not here: definition; slot
_CRON = b"k/"  #             + cron ID                            a message that is sent on time: canonical JSON

SLOT_BYTES = 8
ORDINAL_BYTES = 4
LAST_SLOT = 2 ** (8 * SLOT_BYTES) - 1

# The kinds of record that a process has one of for each slot.
SLOTTED = frozenset({_ASSIGNMENT, _SLOT_RECORD, _MEMORY_IMAGE})
MESSAGE_SLOTS = _MESSAGE_SLOT

# A half-open range of keys: what `Store.scan` takes.
Range = tuple[bytes, bytes]

# Every key of a store.
EVERYTHING: Range = (b"", b"\xff")


def definition_key(process: str) -> bytes:
    """Return the key of a process's definition."""
    return _DEFINITION + process.encode()


def image_key(image: str) -> bytes:
    """Return the key of the module with the ID `image`."""
    return _IMAGE + image.encode()


def head_key(process: str) -> bytes:
    """Return the key of the head of a process's schedule: its newest slot, and what the next assignment follows
    from."""
    return _HEAD + process.encode()


def assignment_key(process: str, slot: int) -> bytes:
    """Return the key of a slot's assignment."""
    return _ASSIGNMENT + process.encode() + b"/" + encode_slot(slot)


def message_slot_key(message: str, process: str) -> bytes:
    """Return the key of the index entry that says which slot of `process` a message has."""
    return _MESSAGE_SLOT + message.encode() + b"/" + process.encode()


def slot_record_key(process: str, slot: int) -> bytes:
    """Return the key of a slot's record."""
    return _SLOT_RECORD + process.encode() + b"/" + encode_slot(slot)


def memory_image_key(process: str, slot: int) -> bytes:
    """Return the key of a slot's memory image."""
    return _MEMORY_IMAGE + process.encode() + b"/" + encode_slot(slot)


def page_key(digest: str) -> bytes:
    """Return the key of the memory page with this digest."""
    return _PAGE + digest.encode()


def name_key(name: str) -> bytes:
    """Return the key that says which process `name` stands for."""
    return _NAME + name.encode()


def cursor_key(process: str) -> bytes:
    """Return the key of what is to be delivered next of a process's results."""
    return _CURSOR + process.encode()


def delivered_key(process: str, slot: int, ordinal: int) -> bytes:
    """Return the key of the record that says where a delivery went."""
    return _delivery(_DELIVERED, process, slot, ordinal)


def held_key(process: str, slot: int, ordinal: int) -> bytes:
    """Return the key of the record of a delivery that was not made."""
    return _delivery(_HELD, process, slot, ordinal)


def queued_key(number: int) -> bytes:
    """Return the key of an entry of the queue of deliveries."""
    return _QUEUED + encode_slot(number)


def root_key(message: str) -> bytes:
    """Return the key of what a push has used of the budget of a root."""
    return _ROOT + message.encode()


def assigned_key(process: str, slot: int) -> bytes:
    """Return the key of the record that says which delivery gave a slot to a message."""
    return _ASSIGNED + process.encode() + b"/" + encode_slot(slot)


def cron_key(cron: str) -> bytes:
    """Return the key of the cron with the ID `cron`."""
    return _CRON + cron.encode()


def crons(prefix: str = "") -> Range:
    """Return the range of all crons, or of those whose ID begins with `prefix`."""
    return _under(_CRON + prefix.encode())


def cursors() -> Range:
    """Return the range of the cursors of all processes."""
    return _under(_CURSOR)


def queue() -> Range:
    """Return the range of the queue of deliveries."""
    return _QUEUED, _QUEUED + b"\xff" * (SLOT_BYTES + 1)


def delivered(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the records of where the deliveries of slots `first` to `last` went."""
    return _deliveries(_DELIVERED, process, first, last)


def held(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the records of deliveries of slots `first` to `last` that were not made."""
    return _deliveries(_HELD, process, first, last)


def all_held() -> Range:
    """Return the range of the records of all deliveries that were not made."""
    return _under(_HELD)


def all_delivered() -> Range:
    """Return the range of the records of where all deliveries went."""
    return _under(_DELIVERED)


def assigned(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the records that say which deliveries gave slots `first` to `last` to messages."""
    return _slots(_ASSIGNED, process, first, last)


def all_assigned() -> Range:
    """Return the range of the records of all slots that a delivery gave to a message."""
    return _under(_ASSIGNED)


def roots() -> Range:
    """Return the range of what pushes have used of the budgets of all roots."""
    return _under(_ROOT)


def sender_key(process: str) -> bytes:
    """Return the key of the definition of a process that is not here, but sent something that is."""
    return _PROOF + process.encode()


def proof_key(process: str, slot: int) -> bytes:
    """Return the key of a slot of such a process: its assignment and its record."""
    return _PROOF + process.encode() + b"/" + encode_slot(slot)


def proofs() -> Range:
    """Return the range of all definitions and slots of senders that are not here."""
    return _under(_PROOF)


def place_of(key: bytes) -> tuple[str, int, int]:
    """Return the process, slot and ordinal in the key of a delivery."""
    place = key[-SLOT_BYTES - ORDINAL_BYTES :]
    process = key[2 : -SLOT_BYTES - ORDINAL_BYTES - 1].decode()
    return process, decode_slot(place[:SLOT_BYTES]), int.from_bytes(place[SLOT_BYTES:], "big")


def definitions(prefix: str = "") -> Range:
    """Return the range of all definitions, or of those whose process ID begins with `prefix`."""
    return _under(_DEFINITION + prefix.encode())


def heads() -> Range:
    """Return the range of the heads of all schedules."""
    return _under(_HEAD)


def names(prefix: str = "") -> Range:
    """Return the range of all names, or of those that begin with `prefix`."""
    return _under(_NAME + prefix.encode())


def message_slots(message: str) -> Range:
    """Return the range of index entries of one message: one for each process that has scheduled it."""
    return _under(_MESSAGE_SLOT + message.encode() + b"/")


def messages(prefix: str = "") -> Range:
    """Return the range of all index entries, or of those whose message ID begins with `prefix`."""
    return _under(_MESSAGE_SLOT + prefix.encode())


def assignments(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the assignments of slots `first` to `last`, both included."""
    return _slots(_ASSIGNMENT, process, first, last)


def slot_records(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the records of slots `first` to `last`, both included."""
    return _slots(_SLOT_RECORD, process, first, last)


def memory_images(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """Return the range of the memory images of slots `first` to `last`, both included."""
    return _slots(_MEMORY_IMAGE, process, first, last)


def slotted(kind: bytes, process: str, first: int, last: int) -> Range:
    """Return the range of the records of one `kind` in SLOTTED, slots `first` to `last`, both included."""
    return _slots(kind, process, first, last)


def slotted_key(kind: bytes, process: str, slot: int) -> bytes:
    """Return the key of the record of one `kind` in SLOTTED at one slot."""
    return kind + process.encode() + b"/" + encode_slot(slot)


def span_of(start: bytes, stop: bytes) -> tuple[str, int, int] | None:
    """Return the process, first slot and last slot of a range that `slotted` returned; None for any other range."""
    if start[:2] not in SLOTTED or start[:-SLOT_BYTES] != stop[: -SLOT_BYTES - 1] or len(start) <= SLOT_BYTES + 3:
        return None
    return owner_of(start), slot_of(start), slot_of(stop[:-1])


def owner_of(key: bytes) -> str:
    """Return the process ID in the key of an assignment, a slot record or a memory image."""
    return key[2 : -SLOT_BYTES - 1].decode()


def message_of(key: bytes) -> str:
    """Return the message ID in the key of an index entry."""
    return key[2:].partition(b"/")[0].decode()


def schedules(after: bytes | None = None) -> Range:
    """Return the range of the assignments of all processes, or of those whose ID sorts after `after`."""
    start, stop = _under(_ASSIGNMENT)
    # The byte after "/", which ends an ID.
    return start if after is None else start + after + b"0", stop


def slot_of(key: bytes) -> int:
    """Return the slot at the end of the key of an assignment, a slot record or a memory image."""
    return decode_slot(key[-SLOT_BYTES:])


def text_of(key: bytes) -> str:
    """Return the ID or name at the end of the key of a definition, an image, a head, a page or a name."""
    return key[2:].decode()


def process_of(key: bytes) -> str:
    """Return the process ID at the end of the key of an index entry."""
    return key.rpartition(b"/")[2].decode()


def encode_slot(slot: int) -> bytes:
    """Return a slot as keys and records hold it: 8 bytes, big-endian.

    Raises:
        OverflowError: the slot is below 0 or above LAST_SLOT.
    """
    return slot.to_bytes(SLOT_BYTES, "big")


def decode_slot(raw: bytes) -> int:
    """Return the slot that `encode_slot` wrote.

    Raises:
        ValueError: `raw` is not 8 bytes.
    """
    if len(raw) != SLOT_BYTES:
        raise ValueError(f"a slot is {SLOT_BYTES} bytes, got {len(raw)}")
    return int.from_bytes(raw, "big")


def _under(prefix: bytes) -> Range:
    # No key has a 0xff byte where text stands: keys are UTF-8 up to their slot.
    return prefix, prefix + b"\xff"


def _slots(kind: bytes, process: str, first: int, last: int) -> Range:
    start = kind + process.encode() + b"/"
    # The byte after the last slot's key, not the slot after it: the last slot of all has none after it.
    return start + encode_slot(first), start + encode_slot(last) + b"\x00"


def _delivery(kind: bytes, process: str, slot: int, ordinal: int) -> bytes:
    return kind + process.encode() + b"/" + encode_slot(slot) + ordinal.to_bytes(ORDINAL_BYTES, "big")


def _deliveries(kind: bytes, process: str, first: int, last: int) -> Range:
    start = kind + process.encode() + b"/"
    return start + encode_slot(first), start + encode_slot(last) + b"\xff" * (ORDINAL_BYTES + 1)
