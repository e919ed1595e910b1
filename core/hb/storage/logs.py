"""LevelDB's log format, in which its `.log` files and its MANIFEST are written.

A file is a row of blocks of 32 KiB, and a block is a row of fragments: a header of 7 bytes (checksum, length, kind)
and a part of a record. A record is one fragment (FULL) or several (FIRST, MIDDLE, ..., LAST). Where a block has fewer
than 7 bytes left, they are zeros.

Invariants:
    No file is read or written here.

Source: LevelDB's `doc/log_format.md`, `db/log_reader.cc` and `db/version_edit.cc`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

BLOCK_BYTES = 32 * 1024
HEADER_BYTES = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_COMPARATOR, _LOG_NUMBER = 1, 2
_NUMBERS = frozenset({3, 4, 9})  # the next file, the last sequence, the log before: each a number

_BATCH_HEADER_BYTES = 12
# A header, a sequence number below 2^48, a count, and the tag of the first write: how a batch begins in a log.
_BEGINS_BATCH = rb"(?s)(?=.{6}[\x01\x02].{6}\x00\x00.{4}[\x00\x01])"


class Record(NamedTuple):
    """A record whose checksums are right: its payload, and the offset of the first byte after it."""

    payload: bytes
    end: int


def records(data: bytes) -> tuple[list[Record], int]:
    """Return the records from the start of a file to its end or to the first that is not whole, and where that is."""
    found: list[Record] = []
    position = 0
    while (record := _record_at(data, position, checked=True)) is not None:
        found.append(record)
        position = record.end
    return found, position


def is_whole(data: bytes) -> bool:
    """Return whether a file is a row of whole records, by their headers alone. Checksums are not looked at."""
    position = 0
    while (record := _record_at(data, position, checked=False)) is not None:
        position = record.end
    return not data[position:].strip(b"\0") and len(data) - position < HEADER_BYTES


def records_after(data: bytes, position: int) -> list[Record]:
    """Return the whole records after one that is not, which begins at `position`.

    They are looked for where LevelDB can have put them: after a fragment, as far as its length can be believed, and
    at the start of a block. Never in between: what looks like a record there may be a part of what a stranger sent.
    """
    found = []
    while position < len(data):
        record = _record_at(data, position, checked=True)
        if record is not None:
            found.append(record)
            position = record.end
        else:
            position = _next_fragment(data, position)
    return found


def batches_after(data: bytes, position: int) -> list[bytes]:
    """Return the payloads of what looks like a whole record with a batch, at any offset from `position` on.

    This is how to tell whether a writer went on after `position`; what is found need not be what a writer wrote.
    """
    found = []
    begins = re.compile(_BEGINS_BATCH)
    while (match := begins.search(data, position)) is not None:
        record = _record_at(data, match.start(), checked=True)
        if record is not None:
            found.append(record.payload)
        position = match.start() + 1 if record is None else record.end
    return found


def is_marked(payload: bytes) -> bool:
    """Return whether the batch in `payload` is marked as one that was not synced.

    `LevelStore.commit` marks it: its first write is a deletion, and its second write is of the same key. After a
    crash, a record that is not whole is what the crash left if no unmarked batch comes after it. If one does, the
    record was whole on the disk once, and is damaged.
    """
    position = _BATCH_HEADER_BYTES
    if payload[position : position + 1] != b"\0":
        return False
    try:
        length, start = _varint(payload, position + 1)
        key = payload[start : start + length]
        length, again = _varint(payload, start + length + 1)
    except IndexError:
        return False
    return payload[again : again + length] == key


def frame(payloads: list[bytes]) -> bytes:
    """Return a file that has these records."""
    out = bytearray()
    for payload in payloads:
        left, begun = memoryview(payload), False
        while left or not begun:
            room = BLOCK_BYTES - len(out) % BLOCK_BYTES
            if room < HEADER_BYTES:
                out += bytes(room)
                room = BLOCK_BYTES
            part, left = left[: room - HEADER_BYTES], left[room - HEADER_BYTES :]
            kind = (_MIDDLE if left else _LAST) if begun else (_FIRST if left else _FULL)
            checksum = _checksum(bytes([kind]) + part)
            out += checksum.to_bytes(4, "little") + len(part).to_bytes(2, "little") + bytes([kind]) + part
            begun = True
    return bytes(out)


def log_number(manifest: bytes) -> int | None:
    """Return the number of the oldest log that `manifest` needs, or None if it names none."""
    newest = 0
    position = 0
    while (record := _record_at(manifest, position, checked=False)) is not None:
        newest = _log_number(record.payload) or newest
        position = record.end
    return newest or None


def _record_at(data: bytes, position: int, *, checked: bool) -> Record | None:
    """Return the record at `position`, or None if what is there is not whole."""
    parts: list[bytes] = []
    while True:
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:
            position += left
        start = position + HEADER_BYTES
        if start > len(data):
            return None
        end = start + int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]
        fits = end <= len(data) and end <= position + BLOCK_BYTES - position % BLOCK_BYTES
        if not fits or kind not in ((_MIDDLE, _LAST) if parts else (_FULL, _FIRST)):
            return None
        if checked and int.from_bytes(data[position : position + 4], "little") != _checksum(data[start - 1 : end]):
            return None
        parts.append(data[start:end])
        position = end
        if kind in (_FULL, _LAST):
            return Record(b"".join(parts), end)


def _next_fragment(data: bytes, position: int) -> int:
    """Return where the next fragment begins, by the length of the one at `position` if that is possible."""
    block_end = position + BLOCK_BYTES - position % BLOCK_BYTES
    length = int.from_bytes(data[position + 4 : position + 6], "little")
    end = position + HEADER_BYTES + length
    return end if length and end <= block_end - HEADER_BYTES else block_end


def _log_number(edit: bytes) -> int:
    """Return the number of the log in an edit, or 0. It stands before everything that can be long."""
    position = 0
    try:
        while True:
            tag, position = _varint(edit, position)
            number, position = _varint(edit, position)
            if tag == _LOG_NUMBER:
                return number
            if tag == _COMPARATOR:
                position += number
            elif tag not in _NUMBERS:
                return 0
    except IndexError:
        return 0


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position`, seven bits a byte, the lowest first; and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _checksum(data: bytes) -> int:
    """Return the CRC-32C of `data`, masked as LevelDB stores it."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> list[int]:
    table = []
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table
