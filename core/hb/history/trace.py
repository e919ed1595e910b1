"""Execute one slot again and record what happens: calls, host calls, and changes.

The state of the slot before is rebuilt in memory, and the message is computed from there. The outcome is compared with
the stored record.

Invariants:
    Nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import transition
from hb.compute.comparison import without_gas
from hb.compute.standing import worker_at
from hb.history import references, views
from hb.protocol import outcome
from hb.protocol.assignment import Assignment
from hb.protocol.message import dumps
from hb.records import cache, lineage, schedules

if TYPE_CHECKING:
    from hb.compute.context import Context
    from hb.devices.device import Base, Machine
    from hb.history.views import SlotView
    from hb.protocol.message import Message, Value
    from hb.records.cache import Image
    from hb.wasm.instance import Instance
    from hb.wasm.memory import Mirror
    from hb.wasm.tracing import FunctionCall, GlobalChange, PageChange, Recorder

HOST_CALLS = 20
"""So many host calls of each call are shown in full, unless another number is asked for."""

MOST_HOST_CALLS = 1_000_000


class KeyChange(NamedTuple):
    """A public key that the slot changed. `before` or `after` is None if the key was not there."""

    key: str
    before: Value
    after: Value


class Difference(NamedTuple):
    """Where the trace differs from the stored record. This is damage."""

    what: str
    stored: str
    traced: str


@dataclass(frozen=True)
class Trace:
    """What happened in one slot.

    `calls` are the calls of exported functions, in order; `left_out` counts those beyond the recorded maximum. `keys`,
    `globals` and `pages` are what the message changed. If it failed (`undone`), those changes were undone afterwards.
    `pages_before` and `pages_after` are the memory size in pages of 64 KiB. `differences` is None if the slot is not
    computed, because then there is nothing to compare with.
    """

    process: str
    slot: int
    assignment: Message
    calls: list[FunctionCall]
    left_out: int
    results: Message
    keys: list[KeyChange]
    globals: list[GlobalChange]
    pages: list[PageChange]
    pages_before: int
    pages_after: int
    undone: bool
    differences: list[Difference] | None

    @property
    def asked(self) -> SlotView:
        """The slot as a history shows it before it is computed: who asked what."""
        return views.view(self.process, Assignment.parse(self.assignment), None, image=False)


class _Ran(NamedTuple):
    """A slot after its execution: its state, its instance, and the mirror of that instance as it was before."""

    public_before: Message
    after: Base
    instance: Instance
    mirror: Mirror


def trace(context: Context, process: str, reference: str | int, *, host_calls: int = HOST_CALLS) -> Trace:
    """Execute a slot again and return what happened. The first `host_calls` host calls of each call are recorded.

    Raises:
        NotFound: there is no such process or slot.
        Interrupted: the caller was cancelled.
        IntegrityError: what is stored is so damaged that the slot cannot be executed.
    """
    from hb.wasm.tracing import Recorder

    pid, slot = references.resolve(context.session, process, reference)
    recorder = Recorder(min(host_calls, MOST_HOST_CALLS))
    return context.run(lambda inner: _trace(inner, pid, slot, recorder))


def _trace(context: Context, process: str, slot: int, recorder: Recorder) -> Trace:
    from hb.wasm.tracing import changed_globals, changed_pages

    with context.session() as store:
        definition = lineage.get_definition(store, lineage.owner(store, process, slot))
        is_fork = slot > 0 and slot == lineage.first_slot(store, process)
        assignment = schedules.get_assignment(store, process, slot).message
    machine = replace(context.machine(), make_instance=recorder.make_instance)
    reach = partial(worker_at, context, process, machine=machine)
    if slot == 0:
        ran = _spawn(definition, assignment, machine, recorder)
    elif is_fork:
        ran = _enter(reach(slot - 1).base, reach(slot).base)
    else:
        ran = _compute(reach(slot - 1).base, assignment, machine, recorder)
    undone = outcome.failed(ran.after["results"])
    return Trace(
        process=process,
        slot=slot,
        assignment=assignment,
        calls=recorder.calls,
        left_out=recorder.left_out,
        results=ran.after["results"],
        keys=_changed_keys(ran.public_before, transition.public_state(ran.after)),
        globals=changed_globals(ran.mirror),
        pages=changed_pages(ran.mirror),
        pages_before=ran.mirror.pages,
        pages_after=ran.instance.memory_pages,
        undone=undone,
        differences=_differences(context, process, slot, ran, undone=undone),
    )


def _spawn(definition: Message, assignment: Message, machine: Machine, recorder: Recorder) -> _Ran:
    """Execute slot 0: initialise the process, and compute its spawn message if its program answers that."""
    from hb.wasm.memory import Mirror

    recorder.on = True
    base = transition.initialise(definition, assignment, machine)
    instance: Instance = base["priv"].instance
    mirror = Mirror(instance)
    after = transition.compute_slot(base, assignment, machine) if transition.takes_spawn(definition) else base
    recorder.on = False
    return _Ran({}, after, instance, mirror)


def _enter(before: Base, after: Base) -> _Ran:
    """Return the slot where a fork left: it takes over a state, and nothing runs."""
    from hb.wasm.memory import Mirror

    instance: Instance = after["priv"].instance
    return _Ran(transition.public_state(before), after, instance, Mirror(instance))


def _compute(base: Base, assignment: Message, machine: Machine, recorder: Recorder) -> _Ran:
    from hb.wasm.memory import Mirror

    instance: Instance = base["priv"].instance
    mirror = Mirror(instance)
    recorder.on = True
    after = transition.compute_slot(base, assignment, machine)
    recorder.on = False
    return _Ran(transition.public_state(base), after, instance, mirror)


def _changed_keys(before: Message, after: Message) -> list[KeyChange]:
    return [
        KeyChange(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if (key in before) != (key in after) or dumps(before[key]) != dumps(after[key])
    ]


def _differences(context: Context, process: str, slot: int, ran: _Ran, *, undone: bool) -> list[Difference] | None:
    """Return where the slot differs from its stored record; None if it has none."""
    from hb.wasm.engine import ENGINE

    with context.session() as store:
        raw = cache.read_bytes(store, process, slot)
        has_image = not undone and cache.image_digest(store, process, slot) is not None
        image = cache.read_image(store, process, slot) if has_image else None
    if raw is None:
        return None
    record = cache.parse_record(raw, process, slot)
    stored, traced = record.results, ran.after["results"]
    if record.engine != ENGINE:
        # Only equal engines agree on gas.
        stored, traced = without_gas(stored), without_gas(traced)
    pairs = (("results", stored, traced), ("state", record.state, transition.public_state(ran.after)))
    found = [Difference(what, _shown(one), _shown(other)) for what, one, other in pairs if dumps(one) != dumps(other)]
    return found + ([] if image is None else _image_differences(image, ran.instance))


def _image_differences(image: Image, instance: Instance) -> list[Difference]:
    found = []
    if image.pages != instance.memory_pages:
        found.append(Difference("memory", f"{image.pages} pages", f"{instance.memory_pages} pages"))
    if image.globals != instance.raw_globals():
        found.append(Difference("globals", str(image.globals)[:300], str(instance.raw_globals())[:300]))
    nothing = ids.digest(bytes(cache.PAGE_BYTES))
    for page in range(min(image.pages, instance.memory_pages)):
        stored, traced = image.held.get(page, nothing), ids.digest(instance.page(page))
        if stored != traced:
            found.append(Difference(f"memory page {page}", stored, traced))
            break
    return found


def _shown(value: Value) -> str:
    text = "nothing" if value is None else dumps(value).decode()
    return text if len(text) <= 300 else text[:300] + "…"
