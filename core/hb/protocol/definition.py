"""Process definitions: the message that spawns a process, and what it says.

Builds and reads definitions, and refuses those that no process can have.

Invariants:
    Nothing here looks at an image, a key or a store. Whether the image exists and suits the devices is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from hb import ids
from hb.errors import Refused
from hb.protocol.coverage import UNCOVERED_KEYS
from hb.protocol.message import from_plain, normal_key, normalise_message, to_plain

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

PROCESS_DEVICE = "process@1.0"
SCHEDULER_DEVICE = "scheduler@1.0"
STACK_DEVICE = "stack@1.0"

_FIXED: Message = {
    "device": PROCESS_DEVICE,
    "type": "Process",
    "data-protocol": "ao",
    "variant": "ao.N.1",
    "scheduler-device": SCHEDULER_DEVICE,
}

MAX_PASSES = 16
MAX_FORK_SLOT = 2**63 - 1

GAS_KEY, MEMORY_KEY, RESULT_KEY = "gas-limit", "memory-limit", "result-limit"

_MAX_LIMITS = {GAS_KEY: 2**63 - 1, MEMORY_KEY: 2**32, RESULT_KEY: 2**32}
"""The maximum of each limit: fuel is a signed 64-bit count, a memory64 has at most 2^48 bytes."""

CODE_KEYS = ("image", "execution-device", "device-stack", "passes", "converted-image", "converted-by")
FORK_KEYS = ("fork-of", "fork-slot", "fork-hashpath")
AUTHORITY_KEY = "authority"

RESERVED = frozenset(
    {
        *_FIXED,
        *("scheduler", "initial-state", "anchor"),
        *(GAS_KEY, MEMORY_KEY, RESULT_KEY),
        *CODE_KEYS,
        *FORK_KEYS,
        *UNCOVERED_KEYS,
    }
)
"""Keys that a tag may not have: a definition has them already, or a signed message cannot have them."""


class Limits(NamedTuple):
    """The limits that can decide an outcome; they are part of the definition.

    `gas`: units of fuel one message may use; `memory_pages`: pages of 64 KiB; `result_bytes`: bytes of the results'
    canonical JSON.
    """

    gas: int
    memory_pages: int
    result_bytes: int


class Converted(NamedTuple):
    """An image that runs in place of another, made from it: its ID, and what made it."""

    image: str
    tool: str


class Origin(NamedTuple):
    """Where a fork left its origin: after `slot` of `process`, which had `hashpath` there."""

    process: str
    slot: int
    hashpath: str


def build(
    *,
    image: str,
    scheduler: str,
    devices: list[str],
    initial_state: Message | None,
    anchor: str,
    tags: dict[str, Value],
    limits: Limits,
    passes: int | None = None,
    converted: Converted | None = None,
    authority: list[str] | None = None,
) -> Message:
    """Return the definition of a process, yet to be signed; its `all` ID will be the process ID.

    `image` is the ID of the message whose body is the module; `scheduler` is an address. One device executes by
    itself; several are a stack, in this order. A message goes through the stack `passes` times if a device asks for
    it. `converted` says what runs in place of the image. `authority` are the addresses that the process trusts to
    deliver what others send. By default it is the scheduler: the home that schedules for the process may. With an empty
    list nobody may. A tag of that name takes their place.

    Raises:
        Refused: a tag has a reserved key, or `check` refuses the result.
    """
    _check_tags(tags)
    trusted = [scheduler] if authority is None else authority
    is_tag = AUTHORITY_KEY in map(normal_key, tags)
    definition: Message = {
        **({AUTHORITY_KEY: ",".join(trusted)} if trusted and not is_tag else {}),
        **tags,
        **_FIXED,
        **code(image, devices, passes, converted),
        "scheduler": scheduler,
        "anchor": anchor,
        GAS_KEY: limits.gas,
        MEMORY_KEY: limits.memory_pages,
        RESULT_KEY: limits.result_bytes,
    }
    if initial_state is not None:
        definition["initial-state"] = initial_state
    definition = normalise_message(definition)
    check(definition)
    return definition


def fork(
    definition: Message,
    origin: Origin,
    *,
    scheduler: str,
    anchor: str,
    tags: dict[str, Value],
    code: Message | None = None,
) -> Message:
    """Return the definition of a fork of the process with this `definition`, yet to be signed.

    It is the same except for its origin, its scheduler, its anchor and `tags`. If the scheduler was the authority, the
    new one is. `code` are the keys that say what runs, if the fork runs other code.

    Raises:
        Refused: a tag has a reserved key, or `check` refuses the result.
    """
    _check_tags(tags)
    replaced = {*map(normal_key, tags), *(CODE_KEYS if code is not None else ())}
    left_out = {"commitments", "initial-state", *replaced}
    kept = {key: value for key, value in definition.items() if key not in left_out}
    if kept.get(AUTHORITY_KEY) == definition["scheduler"]:
        kept[AUTHORITY_KEY] = scheduler
    forked: Message = {
        **kept,
        **tags,
        **(code or {}),
        **dict(zip(FORK_KEYS, origin, strict=True)),
        "scheduler": scheduler,
        "anchor": anchor,
    }
    forked = normalise_message(forked)
    check(forked)
    return forked


def code(image: str, devices: list[str], passes: int | None, converted: Converted | None) -> Message:
    """Return the keys of a definition that say what runs: those of CODE_KEYS that it needs."""
    said: Message = {"image": image}
    if len(devices) == 1:
        said["execution-device"] = devices[0]
    else:
        said["execution-device"] = STACK_DEVICE
        said["device-stack"] = cast("list[Value]", list(devices))
    if passes is not None:
        said["passes"] = passes
    if converted is not None:
        said["converted-image"], said["converted-by"] = converted
    return said


def _check_tags(tags: dict[str, Value]) -> None:
    for key in tags:
        if normal_key(key) in RESERVED:
            raise Refused(f"a tag cannot be called {key!r}: a definition has a key of that name")


def check(definition: Message) -> None:
    """Make sure that every field of `definition` is there, of its type and within its range.

    Raises:
        Refused: one is not, or two of them contradict each other.
    """
    for key, value in _FIXED.items():
        if definition.get(key) != value:
            raise Refused(f"a definition's {key} must be {value!r}, got {_shown(definition.get(key))}")
    for key in ("scheduler", "image"):
        value = definition.get(key)
        if not isinstance(value, str) or not ids.is_id(value):
            raise Refused(f"a definition's {key} must be an ID of 43 characters, got {_shown(value)}")
    anchor = definition.get("anchor")
    if not isinstance(anchor, str) or not anchor:
        raise Refused(f"a definition's anchor must be a text of at least one character, got {_shown(anchor)}")
    state = definition.get("initial-state", {})
    if not isinstance(state, dict):
        raise Refused(f"a definition's initial-state must be a map, got {_shown(state)}")
    passes = definition.get("passes", 1)
    if type(passes) is not int or not 1 <= passes <= MAX_PASSES:
        raise Refused(f"a definition's passes must be an integer from 1 to {MAX_PASSES}, got {_shown(passes)}")
    converted = definition.get("converted-image")
    if converted is not None and not (isinstance(converted, str) and ids.is_id(converted)):
        raise Refused(f"a definition's converted-image must be an ID of 43 characters, got {_shown(converted)}")
    execution_devices(definition)
    limits(definition)
    if origin(definition) is not None and "initial-state" in definition:
        raise Refused("a fork's definition cannot have an initial-state: its state is that of its origin")


def origin(definition: Message) -> Origin | None:
    """Return where the process left another, if it is a fork; its first slot is the one after.

    Raises:
        Refused: a field of the origin is missing, or of another type.
    """
    process, slot, hashpath = (definition.get(key) for key in FORK_KEYS)
    if process is None and slot is None and hashpath is None:
        return None
    if not isinstance(process, str) or not ids.is_id(process):
        raise Refused(f"a definition's fork-of must be an ID of 43 characters, got {_shown(process)}")
    if type(slot) is not int or not 0 <= slot <= MAX_FORK_SLOT:
        raise Refused(f"a definition's fork-slot must be a slot, got {_shown(slot)}")
    if not isinstance(hashpath, str) or [ids.is_id(part) for part in hashpath.split("/")] != [True, True]:
        raise Refused(f"a definition's fork-hashpath must be two IDs joined by /, got {_shown(hashpath)}")
    return Origin(process, slot, hashpath)


def authorities(definition: Message) -> set[str]:
    """Return the addresses that a process trusts to deliver what others send: those under `authority`.

    They are one text, with commas between several, or a list of texts.
    """
    named = definition.get(AUTHORITY_KEY)
    texts = [text for text in (named if isinstance(named, list) else [named]) if isinstance(text, str)]
    return {part.strip() for text in texts for part in text.split(",")} - {""}


def execution_devices(definition: Message) -> list[str]:
    """Return the devices that execute the process's messages, in order.

    Raises:
        Refused: the definition names no device, or a stack that holds something else.
    """
    device = definition.get("execution-device")
    stack = definition.get("device-stack")
    if device != STACK_DEVICE:
        if not isinstance(device, str) or not device or stack is not None:
            raise Refused(f"a definition's execution-device must be one device or a stack, got {_shown(device)}")
        return [device]
    if not isinstance(stack, list) or not stack:
        raise Refused(f"a definition's device-stack must be a list of devices, got {_shown(stack)}")
    for entry in stack:
        if not isinstance(entry, str) or not entry or entry == STACK_DEVICE:
            raise Refused(f"a definition's device-stack must be a list of devices, got one with {_shown(entry)}")
    return cast("list[str]", list(stack))


def limits(definition: Message) -> Limits:
    """Return the limits that `definition` sets.

    Raises:
        Refused: one is missing, no integer, below 1, or above its maximum.
    """
    for key, most in _MAX_LIMITS.items():
        value = definition.get(key)
        if type(value) is not int or not 1 <= value <= most:
            raise Refused(f"a definition's {key} must be an integer from 1 to {most}, got {_shown(value)}")
    return Limits(*(cast(int, definition[key]) for key in (GAS_KEY, MEMORY_KEY, RESULT_KEY)))


def runs(definition: Message) -> str:
    """Return the ID of the image that a process runs: the converted one, if there is one."""
    return str(definition.get("converted-image", definition["image"]))


def converted(definition: Message) -> Converted | None:
    """Return what runs in place of the image, if something does."""
    if "converted-image" not in definition:
        return None
    return Converted(str(definition["converted-image"]), str(definition.get("converted-by", "")))


def images(definition: Message) -> list[str]:
    """Return the IDs of the images that a definition names: the given one, and the converted one."""
    return [str(definition[key]) for key in ("image", "converted-image") if key in definition]


def tags(definition: Message) -> dict[str, Value]:
    """Return the keys of `definition` that are tags."""
    return {key: value for key, value in definition.items() if key not in RESERVED}


def _shown(value: object) -> str:
    try:
        return "nothing" if value is None else repr(value)[:80]
    except ValueError:  # an integer with more digits than the interpreter writes
        return "a number too long to be shown"


# The shape that a person writes it in


class Arguments(TypedDict, total=False):
    """What a table may say, as arguments for spawning."""

    name: str
    image: str
    devices: list[str]
    anchor: str
    authority: list[str]
    initial_state: Message
    tags: dict[str, Value]
    limits: dict[str, int]


_TOML_DIGITS = 4300  # what Python's TOML reader takes
_LIMIT_NAMES = {"gas": GAS_KEY, "memory-pages": MEMORY_KEY, "result-bytes": RESULT_KEY}
_EXPECTED: dict[type, str] = {str: "text", list: "a list of texts", dict: "a table"}
_TABLE_KEYS: dict[str, type] = {
    "name": str,
    "image": str,
    "anchor": str,
    "devices": list,
    "authority": list,
    "initial-state": dict,
    "tags": dict,
}


def to_table(definition: Message) -> dict[str, object]:
    """Return `definition` as a table of plain maps, lists, texts and numbers, which TOML and JSON can write.

    A value that TOML does not have is in its JSON form. If the definition's authority is its scheduler, the table names
    neither: who spawns from it has their own. If the definition has no authority, the table's is an empty list.

    Raises:
        Refused: it is a fork's, which no table can make, or it has an integer too long for TOML.
    """
    left, anchor = origin(definition), str(definition["anchor"])
    if left is not None:
        from shlex import quote  # a stranger may have chosen the anchor, and the user may paste this

        raise Refused(
            "a fork cannot be spawned from a definition alone: it shares slots with its origin",
            hint=f"`hb fork {left.process} --slot {left.slot} --anchor {quote(anchor)}`, with its tags and its "
            "module, makes it again",
        )
    set_limits, others = limits(definition), tags(definition)
    table: dict[str, object] = {
        "image": definition["image"],
        "devices": execution_devices(definition),
        "anchor": anchor,
        **({} if AUTHORITY_KEY in definition else {"authority": []}),
        "limits": {
            "gas": set_limits.gas,
            "memory-pages": set_limits.memory_pages,
            "result-bytes": set_limits.result_bytes,
        },
    }
    if others.get(AUTHORITY_KEY) == definition["scheduler"]:
        del others[AUTHORITY_KEY]
    if "initial-state" in definition:
        table["initial-state"] = _without_null(to_plain(definition["initial-state"]))
    if others:
        table["tags"] = _without_null(to_plain(others))
    return table


def _without_null(plain: object) -> object:
    if isinstance(plain, dict):
        return {key: _without_null(item) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_without_null(item) for item in plain]
    if isinstance(plain, int) and abs(plain) >= 10**_TOML_DIGITS:
        raise Refused(
            f"TOML has no integer of more than {_TOML_DIGITS:,} digits, and this definition has one",
            hint="`hb state` shows the definition as JSON",
        )
    return {"$atom": "null"} if plain is None else plain


def from_table(table: dict[str, object]) -> Arguments:
    """Return what `table` (parsed TOML or JSON) says about a process to spawn: only the keys that it has.

    `image` is as written: an ID, or a path that the caller can read.

    Raises:
        Refused: a key is unknown (the hint names the nearest known one) or of another type.
    """
    known = [*_TABLE_KEYS, "limits"]
    for key in table:
        if key not in known:
            raise _unknown("a definition", key, known)
    arguments: dict[str, object] = {}
    for key, kind in _TABLE_KEYS.items():
        if key in table:
            value = table[key]
            texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
            if not isinstance(value, kind) or not texts:
                raise Refused(f"a definition's {key} must be {_EXPECTED[kind]}, got {_shown(value)}")
            arguments[key.replace("-", "_")] = from_plain(value)
    if "limits" in table:
        arguments["limits"] = _limits_table(table["limits"])
    return cast(Arguments, arguments)


def _limits_table(table: object) -> dict[str, int]:
    if not isinstance(table, dict):
        raise Refused(f"a definition's limits must be a table, got {_shown(table)}")
    for name, value in table.items():
        if name not in _LIMIT_NAMES:
            raise _unknown("a definition's limits", name, list(_LIMIT_NAMES))
        if type(value) is not int or not 1 <= value <= _MAX_LIMITS[_LIMIT_NAMES[name]]:
            most = _MAX_LIMITS[_LIMIT_NAMES[name]]
            raise Refused(f"the limit {name} must be an integer from 1 to {most}, got {_shown(value)}")
    return {name.replace("-", "_"): value for name, value in table.items()}


def _unknown(where: str, key: str, known: list[str]) -> Refused:
    from difflib import get_close_matches

    near = get_close_matches(key, known, n=1)
    return Refused(f"{where} has no key {key[:40]!r}", hint=f"did you mean {near[0]!r}?" if near else None)
