"""Give messages their slots: the way of a message from outside to the schedule.

Invariants:
    A message is on the disk before its slot is returned.
    No module runs here.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import Conflict, HbError, Unfinished
from hb.records import lineage, names
from hb.schedule import intake, scheduler
from hb.storage.store import retrying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.environment import Environment
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.schedule.intake import Prepared
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import OpenStore, Store

PART_MESSAGES = 1000
"""Maximum messages that are signed and synced as one batch: nobody waits longer than that takes."""


class SendLimits(NamedTuple):
    """What this machine takes at once: messages in one call, and bytes of one message."""

    messages: int
    message_bytes: int


def send(
    session: OpenStore,
    process: str,
    messages: Sequence[Message],
    *,
    signer: Key | None,
    scheduler_key: Key,
    environment: Environment,
    limits: SendLimits,
) -> list[Scheduled]:
    """Give each message the next slot of `process`, in order. Each is on the disk when this returns.

    An unsigned message gets its target, a random anchor if it has none, and the signature of `signer`. A message that
    carries commitments is taken as it is, if they verify. All are checked before any is scheduled.

    Up to `PART_MESSAGES` messages are one part; a part is scheduled whole or not at all.

    Raises:
        Refused: a message is not acceptable; none was scheduled.
        BadSignature: a message's commitment does not verify; none was scheduled.
        NotFound: there is no such process.
        Unfinished: a part failed after others were scheduled; its `done` has the slots of those.
    """
    if len(messages) > limits.messages:
        raise intake.beyond(f"{limits.messages} messages may be sent at once, got {len(messages)}", "batch-messages")

    def prepare() -> list[Prepared]:
        return [
            intake.prepare(message, definition, signer, place, limits.message_bytes, environment)
            for place, message in enumerate(messages, 1)
        ]

    def schedule(store: Store, part: Sequence[Prepared]) -> list[Scheduled]:
        return scheduler.schedule(store, target, part, key=scheduler_key, environment=environment)

    # One short message is signed sooner than the store is opened again. Nothing else is, while others wait.
    is_short = len(messages) == 1 and intake.is_short(messages[0])
    prepared: list[Prepared] = []
    with session() as store:
        target = names.resolve(store, process)
        definition = lineage.get_definition(store, target)
        scheduler.check_scheduler(definition, target, scheduler_key)
        if is_short:
            prepared = prepare()
            with suppress(Conflict):
                return schedule(store, prepared)
    done: list[Scheduled] = []
    for part in scheduler.parts(prepared or prepare(), PART_MESSAGES):
        try:
            done += retrying(session, partial(schedule, part=part))
        except HbError as error:
            if not done:
                raise
            raise Unfinished(
                f"{len(done)} of {len(messages)} messages are scheduled, up to slot {done[-1].slot}; "
                f"the others are not: {error.message}",
                done=done,
                hint=error.hint,
            ) from error
    return done
