"""What a slot's results say: whether the program failed, what it answered, what it sends.

Invariants:
    Nothing runs here, and nothing is read from a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

_DEPTH = 2  # an output may hold data, and data an output


def failed(results: Message | None) -> bool:
    """Whether the outcome is an error."""
    return results is not None and results.get("type") == "error"


def answer(results: Message) -> Value:
    """Return what the program answered: its `data`, else its `output`. If that is a map with one of the two, that.

    The answer of a function without results is None.
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
    """Return the entries of an outbox, or of another collection in results, in order, each with its number."""
    if isinstance(value, list):
        return [(str(number), entry) for number, entry in enumerate(value, 1)]
    if not isinstance(value, dict):
        return []
    return sorted(value.items(), key=lambda entry: (len(entry[0]), entry[0]) if entry[0].isdigit() else (99, entry[0]))
