"""Where each kind of record is: the layout of every key, and the version of the format. DO NOT CHANGE.

A home that was written with these keys must stay readable. A change of any constant here, or of what a record
holds, needs a new FORMAT and a way to read the old one. `docs/format.md` describes the same, byte by byte.

IDs (43 characters of base64url) are in keys as ASCII text; slots as 8 bytes, big-endian, so that the order of the
keys is the order of the slots.

This module holds nothing but key layouts. It must never read or write a store, nor know what a record says.
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

SLOT_BYTES = 8
LAST_SLOT = 2 ** (8 * SLOT_BYTES) - 1

# What has one record for each slot of a process.
SLOTTED = frozenset({_ASSIGNMENT, _SLOT_RECORD, _MEMORY_IMAGE})
MESSAGE_SLOTS = _MESSAGE_SLOT

# A half-open range of keys: what `Store.scan` takes.
Range = tuple[bytes, bytes]

# Every record of a store.
EVERYTHING: Range = (b"", b"\xff")


def definition_key(process: str) -> bytes:
    """Where the definition of a process is."""
    return _DEFINITION + process.encode()


def image_key(image: str) -> bytes:
    """Where the module with the ID `image` is."""
    return _IMAGE + image.encode()


def head_key(process: str) -> bytes:
    """Where the head of a process's schedule is: its newest slot, and what the next assignment follows from."""
    return _HEAD + process.encode()


def assignment_key(process: str, slot: int) -> bytes:
    """Where the assignment of a slot is."""
    return _ASSIGNMENT + process.encode() + b"/" + encode_slot(slot)


def message_slot_key(message: str, process: str) -> bytes:
    """Where it is written which slot of `process` the message with the ID `message` has."""
    return _MESSAGE_SLOT + message.encode() + b"/" + process.encode()


def slot_record_key(process: str, slot: int) -> bytes:
    """Where the record of a computed slot is."""
    return _SLOT_RECORD + process.encode() + b"/" + encode_slot(slot)


def memory_image_key(process: str, slot: int) -> bytes:
    """Where the memory image of a slot is, if it has one."""
    return _MEMORY_IMAGE + process.encode() + b"/" + encode_slot(slot)


def page_key(digest: str) -> bytes:
    """Where the page of memory with that digest is."""
    return _PAGE + digest.encode()


def name_key(name: str) -> bytes:
    """Where it is written which process `name` stands for."""
    return _NAME + name.encode()


def definitions(prefix: str = "") -> Range:
    """The definitions of all processes, or of those whose ID begins with `prefix`."""
    return _under(_DEFINITION + prefix.encode())


def heads() -> Range:
    """The heads of all schedules."""
    return _under(_HEAD)


def names(prefix: str = "") -> Range:
    """All names, or those that begin with `prefix`."""
    return _under(_NAME + prefix.encode())


def message_slots(message: str) -> Range:
    """In which processes, and at which slots, the message with the ID `message` is scheduled."""
    return _under(_MESSAGE_SLOT + message.encode() + b"/")


def messages(prefix: str = "") -> Range:
    """In which processes, and at which slots, all messages are scheduled, or those whose ID begins with `prefix`."""
    return _under(_MESSAGE_SLOT + prefix.encode())


def assignments(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """The assignments of the slots `first` to `last`, both included."""
    return _slots(_ASSIGNMENT, process, first, last)


def slot_records(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """The records of the slots `first` to `last`, both included."""
    return _slots(_SLOT_RECORD, process, first, last)


def memory_images(process: str, first: int = 0, last: int = LAST_SLOT) -> Range:
    """The memory images of the slots `first` to `last`, both included."""
    return _slots(_MEMORY_IMAGE, process, first, last)


def slotted(kind: bytes, process: str, first: int, last: int) -> Range:
    """The records of a `kind` in SLOTTED of the slots `first` to `last`, both included."""
    return _slots(kind, process, first, last)


def slotted_key(kind: bytes, process: str, slot: int) -> bytes:
    """Where the record of a `kind` in SLOTTED is of one slot."""
    return kind + process.encode() + b"/" + encode_slot(slot)


def span_of(start: bytes, stop: bytes) -> tuple[str, int, int] | None:
    """The process and the first and last slot of a range that `slotted` gives; None for any other range."""
    if start[:2] not in SLOTTED or start[:-SLOT_BYTES] != stop[: -SLOT_BYTES - 1] or len(start) <= SLOT_BYTES + 3:
        return None
    return owner_of(start), slot_of(start), slot_of(stop[:-1])


def owner_of(key: bytes) -> str:
    """The process ID in the key of an assignment, a slot record or a memory image."""
    return key[2 : -SLOT_BYTES - 1].decode()


def message_of(key: bytes) -> str:
    """The message ID in the key of a message's slot."""
    return key[2:].partition(b"/")[0].decode()


def schedules(after: bytes | None = None) -> Range:
    """The assignments of all processes, or of those only whose ID, as ASCII, is after `after`."""
    start, stop = _under(_ASSIGNMENT)
    # The byte after "/", which ends an ID.
    return start if after is None else start + after + b"0", stop


def slot_of(key: bytes) -> int:
    """The slot at the end of the key of an assignment, a slot record or a memory image."""
    return decode_slot(key[-SLOT_BYTES:])


def text_of(key: bytes) -> str:
    """The ID or name that the key of a definition, an image, a head, a page or a name ends with."""
    return key[2:].decode()


def process_of(key: bytes) -> str:
    """The process ID that the key of a message's slot ends with."""
    return key.rpartition(b"/")[2].decode()


def encode_slot(slot: int) -> bytes:
    """A slot as keys and records hold it.

    Raises:
        OverflowError: there is no such slot: below 0, or beyond LAST_SLOT.
    """
    return slot.to_bytes(SLOT_BYTES, "big")


def decode_slot(raw: bytes) -> int:
    """The slot that `encode_slot` wrote.

    Raises:
        ValueError: not 8 bytes.
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
