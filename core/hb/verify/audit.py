"""A process verified, run again and mended: the order in which that is done.

What is wrong is found by `verify` and `replay`, and mended by `repair`; whoever runs a module here can be stopped. It
must never decide by itself what is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.compute import driver
from hb.records import lineage, names
from hb.verify import process as checks
from hb.verify import repair as mending
from hb.verify import replay as replays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hb.compute.context import Context
    from hb.storage.store import OpenStore
    from hb.verify.evidence import Finding


def verify(context: Context, process: str, *, replay: bool, shared: bool = True) -> Iterator[Finding]:
    """Everything that is wrong with what is stored of a process; without `shared`, but for what a fork only shares.

    Raises:
        NotFound: there is no such process.
        Interrupted: the user wants to stop.
    """
    pid = _resolve(context.session, process)
    findings = []
    for finding in checks.check_process(context.session, pid, context.on_slot, shared=shared):
        findings.append(finding)
        yield finding
    if replay:
        differing = _replay(context, pid, findings)
        if differing is not None:
            yield differing


def repair(context: Context, process: str, *, replay: bool) -> list[str]:
    """Makes again what is damaged of a process; returns what was done, a line each.

    Raises:
        Refused: something is damaged that follows from nothing else; nothing was mended.
        NotFound, Interrupted: as `verify`; what was forgotten is computed when it is next asked for.
    """
    pid = _resolve(context.session, process)
    findings = list(verify(context, pid, replay=replay))
    mending.refuse_unless_derived(findings)
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
    return done


def _replay(context: Context, process: str, findings: Sequence[Finding]) -> Finding | None:
    last = replays.reach(context.session, process, findings)
    if last is None:
        return None
    return context.run(
        lambda inner: replays.replay(
            inner.session,
            process,
            last,
            inner.machine(),
            on_slot=inner.on_slot,
        )
    )


def _resolve(open_store: OpenStore, process: str) -> str:
    """The process ID that `process` stands for; an ID stands for itself, though its head may be gone."""
    if ids.is_id(process):
        return process
    with open_store() as store:
        return names.resolve(store, process)
