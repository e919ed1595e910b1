"""What a program answered to one message, read out of a slot's results.

Invariants:
    No module runs, and no store is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

_DEPTH = 2
"""How deep an answer can lie: an output may hold data, and data an output."""


def failed(results: Message | None) -> bool:
    """Return whether the outcome is an error."""
    return results is not None and results.get("type") == "error"


def answer(results: Message) -> Value:
    """Return the answer: the `data` of the results, or else their `output`.

    If that is a map with one of the two, the answer is in there. The answer of a function without results is None.
    """
    found = results.get("data")
    if found is None:
        found = results.get("output")
    for _ in range(_DEPTH):
        key = next((key for key in ("output", "data") if isinstance(found, dict) and key in found), None)
        if key is None or not isinstance(found, dict):
            break
        found = found[key]
    return None if found == [] else found


def parts(value: Value) -> list[tuple[str, Value]]:
    """Return the entries of an outbox, or of another collection in the results, in order, each with its number."""
    if isinstance(value, list):
        return [(str(number), entry) for number, entry in enumerate(value, 1)]
    if not isinstance(value, dict):
        return []
    return sorted(value.items(), key=_place)


def _place(entry: tuple[str, Value]) -> tuple[int, str]:
    name = entry[0]
    return (len(name), name) if name.isascii() and name.isdigit() else (99, name)
