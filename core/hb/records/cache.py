"""Slot records, and the memory images that a live instance can be restored from.

Everything here can be computed again from the schedule, so it is written without a sync of its own.

Invariants:
    No module runs here.

Source: HyperBEAM's `dev_process_cache` (`write`, `read`, `latest`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.protocol.message import Message, dumps, loads_stored
from hb.records import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.storage.store import Batch, Store

Part = Literal["record", "image"]
PAGE_BYTES = 65536
READ_PAGES = 256
"""Maximum pages that are read from the store at once."""

MAX_PAGE_DIGITS, MAX_GLOBAL_BITS = 15, 128
RawGlobals = list[list[str | int]]

_KINDS = {str: "text", bool: "true or false", dict: "a map", int: "an integer"}


class SlotRecord(NamedTuple):
    """What computing one slot gave. `docs/format.md` describes its stored bytes.

    `assignment` is an ID. `changed` is False if the slot left memory, globals and public keys as they were. `previous`
    is the digest of the record before, "" at slot 0. `state` holds the public keys. `image` is the digest of the memory
    image, for a memory so small that every slot has one.
    """

    slot: int
    assignment: str
    changed: bool
    engine: str
    hashpath: str
    previous: str
    results: Message
    state: Message
    image: str | None = None

    @property
    def gas(self) -> int | None:
        """What the message cost, in the units of `engine`; None if the results do not say."""
        gas = self.results.get("gas")
        return gas if isinstance(gas, int) else None


_REQUIRED: dict[str, type] = {
    "assignment": str,
    "changed": bool,
    "engine": str,
    "hashpath": str,
    "previous": str,
    "results": dict,
    "slot": int,
    "state": dict,
}


class Image(NamedTuple):
    """The memory and the mutable globals of an instance at one slot, by content.

    `globals` holds `[type, bits]` of every mutable global, in index order. `pages` is the size of the memory in pages
    of 64 KiB. `held` maps the number of each page that is not all zeros to its digest.
    """

    globals: RawGlobals
    pages: int
    held: Mapping[int, str]

    def encode(self) -> bytes:
        """Return the stored bytes of the image. A slot record names their digest."""
        held: Message = {str(page): digest for page, digest in self.held.items()}
        return dumps({"globals": [list(pair) for pair in self.globals], "held": held, "pages": self.pages})


def write(batch: Batch, process: str, slot: int, record: bytes) -> None:
    """Put the record of `slot` into `batch`."""
    batch.puts[keys.slot_record_key(process, slot)] = record


def write_image(batch: Batch, process: str, slot: int, image: bytes, pages: Mapping[str, bytes]) -> None:
    """Put the image record of `slot` into `batch`, and `pages`, by digest. Pages are compressed here."""
    batch.puts[keys.memory_image_key(process, slot)] = image
    for digest, content in pages.items():
        batch.puts[keys.page_key(digest)] = compress(content)


def read_bytes(store: Store, process: str, slot: int) -> bytes | None:
    """Return the record of `slot` as it is stored and hashed, or None if the slot is not computed."""
    return store.get(keys.slot_record_key(process, slot))


def is_computed(store: Store, process: str, slot: int) -> bool:
    """Return whether `slot` has a record."""
    return read_bytes(store, process, slot) is not None


def latest(
    store: Store, process: str, *, first: int = 0, limit: int = keys.LAST_SLOT, required: Part = "record"
) -> int | None:
    """Return the newest slot from `first` to `limit`, both included, that has the `required` part, or None."""
    slots = keys.memory_images if required == "image" else keys.slot_records
    for key, _ in store.scan(*slots(process, first, limit), reverse=True):
        slot = keys.slot_of(key)
        if required == "record" or read_bytes(store, process, slot) is not None:
            return slot
    return None


def image_digest(store: Store, process: str, slot: int) -> str | None:
    """Return the digest of the memory image of `slot`, or None if none is stored."""
    raw = store.get(keys.memory_image_key(process, slot))
    return None if raw is None else ids.digest(raw)


def read_image(store: Store, process: str, slot: int) -> Image:
    """Return the memory image of `slot`.

    Raises:
        IntegrityError: it is missing, or its bytes are not an image record.
    """
    raw = store.get(keys.memory_image_key(process, slot))
    if raw is None:
        raise IntegrityError("the memory image is gone", process=process, slot=slot)
    return parse_image(raw, process, slot)


def parse_image(raw: bytes, process: str, slot: int) -> Image:
    """Return the memory image in the stored bytes of its record.

    Raises:
        IntegrityError: they are not an image record.
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
    """Return whether these are the type and the bits of a global."""
    return [type(part) for part in parts] == [str, int] and cast(int, parts[1]).bit_length() <= MAX_GLOBAL_BITS


def _is_number(text: str) -> bool:
    """Return whether `text` can be the number of a page."""
    return text.isdecimal() and text.isascii() and len(text) <= MAX_PAGE_DIGITS


def read_pages(store: Store, image: Image, process: str, slot: int) -> dict[int, bytes]:
    """Return the contents of the pages that `image` holds, by page number. Each is checked against its digest.

    Raises:
        IntegrityError: a page is missing, or does not have its digest.
    """
    contents: dict[str, bytes] = {}  # a page that occurs often is read once, and takes memory once
    first: dict[str, int] = {}
    for page, digest in image.held.items():
        first.setdefault(digest, page)
    wanted = list(first)
    for start in range(0, len(wanted), READ_PAGES):
        part = wanted[start : start + READ_PAGES]
        for digest, packed in zip(part, store.get_many([keys.page_key(at) for at in part]), strict=True):
            page = first[digest]
            if packed is None:
                raise IntegrityError(f"memory page {page} is gone", process=process, slot=slot, expected=digest)
            content = decompress(packed)
            if content is None or ids.digest(content) != digest:
                got = "bytes that do not decompress" if content is None else ids.digest(content)
                raise IntegrityError(
                    f"memory page {page} is not what it was", process=process, slot=slot, expected=digest, got=got
                )
            contents[digest] = content
    return {page: contents[digest] for page, digest in image.held.items()}


def compress(page: bytes) -> bytes:
    """Return a page as it is stored: zlib, fastest level."""
    from zlib import compress as zlib_compress

    return zlib_compress(page, 1)


def decompress(packed: bytes) -> bytes | None:
    """Return the page in `packed`, or None if there is none. Never produces more bytes than a page has."""
    from zlib import decompressobj
    from zlib import error as zlib_error

    unpacker = decompressobj()
    try:
        page = unpacker.decompress(packed, PAGE_BYTES)
    except zlib_error:
        return None
    return page if unpacker.eof and len(page) == PAGE_BYTES else None


def parse_record(raw: bytes, process: str, slot: int) -> SlotRecord:
    """Return the slot record in its stored bytes. Keys that no record has are ignored; `hb verify` finds them.

    Raises:
        IntegrityError: they hold no slot record: a key is missing, or has a value of another type.
    """
    fields = parse(raw, "slot record", process, slot)
    for key, kind in _REQUIRED.items():
        if type(fields.get(key)) is not kind:
            raise IntegrityError(
                f"the slot record lacks its {key}",
                process=process,
                slot=slot,
                expected=_KINDS[kind],
                got=_kind(fields, key),
            )
    image = fields.get("image")
    values = cast("dict[str, Any]", {key: fields[key] for key in _REQUIRED})
    return SlotRecord(**values, image=image if isinstance(image, str) else None)


def _kind(record: Message, key: str) -> str:
    return _KINDS.get(type(record[key]), "another value") if key in record else "nothing"


def parse(raw: bytes, what: str, process: str | None, slot: int | None) -> Message:
    """Return the message in stored bytes. `what` names them in the error.

    Raises:
        IntegrityError: they hold no message.
    """
    try:
        message = loads_stored(raw)
    except Refused as error:
        raise IntegrityError(f"the {what} is not readable ({error.message})", process=process, slot=slot) from error
    if not isinstance(message, dict):
        raise IntegrityError(f"the {what} is no message", process=process, slot=slot)
    return message
