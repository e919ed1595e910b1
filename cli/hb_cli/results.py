"""What a slot's results say, in words: the text of an answer, and how much else there is beside it.

Must never load Rich, and never print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

_DEPTH = 2  # an output may hold data, and data an output
_LONGEST_PROMPT = 200
# What results hold beside an answer, in the order in which it is told; singular, plural.
_COUNTED = {
    "outbox": ("message", "messages"),
    "spawns": ("spawn", "spawns"),
    "assignments": ("assignment", "assignments"),
    "patches": ("patch", "patches"),
}


def failed(results: Message | None) -> bool:
    """Whether the outcome is an error."""
    return results is not None and results.get("type") == "error"


def answer(results: Message) -> Value:
    """What the program answered: its `data`, else its `output`; where that is a map with one of the two, that.

    The output of a function that gives nothing is None.
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


def text_of(value: Value) -> str:
    """A value as a person reads it: text as it is, a list's only element likewise, all else as JSON; None is empty."""
    from hb.protocol import message

    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and len(value) == 1:
        return text_of(value[0])
    return value if isinstance(value, str) else message.dumps(value).decode()


def printed(results: Message) -> str:
    """What the program printed while it answered."""
    return text_of(results.get("print"))


def parts(value: Value) -> list[tuple[str, Value]]:
    """The entries of an outbox, or of another collection of results, in order, each under its number."""
    if isinstance(value, list):
        return [(str(number), entry) for number, entry in enumerate(value, 1)]
    if not isinstance(value, dict):
        return []
    return sorted(value.items(), key=lambda entry: (len(entry[0]), entry[0]) if entry[0].isdigit() else (99, entry[0]))


def counts(results: Message) -> str:
    """What there is beside the answer: `2 messages, 1 spawn`; empty where there is nothing."""
    numbers = {name: len(parts(results.get(name))) for name in _COUNTED}
    return ", ".join(f"{number:,} {_COUNTED[name][number != 1]}" for name, number in numbers.items() if number)


def prompt(results: Message | None) -> str | None:
    """The prompt that a program wants to be shown before the next line, on one line; None if it wants none."""
    output = (results or {}).get("output")
    wanted = output.get("prompt") if isinstance(output, dict) else None
    if not isinstance(wanted, str) or not wanted.strip():
        data = (results or {}).get("data")
        wanted = data.get("prompt") if isinstance(data, dict) else None
    if not isinstance(wanted, str) or not wanted.strip():
        return None
    return wanted.strip().splitlines()[-1][:_LONGEST_PROMPT]
