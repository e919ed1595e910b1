"""What a store's MANIFEST says of its log, read before LevelDB does.

LevelDB takes a MANIFEST that ends too soon for one whose last write a crash cut off, and goes back to what it said
before. After a crash, the log that held the same is still there, as LevelDB removes a log only once the MANIFEST that
no longer needs it is on the disk. Where that log is gone, the end of the MANIFEST was lost later, and what it spoke of
would vanish without a word.

It must never write, and never judge more than it has to: damage within is LevelDB's to find.

Source: LevelDB's `doc/log_format.md` and `db/version_edit.cc`.
"""

from __future__ import annotations

_BLOCK_BYTES = 32 * 1024
_HEADER_BYTES = 7
_FULL, _FIRST, _LAST = 1, 2, 4
_COMPARATOR, _LOG_NUMBER = 1, 2
_NUMBERS = frozenset({3, 4, 9})  # the next file, the last sequence, the log before: each a number


def log_name(manifest: bytes) -> str | None:
    """The log that `manifest` needs, or None where it names none."""
    newest = begun = 0
    position = 0
    while position + _HEADER_BYTES <= len(manifest):
        left = _BLOCK_BYTES - position % _BLOCK_BYTES
        if left < _HEADER_BYTES:
            position += left
            continue
        start = position + _HEADER_BYTES
        end = start + int.from_bytes(manifest[position + 4 : position + 6], "little")
        kind = manifest[position + 6]
        if end > len(manifest):
            break
        if kind in (_FULL, _FIRST):
            begun = _log_number(manifest[start:end])
        if kind in (_FULL, _LAST):
            newest = begun or newest
        position = end
    return f"{newest:06}.log" if newest else None


def _log_number(edit: bytes) -> int:
    """The number of the log in an edit, or 0: it stands before all that can be long."""
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
    """The number at `position`, seven bits a byte, the least first; and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
