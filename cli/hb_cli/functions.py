"""Whether a process has the function that a message calls, before the message takes a slot for good.

Invariants:
    Only a program of exported functions is judged. One of the AO ABI decides itself what it answers.
    Nothing is scheduled or computed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import hb
    from hb.protocol.message import Message

_MOST_NAMES = 10


def doubter(process: hb.Process) -> Callable[[Message], str | None]:
    """Return a function that says why the program of a process cannot answer a message; None if it may.

    Raises:
        NotFound: there is no such process.
    """
    parameters = process.functions()
    if parameters is None:
        return lambda message: None
    return lambda message: _doubt(message, parameters)


def _doubt(message: Message, parameters: Mapping[str, int]) -> str | None:
    function = message.get("function", message.get("action"))
    if not isinstance(function, str):
        return "the message names no function"
    if function not in parameters:
        return f"no function {function!r} is exported; {_there_are(function, sorted(parameters))}"
    given = message.get("parameters", [])
    wanted, number = parameters[function], len(given) if isinstance(given, list) else 1
    if number != wanted:
        return f"{function!r} takes {wanted} {'parameter' if wanted == 1 else 'parameters'}, got {number}"
    return None


def _there_are(function: str, names: list[str]) -> str:
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in names}
    if near := get_close_matches(function.lower(), by_lower, 1):
        return f"did you mean {by_lower[near[0]]!r}?"
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f"there are: {', '.join(names[:_MOST_NAMES]) or 'none'}{more}"
