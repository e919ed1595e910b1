"""Keep a process live: compute what is scheduled, as it is scheduled."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from hb.cancellation import NEVER
from hb.compute import driver
from hb.errors import Interrupted
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.compute.context import Context

LOOK_SECONDS = 0.02
"""How often a follower looks at the storage's signal, which costs one look at one file."""

PATIENCE_SECONDS = 1.0
"""How long a follower believes the signal. Then it looks into the store, as a signal is only a hint."""


def follow(context: Context, process: str, first: int, on_computed: Callable[[int, int], None]) -> None:
    """Compute each slot of `process` as it is scheduled, until cancelled; call inside `context.run`.

    `on_computed(first, last)` is called after each run of slots, with the first and the last of them.

    Raises:
        Interrupted: the caller was cancelled; this is how it ends.
        NotFound, IntegrityError: as `driver.compute`.
    """
    while True:
        seen = context.storage.signal()
        with context.session() as store:
            newest = scheduler.get_head(store, process).slot
        reached = min(newest, first + driver.RUN_SLOTS - 1)
        if reached >= first:
            driver.compute(context, process, reached, is_followed=True)
            on_computed(first, reached)
            first = reached + 1
        until = monotonic() + PATIENCE_SECONDS
        while reached == newest and not context.cancellation.is_cancelled:
            if context.storage.signal() != seen or monotonic() > until:
                break
            sleep(LOOK_SECONDS)
        if context.cancellation.is_cancelled:
            driver.keep_image(context.replace(cancellation=NEVER), process)
            raise Interrupted(f"stopped following at slot {reached}")
