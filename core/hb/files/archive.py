"""Write and read the file that holds a history or a witness: one line, a zlib stream of records, and a digest.

Invariants:
    Only bytes come in and go out: no record is parsed here, and no file is named.
    A reader gets no more than the limits below allow, whatever the file claims.

Source: docs/format.md, "A file", which says the same byte by byte. DO NOT CHANGE without a new VERSION.
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from re import compile as pattern
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from hb.errors import IntegrityError, Refused
from hb.protocol.bounds import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORY, WITNESS = "history", "witness"
VERSION = 2
"""The newest version. A file without proofs has version 1, so that an older hb reads it."""
MARK = b"hb "
FIRST_LINE_BYTES = 32

DEFINITION, IMAGE, ASSIGNMENT = b"D", b"I", b"A"
RECORD, MEMORY, PAGE = b"S", b"V", b"P"
CLAIM, END = b"C", b"E"
SENDER, SENDER_ASSIGNMENT, SENDER_RECORD = b"F", b"G", b"R"

KIND_BYTES = {
    DEFINITION: 32 << 20,
    IMAGE: 128 << 20,
    ASSIGNMENT: 32 << 20,
    RECORD: 64 << 20,
    MEMORY: 16 << 20,
    PAGE: 65536,
    CLAIM: 1 << 20,
    END: 0,
    SENDER: 32 << 20,
    SENDER_ASSIGNMENT: 32 << 20,
    SENDER_RECORD: 64 << 20,
}
"""Maximum bytes of one record of each kind."""

PROOF_KINDS = frozenset((SENDER, SENDER_ASSIGNMENT, SENDER_RECORD))
"""The kinds of record that only files of version 2 have."""

_JSON_KINDS = frozenset((DEFINITION, ASSIGNMENT, RECORD, MEMORY, CLAIM)) | PROOF_KINDS

CONTENT_BYTES = {HISTORY: 64 << 30, WITNESS: 2 << 30}
"""Maximum bytes of all records of a file together, unpacked."""

_NAMES = {
    DEFINITION: "definition",
    IMAGE: "image",
    ASSIGNMENT: "assignment",
    RECORD: "slot record",
    MEMORY: "memory image",
    PAGE: "memory page",
    CLAIM: "attestation",
    END: "end",
    SENDER: "definition of a sender",
    SENDER_ASSIGNMENT: "assignment of a sender",
    SENDER_RECORD: "slot record of a sender",
}
_FIRST_LINE = pattern(rb"hb (history|witness) (0|[1-9][0-9]{0,8})\n")
_HEADER = Struct(">cBI")
_DIGEST_BYTES = 32
_CHUNK_BYTES = 1 << 16
_LEVEL = 6


class Record(NamedTuple):
    """One record: its kind, its key and its content."""

    kind: bytes
    key: bytes
    value: bytes


class Writer:
    """Write a file of the `form` history or witness to a stream, record by record. `length` counts its bytes.

    Only a file of version 2 may have proofs.
    """

    def __init__(self, stream: BinaryIO, form: str, version: int = 1) -> None:
        self.length = 0
        self._stream = stream
        self._digest = sha256()
        self._pack = zlib.compressobj(_LEVEL)
        self._emit(b"hb %b %d\n" % (form.encode(), version))

    def put(self, kind: bytes, key: bytes, value: bytes) -> None:
        """Write one record.

        Raises:
            Refused: it has more bytes than a record of its kind may have.
        """
        most = KIND_BYTES[kind]
        if len(value) > most:
            raise Refused(f"a file may have {most} bytes in one {_NAMES[kind]}, this one has {len(value)}")
        self._emit(self._pack.compress(_HEADER.pack(kind, len(key), len(value)) + key))
        self._emit(self._pack.compress(value))

    def close(self) -> None:
        """Write the end; the stream stays open."""
        self.put(END, b"", b"")
        self._emit(self._pack.flush())
        self._stream.write(self._digest.digest())
        self.length += _DIGEST_BYTES

    def _emit(self, raw: bytes) -> None:
        self._digest.update(raw)
        self._stream.write(raw)
        self.length += len(raw)


class Archive:
    """A file that is whole: its first line is right, and its digest is that of all before it."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read all of `stream`, which must be seekable, once.

        Raises:
            Refused: it is no such file, or a newer hb wrote it.
            IntegrityError: it is cut, or altered.
        """
        self._stream = stream
        line = stream.read(FIRST_LINE_BYTES)
        found = _FIRST_LINE.match(line)
        if found is None:
            raise Refused("not an hb history or witness: its first line is not that of one")
        version = int(found[2])
        if version > VERSION:
            raise Refused(f"it has version {version}; this hb knows {VERSION}", hint="use a newer hb")
        if version < 1:
            raise IntegrityError("it has a version that no hb ever wrote", expected=VERSION, got=version)
        self.form = found[1].decode()
        self._has_proofs = version > 1
        self._start = found.end()
        self._end = stream.seek(0, 2) - _DIGEST_BYTES
        self._check_digest()

    def records(self) -> Iterator[Record]:
        """Yield all records except the last, which marks the end.

        Raises:
            Refused: a record, or all of them, have more bytes or hold more values than they may.
            IntegrityError: they are not packed as they must be.
        """
        self._stream.seek(self._start)
        content = _Content(self._stream, self._end, CONTENT_BYTES[self.form])
        budget = Budget(self._end)
        while True:
            kind, key_bytes, length = _HEADER.unpack(content.read(_HEADER.size))
            if kind not in KIND_BYTES or (kind in PROOF_KINDS and not self._has_proofs):
                raise IntegrityError("it has a record of a kind that there is not", got=repr(kind))
            if length > KIND_BYTES[kind]:
                raise Refused(f"a file may have {KIND_BYTES[kind]} bytes in one {_NAMES[kind]}, this has {length}")
            key = content.read(key_bytes)
            if kind == END:
                if key:
                    raise IntegrityError("its last record has a key")
                content.finish()
                return
            value = content.read(length)
            if kind in _JSON_KINDS:
                budget.take(value)
            yield Record(kind, key, value)

    def _check_digest(self) -> None:
        if self._end < self._start:
            raise IntegrityError("it is cut: it ends before it can")
        self._stream.seek(0)
        digest, left = sha256(), self._end
        while left:
            piece = self._stream.read(min(left, 1 << 20))
            if not piece:
                raise IntegrityError("it is cut: it got shorter while it was read")
            digest.update(piece)
            left -= len(piece)
        said = self._stream.read(_DIGEST_BYTES)
        if said != digest.digest():
            raise IntegrityError(
                "it is cut or altered: its last 32 bytes are not the digest of those before",
                expected=digest.hexdigest(),
                got=said.hex(),
            )


class _Content:
    """Read from a zlib stream as many bytes as are asked for; never hold many more in memory."""

    def __init__(self, stream: BinaryIO, end: int, most: int) -> None:
        self._stream = stream
        self._left = end - stream.tell()
        self._most = self._room = most
        self._unpack = zlib.decompressobj()
        self._buffer = bytearray()

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._buffer) < count:
            piece = self._more()
            if not piece:
                raise IntegrityError("what it holds ends in the middle of a record")
            self._buffer += piece
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def finish(self) -> None:
        """Make sure that nothing follows."""
        if self._buffer or self._more():
            raise IntegrityError("it holds more after its last record")
        if self._unpack.unused_data or self._left:
            raise IntegrityError("it has bytes between what it holds and its digest")

    def _more(self) -> bytes:
        """Return some more bytes; none if the stream has ended as it must."""
        while not self._unpack.eof:
            packed = self._unpack.unconsumed_tail or self._stream.read(min(self._left, _CHUNK_BYTES))
            if not self._unpack.unconsumed_tail:
                self._left -= len(packed)
            try:
                piece = self._unpack.decompress(packed, _CHUNK_BYTES)
            except zlib.error as error:
                raise IntegrityError(f"what it holds is not packed as it must be ({error})") from error
            if piece:
                self._room -= len(piece)
                if self._room < 0:
                    raise Refused(f"such a file may hold {self._most} bytes, unpacked; this holds more")
                return piece
            if not packed and not self._unpack.eof:
                raise IntegrityError("what it holds ends before its end")
        return b""
