"""Keep processes live: compute what is scheduled, as it is scheduled, and deliver what its results ask for.

Invariants:
    A delivery that is held is tried again only when what it waits for may have come.
    What several processes have to do is done in turn. In one that is damaged, it is left.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from hb.cancellation import NEVER
from hb.compute import driver
from hb.compute.following import LOOK_SECONDS, PATIENCE_SECONDS
from hb.errors import HbError, Interrupted
from hb.push import queue
from hb.push.engine import Pushed
from hb.records import cache, deliveries, keys, lineage
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hb.compute.context import Context
    from hb.push.queue import Wanted
    from hb.storage.store import Store

    Tell = Callable[[str, int], None]
    Push = Callable[[Context, list[Wanted], Tell], Pushed]


def nothing() -> None:
    """Do nothing between two steps."""


def follow(
    context: Context,
    chosen: Sequence[str] | None,
    push: Push,
    on_computed: Callable[[str, int, int], None],
    on_pushed: Callable[[Pushed], None],
    *,
    between: Callable[[], float | None] = nothing,
) -> None:
    """Compute the chosen processes (None: all, also those that come later) and deliver, until cancelled.

    Call it inside `context.run`. `push(context, wanted, tell)` delivers what processes ask for, each up to a slot. It
    calls `tell(process, slot)` before it says that a delivery was made for that slot. `on_computed(process, first,
    last)` is called for the slots of chosen processes, each once, in order. `on_pushed` is told what each push did.

    `between` is called after each step, at least every `PATIENCE_SECONDS`. What is scheduled there is done next. It
    returns after how many seconds it wants to be called again at the latest; None if it does not matter.

    Raises:
        Interrupted: the caller was cancelled; this is how it ends.
        NotFound, Refused, IntegrityError: one of `chosen` is not here, is another home's, or is damaged. With None, a
            process that cannot be computed is told to `on_pushed`, and the others go on.
    """
    follower = _Follower(context, chosen, push, on_computed, on_pushed)
    try:
        while not context.cancellation.is_cancelled:
            seen = context.storage.signal()
            is_behind = follower.step()
            soon_s = between()
            if not is_behind:
                _wait(context, seen, PATIENCE_SECONDS if soon_s is None else min(soon_s, PATIENCE_SECONDS))
    except Interrupted:
        pass
    follower.keep_images()
    raise Interrupted("stopped following")


def _wait(context: Context, seen: int, patience_s: float) -> None:
    """Wait for a signal other than `seen`. Look after a while even if there is none: a signal is only a hint."""
    until = monotonic() + patience_s
    while not context.cancellation.is_cancelled and context.storage.signal() == seen and monotonic() < until:
        sleep(LOOK_SECONDS)


class _Follower:
    """The processes that are followed: how far each is scheduled, computed, told and delivered."""

    def __init__(
        self,
        context: Context,
        chosen: Sequence[str] | None,
        push: Push,
        on_computed: Callable[[str, int, int], None],
        on_pushed: Callable[[Pushed], None],
    ) -> None:
        self._context = context
        self._chosen = None if chosen is None else frozenset(chosen)
        self._push = push
        self._on_computed, self._on_pushed = on_computed, on_pushed
        self._address = context.scheduler_key().address
        self._heads: dict[str, bytes] = {}
        self._newest: dict[str, int] = {}
        self._computed: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._delivered: dict[str, int] = {}
        self._ours: set[str] = set()
        self._stuck: dict[str, int] = {}
        self._said: dict[str, str] = {}
        # Nothing is added here: this only refuses processes that are not here, or another home's.
        queue.add(context.session, [(process, -1) for process in chosen or ()], self._address)

    def step(self) -> bool:
        """Do what there is to be done; return whether more is left already."""
        came = self._look()
        for process in self._behind(self._computed):
            self._compute(process)
        wanted = self._wanted(came)
        if wanted:
            done = self._push(self._context, list(wanted.items()), self._tell)
            self._report(done)
        return bool(self._behind(self._computed))

    def keep_images(self) -> None:
        """Store memory images from which a later start goes on soon, where that is worth it."""
        for process in self._computed:
            driver.keep_image(self._context.replace(cancellation=NEVER), process)

    def _behind(self, reached: dict[str, int]) -> list[str]:
        """Return the processes that have slots after those in `reached`, and that are not stuck."""
        return [
            process
            for process, newest in self._newest.items()
            if reached[process] < newest and self._stuck.get(process, -1) < newest
        ]

    def _look(self) -> set[str]:
        """Read how far the schedules are; return the processes that came since the last look."""
        changed: dict[str, bytes] = {}
        troubles: dict[str, HbError] = {}
        with self._context.session() as store:
            for key, raw in store.scan(*keys.heads()):
                process = keys.text_of(key)
                if self._heads.get(process) == raw:
                    continue
                changed[process] = raw
                if self._chosen is None or process in self._chosen:
                    try:
                        self._read(store, process)
                    except HbError as error:
                        troubles[process] = error
        came = changed.keys() - self._heads.keys()
        self._heads |= changed
        self._trouble(troubles)
        return came

    def _read(self, store: Store, process: str) -> None:
        """Read how far the schedule of a process is; at first, also how far it is computed, and whose it is."""
        newest = scheduler.get_head(store, process).slot
        if process not in self._newest:
            computed = cache.latest(store, process)
            if lineage.get_definition(store, process)["scheduler"] == self._address:
                self._ours.add(process)
            self._computed[process] = self._told[process] = -1 if computed is None else computed
            self._delivered[process] = -1
        self._newest[process] = newest

    def _compute(self, process: str) -> None:
        reached = min(self._newest[process], self._computed[process] + driver.RUN_SLOTS)
        try:
            driver.compute(self._context, process, reached, is_followed=True)
        except HbError as error:
            self._trouble({process: error})
            return
        self._computed[process] = reached
        self._tell(process, reached)

    def _tell(self, process: str, slot: int) -> None:
        """Tell of the slots of a process up to `slot`, which are computed."""
        first = self._told.get(process, slot) + 1
        if first <= slot:
            self._told[process] = slot
            self._on_computed(process, first, slot)

    def _trouble(self, troubles: dict[str, HbError]) -> None:
        """Leave processes until they have another slot. Call it while no session is open."""
        for process, error in troubles.items():
            if self._chosen is not None or isinstance(error, Interrupted):
                raise error
            self._stuck[process] = self._newest.get(process, -1)
        if troubles:
            self._report(Pushed(troubles=troubles))

    def _report(self, done: Pushed) -> None:
        """Say what was done, and each trouble of a process once."""
        done.troubles = {
            process: error for process, error in done.troubles.items() if self._said.get(process) != error.message
        }
        self._said |= {process: error.message for process, error in done.troubles.items()}
        self._on_pushed(done)

    def _wanted(self, came: set[str]) -> dict[str, int | None]:
        """Return what is to be pushed: processes, and up to which slot; None if what is held is tried again too."""
        wanted: dict[str, int | None] = {}
        for process in self._behind(self._delivered):
            if process in self._ours:
                wanted[process] = self._delivered[process] = self._computed[process]
        if came:
            with self._context.session() as store:
                wanted |= dict.fromkeys(self._find_waiting(store, came))
        return wanted

    def _find_waiting(self, store: Store, came: set[str]) -> Iterator[str]:
        """Yield processes with deliveries that may have waited for one of those that came, or for its image."""
        for key, raw in store.scan(*keys.all_held()):
            process, slot, _ = keys.place_of(key)
            if process not in self._ours:
                continue
            held = deliveries.parse_held(raw, process, slot)
            if held.reason in deliveries.WAITING and (held.target in came or held.reason == deliveries.IMAGE):
                yield process
