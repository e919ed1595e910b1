"""In what two values differ, path by path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.protocol.message import Message, Value, dumps

if TYPE_CHECKING:
    from collections.abc import Iterator


class Difference(NamedTuple):
    """A path at which two values differ, and what is there in both; None where there is nothing."""

    path: str
    before: Value
    after: Value


def without_gas(results: Message) -> Message:
    """Return results without their gas, which only equal engines agree on."""
    return {key: value for key, value in results.items() if key != "gas"}


def differences(before: Value, after: Value, path: str) -> Iterator[Difference]:
    """Where two values differ, key by key, in the order of the keys; lists are compared as wholes."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key in before and key in after:
                yield from differences(before[key], after[key], f"{path}/{key}")
            else:
                yield Difference(f"{path}/{key}", before.get(key), after.get(key))
    elif before is not after and (before is None or after is None or dumps(before) != dumps(after)):
        yield Difference(path, before, after)
