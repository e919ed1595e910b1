"""Export a history to a file, and import one.

A history that comes in is verified before any of it is stored. It is then stored from the oldest slot on, the head of
the schedule together with its slots: wherever that stops, a whole process is there, and another import goes on.

Invariants:
    Nothing that is stored is overwritten.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import comparison
from hb.compute.worker import SMALL_PAGES
from hb.errors import Conflict, IntegrityError, Refused
from hb.files import archive, proving, staging
from hb.files import opening as files
from hb.files.proving import Prover
from hb.files.summary import Exported, Imported
from hb.history import references
from hb.protocol import definition as definitions
from hb.protocol.commitment import message_id
from hb.protocol.message import loads_message
from hb.records import cache, images, keys, lineage, names, proofs, schedules
from hb.schedule import scheduler
from hb.storage.store import MOST_TRIES, Batch
from hb.verify import senders
from hb.verify.senders import Flawed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hb.compute.context import Context
    from hb.files.archive import Writer
    from hb.files.staging import Staged
    from hb.records.lineage import Segment
    from hb.records.proofs import Proof
    from hb.storage.store import OpenStore, Store
    from hb.verify.evidence import Finding
    from hb.verify.replay import Note

WINDOW_SLOTS = 500
WINDOW_BYTES = 8 << 20
WINDOW_PAGES = 64
KNOWN_PAGES = 500_000
"""Maximum digests of written pages that are remembered. A page that was forgotten is written again."""


# -- out


def export(context: Context, process: str, to: str | int, path: Path, *, every_image: bool = False) -> Exported:
    """Write the history of a process up to the slot `to` to a file.

    It has the records of the slots that are computed, the memory images that a store must have, and the newest one;
    with `every_image`, all images. If a fork shares `to`, the history is that of the process that owns the slot. For
    each message that was delivered, it has a proof of what its sender asked for, if the sender or a proof is here.

    Raises:
        NotFound: there is no such process or slot.
        Refused: something in it has more bytes than a file may have in one; the file cannot be overwritten.
        IntegrityError: what is stored is damaged.
        HomeUnusable: the file cannot be written.
    """
    pid, last = references.resolve(context.session, process, to)
    with context.session() as store:
        pid = lineage.owner(store, pid, last)
        line = [at._replace(last=min(at.last, last)) for at in lineage.segments(store, pid)]
        newest = cache.latest(store, pid, limit=last, required="image")
    version = proving.version_for(context.session, line)
    with files.writing(path, archive.HISTORY, version) as writer:
        out = _Out(context, writer, newest, every_image=every_image)
        if version > 1:
            out.prove({at.process for at in line})
        for at in line:
            out.write_process(at, last)
    return Exported(pid, last + 1, out.computed, out.images, writer.length)


class _Out:
    """Write the processes of a history, slot by slot."""

    def __init__(self, context: Context, writer: Writer, newest: int | None, *, every_image: bool) -> None:
        self.computed = 0
        self.images = 0
        self._context = context
        self._open_store = context.session
        self._writer = writer
        self._newest = newest
        self._every_image = every_image
        self._modules: set[str] = set()
        self._pages: set[str] = set()
        self._prover: Prover | None = None

    def prove(self, own: set[str]) -> None:
        """Write proofs of deliveries, too. Messages of the processes `own`, which are in the file, need none."""
        self._prover = Prover(self._open_store, self._writer, own)

    def write_process(self, at: Segment, last: int) -> None:
        with self._open_store() as store:
            lineage.get_definition(store, at.process)
            raw = store.get(keys.definition_key(at.process))
        assert raw is not None
        self._writer.put(archive.DEFINITION, at.process.encode(), raw)
        definition = loads_message(raw)
        for name in definitions.images(definition):
            if name not in self._modules:
                self._modules.add(name)
                with self._open_store() as store:
                    wasm = images.read(store, name, IntegrityError)
                self._writer.put(archive.IMAGE, name.encode(), wasm)
        slot = at.first
        while slot <= at.last:
            slot = self._write_window(at, slot, last)

    def _write_window(self, at: Segment, first: int, last: int) -> int:
        end = min(at.last, first + WINDOW_SLOTS - 1)
        with self._open_store() as store:
            assignments = schedules.stretch(store, at.process, first, end, WINDOW_BYTES)
            end = first + len(assignments) - 1
            records = _by_slot(store, keys.slot_records(at.process, first, end))
            memories = _by_slot(store, keys.memory_images(at.process, first, end))
        for _ in schedules.read_stretch(at.process, first, assignments):
            pass  # reading checks that each has its slot, and that they are chained
        if self._prover is not None:
            self._prover.expect(first, assignments)
        for slot, assignment in enumerate(assignments, first):
            key = keys.encode_slot(slot)
            if self._prover is not None:
                self._prover.write(slot)
            self._writer.put(archive.ASSIGNMENT, key, assignment)
            record = records.get(slot)
            if record is not None and self.computed == slot:
                self.computed += 1
                self._writer.put(archive.RECORD, key, record)
                self._write_memory(at, slot, record, memories.get(slot))
            self._context.on_slot(slot, last)
        return end + 1

    def _write_memory(self, at: Segment, slot: int, record: bytes, raw: bytes | None) -> None:
        named = cache.parse_record(record, at.process, slot).image
        if raw is None:
            if named is None and slot != at.first:
                return
            raise IntegrityError("the memory image is gone", process=at.process, slot=slot)
        if named is not None and ids.digest(raw) != named:
            raise IntegrityError("the memory image is not the one that the record names", process=at.process, slot=slot)
        image = cache.parse_image(raw, at.process, slot)
        is_needed = image.pages <= SMALL_PAGES or named is not None or slot in {at.first, self._newest}
        if not (is_needed or self._every_image):
            return
        missing = [digest for digest in dict.fromkeys(image.held.values()) if digest not in self._pages]
        for start in range(0, len(missing), WINDOW_PAGES):
            part = missing[start : start + WINDOW_PAGES]
            wanted = cache.Image(image.globals, image.pages, dict(enumerate(part)))
            with self._open_store() as store:
                contents = cache.read_pages(store, wanted, at.process, slot)
            for number, digest in enumerate(part):
                self._writer.put(archive.PAGE, digest.encode(), contents[number])
        if len(self._pages) < KNOWN_PAGES:
            self._pages.update(missing)
        self._writer.put(archive.MEMORY, keys.encode_slot(slot), raw)
        self.images += 1


# -- in


def import_history(
    context: Context, path: Path, *, name: str | None = None, replay: bool = True, replace: bool = False
) -> Imported:
    """Verify the history in a file, with `replay` run it again too, and store it. Give the process the name `name`.

    With `replace`, the name moves here from the process that has it.

    If the process is here already, what both have must be equal, and only the slots and records that are not here are
    added. Records of unequal engines are equal if they differ in nothing but gas; those that are here stay. Proofs of
    deliveries are stored for senders that are not here.

    Raises:
        NotFound: there is no such file.
        Refused: it is no history, or a newer hb wrote it; the process, or a sender, differs from the one that is here;
            the name is taken, or cannot be one. Nothing was stored.
        BeyondThisMachine: a program needs more than this machine allows. Nothing was stored.
        IntegrityError: the file, or what is here, is damaged. Nothing was stored.
        HomeUnusable, Interrupted: as other verbs.
    """
    with staging.staged(path) as staged:
        notes: list[Note] = []
        for finding in staging.check(
            staged, context.machine, replay=replay, on_slot=context.on_slot, on_note=notes.append
        ):
            raise _unsound(finding, path)
        plans: list[_Plan] = []
        for at in staged.line:
            plans.append(_plan(context.session, staged, at, plans[-1] if plans else None))
        if name is not None:
            with context.session() as store:
                names.give(store, Batch(), name, staged.process, replace=replace)
        _check_senders(context.session, staged)
        _store_proofs(context.session, staged)
        source = lineage.View(staged.store)
        for at, plan, before in zip(staged.line, plans, [None, *plans[:-1]], strict=True):
            again = partial(_plan, context.session, staged, at, before)
            with context.lease(plan.process):
                named = _Naming(name, replace) if name is not None and plan.process == staged.process else None
                _store_again(context, source, plan, named, again)
        context.storage.announce()
    slots, records = (sum(plan.added()[part] for plan in plans) for part in (0, 1))
    is_new, newest = plans[-1].head is None, max(plans[-1].here, plans[-1].last)
    return Imported(staged.process, is_new, slots, records, newest, tuple(notes))


class _Naming(NamedTuple):
    """A name that the process is to have; with `replace`, it moves here from the process that has it."""

    name: str
    replace: bool


class _Plan(NamedTuple):
    """What of a process is to be stored: slots from `slot` to `last`, records from `record` to `computed`.

    `head` are the stored bytes of the head that the process has here, and `here` is its slot; None and -1 if the
    process is not here.
    """

    process: str
    head: bytes | None
    here: int
    slot: int
    last: int
    record: int
    computed: int

    def added(self) -> tuple[int, int]:
        """Return how many slots and how many records that is."""
        return max(0, self.last + 1 - self.slot), max(0, self.computed + 1 - self.record)


def _plan(open_store: OpenStore, staged: Staged, at: Segment, before: _Plan | None) -> _Plan:
    """Return what is not here, after comparing all that is both here and in the file.

    `before` is the plan of the process that this one comes from, if it is a fork.

    Raises:
        Refused: something differs.
        IntegrityError: what is here is damaged.
    """
    process = at.process
    recorded = cache.latest(staged.store, process)
    computed = at.first - 1 if recorded is None else recorded
    with open_store() as store:
        head = store.get(keys.head_key(process))
        definition = store.get(keys.definition_key(process))
        if head is None and definition is None:
            if next(store.scan(*keys.assignments(process)), None) is not None:
                raise IntegrityError("the process's head and definition are gone", process=process)
            plan = _Plan(process, None, -1, at.first, at.last, at.first, computed)
            return _without_orphans(store, staged, plan, before)
        here = scheduler.get_head(store, process).slot
        head = store.get(keys.head_key(process))
        lineage.get_definition(store, process)
        newest = cache.latest(store, process)
    if definition != staged.store.get(keys.definition_key(process)):
        raise Refused(f"the definition of process {process} is another here; nothing was stored")
    slot, end = at.first, min(here, at.last)
    while slot <= end:
        slot = _compare(open_store, staged, process, slot, end)
    first_record = at.first if newest is None else max(at.first, newest + 1)
    plan = _Plan(process, head, here, max(here + 1, at.first), at.last, first_record, computed)
    with open_store() as store:
        return _without_orphans(store, staged, plan, before)


def _without_orphans(store: Store, staged: Staged, plan: _Plan, before: _Plan | None) -> _Plan:
    """Return the plan without records that name another record before them than the one that will be here.

    That one is another if another engine computed it. The slots are then computed here when they are asked for.
    """
    slot = plan.record - 1
    owner = plan if before is None or slot > before.last else before
    if slot < 0 or plan.computed <= slot:
        return plan
    ours, theirs = (cache.read_bytes(each, owner.process, slot) for each in (store, staged.store))
    is_there = ours == theirs if ours is not None else owner.record <= slot <= owner.computed
    return plan if is_there else plan._replace(computed=slot)


def _compare(open_store: OpenStore, staged: Staged, process: str, first: int, end: int) -> int:
    """Compare a stretch of slots that are here and in the file; return the slot after it."""
    theirs = schedules.stretch(staged.store, process, first, min(end, first + WINDOW_SLOTS - 1), WINDOW_BYTES)
    last = first + len(theirs) - 1
    their_records = _by_slot(staged.store, keys.slot_records(process, first, last))
    with open_store() as store:
        ours = _by_slot(store, keys.assignments(process, first, last))
        our_records = _by_slot(store, keys.slot_records(process, first, last))
    for slot, assignment in enumerate(theirs, first):
        if slot not in ours:
            raise IntegrityError("an assignment is gone from the schedule", process=process, slot=slot)
        if ours[slot] != assignment:
            raise _diverged("another message, or the same at another time", process, slot)
        ours_, theirs_ = our_records.get(slot), their_records.get(slot)
        if ours_ is not None and theirs_ is not None and not comparison.is_same_slot(ours_, theirs_):
            raise _diverged("the same message, and another record of what it gave", process, slot)
    return last + 1


def _diverged(how: str, process: str, slot: int) -> Refused:
    return Refused(
        f"process {process} is here already, and slot {slot} is the first that differs: here it has {how}; "
        "nothing was stored",
        hint=f"`hb verify {process} --replay`, and `hb verify FILE --replay`, tell whether one of them is wrong",
    )


def _proofs(staged: Staged) -> Iterator[list[Proof]]:
    """Yield the proofs in a file, as many together as fit in a window."""
    part: list[Proof] = []
    length = 0
    for key, _ in staged.store.scan(*keys.proofs()):
        if len(key) == len(keys.proof_key(staged.process, 0)):
            proof = proofs.find(staged.store, keys.owner_of(key), keys.slot_of(key))
            assert proof is not None
            part.append(proof)
            length += sum(map(len, proof[2:]))
        if length >= WINDOW_BYTES or len(part) == WINDOW_SLOTS:
            yield part
            part, length = [], 0
    yield part


def _check_senders(open_store: OpenStore, staged: Staged) -> None:
    """Compare the slots of senders that the file proves with what is here of the senders.

    Raises:
        Refused: one is another here.
    """
    for part in _proofs(staged):
        with open_store() as store:
            for proof in part:
                _check_sender(store, proof)


def _check_sender(store: Store, proof: Proof) -> None:
    process, slot = proof.process, proof.slot
    assignment, record = store.get(keys.assignment_key(process, slot)), cache.read_bytes(store, process, slot)
    is_other = assignment is not None and assignment != proof.assignment
    if is_other or (record is not None and not comparison.is_same_slot(record, proof.record)):
        raise Refused(
            f"process {process}, which sent a message in the file, is here, and its slot {slot} is another one; "
            "nothing was stored",
            hint=f"`hb verify {process} --replay` tells whether what is here is wrong",
        )


def _store_proofs(open_store: OpenStore, staged: Staged) -> None:
    """Store the proofs of slots that are not computed here. One that is here and right stays."""
    for part in _proofs(staged):
        batch = Batch(sync=True)
        with open_store() as store:
            for proof in part:
                if not cache.is_computed(store, proof.process, proof.slot) and not _is_proven(store, proof):
                    proofs.put(batch, proof)
            if batch.puts:
                store.commit(batch)


def _is_proven(store: Store, proof: Proof) -> bool:
    """Return whether this proof is here, or another one of the slot that is right."""
    try:
        here = proofs.find(store, proof.process, proof.slot)
    except IntegrityError:
        return False
    return here == proof or (here is not None and not isinstance(senders.proven(here), Flawed))


def _store_again(
    context: Context, source: Store, plan: _Plan, name: _Naming | None, plan_again: Callable[[], _Plan]
) -> None:
    """Store what the plan says. If the schedule here went on meanwhile, plan again and store what is missing then."""
    for _ in range(MOST_TRIES):
        try:
            return _store(context, source, plan, name)
        except Conflict:
            plan = plan_again()
    return _store(context, source, plan, name)


def _store(context: Context, source: Store, plan: _Plan, name: _Naming | None) -> None:
    """Store what the plan says, a stretch of slots in each slice."""
    batch = Batch(sync=True)
    if plan.head is None:
        _put_definition(source, batch, plan.process)
    head = plan.head
    spans = [span for span in ((plan.slot, plan.last), (plan.record, plan.computed)) if span[0] <= span[1]]
    slot, end = min(spans, default=(0, -1))[0], max((last for _, last in spans), default=-1)
    while slot <= end:
        last = _put_window(context, source, batch, plan, slot)
        if last >= plan.slot:
            batch.expects[keys.head_key(plan.process)] = head
            head = batch.puts[keys.head_key(plan.process)] = _head(source, plan.process, last)
        _commit(context, batch, name, plan.process)
        batch, name, slot = Batch(sync=True), None, last + 1
        context.on_slot(last, end)
    if name is not None:
        _commit(context, batch, name, plan.process)


def _commit(context: Context, batch: Batch, name: _Naming | None, process: str) -> None:
    with context.session() as store:
        if name is not None:
            names.give(store, batch, name.name, process, replace=name.replace)
        store.commit(batch)


def _put_definition(source: Store, batch: Batch, process: str) -> None:
    raw = source.get(keys.definition_key(process))
    assert raw is not None
    batch.puts[keys.definition_key(process)] = raw
    definition = loads_message(raw)
    for name in definitions.images(definition):
        batch.puts[keys.image_key(name)] = images.read(source, name, IntegrityError)


def _put_window(context: Context, source: Store, batch: Batch, plan: _Plan, first: int) -> int:
    """Put a stretch of slots into the batch, and store their pages. Return the last slot of the stretch."""
    process = plan.process
    assignments = schedules.stretch(source, process, first, min(plan.last, first + WINDOW_SLOTS - 1), WINDOW_BYTES)
    last = first + len(assignments) - 1
    for slot, assignment in enumerate(assignments, first):
        if slot >= plan.slot:
            batch.puts[keys.assignment_key(process, slot)] = assignment
            body = cache.parse(assignment, "assignment", process, slot)["body"]
            assert isinstance(body, dict)
            batch.puts[keys.message_slot_key(message_id(body), process)] = keys.encode_slot(slot)
    if plan.record <= min(last, plan.computed):
        span = (process, max(first, plan.record), min(last, plan.computed))
        batch.puts.update(source.scan(*keys.slot_records(*span)))
        memories = dict(source.scan(*keys.memory_images(*span)))
        batch.puts.update(memories)
        _store_pages(context.session, source, memories, process)
    return last


def _store_pages(open_store: OpenStore, source: Store, memories: dict[bytes, bytes], process: str) -> None:
    wanted: dict[str, None] = {}
    for key, raw in memories.items():
        wanted.update(dict.fromkeys(cache.parse_image(raw, process, keys.slot_of(key)).held.values()))
    for part in _parts(list(wanted), WINDOW_PAGES):
        with open_store() as store:
            puts = {}
            for key in map(keys.page_key, part):
                packed = source.get(key)
                if packed is not None and store.get(key) is None:
                    puts[key] = packed
            if puts:
                store.commit(Batch(puts=puts))


def _parts(listed: list[str], most: int) -> Iterator[list[str]]:
    for start in range(0, len(listed), most):
        yield listed[start : start + most]


def _head(source: Store, process: str, slot: int) -> bytes:
    return scheduler.head_after(schedules.get_assignment(source, process, slot)).encode()


def _by_slot(store: Store, span: keys.Range) -> dict[int, bytes]:
    return {keys.slot_of(key): raw for key, raw in store.scan(*span)}


def _unsound(finding: Finding, path: Path) -> IntegrityError:
    return finding.as_damage(
        f"{path} is not what it must be, and nothing was stored", hint=f"`hb verify {path}` tells all that is wrong"
    )
