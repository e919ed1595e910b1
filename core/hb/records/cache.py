"""The process cache: slot records, and the memory images that a live instance can be made from again.

What is here is derivable from the schedule, so it is written in batches that need no sync of their own. It must never
run a module.

Source: HyperBEAM's `dev_process_cache` (`write`, `read`, `latest`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.protocol.message import Message, dumps, loads_stored
from hb.records import keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hb.storage.store import Batch, Store

Part = Literal["record", "image"]
PAGE_BYTES = 65536
READ_PAGES = 256
"""Maximum pages that are read from the store at once."""

MAX_PAGE_DIGITS, MAX_GLOBAL_BITS = 15, 128
RawGlobals = list[list[str | int]]

_RECORD: dict[str, type] = {
    "assignment": str,
    "changed": bool,
    "engine": str,
    "hashpath": str,
    "previous": str,
    "results": dict,
    "slot": int,
    "state": dict,
}
_KINDS = {str: "text", bool: "true or false", dict: "a map", int: "an integer"}


class Image(NamedTuple):
    """An instance's memory and mutable globals at one slot, by content.

    `globals` are `[type, bits]` of every mutable global in index order, `pages` the size of the memory in pages of
    64 KiB, and `held` the digest of every page that is not all zeros, by page number.
    """

    globals: RawGlobals
    pages: int
    held: Mapping[int, str]

    def encode(self) -> bytes:
        """The image record; its digest is what a slot record names."""
        held: Message = {str(page): digest for page, digest in self.held.items()}
        return dumps({"globals": [list(pair) for pair in self.globals], "held": held, "pages": self.pages})


def write(batch: Batch, process: str, slot: int, record: bytes) -> None:
    """Puts the record of `slot` into `batch`."""
    batch.puts[keys.slot_record_key(process, slot)] = record


def write_image(batch: Batch, process: str, slot: int, image: bytes, pages: Mapping[str, bytes]) -> None:
    """Puts the image record of `slot`, and the contents of pages by digest, into `batch`; pages are compressed here."""
    batch.puts[keys.memory_image_key(process, slot)] = image
    for digest, content in pages.items():
        batch.puts[keys.page_key(digest)] = compress(content)


def read(store: Store, process: str, slot: int) -> Message | None:
    """The record of `slot`, or None where the slot is not computed.

    Raises:
        IntegrityError: the stored bytes are no slot record.
    """
    raw = read_bytes(store, process, slot)
    return None if raw is None else parse(raw, "slot record", process, slot)


def read_bytes(store: Store, process: str, slot: int) -> bytes | None:
    """The record of `slot` as it is stored and hashed."""
    return store.get(keys.slot_record_key(process, slot))


def is_computed(store: Store, process: str, slot: int) -> bool:
    """Whether the state of `slot` is here."""
    return read_bytes(store, process, slot) is not None


def latest(
    store: Store, process: str, *, first: int = 0, limit: int = keys.LAST_SLOT, required: Part = "record"
) -> int | None:
    """The newest slot from `first` to `limit`, both included, that has the `required` part, or None."""
    slots = keys.memory_images if required == "image" else keys.slot_records
    for key, _ in store.scan(*slots(process, first, limit), reverse=True):
        slot = keys.slot_of(key)
        if required == "record" or read_bytes(store, process, slot) is not None:
            return slot
    return None


def records(store: Store, process: str, first: int, last: int) -> Iterator[tuple[int, Message]]:
    """The records of slots `first` to `last`, both included, in order; slots that are not computed are left out."""
    for key, raw in store.scan(*keys.slot_records(process, first, last)):
        slot = keys.slot_of(key)
        yield slot, parse(raw, "slot record", process, slot)


def image_digest(store: Store, process: str, slot: int) -> str | None:
    """The digest of the memory image of `slot`, or None where none is stored."""
    raw = store.get(keys.memory_image_key(process, slot))
    return None if raw is None else ids.digest(raw)


def read_image(store: Store, process: str, slot: int) -> Image:
    """The memory image of `slot`, which is there.

    Raises:
        IntegrityError: it is not there, or its bytes are no image record.
    """
    raw = store.get(keys.memory_image_key(process, slot))
    if raw is None:
        raise IntegrityError("the memory image is gone", process=process, slot=slot)
    return parse_image(raw, process, slot)


def parse_image(raw: bytes, process: str, slot: int) -> Image:
    """The memory image in the stored bytes of its record.

    Raises:
        IntegrityError: they are no image record.
    """
    fields = parse(raw, "memory image", process, slot)
    listed, held, pages = fields.get("globals"), fields.get("held"), fields.get("pages")
    if not (
        isinstance(held, dict)
        and all(_is_number(page) and isinstance(digest, str) for page, digest in held.items())
        and isinstance(listed, list)
        and all(isinstance(pair, list) and _is_global(*pair) for pair in listed)
        and type(pages) is int
        and 0 <= pages < 10**MAX_PAGE_DIGITS
    ):
        raise IntegrityError("the memory image lacks what an image has", process=process, slot=slot)
    by_page = {int(page): str(digest) for page, digest in held.items()}
    return Image(globals=cast("RawGlobals", listed), pages=pages, held=by_page)


def _is_global(*parts: object) -> bool:
    """Whether these are the type and the bits of a global."""
    return [type(part) for part in parts] == [str, int] and cast(int, parts[1]).bit_length() <= MAX_GLOBAL_BITS


def _is_number(text: str) -> bool:
    """Whether `text` is the number of a page that a memory can have."""
    return text.isdecimal() and text.isascii() and len(text) <= MAX_PAGE_DIGITS


def read_pages(store: Store, image: Image, process: str, slot: int) -> dict[int, bytes]:
    """The contents of the pages that `image` holds, each checked against its digest.

    Raises:
        IntegrityError: a page is gone, or is not what its digest says.
    """
    pages: dict[int, bytes] = {}
    held = list(image.held.items())
    for start in range(0, len(held), READ_PAGES):
        part = held[start : start + READ_PAGES]
        for (page, digest), packed in zip(part, store.get_many([keys.page_key(at) for _, at in part]), strict=True):
            if packed is None:
                raise IntegrityError(f"memory page {page} is gone", process=process, slot=slot, expected=digest)
            content = decompress(packed)
            if content is None or ids.digest(content) != digest:
                got = "bytes that do not decompress" if content is None else ids.digest(content)
                raise IntegrityError(
                    f"memory page {page} is not what it was", process=process, slot=slot, expected=digest, got=got
                )
            pages[page] = content
    return pages


def compress(page: bytes) -> bytes:
    """A page as it is stored: zlib at its quickest level."""
    from zlib import compress as zlib_compress

    return zlib_compress(page, 1)


def decompress(packed: bytes) -> bytes | None:
    """The page that `packed` holds, or None where it holds none; never more than a page, whatever it claims."""
    from zlib import decompressobj
    from zlib import error as zlib_error

    unpacker = decompressobj()
    try:
        page = unpacker.decompress(packed, PAGE_BYTES)
    except zlib_error:
        return None
    return page if unpacker.eof and len(page) == PAGE_BYTES else None


def parse_record(raw: bytes, process: str, slot: int) -> Message:
    """The slot record in its stored bytes; each key that a record has is there, and of its type.

    Raises:
        IntegrityError: they are no slot record.
    """
    record = parse(raw, "slot record", process, slot)
    for key, kind in _RECORD.items():
        if type(record.get(key)) is not kind:
            raise IntegrityError(
                f"the slot record lacks its {key}",
                process=process,
                slot=slot,
                expected=_KINDS[kind],
                got=_kind(record, key),
            )
    return record


def _kind(record: Message, key: str) -> str:
    return _KINDS.get(type(record[key]), "another value") if key in record else "nothing"


def parse(raw: bytes, what: str, process: str, slot: int | None) -> Message:
    """The message in the stored bytes of `what`.

    Raises:
        IntegrityError: they hold none.
    """
    try:
        message = loads_stored(raw)
    except Refused as error:
        raise IntegrityError(f"the {what} is not readable ({error.message})", process=process, slot=slot) from error
    if not isinstance(message, dict):
        raise IntegrityError(f"the {what} is no message", process=process, slot=slot)
    return message
