"""What a slot's results say, in words: the text of the answer, and how much else there is.

Invariants:
    Rich is not loaded, and nothing is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.protocol.outcome import answer, failed, parts
from hb_cli.terminal.output import bare

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

__all__ = ["answer", "counts", "failed", "parts", "printed", "prompt", "text_of", "uncoloured"]

_LONGEST_PROMPT = 200
# What else results can hold, in the order in which it is told: singular and plural.
_COUNTED = {
    "outbox": ("message", "messages"),
    "spawns": ("spawn", "spawns"),
    "assignments": ("assignment", "assignments"),
    "patches": ("patch", "patches"),
}


def text_of(value: Value) -> str:
    """Return a value as a person reads it: text as it is, a list of one element as that, None as nothing, else JSON.

    JSON has no colours: in it, they would be escapes.
    """
    from hb.protocol import message

    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and len(value) == 1:
        return text_of(value[0])
    return value if isinstance(value, str) else message.dumps(uncoloured(value)).decode()


def uncoloured(value: Value) -> Value:
    """Return a value whose texts have none of the sequences that steer a terminal. Keys stay as they are."""
    if isinstance(value, str):
        return bare(value)
    if isinstance(value, dict):
        return {key: uncoloured(entry) for key, entry in value.items()}
    return [uncoloured(entry) for entry in value] if isinstance(value, list) else value


def printed(results: Message) -> str:
    """Return what the program printed while it answered."""
    return text_of(results.get("print"))


def counts(results: Message) -> str:
    """Return what there is besides the answer, as `2 messages, 1 spawn`; empty if there is nothing."""
    numbers = {name: len(parts(results.get(name))) for name in _COUNTED}
    return ", ".join(f"{number:,} {_COUNTED[name][number != 1]}" for name, number in numbers.items() if number)


def prompt(results: Message | None) -> str | None:
    """Return the prompt that a program wants before the next line, as one line, or None."""
    output = (results or {}).get("output")
    wanted = output.get("prompt") if isinstance(output, dict) else None
    if not isinstance(wanted, str) or not wanted.strip():
        data = (results or {}).get("data")
        wanted = data.get("prompt") if isinstance(data, dict) else None
    if not isinstance(wanted, str) or not wanted.strip():
        return None
    return wanted.strip().splitlines()[-1][:_LONGEST_PROMPT]
