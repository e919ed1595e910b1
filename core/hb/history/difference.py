"""In what two states of a process differ: public keys, results, globals, memory, gas.

Both are stood at in memory, one after the other, and nothing is stored. It must never write.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from hb.compute import transition
from hb.compute.standing import stand
from hb.history import references
from hb.protocol.message import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hb.cancellation import Cancellation
    from hb.compute.premises import Premises
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
    """A value that is another one, at a path of keys joined by `/`; the elements of a list are 1, 2, ...

    Of a value that is in one of the two only, the other is not `there`: `before` or `after` is None then.
    """

    path: str
    before: Value
    after: Value
    was_there: bool = True
    is_there: bool = True


class Range(NamedTuple):
    """Bytes of a page of memory, from `offset` in it, that are others; the first of them, before and after."""

    page: int
    offset: int
    size: int
    before: bytes
    after: bytes


class Memory(NamedTuple):
    """What differs in linear memory. Sizes are in pages of 64 KiB; a page that is not there counts as zeros.

    `left_out` counts the ranges beyond `MOST_RANGES`.
    """

    pages_before: int
    pages_after: int
    changed_pages: int
    changed_bytes: int
    ranges: list[Range]
    left_out: int


class Side(NamedTuple):
    """One of the two states: its slot, its hashpath, and the gas of its message, if that is known."""

    slot: int
    hashpath: str
    gas: int | None


class Difference(NamedTuple):
    """In what the state of a process at one slot differs from that at another.

    `results` are those of the two slots' messages, without gas: they belong to the messages, not to the states.
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
        """Whether the two states are the same: every public key, every global, every byte of memory."""
        memory = self.memory
        return not (self.keys or self.globals or memory.changed_bytes or memory.pages_before != memory.pages_after)


class _Stood(NamedTuple):
    """What is kept of a state: the pages of its memory that are not all zeros, and what is beside memory."""

    side: Side
    public: Message
    results: Message
    globals: list[list[object]]
    module: Module
    pages: int
    contents: Mapping[int, bytes]


def difference(premises: Premises, process: str, before: str | int, after: str | int) -> Difference:
    """In what the state at the slot `after` differs from that at `before`, which may be the later one.

    Raises:
        NotFound: there is no such process or slot.
        Refused: one of the two is no reference.
        IntegrityError: what is stored is damaged.
        Interrupted: the user wants to stop.
    """
    from hb.wasm.engine import run_interruptibly
    from hb.wasm.tracing import compare_globals

    pid, first = references.resolve(premises.open_store, process, before)
    second = references.resolve(premises.open_store, pid, after)[1]

    def look(slot: int, cancellation: Cancellation) -> _Stood:
        return _stood(stand(premises, pid, slot, cancellation))

    one, other = run_interruptibly(lambda stop: (look(first, stop), look(second, stop)))
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
    """Where two values differ, innermost first: maps key by key, lists element by element."""
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
    """The parts of a value that has any, by the names that they have in a path."""
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
