"""Following and telling from the front door: what a push does, as values that a caller understands.

Invariants:
    No AO logic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hb.compute.context import Context
    from hb.history.pushed import Delivery
    from hb.history.views import SlotView
    from hb.library.past import Past
    from hb.library.scope import Scope
    from hb.push.engine import Pushed
    from hb.push.making import Made
    from hb.push.queue import Wanted
    from hb.records.deliveries import Delivered
    from hb.schedule.cron import Trouble


def wanted(process: Past, slot: int | str | None) -> tuple[str, int | None, str | None]:
    """Return the process ID, the slot, and the root of its message: what a push takes. None for a slot means all."""
    from hb.history import references
    from hb.records import deliveries

    if slot is None:
        return process.id, None, None
    session = process.home.context.session
    found, number = references.resolve(session, process.name, slot)
    with session() as store:
        return found, number, deliveries.root_at(store, found, number)


def telling(on_delivery: Callable[[Delivery], None] | None) -> Callable[[Made, Delivered], None] | None:
    """Return what a push calls after each delivery, if somebody wants to hear of it."""
    if on_delivery is None:
        return None
    from hb.history import pushed

    return lambda made, at: on_delivery(pushed.delivered(made, at))


def follow(
    scope: Scope,
    chosen: Sequence[str] | None,
    on_slot: Callable[[SlotView], None],
    on_delivery: Callable[[Delivery], None] | None,
    on_pushed: Callable[[Pushed], None] | None,
    on_trouble: Callable[[Trouble], None] | None,
) -> None:
    """Compute and deliver, as it is scheduled, and run crons: `Process.follow` and `Home.follow` are this.

    Raises:
        Interrupted, NotFound, Refused, IntegrityError: as `Process.follow`.
    """
    from hb.history import selection
    from hb.library import crons, pushing
    from hb.push import following
    from hb.records.deliveries import WAITERS

    budget, session = pushing.budget(scope), scope.context.session
    tell_delivery = telling(on_delivery)

    def push(context: Context, wanted: list[Wanted], tell: Callable[[str, int], None]) -> Pushed:
        def hear(made: Made, at: Delivered) -> None:
            tell(made.source, made.delivery.slot)
            if tell_delivery is not None:
                tell_delivery(made, at)

        return pushing.push(
            scope.bound(cancellation=context.cancellation),
            wanted,
            budget=budget,
            environment=scope.environment(),
            on_delivery=hear,
            again=WAITERS,
        )

    def tell_slots(process: str, first: int, last: int) -> None:
        for view in selection.select(session, process, first, last, selection.Filter()):
            on_slot(view)

    scope.context.run(
        lambda context: following.follow(
            context,
            chosen,
            push,
            tell_slots,
            on_pushed or (lambda pushed: None),
            between=crons.running(scope, context, chosen, on_trouble),
        )
    )
