"""The file format: what is written is read back, and nothing else is."""

from __future__ import annotations

import io
import zlib
from hashlib import sha256
from struct import pack

import pytest

from hb.errors import HbError, IntegrityError, Refused
from hb.files import archive

RECORDS = [
    archive.Record(archive.DEFINITION, b"k" * 43, b"{}"),
    archive.Record(archive.PAGE, b"p" * 43, b"page" * 9000),
    archive.Record(archive.RECORD, b"\0" * 8, b""),
]


def written(records=RECORDS, form=archive.HISTORY) -> bytes:
    stream = io.BytesIO()
    writer = archive.Writer(stream, form)
    for record in records:
        writer.put(*record)
    writer.close()
    assert writer.length == len(stream.getvalue())
    return stream.getvalue()


def read(raw: bytes) -> list[archive.Record]:
    return list(archive.Archive(io.BytesIO(raw)).records())


def test_only_a_file_of_version_2_has_proofs() -> None:
    records = [archive.Record(kind, b"k" * 43, b"{}") for kind in sorted(archive.PROOF_KINDS)]
    stream = io.BytesIO()
    writer = archive.Writer(stream, archive.HISTORY, 2)
    for each in records:
        writer.put(*each)
    writer.close()
    raw = stream.getvalue()
    assert raw.startswith(b"hb history 2\n")
    assert read(raw) == records
    assert read(sealed(END, b"hb history 2\n")) == []
    with pytest.raises(IntegrityError, match="of a kind that there is not"):
        read(written(records))


def sealed(content: bytes, line: bytes = b"hb history 1\n", more: bytes = b"") -> bytes:
    """A file whose digest is right, of content that may be anything."""
    raw = line + zlib.compress(content) + more
    return raw + sha256(raw).digest()


def record(kind: bytes, key: bytes, value: bytes) -> bytes:
    return pack(">cBI", kind, len(key), len(value)) + key + value


END = record(archive.END, b"", b"")


def test_what_is_written_is_read_back() -> None:
    for form in (archive.HISTORY, archive.WITNESS):
        raw = written(form=form)
        assert archive.Archive(io.BytesIO(raw)).form == form
        assert read(raw) == RECORDS
        assert written(form=form) == raw
    assert read(sealed(END)) == []


def test_no_byte_can_be_another_and_none_can_be_left_out() -> None:
    raw = written(RECORDS[:1])
    for place in range(len(raw)):
        for flip in (1, 0x80):
            with pytest.raises((Refused, IntegrityError)):
                read(raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :])
        with pytest.raises((Refused, IntegrityError)):
            read(raw[:place])
    with pytest.raises(IntegrityError, match="cut or altered"):
        read(raw + b"\0")


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (sealed(END, b"hb history 3\n"), Refused, "it has version 3; this hb knows 2"),
        (sealed(END, b"hb history 0\n"), IntegrityError, "no hb ever wrote"),
        (sealed(END, b"hb history 01\n"), Refused, "not an hb history or witness"),
        (sealed(END, b"hb future 1\n"), Refused, "not an hb history or witness"),
        (b"", Refused, "not an hb history or witness"),
        (b"hb history 1\n", IntegrityError, "it is cut"),
        (sealed(b""), IntegrityError, "in the middle of a record"),
        (sealed(END[:-1]), IntegrityError, "in the middle of a record"),
        (sealed(record(b"D", b"key", b"value")), IntegrityError, "in the middle of a record"),
        (sealed(END + b"x"), IntegrityError, "more after its last record"),
        (sealed(END, more=b"x"), IntegrityError, "between what it holds and its digest"),
        (sealed(END, more=zlib.compress(END)), IntegrityError, "between what it holds and its digest"),
        (sealed(record(b"E", b"k", b"")), IntegrityError, "its last record has a key"),
        (sealed(record(b"?", b"", b"")), IntegrityError, "of a kind that there is not"),
        (sealed(record(b"F", b"k" * 43, b"{}") + END), IntegrityError, "of a kind that there is not"),
        (sealed(pack(">cBI", b"D", 43, 2**32 - 1)), Refused, "a file may have 33554432 bytes in one definition"),
        (sealed(record(b"P", b"k" * 43, b"x" * 65537)), Refused, "65536 bytes in one memory page"),
    ],
)
def test_what_no_writer_writes_is_said_precisely(raw: bytes, kind: type[HbError], says: str) -> None:
    with pytest.raises(kind) as raised:
        read(raw)
    assert says in raised.value.message


def test_an_unpacked_stream_that_is_cut_is_noticed_though_its_digest_is_right() -> None:
    packed = zlib.compress(record(b"D", b"k", bytes(300)) + END)
    for length in range(len(packed)):
        raw = b"hb history 1\n" + packed[:length]
        with pytest.raises(IntegrityError):
            read(raw + sha256(raw).digest())


def test_a_bomb_goes_off_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(archive.CONTENT_BYTES, archive.HISTORY, 1 << 20)
    page = record(archive.PAGE, b"k" * 43, bytes(65536))
    taken = []
    with pytest.raises(Refused, match="may hold 1048576 bytes, unpacked"):
        taken.extend(archive.Archive(io.BytesIO(sealed(page * 5000 + END))).records())
    assert len(taken) <= 16
    with pytest.raises(IntegrityError, match="more after"):
        read(sealed(END + bytes(100 << 20)))


def test_a_record_that_no_reader_would_take_is_not_written() -> None:
    with pytest.raises(Refused, match="65536 bytes in one memory page, this one has 65537"):
        written([archive.Record(archive.PAGE, b"k" * 43, bytes(65537))])


@pytest.mark.parametrize("kind", [archive.DEFINITION, archive.ASSIGNMENT, archive.RECORD, archive.MEMORY])
def test_a_record_of_too_many_values_is_refused_before_it_is_parsed(kind: bytes) -> None:
    raw = written([archive.Record(kind, b"k" * 43, b'{"a":[' + b"[]," * 2_000_000 + b"[]]}")])
    with pytest.raises(Refused, match="a record may hold 2,000,000 values, got more"):
        read(raw)


def test_all_records_together_may_hold_as_many_values_as_the_size_of_the_file_allows() -> None:
    raw = written([archive.Record(archive.ASSIGNMENT, b"\0" * 8, b"[" + b"[]," * 1_000_000 + b"[]]")] * 9)
    with pytest.raises(Refused, match=r"a file of this size may hold 8,0\d\d,\d\d\d values, got more"):
        read(raw)
