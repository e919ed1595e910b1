"""Compare two states of a process: public keys, results, globals, memory, gas.

Both states are rebuilt in memory, one after the other.

Invariants:
    Nothing is written here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from hb.compute import transition
from hb.compute.standing import worker_at
from hb.history import references
from hb.protocol.message import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.protocol.message import Message, Value
    from hb.wasm.instance import Instance
    from hb.wasm.module import Module
    from hb.wasm.tracing import GlobalChange

MOST_RANGES = 10_000
"""So many changed ranges of memory are told of; those beyond are counted."""

GAP_BYTES = 8
"""Changed bytes with fewer than so many unchanged ones between them are one range."""

SHOWN_BYTES = 32
"""So many bytes of a range are given, as they were and as they are."""

PAGE_BYTES = 65536
_CHANGED = rb"[^\0]+(?:\0{1,%d}[^\0]+)*" % (GAP_BYTES - 1)


class Change(NamedTuple):
    """A value that differs. `path` joins keys with `/`; list elements are numbered from 1.

    If only one state has the value, the other's is None, and `was_there` or `is_there` is False.
    """

    path: str
    before: Value
    after: Value
    was_there: bool = True
    is_there: bool = True


class Range(NamedTuple):
    """Bytes of a memory page that differ, from `offset` in the page. `before` and `after` hold the first of them."""

    page: int
    offset: int
    size: int
    before: bytes
    after: bytes


class Memory(NamedTuple):
    """What differs in linear memory. Sizes are in pages of 64 KiB; a missing page counts as zeros.

    `left_out` counts the ranges beyond `MOST_RANGES`.
    """

    pages_before: int
    pages_after: int
    changed_pages: int
    changed_bytes: int
    ranges: list[Range]
    left_out: int


class Side(NamedTuple):
    """One of the two states: its slot, its hashpath, and the gas of its message if known."""

    slot: int
    hashpath: str
    gas: int | None


class Difference(NamedTuple):
    """How the state of a process at one slot differs from its state at another.

    `results` compares the results of the two slots' messages, without gas. They belong to the messages, not to the
    states.
    """

    process: str
    before: Side
    after: Side
    keys: list[Change]
    results: list[Change]
    globals: list[GlobalChange]
    memory: Memory

    @property
    def is_none(self) -> bool:
        """Whether the two states are equal: every public key, every global, every byte of memory."""
        memory = self.memory
        return not (self.keys or self.globals or memory.changed_bytes or memory.pages_before != memory.pages_after)


class _Stood(NamedTuple):
    """What is kept of a state: the memory pages that are not all zeros, and everything beside memory."""

    side: Side
    public: Message
    results: Message
    globals: list[list[object]]
    module: Module
    pages: int
    contents: Mapping[int, bytes]


def difference(context: Context, process: str, before: str | int, after: str | int) -> Difference:
    """Return how the state at slot `after` differs from the state at `before`. `after` may be the earlier slot.

    Raises:
        NotFound: there is no such process or slot.
        Refused: `before` or `after` is not a slot reference.
        IntegrityError: what is stored is damaged.
        Interrupted: the caller was cancelled.
    """
    from hb.wasm.tracing import compare_globals

    pid, first = references.resolve(context.session, process, before)
    second = references.resolve(context.session, pid, after)[1]

    def look(context: Context, slot: int) -> _Stood:
        return _stood(worker_at(context, pid, slot))

    one, other = context.run(lambda inner: (look(inner, first), look(inner, second)))
    return Difference(
        process=pid,
        before=one.side,
        after=other.side,
        keys=list(changes(one.public, other.public)),
        results=list(changes(one.results, other.results)),
        globals=compare_globals(other.module, one.globals, other.globals),
        memory=_memory(one, other),
    )


def changes(before: Value, after: Value, path: str = "") -> Iterator[Change]:
    """Yield where two values differ, innermost first: maps key by key, lists element by element."""
    one, other = _parts(before), _parts(after)
    if one is None or other is None or isinstance(before, list) != isinstance(after, list):
        if dumps(before) != dumps(after):
            yield Change(path, before, after)
        return
    both = {**one, **other}
    for key in sorted(both) if isinstance(before, dict) else both:
        where = f"{path}/{key}" if path else key
        if key not in other:
            yield Change(where, one[key], None, is_there=False)
        elif key not in one:
            yield Change(where, None, other[key], was_there=False)
        else:
            yield from changes(one[key], other[key], where)


def _parts(value: Value) -> Mapping[str, Value] | None:
    """Return the parts of a map or list under the names that they have in a path; None for any other value."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {str(place): part for place, part in enumerate(value, 1)}
    return None


def _stood(live: Worker) -> _Stood:
    base = live.base
    results = cast("Message", base["results"])
    instance: Instance = base["priv"].instance
    gas = results.get("gas")
    nothing = bytes(PAGE_BYTES)
    contents = ((page, instance.page(page)) for page in range(instance.memory_pages))
    return _Stood(
        side=Side(live.slot, live.hashpath, gas if isinstance(gas, int) else None),
        public=transition.public_state(base),
        results={key: value for key, value in results.items() if key != "gas"},
        globals=instance.raw_globals(),
        module=instance.module,
        pages=instance.memory_pages,
        contents={page: content for page, content in contents if content != nothing},
    )


def _memory(one: _Stood, other: _Stood) -> Memory:
    nothing = bytes(PAGE_BYTES)
    ranges: list[Range] = []
    changed_pages = changed_bytes = left_out = 0
    for page in sorted(one.contents.keys() | other.contents.keys()):
        before, after = one.contents.get(page, nothing), other.contents.get(page, nothing)
        if before == after:
            continue
        marks = (int.from_bytes(before, "little") ^ int.from_bytes(after, "little")).to_bytes(PAGE_BYTES, "little")
        changed_pages += 1
        changed_bytes += PAGE_BYTES - marks.count(0)
        for found in re.finditer(_CHANGED, marks):
            if len(ranges) >= MOST_RANGES:
                left_out += 1
                continue
            start, end = found.span()
            shown = slice(start, min(end, start + SHOWN_BYTES))
            ranges.append(Range(page, start, end - start, before[shown], after[shown]))
    return Memory(one.pages, other.pages, changed_pages, changed_bytes, ranges, left_out)
