"""Verify, run again and mend processes, each step in its order.

`verify.process`, `verify.replay`, `verify.deliveries` and `verify.tracks` find what is wrong; `verify.repair` and
`verify.retrace` mend it.

Invariants:
    Nothing here decides what is right.
    Whatever runs a module can be cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.compute import driver
from hb.errors import IntegrityError
from hb.records import lineage, names
from hb.verify import census, deliveries, given, index, queued, retrace, tracks
from hb.verify import process as checks
from hb.verify import repair as mending
from hb.verify import replay as replays
from hb.verify.evidence import Finding, Kind, finding_of
from hb.verify.replay import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hb.compute.context import Context
    from hb.storage.store import OpenStore
    from hb.verify.index import Indexed
    from hb.verify.replay import Note


def verify(
    context: Context, process: str, *, replay: bool, shared: bool = True, on_note: Callable[[Note], None] = ignore
) -> Iterator[Finding]:
    """Yield everything that is wrong with what is stored of a process.

    With `replay`, run every message again; then `on_note` is told of slots that another engine computed. Without
    `shared`, the slots that a fork shares are believed. The queue of deliveries is checked too: if it is damaged, this
    process delivers nothing.

    Raises:
        NotFound: there is no such process.
        Interrupted: the caller was cancelled.
    """
    pid = _resolve(context.session, process)
    findings = []
    for finding in _sound(context, pid, replay=replay, shared=shared, on_note=on_note):
        findings.append(finding)
        yield finding
    yield from _reading(findings, _received(context.session, pid, findings, shared=shared))
    yield from _reading(findings, _remembered(context.session, pid, findings))
    yield from _reading(findings, (flaw.finding for flaw in queued.check(context.session)))


def verify_all(
    context: Context,
    processes: Iterable[str],
    *,
    replay: bool,
    on_process: Callable[[str], None] = lambda process: None,
    on_note: Callable[[Note], None] = ignore,
) -> Iterator[Finding]:
    """Yield what is wrong with all `processes` of the home, given by ID, and with its names.

    Slots that a fork shares are checked once, with the process that owns them. The message index and the queue of
    deliveries are read once for all. `on_process` is called before each process.

    Raises:
        NotFound, Interrupted: as `verify`.
    """
    walked: list[Indexed] = []
    for process in processes:
        on_process(process)
        findings = []
        for finding in checks.check_slots(context.session, process, context.on_slot, walked.append, shared=False):
            findings.append(finding)
            yield finding
        for finding in _replay(context, process, findings, on_note) if replay else ():
            findings.append(finding)
            yield finding
        yield from _reading(findings, _received(context.session, process, findings, shared=False))
        yield from _reading(findings, _remembered(context.session, process, findings))
    yield from index.find_strays(context.session, walked)
    for flaws in (queued.check(context.session), queued.orphans(context.session)):
        yield from _reading((), (flaw.finding for flaw in flaws))
    yield from census.check_names(context.session)


def repair(context: Context, process: str, *, replay: bool) -> list[str]:
    """Make again what is damaged of a process; return what was done, a line each.

    Raises:
        Refused: something is damaged that follows from nothing else; nothing was mended.
        NotFound, Interrupted: as `verify`. What was deleted until then is computed when it is next asked for.
    """
    pid = _resolve(context.session, process)
    findings = list(_sound(context, pid, replay=replay, shared=True, on_note=ignore))
    mending.refuse_unless_derived(findings)
    mending.refuse_unless_derived(_received(context.session, pid, findings, shared=True))
    with context.session() as store:
        own = lineage.first_slot(store, pid)
    mending.refuse_unless_own(findings, pid, own, replayed=replay)
    done = mending.mend_links(context.session, pid, findings)
    first = mending.first_unsound(findings)
    if first is not None:
        first = max(first, own)
        with context.lease(pid):
            newest = mending.forget(context.session, pid, first, findings)
        done.append(f"deleted what was computed from slot {first} on")
        if newest >= first:
            driver.ensure_computed(context, pid, newest)
            done.append(f"computed slots {first} to {newest} again")
    # Only now are all results what they must be.
    done += retrace.mend(context.session, pid)
    return done + retrace.mend_home(context.session, orphans=False)


def _sound(
    context: Context, pid: str, *, replay: bool, shared: bool, on_note: Callable[[Note], None]
) -> Iterator[Finding]:
    """Yield everything that is wrong with a process by itself: with its schedule, and with what was computed."""
    findings = []
    for finding in checks.check_process(context.session, pid, context.on_slot, shared=shared):
        findings.append(finding)
        yield finding
    if replay:
        yield from _replay(context, pid, findings, on_note)


def _received(open_store: OpenStore, process: str, findings: Sequence[Finding], *, shared: bool) -> Iterator[Finding]:
    """Yield what is wrong with what was delivered to a process. `findings` are what is wrong with it by itself."""
    with open_store() as store:
        try:
            line = lineage.segments(store, process)
        except IntegrityError:
            return  # the definition has its own finding
    damaged = {finding.slot for finding in findings if finding.kind is Kind.ASSIGNMENT}
    sound = mending.first_unsound(findings)
    for at in line if shared else line[-1:]:
        yield from deliveries.check(open_store, at, damaged=damaged, sound=sound)


def _remembered(open_store: OpenStore, process: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield what is wrong with what pushes remember of a process."""
    sound = mending.first_unsound(findings)
    for flaw in tracks.check(open_store, process, sound=sound):
        yield flaw.finding
    for flaw in given.check(open_store, process):
        yield flaw.finding


def _reading(known: Sequence[Finding], found: Iterator[Finding]) -> Iterator[Finding]:
    """Yield what is found. If the store cannot be read, that is a finding too, unless there is one already."""
    try:
        yield from found
    except IntegrityError as error:
        if not known:
            yield Finding(error.process, None, Kind.STORE, None, "a store that can be read", error.message)


def _replay(
    context: Context, process: str, findings: Sequence[Finding], on_note: Callable[[Note], None]
) -> Iterator[Finding]:
    try:
        last = replays.reach(context.session, process, findings)
        differing = None if last is None else _replay_to(context, process, last, on_note)
    except IntegrityError as error:
        differing = finding_of(error)
    if differing is not None:
        yield differing


def _replay_to(context: Context, process: str, last: int, on_note: Callable[[Note], None]) -> Finding | None:
    return context.run(
        lambda inner: replays.replay(
            inner.session,
            process,
            last,
            inner.machine(),
            on_slot=inner.on_slot,
            on_note=on_note,
        )
    )


def _resolve(open_store: OpenStore, process: str) -> str:
    """Return the process ID that `process` stands for. An ID stands for itself, even if its process is damaged."""
    if ids.is_id(process):
        return process
    with open_store() as store:
        return names.resolve(store, process)
