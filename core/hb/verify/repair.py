"""Mend what is damaged of a process and can be made again: delete it, and derive it again.

Schedules, definitions and images follow from nothing else. If one of them is damaged, nothing is mended.

Invariants:
    No assignment, definition or image is ever written or deleted.
    Each batch states what it was derived from. If that changed meanwhile, it is read and derived again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import Conflict, Refused
from hb.protocol.commitment import message_id
from hb.records import keys, schedules
from hb.schedule import scheduler
from hb.storage.store import Batch
from hb.verify import retrace
from hb.verify.census import check_name
from hb.verify.evidence import Finding, Kind, page_digest, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hb.storage.store import OpenStore, Store

BATCH_KEYS = 1000
"""Maximum keys that are deleted in one batch."""

MOST_TRIES = 100
"""How often a batch is tried whose ground changed meanwhile."""


def refuse_unless_derived(findings: Iterable[Finding]) -> None:
    """Make sure that all that is damaged can be made again.

    Raises:
        Refused: something is damaged that follows from nothing else.
    """
    for finding in findings:
        if not finding.is_derived:
            raise Refused(
                f"nothing was mended: the {_named(finding)} is damaged, and there is nothing to make it again from",
                hint="put the home, or its store, back from a copy; schedules are never altered",
            )


def refuse_unless_own(findings: Iterable[Finding], process: str, own: int, *, replayed: bool) -> None:
    """Make sure that what is damaged belongs to the process, from slot `own` on, and not to one that it comes from.

    Raises:
        Refused: it belongs to another process, or may do so. The hint says what to do.
    """
    for finding in findings:
        if finding.process != process:
            raise Refused(
                f"nothing was mended: the {_named(finding)} is damaged, and is not its own but its origin's",
                hint=f"`hb verify {finding.process} --repair` mends it",
            )
        if own and finding.slot == own and finding.is_about_previous and not replayed:
            raise Refused(
                f"nothing was mended: the slot record of slot {own - 1}, which is not its own, may be the wrong one",
                hint=f"`hb verify {process} --replay --repair` tells",
            )


def mend_links(open_store: OpenStore, process: str, findings: Sequence[Finding]) -> list[str]:
    """Write anew the index entries and the head that `findings` are about; return a line for each."""
    done = []
    for finding in findings:
        if finding.kind is Kind.INDEX:
            done.append(_mend_index(open_store, process, finding))
        elif finding.kind is Kind.HEAD:
            done.append(_mend_head(open_store, process))
    return done


def first_unsound(findings: Iterable[Finding]) -> int | None:
    """Return the first slot whose record, memory image or pages are not what they must be, or None."""
    slots = [
        max(0, finding.slot - 1) if finding.is_about_previous else finding.slot
        for finding in findings
        if finding.slot is not None and finding.kind is not Kind.INDEX
    ]
    return min(slots, default=None)


def forget(open_store: OpenStore, process: str, first: int, findings: Iterable[Finding]) -> int:
    """Delete what was computed from slot `first` on, the newest slots first; return the newest that was, or -1.

    If this ends early, the slots up to some slot are left, as after a compute that was interrupted.
    """
    with open_store() as store:
        newest = max(_newest(store, process, keys.slot_records), _newest(store, process, keys.memory_images))
        head = scheduler.get_head(store, process).slot
    while _write(open_store, lambda store: _forgetting(store, process, first)):
        pass
    damaged = {finding.part for finding in findings if finding.kind is Kind.PAGE and finding.part}
    if damaged:
        _write(open_store, lambda store: _without_pages(store, damaged))
    return min(newest, head)


def mend_names(open_store: OpenStore, findings: Iterable[Finding]) -> list[str]:
    """Mend what belongs to a home, and to no process; return a line for each.

    Delete the names that `findings` are about, and what pushes remember that leads to nothing.
    """
    wrong = {finding.part for finding in findings if finding.kind is Kind.NAME}
    deleted: dict[str, Finding] = {}

    def without_names(store: Store) -> Batch:
        batch = Batch(sync=True)
        deleted.clear()
        for key, raw in store.scan(*keys.names()):
            name = text_of(key[2:])
            if name in wrong and (found := list(check_name(store, key, raw))):
                batch.deletes.add(key)
                batch.expects[key] = raw
                deleted[name] = found[-1]
        return batch

    _write(open_store, without_names)
    done = [f"took back the {each.what}: expected {each.expected}, got {each.got}" for each in deleted.values()]
    return done + retrace.mend_home(open_store, orphans=True)


# -- batches, each derived from what is stored as it is written


def _write(open_store: OpenStore, derive: Callable[[Store], Batch]) -> bool:
    """Write the batch that `derive` makes of the store, and try again if what it was made of changed.

    Returns whether it had anything to write.

    Raises:
        Conflict: that went on changing.
    """
    for tried in range(MOST_TRIES):
        with open_store() as store:
            batch = derive(store)
            if not (batch.puts or batch.deletes):
                return False
            try:
                store.commit(batch)
            except Conflict:
                if tried + 1 == MOST_TRIES:
                    raise
            else:
                return True
    return False


def _forgetting(store: Store, process: str, first: int) -> Batch:
    """Return a batch that deletes the newest of what was computed from slot `first` on, and never half a slot."""
    records: dict[bytes, bytes | None] = {}
    for key, raw in store.scan(*keys.slot_records(process, first), reverse=True):
        records[key] = raw
        if 2 * len(records) >= BATCH_KEYS:
            break
    expects = dict(records)
    if records:
        newest = keys.slot_of(next(iter(records)))
        if newest < keys.LAST_SLOT:
            # A slot that is computed meanwhile would be left after the gap.
            expects[keys.slot_record_key(process, newest + 1)] = None
        images = {keys.memory_image_key(process, keys.slot_of(key)) for key in records}
        return Batch(deletes={*records, *images}, expects=expects, sync=True)
    stray: set[bytes] = set()
    for key, _ in store.scan(*keys.memory_images(process, first), reverse=True):
        stray.add(key)
        expects[keys.slot_record_key(process, keys.slot_of(key))] = None
        if len(stray) >= BATCH_KEYS:
            break
    return Batch(deletes=stray, expects=expects, sync=True)


def _without_pages(store: Store, damaged: Iterable[str]) -> Batch:
    """Return a batch that deletes those pages that are still not what their digest says."""
    batch = Batch(sync=True)
    for digest in damaged:
        key = keys.page_key(digest)
        raw = store.get(key)
        if raw is not None and page_digest(raw) != digest:
            batch.deletes.add(key)
            batch.expects[key] = raw
    return batch


def _mend_index(open_store: OpenStore, process: str, finding: Finding) -> str:
    message, slot = finding.part, finding.slot
    assert message is not None
    key = keys.message_slot_key(message, process)

    def right_entry(store: Store) -> Batch:
        entry = store.get(key)
        if slot is None:
            return Batch(deletes=set() if entry is None else {key}, expects={key: entry}, sync=True)
        body = schedules.get_assignment(store, process, slot).body
        assert message_id(body) == message
        return Batch(puts={key: keys.encode_slot(slot)}, expects={key: entry}, sync=True)

    _write(open_store, right_entry)
    if slot is None:
        return f"took back the {finding.what}: no slot has it"
    return f"wrote the {finding.what} anew: slot {slot}"


def _mend_head(open_store: OpenStore, process: str) -> str:
    """Write the head that the last assignment says."""
    written: list[int] = []

    def right_head(store: Store) -> Batch:
        newest = _newest(store, process, keys.assignments)
        head = scheduler.head_after(schedules.get_assignment(store, process, newest))
        written.append(newest)
        key, after = keys.head_key(process), keys.assignment_key(process, newest + 1)
        return Batch(puts={key: head.encode()}, expects={key: store.get(key), after: None}, sync=True)

    _write(open_store, right_head)
    return f"wrote the {Kind.HEAD} anew: slot {written[-1]}"


def _newest(store: Store, process: str, layout: Callable[[str], keys.Range]) -> int:
    return next((keys.slot_of(key) for key, _ in store.scan(*layout(process), reverse=True)), -1)


def _named(finding: Finding) -> str:
    return finding.what if finding.slot is None else f"{finding.what} of slot {finding.slot}"
