"""Mending what is damaged of a process, where it follows from what is not: deletes it, and makes it again.

Schedules, definitions and images follow from nothing: where one of them is damaged, nothing is mended. It must never
write an assignment, a definition or an image, nor take back one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hb.errors import IntegrityError, Refused
from hb.protocol.commitment import message_id
from hb.records import keys
from hb.schedule import scheduler
from hb.storage.store import Batch, retrying
from hb.verify.census import is_name_sound, name_of
from hb.verify.evidence import HEAD, INDEX, NAME, PAGE, PREVIOUS, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hb.storage.store import OpenStore, Store

BATCH_KEYS = 1000
"""So many keys are deleted at once, at the most."""


def refuse_unless_derived(findings: Iterable[Finding]) -> None:
    """Makes sure that all that is damaged can be made again.

    Raises:
        Refused: something is damaged that follows from nothing else; it says what.
    """
    for finding in findings:
        if not finding.is_derived:
            where = "" if finding.slot is None else f" of slot {finding.slot}"
            raise Refused(
                f"nothing was mended: the {finding.what}{where} is damaged, and there is nothing to make it again from",
                hint="put the home, or its store, back from a copy; schedules are never altered",
            )


def refuse_unless_own(findings: Iterable[Finding], process: str, own: int, *, replayed: bool) -> None:
    """Makes sure that what is damaged is the process's own, from slot `own` on, and not of one that it comes from.

    Raises:
        Refused: it is not, or it may not be; says what to do.
    """
    for finding in findings:
        if finding.process != process:
            where = "" if finding.slot is None else f" of slot {finding.slot}"
            raise Refused(
                f"nothing was mended: the {finding.what}{where} is damaged, and is not its own but its origin's",
                hint=f"`hb verify {finding.process} --repair` mends it",
            )
        if own and finding.slot == own and finding.what == PREVIOUS and not replayed:
            raise Refused(
                f"nothing was mended: the slot record of slot {own - 1}, which is not its own, may be the wrong one",
                hint=f"`hb verify {process} --replay --repair` tells",
            )


def mend_links(open_store: OpenStore, process: str, findings: Sequence[Finding]) -> list[str]:
    """Writes the index entries and the head anew that `findings` say are wrong; returns what it did, a line each."""
    done = []
    for finding in findings:
        if finding.what.startswith(INDEX):
            done.append(_mend_index(open_store, process, finding))
        elif finding.what == HEAD:
            done.append(retrying(open_store, lambda store: _mend_head(store, process)))
    return done


def first_unsound(findings: Iterable[Finding]) -> int | None:
    """The first slot whose record, memory image or pages are not what they must be, or None."""
    slots = [
        # A record that is not the one that the next names: either may be the wrong one.
        max(0, finding.slot - 1) if finding.what == PREVIOUS else finding.slot
        for finding in findings
        if finding.slot is not None and not finding.what.startswith(INDEX)
    ]
    return min(slots, default=None)


def forget(open_store: OpenStore, process: str, first: int, findings: Iterable[Finding]) -> int:
    """Deletes what was computed from slot `first` on, the newest first; returns the newest that was, or -1.

    Whatever happens in between, what is left are the slots up to some slot, as after a compute that was interrupted.
    """
    with open_store() as store:
        newest = max(_latest(store, process, keys.slot_records), _latest(store, process, keys.memory_images))
        head = scheduler.get_head(store, process).slot

    def forget_some(store: Store) -> int:
        found = list(_computed_keys(store, process, first))
        if found:
            store.commit(Batch(deletes=set(found), expects=_as_read(store, found), sync=True))
        return len(found)

    while retrying(open_store, forget_some) >= BATCH_KEYS:
        pass
    pages = {keys.page_key(finding.expected) for finding in findings if finding.what == PAGE and finding.expected}
    if pages:
        with open_store() as store:
            store.commit(Batch(deletes=pages, sync=True))
    return min(newest, head)


def _as_read(store: Store, wanted: Iterable[bytes]) -> dict[bytes, bytes | None]:
    """Return what a batch can expect under these keys: what is there, where it can be read."""
    found: dict[bytes, bytes | None] = {}
    for key in wanted:
        with suppress(IntegrityError):
            found[key] = store.get(key)
    return found


def mend_names(open_store: OpenStore, findings: Iterable[Finding]) -> list[str]:
    """Takes back the names that `findings` say stand for no process; returns what it did, a line each."""
    wrong = {finding.what: finding for finding in findings if finding.what.startswith(NAME)}

    def take_back(store: Store) -> None:
        stored = [(key, raw) for key, raw in store.scan(*keys.names()) if f"{NAME} {name_of(key)!r}" in wrong]
        # A name may have been given to a process meanwhile.
        expects: dict[bytes, bytes | None] = {key: raw for key, raw in stored if not is_name_sound(store, key, raw)}
        store.commit(Batch(deletes=set(expects), expects=expects, sync=True))

    retrying(open_store, take_back)
    return [f"took back the {what}: expected {finding.expected}, got {finding.got}" for what, finding in wrong.items()]


def _latest(store: Store, process: str, layout: Callable[[str], keys.Range]) -> int:
    return next((keys.slot_of(key) for key, _ in store.scan(*layout(process), reverse=True)), -1)


def _computed_keys(store: Store, process: str, first: int) -> Iterator[bytes]:
    """Keys of what was computed from slot `first` on, those of the newest slots first, and never half a slot."""
    records = store.scan(*keys.slot_records(process, first), reverse=True)
    taken = 0
    for key, _ in records:
        yield key
        yield keys.memory_image_key(process, keys.slot_of(key))
        taken += 2
        if taken >= BATCH_KEYS:
            return
    for key, _ in store.scan(*keys.memory_images(process, first), reverse=True):
        yield key
        taken += 1
        if taken >= BATCH_KEYS:
            return


def _mend_index(open_store: OpenStore, process: str, finding: Finding) -> str:
    message = finding.what.rpartition(" ")[2]
    key = keys.message_slot_key(message, process)

    def mend(store: Store) -> str:
        batch = Batch(expects=_as_read(store, [key]), sync=True)
        if finding.slot is None:
            batch.deletes.add(key)
            store.commit(batch)
            return f"took back the {finding.what}: no slot has it"
        body = scheduler.get_assignment(store, process, finding.slot)["body"]
        assert isinstance(body, dict)
        assert message_id(body) == message
        batch.puts[key] = keys.encode_slot(finding.slot)
        store.commit(batch)
        return f"wrote the {finding.what} anew: slot {finding.slot}"

    return retrying(open_store, mend)


def _mend_head(store: Store, process: str) -> str:
    """Write the head that the last assignment says."""
    head_key = keys.head_key(process)
    expects = _as_read(store, [head_key])
    key, _ = next(iter(store.scan(*keys.assignments(process), reverse=True)))
    last = scheduler.get_assignment(store, process, keys.slot_of(key))
    head = scheduler.head_after(last)
    store.commit(Batch(puts={head_key: head.encode()}, expects=expects, sync=True))
    return f"wrote the {HEAD} anew: slot {head.slot}"
