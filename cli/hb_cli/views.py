"""The JSON form of what the node shows: the field names that scripts rely on. They do not change their meaning.

Must never load Rich.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hb.node import Scheduled, SlotView
    from hb.protocol.message import Message


def scheduled_fields(scheduled: Scheduled) -> Message:
    """A message that has a slot. `fresh` is false where the schedule had it before."""
    return {
        "process": scheduled.process,
        "slot": scheduled.slot,
        "message": scheduled.message,
        "assignment": scheduled.assignment,
        "fresh": scheduled.fresh,
    }


def slot_fields(view: SlotView) -> Message:
    """One slot of a history. `timestamp` is milliseconds since 1970; what is not computed yet is null."""
    return {
        "process": view.process,
        "slot": view.slot,
        "timestamp": view.timestamp_ms,
        "sender": view.sender,
        "message": view.message,
        "assignment": view.assignment,
        "action": view.action,
        "parameters": list(view.parameters),
        "computed": view.computed,
        "results": view.results,
        "state": view.state,
        "changed": view.changed,
        "gas": view.gas,
        "image": view.image,
        "hashpath": view.hashpath,
    }
