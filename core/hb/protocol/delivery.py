"""Deliveries: what the results of a slot ask for, and the messages that are sent for it.

Results may ask for messages to other processes (`outbox`), for new processes (`spawns`), and for slots at other
processes for messages that are there already (`assignments`). Each of these is a *delivery*. It is known by its
process, its slot, and its place in the results. The message that is sent for it is a function of these, the
definition of its process, and the root: the message that began it all.

Invariants:
    Nothing here signs, schedules or stores.
    The same results always ask for the same, in the same order.

Source: HyperBEAM's `dev_push`; the message unit of `permaweb/ao`, for spawns and assignments.
"""

from __future__ import annotations

from re import compile as pattern
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.protocol import definition as definitions
from hb.protocol import outcome
from hb.protocol.commitment import message_id, without_commitments
from hb.protocol.coverage import COMMITMENTS_KEY, UNCOVERED_KEYS
from hb.protocol.request import addressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.protocol.message import Message, Value

    Devices = tuple[list[str], "Value | None"]

MESSAGE, SPAWN, ASSIGNMENT = "message", "spawn", "assignment"
"""The kinds of delivery."""

SPAWNED = "spawned"
"""The message that tells a process of the process that was spawned for it."""

FROM_KEYS = (
    "from-process",
    "from-uncommitted",
    "from-base",
    "from-scheduler",
    "from-authority",
    "from-image",
    "from-module",
)
"""Keys that say which process a message comes from. A program cannot set them."""

ROOT_KEY = "pushed-for"

_PLACE_DIGITS = 11
_LETTERS = {MESSAGE: "m", SPAWN: "p", SPAWNED: "s"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
_ANCHOR = pattern(r"([0-9]{20})([mps])([0-9]{11})\Z")
_NOT_SENT = frozenset({"anchor", COMMITMENTS_KEY, "priv", *UNCOVERED_KEYS, *FROM_KEYS, ROOT_KEY})
_NOT_OF_SPAWN = frozenset({"target", "data-protocol", "variant", "type"})


class Asked(NamedTuple):
    """A delivery that the results of a slot ask for.

    `ordinal` counts all deliveries of the slot from 0, in their order: messages, then spawns, then assignments. `place`
    is its number among those of its `kind`, as in `results/outbox/1`. `target` is the process that it is for; of a
    spawn, what names its image. "" means that the program named none. `content` is what the program gave; of an
    assignment, the ID of the message, under `message`.
    """

    ordinal: int
    kind: str
    place: int
    target: str
    content: Message


class Source(NamedTuple):
    """What a delivery says of the process that it comes from."""

    process: str
    said: Message


class Place(NamedTuple):
    """Where a delivered message says that it comes from: a process, a slot, a kind, and a place among those."""

    process: str
    slot: int
    kind: str
    place: int


def asked(results: Message) -> list[Asked]:
    """Return all deliveries that the results of a slot ask for, in order. A failed slot asks for none."""
    if outcome.failed(results):
        return []
    found: list[Asked] = []
    for kind, key in ((MESSAGE, "outbox"), (SPAWN, "spawns")):
        for position, (name, entry) in enumerate(outcome.parts(results.get(key)), 1):
            place = int(name) if name.isascii() and name.isdigit() and len(name) <= _PLACE_DIGITS else position
            content = entry if isinstance(entry, dict) else {}
            target = target_of(content.get("target")) if kind == MESSAGE else _text(content.get("module"))
            found.append(Asked(len(found), kind, place, target, content))
    place = 0
    for _, entry in outcome.parts(results.get("assignments")):
        content = entry if isinstance(entry, dict) else {}
        message = _text(content.get("message"))
        processes = content.get("processes")
        for process in processes if isinstance(processes, list) else [processes]:
            place += 1
            found.append(Asked(len(found), ASSIGNMENT, place, target_of(process), {"message": message}))
    return found


def target_of(value: Value) -> str:
    """Return the process that a message is for. What follows it as a query (`?`, `&`) is no part of it."""
    return _text(value).partition("?")[0].partition("&")[0]


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def root_of(message: Message) -> str:
    """Return the ID of the message that began what this message is part of: its `pushed-for`, or its own ID."""
    root = message.get(ROOT_KEY)
    return root if isinstance(root, str) and ids.is_id(root) else message_id(message)


def anchor(slot: int, kind: str, place: int) -> str:
    """Return the anchor of what is sent for a delivery: 32 characters, and different for each."""
    return f"{slot:020d}{_LETTERS[kind]}{place:011d}"


def origin(message: Message) -> Place | None:
    """Return where a message, or the definition of a process, says that it was delivered from; None if it does not."""
    process, anchor = message.get("from-process"), message.get("anchor")
    if not isinstance(process, str) or not ids.is_id(process) or not isinstance(anchor, str):
        return None
    found = _ANCHOR.match(anchor)
    return None if found is None else Place(process, int(found[1]), _KINDS[found[2]], int(found[3]))


def source(process: str, definition: Message) -> Source:
    """Return what deliveries say of the process with this `definition`."""
    content = without_commitments(definition)
    base = {key: value for key, value in content.items() if key not in ("authority", "scheduler")}
    said: Message = {
        "from-process": process,
        "from-uncommitted": message_id(content, "none"),
        "from-base": message_id(base, "none"),
        "from-scheduler": definition["scheduler"],
        "from-image": definition["image"],
    }
    if definitions.AUTHORITY_KEY in definition:
        said["from-authority"] = definition[definitions.AUTHORITY_KEY]
    return Source(process, said)


def message(source: Source, slot: int, wanted: Asked, root: str) -> Message:
    """Return the message, yet to be signed, that is sent for a delivery of kind `MESSAGE`."""
    content = {key: value for key, value in wanted.content.items() if key not in _NOT_SENT}
    return _sent(source, content, wanted.target, root, anchor(slot, MESSAGE, wanted.place))


def spawned_message(source: Source, slot: int, wanted: Asked, root: str, child: str) -> Message:
    """Return the message, yet to be signed, that tells a process that `child` was spawned for it.

    It has the tags of the spawn, so that the program knows which one it is.
    """
    left_out = _NOT_SENT | _NOT_OF_SPAWN | {"data"}
    content: Message = {key: value for key, value in wanted.content.items() if key not in left_out}
    content |= {"action": "Spawned", "process": child}
    return _sent(source, content, source.process, root, anchor(slot, SPAWNED, wanted.place))


def _sent(source: Source, content: Message, target: str, root: str, anchor: str) -> Message:
    fixed = {"data-protocol", "variant", "type"}
    content = {key: value for key, value in content.items() if key not in fixed}
    return addressed({**content, **source.said, ROOT_KEY: root, "anchor": anchor}, target)


def child(
    source: Source, slot: int, wanted: Asked, root: str, parent: Message, image: str, devices: Callable[[], Devices]
) -> Message:
    """Return the definition, yet to be signed, of the process that is made for a delivery of kind `SPAWN`.

    It has the program's tags, says where it is from, and has the limits and the authority of its parent. `devices`
    returns what executes `image`, if that is not the parent's.

    Raises:
        Refused: no process can have this definition.
    """
    converted = None
    if image == parent["image"]:
        executed_by, passes = definitions.execution_devices(parent), parent.get("passes")
        converted = definitions.converted(parent)
    else:
        executed_by, passes = devices()
    return definitions.build(
        image=image,
        scheduler=str(parent["scheduler"]),
        devices=executed_by,
        passes=passes if isinstance(passes, int) else None,
        converted=converted,
        initial_state=None,
        anchor=anchor(slot, SPAWN, wanted.place),
        tags=_child_tags(source, wanted, root, parent),
        authority=None if definitions.AUTHORITY_KEY in parent else [],
        limits=definitions.limits(parent),
    )


def _child_tags(source: Source, wanted: Asked, root: str, parent: Message) -> dict[str, Value]:
    left_out = _NOT_SENT | _NOT_OF_SPAWN | definitions.RESERVED | {definitions.AUTHORITY_KEY}
    tags = {key: value for key, value in wanted.content.items() if key not in left_out}
    tags |= {"from-process": source.process, ROOT_KEY: root}
    if definitions.AUTHORITY_KEY in parent:
        tags[definitions.AUTHORITY_KEY] = parent[definitions.AUTHORITY_KEY]
    return tags
