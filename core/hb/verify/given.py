"""Check the records that say which delivery gave a slot to a message: an assignment that a program asked for.

Invariants:
    A check only reads, in short slices.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hb.errors import IntegrityError
from hb.protocol import delivery
from hb.protocol.commitment import message_id
from hb.records import cache, deliveries, keys, lineage
from hb.verify.evidence import Finding, Kind
from hb.verify.senders import is_sound
from hb.verify.tracks import WINDOW_DELIVERIES, Assign, Delete, Flaw, asked_in, bounds_of, is_defined, message_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.delivery import Asked
    from hb.storage.store import OpenStore, Store

_KEY_BYTES = 2 + 43 + 1 + keys.SLOT_BYTES


def check(open_store: OpenStore, process: str) -> Iterator[Flaw]:
    """Yield what is wrong with the records of which delivery gave a slot of a process to a message.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened or read.
    """
    if not is_defined(open_store, process):
        return  # the definition has its own finding
    after: bytes | None
    after, stop = keys.assigned(process)
    while after is not None:
        with open_store() as store:
            part = list(islice(store.scan(after, stop), WINDOW_DELIVERIES))
            flaws = [flaw for key, raw in part for flaw in _judge(store, process, key, raw)]
        yield from flaws
        after = part[-1][0] + b"\0" if len(part) == WINDOW_DELIVERIES else None


def _judge(store: Store, process: str, key: bytes, raw: bytes) -> list[Flaw]:
    kind = Kind.ASSIGNED
    if len(key) != _KEY_BYTES:
        finding = Finding(process, None, kind, None, f"a key of {_KEY_BYTES} bytes", f"{len(key)} bytes")
        return [Flaw(finding, Delete(key, raw))]
    slot, bounds = keys.slot_of(key), bounds_of(store, process)
    if not bounds.first <= slot <= bounds.newest:
        reason = "the slot is not scheduled" if slot > bounds.newest else "another process owns the slot"
        return [Flaw(Finding(process, slot, kind, None, f"none, for {reason}", "one"), Delete(key, raw))]
    body = message_at(store, process, slot)
    if body is None:
        return []  # the assignment has its own finding
    try:
        by, number, ordinal = deliveries.parse_assigned(raw, process, slot)
    except IntegrityError as error:
        got = error.what
    else:
        if gave(store, (by, number, ordinal), process, message_id(body)) is not False:
            return []
        got = f"delivery {ordinal} of slot {number} of {by}, which asks for no such thing"
    finding = Finding(process, slot, kind, None, "the delivery that gave the slot to its message", got)
    return [Flaw(finding, Assign(process, slot, None, raw))]


def gave(store: Store, by: tuple[str, int, int], process: str, message: str) -> bool | None:
    """Return whether a delivery asks that a message gets a slot of a process; None if that cannot be told.

    Raises:
        IntegrityError: a definition is damaged.
    """
    source, slot, ordinal = by
    if store.get(keys.assignment_key(source, slot)) is None or lineage.owner(store, source, slot) != source:
        return False
    raw = cache.read_bytes(store, source, slot)
    if raw is None or not is_sound(store, source, slot, raw):
        return None
    asked = asked_in(raw, source, slot)
    return None if asked is None else any(each.ordinal == ordinal and _fits(each, process, message) for each in asked)


def _fits(wanted: Asked, process: str, message: str) -> bool:
    is_kind = wanted.kind == delivery.ASSIGNMENT and wanted.target == process
    return is_kind and wanted.content["message"] == message
