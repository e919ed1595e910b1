"""The JSON form of what commands show: the field names that scripts rely on.

Invariants:
    A field never changes its meaning.
    Rich is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hb.protocol import outcome
from hb_cli.views import results as words

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


def delivery_fields(delivery: hb.Delivery) -> Message:
    """Return a delivery that was made: which results asked for it, and where it went.

    A spawn also says which slot was `told` of it. `process` is null if what was assigned had its slot before.
    """
    fields: Message = {
        "process": delivery.process,
        "slot": delivery.slot,
        "place": delivery.place,
        "target": delivery.target,
        "target-slot": delivery.target_slot,
        "message": delivery.message,
    }
    if delivery.told is not None:
        fields["told"] = delivery.told
    return {**fields, "altered": True} if delivery.altered else fields


def pushed_fields(pushed: hb.Pushed) -> Message:
    """Return what a push did, in numbers. `stopped` counts roots whose budget was used up; `troubled`, processes."""
    return {
        "delivered": pushed.delivered,
        "spawned": pushed.spawned,
        "held": pushed.held,
        "failed": pushed.failed,
        "stopped": len(pushed.stops),
        "troubled": len(pushed.troubles),
    }


def node_fields(node: hb.TreeNode, sender: str | None) -> Message:
    """Return one message of a tree, or a delivery that was not made, which has no slot but a `reason`.

    What is not computed yet is null. A message whose outcome is an error has `kind` and `error`, and one that answers
    something an `answer`. These are texts to read, without colours; `hb result` has them as they are stored. `repeated`
    and `altered` are there only if they are true.
    """
    view = node.view
    fields: Message = {
        "depth": node.depth,
        "process": node.process,
        "slot": node.slot,
        "parent": None if node.parent is None else {"process": node.parent[0], "slot": node.parent[1]},
        "place": node.place,
        "message": None,
        "action": None,
        "from": sender,
        "type": None,
        "gas": None,
        "timestamp": None,
    }
    if view is None:
        fields |= _leaf_fields(node)
    else:
        fields |= {"message": view.message, "action": view.action, "gas": view.gas, "timestamp": view.timestamp_ms}
        fields |= _outcome_fields(view.results or {})
    marks = {"repeated": node.is_repeated, "altered": node.altered}
    return {**fields, **{name: True for name, is_so in marks.items() if is_so}}


def _leaf_fields(node: hb.TreeNode) -> Message:
    asked = node.asked or {}
    fields: Message = {"action": asked.get("action"), "reason": node.reason, "says": node.says}
    if (node.place or "").startswith("spawns/"):
        fields |= {"process": None, "image": node.process}
    elif (node.place or "").startswith("assignments/"):
        fields["message"] = asked.get("message")
    return fields


def _outcome_fields(results: Message) -> Message:
    fields: Message = {"type": results.get("type")}
    if outcome.failed(results):
        return {**fields, "kind": results.get("kind"), "error": words.uncoloured(results.get("error"))}
    answer = outcome.answer(results)
    return fields if answer is None else {**fields, "answer": words.uncoloured(answer)}


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
