"""Make what a delivery sends: sign its message, or make the process that is spawned.

Invariants:
    No store is open meanwhile.
    Nothing depends on a clock or on randomness, so the same delivery always gives the same message.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import Refused
from hb.protocol import definition as definitions
from hb.protocol import delivery
from hb.protocol.commitment import encoded, message_id, sign, sign_encoded
from hb.protocol.message import dumps, normalise_message
from hb.push.targets import SHOWN
from hb.push.trap import DROP, HOLD, HOLDING, KEPT_KEYS, TrapDelivery, Verdict
from hb.records import deliveries
from hb.records.deliveries import Held
from hb.records.packing import pack
from hb.schedule import intake, scheduler
from hb.schedule.intake import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message, Value
    from hb.push.plan import Delivery, Plan
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import Batch


class Child(NamedTuple):
    """A process that is spawned: its definition, and what opens its schedule."""

    definition: Message
    opened: Batch
    scheduled: Scheduled


class Made(NamedTuple):
    """What a delivery of `source` sends: `prepared` is scheduled at `process`. For a spawn, `child` is made before."""

    source: str
    delivery: Delivery
    process: str
    prepared: Prepared
    child: Child | None = None
    altered: bool = False


class Maker:
    """Makes what deliveries send, in one home."""

    def __init__(
        self,
        context: Context,
        environment: Environment,
        scheduler_key: Key,
        trap: Callable[[TrapDelivery], Verdict] | None,
    ) -> None:
        self._context = context
        self._environment = environment
        self._key = scheduler_key
        self._trap = trap

    def make(self, plan: Plan, wanted: Delivery) -> Made | Held:
        """Return what a delivery sends, or why it is held."""
        try:
            if wanted.asked.kind == delivery.SPAWN:
                return self._spawn(plan, wanted)
            if wanted.asked.kind == delivery.ASSIGNMENT:
                return self._assign(plan, wanted)
            return self._send(plan, wanted)
        except Refused as error:
            return Held(deliveries.REFUSED, error.message, wanted.asked.target[:SHOWN], wanted.depth)

    def _send(self, plan: Plan, wanted: Delivery) -> Made | Held:
        message = delivery.message(plan.source, wanted.slot, wanted.asked, wanted.root)
        sent = message
        if self._trap is not None and wanted.was_held != deliveries.TRAPPED:
            seen = TrapDelivery(plan.source.process, wanted.slot, wanted.asked, wanted.depth, deepcopy(message))
            verdict = self._trap(seen)
            if isinstance(verdict, dict):
                sent = {**verdict, **{key: message[key] for key in KEPT_KEYS}}
            elif verdict in HOLDING:
                reason, says = HOLDING[verdict]
                return Held(reason, says, wanted.asked.target, wanted.depth)
            elif verdict is not None:
                raise TypeError(f"a trap returns None, {HOLD!r}, {DROP!r} or a message, got {verdict!r}")
        prepared = self._prepare(sent, wanted.target.key)
        return Made(plan.source.process, wanted, wanted.asked.target, prepared, altered=sent != message)

    def _assign(self, plan: Plan, wanted: Delivery) -> Made | Held:
        assert isinstance(wanted.content, dict)
        intake.check_assigned(wanted.content, wanted.target.definition)
        signed = encoded(normalise_message(wanted.content))
        return Made(
            plan.source.process,
            wanted,
            wanted.asked.target,
            Prepared(signed, dumps(pack(signed.message)), is_new=False),
        )

    def _spawn(self, plan: Plan, wanted: Delivery) -> Made:
        image = str(wanted.content)
        unsigned = delivery.child(
            plan.source,
            wanted.slot,
            wanted.asked,
            wanted.root,
            plan.definition,
            image,
            lambda: self._devices(image),
        )
        definition = sign(unsigned, self._key)
        definitions.check(definition)
        child = message_id(definition)
        opened, scheduled, assignment = scheduler.open_schedule(
            child, definition, key=self._key, environment=self._environment
        )
        from hb.compute import transition

        transition.initialise(definition, assignment, self._context.machine())
        said = delivery.spawned_message(plan.source, wanted.slot, wanted.asked, wanted.root, child)
        prepared = self._prepare(said, wanted.target.key)
        return Made(plan.source.process, wanted, plan.source.process, prepared, Child(definition, opened, scheduled))

    def _devices(self, image: str) -> tuple[list[str], Value]:
        from hb.devices.device import execution_for

        return execution_for([], self._context.machine().load_module(image).info)

    def _prepare(self, message: Message, key: Key) -> Prepared:
        signed = sign_encoded(message, key)
        stored = dumps(pack(signed.message))
        intake.check_size(stored, self._context.settings.message_limit_bytes)
        return Prepared(signed, stored, is_new=False)
