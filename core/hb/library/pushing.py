"""Pushing from the front door: the budget, the keys and the images of a home, put together for one push.

Invariants:
    No AO logic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import HbError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hb.environment import Environment
    from hb.library.scope import Scope
    from hb.protocol.commitment import Key
    from hb.push.budget import Budget
    from hb.push.engine import Options, Pushed
    from hb.push.making import Made
    from hb.push.trap import TrapDelivery
    from hb.records.deliveries import Delivered


def budget(scope: Scope, depth: int | None = None, messages: int | None = None, gas: int | None = None) -> Budget:
    """Return the budget of a push: what is given, and for the rest what the settings of the home say."""
    from hb.push.budget import Budget

    settings = scope.settings
    return Budget(
        settings.push_depth if depth is None else depth,
        settings.push_messages if messages is None else messages,
        settings.push_gas if gas is None else gas,
    )


def push(
    scope: Scope,
    wanted: Sequence[tuple[str, int | None]],
    *,
    budget: Budget,
    environment: Environment,
    root: str | None = None,
    on_delivery: Callable[[Made, Delivered], None] | None = None,
    again: str = "all",
) -> Pushed:
    """Deliver what these processes ask for, each up to a slot, and go on until nothing is left.

    With None for a slot, everything is delivered, and what is held is tried again: all of it, or with "waiting" for
    `again` what waits for its target. With a `root`, the push ends when nothing of it is left.

    Raises:
        NotFound, Refused, Interrupted, IntegrityError: as `Process.push`.
    """
    from hb.push import engine, queue

    context = scope.context
    options = _options(scope, budget, environment, on_delivery)
    queue.add(context.session, wanted, context.scheduler_key().address, again=again)
    return context.run(lambda inner: engine.push(inner, options, root=root))


def release(scope: Scope, held: TrapDelivery, budget: Budget, environment: Environment) -> Pushed:
    """Deliver a message that a trap holds, and go on until nothing is left."""
    from hb.push import engine, queue

    context = scope.context
    queue.again(context.session, held.process, held.slot, held.asked.ordinal)
    options = _options(scope, budget, environment, None)
    return context.run(lambda inner: engine.push(inner, options))


def _options(
    scope: Scope,
    budget: Budget,
    environment: Environment,
    on_delivery: Callable[[Made, Delivered], None] | None,
) -> Options:
    from hb.push.engine import Options

    return Options(
        environment,
        budget,
        find_key=lambda addresses: _key_among(scope, addresses),
        images=dict(scope.settings.modules),
        on_delivery=on_delivery,
        trap=scope.push_trap,
        patience_s=scope.push_patience_s,
    )


def _key_among(scope: Scope, addresses: set[str]) -> Key | None:
    """Return the first of the home's keys, by name, that has one of these addresses; None if none has.

    A wallet's signatures differ each time, so it signs no delivery.
    """
    from hb.protocol.signature import ED25519

    if not addresses:
        return None
    for name in scope.key_names():
        try:
            key = scope.place.key(name)
        except HbError:
            continue  # another key's file cannot be read: that is no reason to deliver nothing
        if key.address in addresses and key.algorithm == ED25519:
            return key
    return None
