"""Find index entries that no slot accounts for, in one pass over the index of all messages.

An index entry says at which slot a process has a message. Each slot is checked to have its entry elsewhere; here each
entry is checked to have its slot. Entries are counted first. Only those of a process that has too many are looked at
one by one.

Invariants:
    The index is read in short slices, and never held in memory.
    Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HomeUnusable, IntegrityError
from hb.protocol.commitment import message_id
from hb.records import keys
from hb.verify.evidence import Finding, Kind, get, message_in, text_of
from hb.verify.walk import shown_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set

    from hb.storage.store import OpenStore

WINDOW_KEYS = 10_000
"""Maximum index entries that are read in one slice."""


class Indexed(NamedTuple):
    """What a walk over a process's own slots found of its index.

    `newest` is the newest slot. `right` counts the entries that are right; `wrong` are the messages of the others.
    """

    process: str
    newest: int
    right: int
    wrong: Set[str]


class _Entry(NamedTuple):
    message: str
    raw: bytes

    @property
    def slot(self) -> int:
        """The slot that the entry says, or -1 if it says none."""
        return keys.decode_slot(self.raw) if len(self.raw) == keys.SLOT_BYTES else -1


def find_strays(open_store: OpenStore, walked: Iterable[Indexed]) -> Iterator[Finding]:
    """Yield a finding for each index entry of these processes that names a slot without that message."""
    by_process = {found.process: found for found in walked}
    counts: dict[str, int] = {}
    known: dict[str, int] = {}
    for process, entry in _entries(open_store, by_process):
        counts[process] = counts.get(process, 0) + 1
        known[process] = known.get(process, 0) + (0 <= entry.slot <= by_process[process].newest)
    odd = {process: by_process[process] for process, count in counts.items() if count != by_process[process].right}
    if not odd:
        return
    for process, entry in _entries(open_store, odd):
        found = odd[process]
        if 0 <= entry.slot <= found.newest and known[process] == found.right:
            continue  # all entries of slots up to the newest are right
        finding = _stray(open_store, found, entry)
        if finding is not None:
            yield finding


def _stray(open_store: OpenStore, found: Indexed, entry: _Entry) -> Finding | None:
    process, slot = found.process, entry.slot
    with open_store() as store:
        stored = None if slot < 0 else get(store, keys.assignment_key(process, slot))
    assignment, _ = message_in(stored, process, slot, Kind.ASSIGNMENT)
    if assignment is None and 0 <= slot <= found.newest:
        return None  # that slot has its own finding
    body = None if assignment is None else assignment.get("body")
    message = message_id(body) if isinstance(body, dict) else None
    if message == entry.message:
        return None
    has = "no message" if message is None else f"message {message}"
    got = f"{shown_slot(entry.raw)}, which has {has}"
    return Finding(process, None, Kind.INDEX, entry.message, "the slot of that message", got)


def _entries(open_store: OpenStore, wanted: dict[str, Indexed]) -> Iterator[tuple[str, _Entry]]:
    """Yield the index entries of the processes in `wanted`, with the process, apart from those known to be wrong."""
    start, stop = keys.messages()
    while True:
        read = 0
        found: list[tuple[str, _Entry]] = []
        with open_store() as store:
            try:
                for key, raw in store.scan(start, stop):
                    read += 1
                    start = key + b"\0"
                    message, _, process = text_of(key[2:]).rpartition("/")
                    if process in wanted and message not in wanted[process].wrong:
                        found.append((process, _Entry(message, raw)))
                    if read == WINDOW_KEYS:
                        break
            except (IntegrityError, HomeUnusable):
                # Each slot looked for its own entry, and has a finding if that could not be read.
                read = 0
        yield from found
        if read < WINDOW_KEYS:
            return
