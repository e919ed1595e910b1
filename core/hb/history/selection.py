"""Select slots of a history by sender, action, outcome or time.

A history is read in windows of limited size. Each window is read in one short session, and only one is in memory. A
slot is not parsed if its stored bytes already show that it is not wanted.

Invariants:
    Nothing is computed or written here.
"""

from __future__ import annotations

from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from hb.cancellation import NEVER, Cancellation
from hb.history import views as history
from hb.protocol import outcome
from hb.protocol.message import dumps
from hb.records import cache, keys, schedules
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hb.history.views import SlotView
    from hb.storage.store import OpenStore, Store

WINDOW_SLOTS = 1000
WINDOW_BYTES = 4 << 20
"""Maximum size of a window: slots, and bytes of assignments and of records each. The last one may exceed the bytes."""

NEAR_SLOTS = 4
"""Maximum distance of two wanted slots that are read together, along with the slots between them."""

FOLLOW_SECONDS = 0.05
"""How often a follower checks for a sign of something new."""
PATIENCE_SECONDS = 1.0
"""How long a follower waits for a sign before it reads the store without one."""


class Filter(NamedTuple):
    """Conditions for a slot. A slot is wanted if it meets every condition that is given.

    `senders`: an address that signed the message begins with one of these.
    `actions`: the message's action is one of these.
    `failed`: the slot is computed, and its outcome is an error (True) or not (False).
    """

    senders: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    failed: bool | None = None

    def takes(self, view: SlotView) -> bool:
        """Return whether a slot is wanted."""
        return (
            (not self.senders or (view.sender or "").startswith(self.senders))
            and (not self.actions or view.action in self.actions)
            and (self.failed is None or (view.computed and outcome.failed(view.results) is self.failed))
        )

    def rules_out_assignment(self, raw: bytes) -> bool:
        """Return whether an assignment's stored bytes already show that its slot is not wanted."""
        senders = (b'"committer":"%b' % sender.encode() for sender in self.senders)
        actions = (dumps(action) for action in self.actions)
        return not (_has_any(raw, senders) and _has_any(raw, actions))

    def rules_out_record(self, raw: bytes) -> bool:
        """Return whether a slot record's stored bytes already show that its slot is not wanted."""
        return self.failed is True and b'"type":"error"' not in raw


def _has_any(raw: bytes, texts: Iterable[bytes]) -> bool:
    """Return whether `raw` contains one of `texts`. Without texts, return True."""
    found = [text in raw for text in texts]
    return not found or any(found)


EVERYTHING = Filter()
"""A filter that wants every slot."""


def select(
    open_store: OpenStore,
    process: str,
    first: int,
    last: int,
    wanted: Filter = EVERYTHING,
    *,
    reverse: bool = False,
) -> Iterator[SlotView]:
    """Yield the wanted slots from `first` to `last`, both included, in order, or backwards with `reverse`.

    All slots of the range must be scheduled.

    Raises:
        IntegrityError: the stored data of a slot is damaged.
    """
    while first <= last:
        with open_store() as store:
            start, end, slots = _window(store, process, first, last, wanted, reverse=reverse)
            views = [view for view in _views(store, process, slots) if wanted.takes(view)]
        yield from reversed(views) if reverse else views
        first, last = (first, start - 1) if reverse else (end + 1, last)


def first_since(open_store: OpenStore, process: str, since_ms: int) -> int:
    """Return the first slot that was assigned at `since_ms` or later. If none was, return the newest slot plus one.

    Raises:
        NotFound: there is no such process.
        IntegrityError: its schedule is damaged.
    """
    with open_store() as store:
        low, high = 0, scheduler.get_head(store, process).slot + 1
        while low < high:
            middle = (low + high) // 2
            timestamp_ms = schedules.get_assignment(store, process, middle).timestamp_ms
            low, high = (middle + 1, high) if timestamp_ms < since_ms else (low, middle)
        return low


def follow(
    open_store: OpenStore,
    process: str,
    first: int | None,
    wanted: Filter,
    sign: Callable[[], object],
    cancellation: Cancellation = NEVER,
) -> Iterator[SlotView]:
    """Yield the wanted slots from `first` on, each as soon as it is computed. It never ends.

    With `first` None, start after the newest computed slot. This function computes nothing; other
    programs or threads do. `sign` returns a value that changes when something new is stored.

    Raises:
        Interrupted: it was cancelled; this is how it ends.
        NotFound: there is no such process.
        IntegrityError: as `select`.
    """
    while True:
        with open_store() as store:
            newest = cache.latest(store, process)
            seen = sign()
        after = 0 if newest is None else newest + 1
        first = after if first is None else first
        if first < after:
            yield from select(open_store, process, first, after - 1, wanted)
            first = after
            continue
        until = monotonic() + PATIENCE_SECONDS
        while sign() == seen and monotonic() < until:
            cancellation.check("following the process")
            sleep(FOLLOW_SECONDS)


def _window(
    store: Store, process: str, first: int, last: int, wanted: Filter, *, reverse: bool
) -> tuple[int, int, list[int]]:
    """Return the first and the last slot of the next window, and its slots that must be parsed.

    The other slots of the window are not wanted, as their stored bytes show.
    """
    kept: dict[int, bool] = {}
    size = 0
    expected = count(last, -1) if reverse else count(first)
    for (key, raw), slot in zip(
        store.scan(*keys.assignments(process, first, last), reverse=reverse), expected, strict=False
    ):
        if keys.slot_of(key) != slot:
            break
        kept[slot] = not wanted.rules_out_assignment(raw)
        size += len(raw)
        if size >= WINDOW_BYTES or len(kept) >= WINDOW_SLOTS:
            break
    # A window without assignments is damaged. Its slots are kept, so that reading them raises the error.
    if reverse:
        start, end = min(kept, default=max(first, last - WINDOW_SLOTS + 1)), last
    else:
        start, end = first, max(kept, default=min(last, first + WINDOW_SLOTS - 1))
    size = 0
    for key, raw in store.scan(*keys.slot_records(process, start, end), reverse=reverse):
        slot = keys.slot_of(key)
        if wanted.rules_out_record(raw):
            kept[slot] = False
        size += len(raw)
        if size >= WINDOW_BYTES:
            start, end = (slot, end) if reverse else (start, slot)
            break
    return start, end, [slot for slot in range(start, end + 1) if kept.get(slot, True)]


def _views(store: Store, process: str, slots: list[int]) -> Iterator[SlotView]:
    """Yield the views of `slots`, which are in order. Slots near each other come with the slots between them."""
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot - runs[-1][1] <= NEAR_SLOTS:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    for start, end in runs:
        yield from history.slot_views(store, process, start, end)
