"""`patch@1.0`: let a program set public keys of its process, by messages that it sends or by `patches` in its answer.

A message is a patch if its `device` is `patch@1.0` or its `method` is `PATCH`. It is removed from the outbox. All its
keys are set, except those that every message has. A map is merged into the map that is there; any other value replaces
what is there.

Invariants:
    A patch sets no key of the process itself and no global of the module: it fails the slot instead.

Source: HyperBEAM's `dev_patch`, without its moving between paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hb.devices.device import STATE_KEYS, Base, Device, Live, Machine
from hb.protocol import bounds
from hb.protocol.coverage import UNCOVERED_KEYS
from hb.protocol.message import PRIVATE_PREFIX, dumps, normal_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.message import Message, Value

ENVELOPE = frozenset(
    {
        *("anchor", "data-protocol", "device", "from-image", "from-process", "method"),
        *("reference", "target", "type", "variant"),
    }
)
"""Keys that every message has. A patch does not set them."""

_RESERVED = STATE_KEYS | UNCOVERED_KEYS


def compute(base: Base, request: Message, machine: Machine) -> Base:
    """In the last pass, set the public keys that the patches in the results name, and remove the patches."""
    live: Live = base["priv"]
    results: Message = base.get("results", {})
    if live.pass_number < base["process"].get("passes", 1):
        return base
    patches = list(_patches(results))
    if not patches:
        return base
    patched = {key: value for key, value in base.items() if key not in STATE_KEYS and key != "priv"}
    for patch in patches:
        for key, value in patch.items():
            if key not in ENVELOPE:
                forbidden = _forbidden(key, live)
                if forbidden:
                    return _failed(base, f"a patch sets {key[:80]!r}, {forbidden}")
                patched[key] = _merged(patched.get(key), value)
    limit = base["process"]["result-limit"]
    written = dumps(patched)
    if len(written) > limit:
        return _failed(base, f"a patch makes the public keys {len(written)} bytes; the limit is {limit}")
    if bounds.has_more_values(written, bounds.MESSAGE_VALUES):
        return _failed(base, f"a patch makes the public keys more than {bounds.MESSAGE_VALUES:,} values")
    return {**base, **patched, "results": _without_patches(results)}


def _patches(results: Message) -> Iterator[Message]:
    """Return the patches of the outbox, in its order, then those of `patches`."""
    for message in cast("Message", results.get("outbox", {})).values():
        if _is_patch(message):
            yield cast("Message", message)
    yield from cast("list[Message]", results.get("patches", []))


def _is_patch(message: Value) -> bool:
    return isinstance(message, dict) and (message.get("device") == "patch@1.0" or message.get("method") == "PATCH")


def _without_patches(results: Message) -> Message:
    """Return the results without the messages that were patches. The other messages keep their numbers."""
    outbox = cast("Message", results.get("outbox", {}))
    left = {number: message for number, message in outbox.items() if not _is_patch(message)}
    rest = {key: value for key, value in results.items() if key != "outbox"}
    return {**rest, "outbox": left} if left else rest


def _forbidden(key: str, live: Live) -> str:
    """Return why a patch may not set this key; empty if it may."""
    if key in _RESERVED or key.startswith(PRIVATE_PREFIX):
        return "which is a key of the process itself"
    assert live.instance is not None
    if key in {normal_key(name) for name in live.instance.module.info.globals}:
        return "which is a global of the module"
    return ""


def _merged(old: Value, new: Value) -> Value:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _failed(base: Base, sentence: str) -> Base:
    results = {key: base["results"][key] for key in ("gas", "print") if key in base["results"]}
    return {**base, "results": {"type": "error", "error": sentence, "kind": "patch", **results}}


DEVICE = Device(name="patch@1.0", compute=compute)
