"""The JSON form of what commands show: the field names that scripts rely on.

Invariants:
    A field never changes its meaning.
    Rich is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import hb
    from hb.protocol.definition import Origin
    from hb.protocol.message import Message, Value


def sent_fields(sent: hb.Sent) -> Message:
    """Return a message that has a slot. `fresh` is false if the schedule had it before."""
    return {
        "process": sent.process.id,
        "slot": sent.slot,
        "message": sent.message,
        "assignment": sent.assignment,
        "fresh": sent.fresh,
    }


def finding_fields(finding: hb.Finding) -> Message:
    """Return something that is not what it must be."""
    return {
        "process": finding.process,
        "slot": finding.slot,
        "what": finding.what,
        "expected": finding.expected,
        "got": finding.got,
    }


def made_fields(made: hb.Scheduled, name: str | None, origin: Origin | None = None) -> Message:
    """Return a process that was made: its first slot, and the name that it was given."""
    fields: Message = {
        "process": made.process,
        "slot": made.slot,
        "assignment": made.assignment,
        "fresh": made.fresh,
        **origin_fields(origin),
    }
    return fields if name is None else {**fields, "name": name}


def origin_fields(origin: Origin | None) -> Message:
    """Return where a fork left another process. A process that is not a fork has no such fields."""
    return {} if origin is None else {"fork-of": origin.process, "fork-slot": origin.slot}


def slot_fields(view: hb.SlotView) -> Message:
    """Return one slot of a history. `timestamp` is milliseconds since 1970. What is not computed yet is null.

    The slot whose message made a fork also says where the fork left the other process.
    """
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
        **origin_fields(view.origin),
    }


MOST_PAGES = 1000
"""Maximum changed pages of memory that are listed. All are counted."""


def trace_fields(trace: hb.Trace) -> Message:
    """Return what happened in one slot. `same-as-stored` is null if the slot is not computed."""
    from hb.protocol.commitment import message_id

    return {
        "process": trace.process,
        "slot": trace.slot,
        "message": message_id(cast("Message", trace.assignment["body"])),
        "assignment": message_id(trace.assignment),
        "calls": [_call_fields(call) for call in trace.calls],
        "calls-left-out": trace.left_out,
        "results": trace.results,
        "keys": {change.key: {"before": change.before, "after": change.after} for change in trace.keys},
        "globals": [_global_fields(each) for each in trace.globals],
        "memory": {
            "pages-before": trace.pages_before,
            "pages-after": trace.pages_after,
            "changed-pages": len(trace.pages),
            "changed-bytes": sum(change.bytes for change in trace.pages),
            "pages": [{"page": change.page, "bytes": change.bytes} for change in trace.pages[:MOST_PAGES]],
        },
        "undone": trace.undone,
        "same-as-stored": None if trace.differences is None else not trace.differences,
        "differences": [dict(difference._asdict()) for difference in trace.differences or []],
    }


def difference_fields(found: hb.Difference) -> Message:
    """Return how two states differ. A change has no `before` if the value was not there, and no `after` if it is gone.

    The bytes of a range are in hex. If there are many, only the first are given; `size` says how many there are.
    """
    memory: Message = {
        **_memory_counts(found.memory),
        "ranges": [
            {
                "page": each.page,
                "offset": each.offset,
                "size": each.size,
                "before": each.before.hex(),
                "after": each.after.hex(),
            }
            for each in found.memory.ranges
        ],
    }
    return {
        **_sides(found),
        "keys": [_change_fields(change) for change in found.keys],
        "results": [_change_fields(change) for change in found.results],
        "globals": [_global_fields(change) for change in found.globals],
        "memory": memory,
    }


def difference_counts(found: hb.Difference) -> Message:
    """Return what `difference_fields` does, with numbers of changes in place of the changes."""
    counts = {"keys": len(found.keys), "results": len(found.results), "globals": len(found.globals)}
    return {**_sides(found), **counts, "memory": _memory_counts(found.memory)}


def _sides(found: hb.Difference) -> Message:
    return {
        "process": found.process,
        "before": dict(found.before._asdict()),
        "after": dict(found.after._asdict()),
        "same": found.is_none,
    }


def _change_fields(change: hb.ValueChange) -> Message:
    fields: Message = {"path": change.path}
    if change.was_there:
        fields["before"] = change.before
    if change.is_there:
        fields["after"] = change.after
    return fields


def _memory_counts(memory: hb.MemoryDifference) -> Message:
    return {
        "pages-before": memory.pages_before,
        "pages-after": memory.pages_after,
        "changed-pages": memory.changed_pages,
        "changed-bytes": memory.changed_bytes,
        "changed-ranges": len(memory.ranges) + memory.left_out,
    }


def _global_fields(change: hb.GlobalChange) -> Message:
    return {
        "index": change.item,
        "name": change.name,
        "type": change.type,
        "before": change.before,
        "after": change.after,
    }


def _call_fields(call: hb.FunctionCall) -> Message:
    return {
        "function": call.function,
        "arguments": list(call.arguments),
        "texts": list(call.texts),
        "results": list(call.results),
        "answer": call.answer,
        "gas": call.gas,
        "failure": _failure_fields(call.failure),
        "backtrace": [
            {"function": frame.function, "index": frame.index, "offset": frame.offset} for frame in call.backtrace
        ],
        "host-calls": [_host_call_fields(each) for each in call.host_calls],
        "host-calls-in-all": {
            name: {"calls": count, "gas": call.host_gas[name]} for name, count in call.host_counts.items()
        },
    }


def _host_call_fields(call: hb.HostCall) -> Message:
    return {
        "function": call.function,
        "arguments": list(call.arguments),
        "result": call.result,
        "gas": call.gas,
        "printed": call.printed,
        "failure": _failure_fields(call.failure),
    }


def _failure_fields(failure: hb.Failure | None) -> Value:
    return None if failure is None else {"kind": failure.kind, "error": failure.message}
