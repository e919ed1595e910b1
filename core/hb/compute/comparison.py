"""In what two values, or two records of one slot, differ.

Records name the engine that computed them. Only equal engines count gas alike. Between records of unequal engines this
is not compared, because it follows from gas alone:

- the gas;
- what a message printed before it ran out of gas;
- the digest of the record before (`previous`), which depends on that record's gas.

Everything else must be equal: another engine is not damage, and another outcome is. Whether a message runs out of gas
is such an outcome: it decides the state.

Invariants:
    This is the only place that says which records of one slot are the same.
    Nothing here runs a module or reads a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.protocol.message import Message, Value, dumps, loads_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUT_OF_GAS = "out-of-gas"
"""`kind` of the results of a message that used up its gas."""

OUTCOME = ("results", "state")
"""What a message came to."""

LINKS = ("changed", "image", "hashpath", "assignment", "slot")
"""What else a record says, apart from its engine and the record before it."""

EVERYTHING = (*OUTCOME, *LINKS, "previous")
"""All that a record says, apart from its engine; for records that go on from the same stored record."""

_SHOWN_CHARACTERS = 300


class Difference(NamedTuple):
    """A path at which two values differ, and what each has there; None where it has nothing."""

    path: str
    before: Value
    after: Value


def without_gas(results: Message) -> Message:
    """Return results without their gas, which only equal engines agree on."""
    return {key: value for key, value in results.items() if key != "gas"}


def ran_out_of_gas(record: Message) -> bool:
    """Whether a slot record says that its message used up its gas."""
    results = record.get("results")
    return isinstance(results, dict) and results.get("kind") == OUT_OF_GAS


def foreign_out_of_gas(stored: bytes, engine: str) -> Message | None:
    """Return the results in a stored record if another engine than `engine` says that its message ran out of gas."""
    if OUT_OF_GAS.encode() not in stored:
        return None
    record = loads_stored(stored)
    if not isinstance(record, dict) or record.get("engine") == engine or not ran_out_of_gas(record):
        return None
    results = record["results"]
    assert isinstance(results, dict)
    return results


def engines_of(stored: Message, again: Message) -> str:
    """Return a phrase that names the engines of two records, which are unequal, and what gas decided, if it did."""
    said = f"computed by {shown(stored.get('engine'))}, run again by {shown(again.get('engine'))}"
    return f"{said}: they count gas differently" if ran_out_of_gas(stored) != ran_out_of_gas(again) else said


def shown(value: Value) -> str:
    """Return a value as a sentence shows it: its JSON, cut if it is long."""
    text = "nothing" if value is None else dumps(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def find_difference(before: Message, after: Message, keys: Iterable[str] = (*OUTCOME, *LINKS)) -> Difference | None:
    """Return the first difference of two records of one slot under `keys`, or None.

    What follows from gas alone is not compared if the records are of unequal engines.
    """
    if before.get("engine") != after.get("engine"):
        both_ran_out = ran_out_of_gas(before) and ran_out_of_gas(after)
        before, after = _comparable(before, both_ran_out), _comparable(after, both_ran_out)
    return next((found for key in keys for found in differences(before.get(key), after.get(key), key)), None)


def is_same_slot(stored: bytes, again: bytes) -> bool:
    """Whether two stored records of one slot say the same, apart from what follows from gas alone.

    `previous` is not compared: whoever compares all slots of two schedules has compared what it is the digest of.
    """
    if stored == again:
        return True
    one, other = loads_stored(stored), loads_stored(again)
    return isinstance(one, dict) and isinstance(other, dict) and find_difference(one, other) is None


def differences(before: Value, after: Value, path: str) -> Iterator[Difference]:
    """Yield where two values differ, key by key, in the order of the keys. Lists are compared as wholes."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key in before and key in after:
                yield from differences(before[key], after[key], f"{path}/{key}")
            else:
                yield Difference(f"{path}/{key}", before.get(key), after.get(key))
    elif before is not after and (before is None or after is None or dumps(before) != dumps(after)):
        yield Difference(path, before, after)


def _comparable(record: Message, both_ran_out: bool) -> Message:
    results = record.get("results")
    if not isinstance(results, dict):
        return record
    results = without_gas(results)
    if both_ran_out:
        results.pop("print", None)
    return {**record, "results": results}
