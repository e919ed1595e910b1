"""Select slots of a history, window by window: by sender, action, outcome or time.

However long a history is, only one window of it is in memory, and each window is one short session. Slots that their
stored bytes rule out are not parsed.

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
from hb.records import cache, keys
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hb.history.views import SlotView
    from hb.storage.store import OpenStore, Store

WINDOW_SLOTS = 1000
WINDOW_BYTES = 4 << 20
"""So many slots, and about so many bytes of assignments and of records each, are looked at in one slice at the most."""

NEAR_SLOTS = 4
"""Slots that are so near to each other are read at once, with those between them."""

FOLLOW_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
"""How often a follower looks for a sign of news, and how long it waits for one before it looks into the store."""


class Filter(NamedTuple):
    """What a wanted slot must have.

    If `senders` are given, its message was signed by an address that begins with one of them. If `actions` are given,
    its message asks for one of them. If `failed` is given, the slot is computed, and its outcome is an error or not, as
    asked.
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
    """Return whether `raw` contains one of `texts`, or there are none."""
    found = [text in raw for text in texts]
    return not found or any(found)


EVERYTHING = Filter()


def select(
    open_store: OpenStore,
    process: str,
    first: int,
    last: int,
    wanted: Filter = EVERYTHING,
    *,
    reverse: bool = False,
) -> Iterator[SlotView]:
    """Yield the wanted slots from `first` to `last`, both included and scheduled, in order, or backwards if `reverse`.

    Raises:
        IntegrityError: what is stored of one of them is damaged.
    """
    while first <= last:
        with open_store() as store:
            start, end, slots = _window(store, process, first, last, wanted, reverse=reverse)
            views = [view for view in _views(store, process, slots) if wanted.takes(view)]
        yield from reversed(views) if reverse else views
        first, last = (first, start - 1) if reverse else (end + 1, last)


def first_since(open_store: OpenStore, process: str, since_ms: int) -> int:
    """Return the first slot that was assigned at `since_ms` or later, or the slot after the last if there is none.

    Raises:
        NotFound: there is no such process.
        IntegrityError: its schedule is damaged.
    """
    with open_store() as store:
        low, high = 0, scheduler.get_head(store, process).slot + 1
        while low < high:
            middle = (low + high) // 2
            timestamp_ms = scheduler.get_assignment(store, process, middle)["timestamp"]
            assert isinstance(timestamp_ms, int)
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
    """Yield the wanted slots from `first` on, each when it is computed. It never ends. None begins after the newest
    computed slot.

    `sign` returns another value after something new was stored. Others compute the slots; this function only looks.

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
    """Return the first and last slot of the next window, and those of its slots that their bytes do not rule out."""
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
    # Where there is none of them, something is damaged: whoever reads the slots finds out.
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
    """Yield the views of `slots`. Slots near each other are read together."""
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot - runs[-1][1] <= NEAR_SLOTS:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    for start, end in runs:
        yield from history.slot_views(store, process, start, end)
