"""The slots of a history that somebody asks for, window by window: by sender, by action, by outcome, since when.

However long a history is, no more of it is held than a window, and a window holds the store for one short slice. What
the stored bytes of a slot rule out is not so much as parsed. It only looks: it must never compute or write.
"""

from __future__ import annotations

from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from hb.compute import outcome
from hb.history import views as history
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
    """What a slot must have to be wanted.

    Its message was signed by an address that begins with one of `senders`, and asked for one of `actions`, if any are
    named; it is computed, and its outcome is an error or is none, as `failed` says.
    """

    senders: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    failed: bool | None = None

    def takes(self, view: SlotView) -> bool:
        """Whether a slot is wanted."""
        return (
            (not self.senders or (view.sender or "").startswith(self.senders))
            and (not self.actions or view.action in self.actions)
            and (self.failed is None or (view.computed and outcome.failed(view.results) is self.failed))
        )

    def rules_out_assignment(self, raw: bytes) -> bool:
        """Whether the stored bytes of an assignment tell that its slot is not wanted."""
        senders = (b'"committer":"%b' % sender.encode() for sender in self.senders)
        actions = (dumps(action) for action in self.actions)
        return not (_has_any(raw, senders) and _has_any(raw, actions))

    def rules_out_record(self, raw: bytes) -> bool:
        """Whether the stored bytes of a slot record tell that its slot is not wanted."""
        return self.failed is True and b'"type":"error"' not in raw


def _has_any(raw: bytes, texts: Iterable[bytes]) -> bool:
    """Whether one of `texts` stands in `raw`, or there are none."""
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
    """Those wanted of the slots `first` to `last`, both included and scheduled, in order, or against it if `reverse`.

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
    """The first slot that was assigned at `since_ms` or later; the one after the last, if none was.

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
    open_store: OpenStore, process: str, first: int | None, wanted: Filter, sign: Callable[[], object]
) -> Iterator[SlotView]:
    """The wanted slots from `first` on (None: those not computed yet), each when it is computed; it does not end.

    `sign` gives another value after somebody was at the store. Slots are computed by others: this does not.

    Raises:
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
            sleep(FOLLOW_SECONDS)


def _window(
    store: Store, process: str, first: int, last: int, wanted: Filter, *, reverse: bool
) -> tuple[int, int, list[int]]:
    """The next slots that are looked at, from and to, and those of them that are not ruled out."""
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
    """The slots, and those between such as are near each other: one read takes them all."""
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot - runs[-1][1] <= NEAR_SLOTS:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    for start, end in runs:
        yield from history.slot_views(store, process, start, end)
