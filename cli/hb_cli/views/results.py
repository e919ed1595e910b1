"""What a slot's results say, in words: the text of an answer, and how much else there is beside it.

Must never load Rich, and never print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.protocol.outcome import answer, failed, parts

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

__all__ = ["answer", "counts", "failed", "parts", "printed", "prompt", "text_of"]

_LONGEST_PROMPT = 200
# What results hold beside an answer, in the order in which it is told; singular, plural.
_COUNTED = {
    "outbox": ("message", "messages"),
    "spawns": ("spawn", "spawns"),
    "assignments": ("assignment", "assignments"),
    "patches": ("patch", "patches"),
}


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
