"""What only one process uses: pages of memory and images. Others may share them, as they are stored by their digest.

Invariants:
    Nothing is written here.
    Sessions must show each record under its own key: not a `lineage.View`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.records import cache, keys
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb.protocol.message import Message
    from hb.storage.store import OpenStore, Store

WINDOW_KEYS = 1000
WINDOW_BYTES = 8 << 20
KNOWN_PAGES = 1_000_000
"""Maximum pages of a process that are deleted. Memory has to hold their digests; those beyond stay."""


def read(session: OpenStore, span: keys.Range) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records in a range, read in short sessions."""
    start, stop = span
    while start < stop:
        part, size_bytes = [], 0
        with session() as store:
            for key, raw in store.scan(start, stop):
                part.append((key, raw))
                size_bytes += len(raw)
                if len(part) == WINDOW_KEYS or size_bytes >= WINDOW_BYTES:
                    start = key + b"\0"
                    break
            else:
                start = stop
        yield from part


def parse_definition(raw: bytes, process: str) -> Message:
    """Return a stored definition; {} if it cannot be read."""
    try:
        return cache.parse(raw, "definition", process, None)
    except IntegrityError:
        return {}


def unused_images(store: Store, process: str) -> list[bytes]:
    """Return the keys of the images that the process runs and no other process does."""
    raw = store.get(keys.definition_key(process))
    wanted = [] if raw is None else definitions.images(parse_definition(raw, process))
    for key, other in store.scan(*keys.definitions()):
        if not wanted:
            break
        if key != keys.definition_key(process):
            wanted = [image for image in wanted if image.encode() not in other]
    return [keys.image_key(image) for image in wanted]


class Pages:
    """The pages that the images of a process hold, each with the first slot that holds it. Others' are left out."""

    def __init__(self, session: OpenStore, process: str) -> None:
        self._session, self._process = session, process
        self._first: dict[str, int] = {}
        self._newest: dict[str, int] = {}

    def add(self, key: bytes, raw: bytes) -> None:
        """Add the pages of an image of the process. Images come in the order of their slots."""
        slot = keys.slot_of(key)
        try:
            held = cache.parse_image(raw, self._process, slot).held
        except IntegrityError:
            return  # its pages stay
        for digest in held.values():
            if len(self._first) < KNOWN_PAGES:
                self._first.setdefault(digest, slot)

    def leave_others(self) -> None:
        """Leave out the pages that images of other processes hold."""
        if not self._first:
            return
        with self._session() as store:
            others = scheduler.processes(store)
        for other in others:
            if other != self._process:
                self._leave(other, read(self._session, keys.memory_images(other)))

    def leave_new(self, store: Store) -> None:
        """Leave out the pages of images that were stored since, too."""
        if not self._first:
            return
        for other in scheduler.processes(store):
            if other != self._process:
                self._leave(other, store.scan(*keys.memory_images(other, self._newest.get(other, -1) + 1)))

    def _leave(self, other: str, stored: Iterable[tuple[bytes, bytes]]) -> None:
        for key, raw in stored:
            slot = self._newest[other] = keys.slot_of(key)
            try:
                held = cache.parse_image(raw, other, slot).held
            except IntegrityError:
                self._first.clear()  # it may hold any page
                return
            for digest in held.values():
                self._first.pop(digest, None)

    def size_bytes(self) -> int:
        """Return how many bytes the pages have as they are stored."""
        digests, total = list(self._first), 0
        for start in range(0, len(digests), 64):
            with self._session() as store:
                found = store.get_many([keys.page_key(digest) for digest in digests[start : start + 64]])
            total += sum(len(raw) for raw in found if raw is not None)
        return total

    def since(self, slot: int) -> list[str]:
        """Return the pages that no image before `slot` holds."""
        found = []
        for digest, first in reversed(self._first.items()):
            if first < slot:
                break
            found.append(digest)
        return found

    def forget(self, digests: Iterable[str]) -> None:
        """Leave out pages that were deleted."""
        for digest in digests:
            self._first.pop(digest, None)
