"""Lay out a history from a file in a store of its own, and verify it there like what a home has stored.

Invariants:
    Nothing in a file is believed before it is verified.
    No home is touched: what a file says goes into a temporary directory, under keys that are made here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from tempfile import gettempdir
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import HomeUnusable, IntegrityError, Refused
from hb.files import archive
from hb.files import opening as files
from hb.files.proving import ProofReader
from hb.protocol import definition as definitions
from hb.protocol.commitment import message_id
from hb.protocol.message import loads_message
from hb.records import cache, images, keys, lineage, proofs, schedules
from hb.records.lineage import Segment
from hb.schedule import scheduler
from hb.storage import scratch
from hb.storage.store import Batch
from hb.verify import deliveries
from hb.verify import process as checks
from hb.verify import replay as replays
from hb.verify.evidence import Kind, finding_of, unlike_record
from hb.verify.repair import first_unsound
from hb.verify.replay import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from hb.cancellation import Cancellation
    from hb.devices.device import Machine
    from hb.files.archive import Record
    from hb.protocol.message import Message
    from hb.storage.store import OpenStore, Store
    from hb.verify.evidence import Finding, OnSlot
    from hb.verify.replay import Note

BATCH_BYTES = 8 << 20
"""How many bytes of records are collected before they are written to the store."""

SMALL_BYTES = 64 << 20
FREE_BYTES = 512 << 20
"""A history of more than `SMALL_BYTES`, unpacked, must leave `FREE_BYTES` of the temporary directory's disk."""


class Staged(NamedTuple):
    """A history in a store of its own: `line` are the slots that it has, by owner; the last ones are `process`'s."""

    store: Store
    process: str
    line: tuple[Segment, ...]

    @property
    def open_store(self) -> OpenStore:
        """Opens the store. A fork's shared slots appear under its own ID."""
        return lambda: nullcontext(lineage.View(self.store))


@contextmanager
def staged(path: Path) -> Iterator[Staged]:
    """Lay out the history in the file at `path` for a `with` block.

    Raises:
        NotFound: there is no such file.
        Refused: it is no history, a newer hb wrote it, or it is beyond a limit.
        IntegrityError: it is cut or altered, or its records are not in the order that a history has.
        HomeUnusable: it cannot be read, or there is no room to lay it out.
    """
    with ExitStack() as stack:
        with files.reading(path) as opened:
            if opened.form != archive.HISTORY:
                raise Refused("it is a witness, not a history", hint=f"`hb verify {path}` challenges it")
            store = stack.enter_context(scratch.store())
            stage = _Stage(store)
            stage.add_all(opened.records())
            found = Staged(store, stage.process, tuple(stage.line))
            _check_line(found)
        yield found


def verify(
    path: Path,
    make_machine: Callable[[Mapping[str, bytes]], Machine],
    *,
    replay: bool,
    on_slot: OnSlot = lambda slot, last: None,
    on_note: Callable[[Note], None] = ignore,
) -> Iterator[Finding]:
    """`check` the history in a file.

    Raises:
        NotFound, Refused, HomeUnusable, IntegrityError: as `staged`.
        Interrupted, BeyondThisMachine: as `check`.
    """
    with staged(path) as history:
        yield from check(history, make_machine, replay=replay, on_slot=on_slot, on_note=on_note)


def check(
    staged: Staged,
    make_machine: Callable[[Mapping[str, bytes]], Machine],
    *,
    replay: bool,
    on_slot: OnSlot,
    on_note: Callable[[Note], None] = ignore,
) -> Iterator[Finding]:
    """Yield everything that is wrong with a history; with `replay`, run every message again too.

    Messages that were delivered are compared with the results that they come from, as far as the file proves these.

    `make_machine` makes a machine that has the images it is given, by ID. `on_slot(slot, last)` is called after each
    slot, and again for each slot that is run. `on_note` is told of slots that another engine computed.

    Raises:
        Interrupted: the caller was cancelled.
        BeyondThisMachine: a program needs more than this machine allows.
    """
    findings = []
    for finding in checks.check_process(lambda: nullcontext(staged.store), staged.process, on_slot):
        findings.append(finding)
        yield finding
    damaged = {finding.slot for finding in findings if finding.kind is Kind.ASSIGNMENT}
    sound = first_unsound(findings)
    for at in staged.line:
        yield from deliveries.check(staged.open_store, at, damaged=damaged, sound=sound)
    differing = _run_again(staged, findings, make_machine, on_slot, on_note) if replay else None
    if differing is not None:
        yield differing


def _run_again(
    staged: Staged,
    findings: Iterable[Finding],
    make_machine: Callable[[Mapping[str, bytes]], Machine],
    on_slot: OnSlot,
    on_note: Callable[[Note], None],
) -> Finding | None:
    """Return the first slot of a history that comes out differently, run from the definition on, or None.

    `findings` are those that were found without running it.
    """
    from hb.wasm.engine import run_interruptibly

    last = replays.reach(staged.open_store, staged.process, findings)
    if last is None:
        return None
    try:
        machine = make_machine(_Images(staged))
        return run_interruptibly(
            lambda cancellation: replays.replay(
                staged.open_store,
                staged.process,
                last,
                machine.under(cancellation),
                on_slot=on_slot,
                on_note=on_note,
            )
        )
    except IntegrityError as error:
        return finding_of(error)


class _Images(Mapping[str, bytes]):
    """The images that a history has, by ID. Each is read when it is asked for: together they may be many gigabytes."""

    def __init__(self, staged: Staged) -> None:
        self._store = staged.store
        found = (definitions.images(lineage.get_definition(staged.store, at.process)) for at in staged.line)
        self._names = dict.fromkeys(name for names in found for name in names)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return images.read(self._store, name, IntegrityError)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def bare_machine(given: Mapping[str, bytes]) -> Machine:
    """Return a machine without a home, with default settings, that has the images `given`, by ID."""
    from hb.config import Config
    from hb.devices.device import Machine
    from hb.wasm import module

    compiled: dict[str, module.Module] = {}

    def load(image: str, cancellation: Cancellation) -> module.Module:
        if image not in compiled:
            if image not in given:
                raise IntegrityError(f"the image {image} is not in the file")
            compiled[image] = module.load(given[image], cancellation=cancellation)
        return compiled[image]

    return Machine(load, host_memory_pages=Config().host_memory_pages)


def _check_line(found: Staged) -> None:
    """Make sure that a history has the slots of its process and of what that comes from, and no others."""
    line = lineage.segments(found.store, found.process)
    wanted = [*((at.process, at.first, at.last) for at in line[:-1]), (line[-1].process, line[-1].first)]
    has = [*(tuple(at) for at in found.line[:-1]), tuple(found.line[-1])[:2]]
    if wanted != has:
        raise IntegrityError(
            "it has other slots than those of the process and of what that comes from",
            process=found.process,
            expected=wanted,
            got=has,
        )


class _Stage:
    """Put the records of a history, which have one order, into a store."""

    def __init__(self, store: Store) -> None:
        self.line: list[Segment] = []
        self._store = store
        self._batch = Batch()
        self._size = 0
        self._written = 0
        self._images: set[str] = set()
        self._pages: set[str] = set()
        self._head: scheduler.Head | None = None
        self._slot = -1
        self._before = archive.END
        self._proof = ProofReader(lambda process: self._get(keys.sender_key(process)))
        self._add = {
            archive.DEFINITION: self._add_definition,
            archive.IMAGE: self._add_image,
            archive.ASSIGNMENT: self._add_assignment,
            archive.RECORD: self._add_record,
            archive.PAGE: self._add_page,
            archive.MEMORY: self._add_memory,
        }

    @property
    def process(self) -> str:
        """The process whose records are being added."""
        return self.line[-1].process

    def add_all(self, records: Iterable[Record]) -> None:
        """Add all records.

        Raises:
            IntegrityError: one is not what can be there.
        """
        for record in records:
            add = self._add.get(record.kind)
            is_proof = record.kind in archive.PROOF_KINDS
            if (add is None and not is_proof) or not (self.line or record.kind == archive.DEFINITION):
                raise IntegrityError("it has a record that no history has there", got=repr(record.kind))
            try:
                if add is None:
                    self._add_proof(record)
                else:
                    self._check_proof(record.kind)
                    add(record.key, record.value)
            except Refused as error:
                raise self._wrong(error.message) from error
            self._before = record.kind
            if self._size >= BATCH_BYTES:
                self._commit()
        if not self.line:
            raise IntegrityError("it has no process")
        self._check_proof(archive.END)
        self._end_process()
        self._commit()

    def _add_definition(self, key: bytes, value: bytes) -> None:
        if self.line:
            self._end_process()
        name = _id(key)
        if any(at.process == name for at in self.line):
            raise IntegrityError("it has a process twice", process=name)
        if len(self.line) > lineage.MOST_ORIGINS:
            raise self._wrong(f"it has more than {lineage.MOST_ORIGINS} processes that another comes from")
        definition = cache.parse(value, "definition", name, None)
        origin = definitions.origin(definition)
        first = 0 if origin is None else origin.slot + 1
        self.line.append(Segment(name, first, first - 1))
        named = (definition.get(key) for key in ("image", "converted-image"))
        self._images |= {name for name in named if isinstance(name, str)}
        self._head, self._slot = None, first - 1
        self._put(keys.definition_key(name), value)

    def _add_image(self, key: bytes, value: bytes) -> None:
        name = _id(key)
        if name not in self._images or self._before not in {archive.DEFINITION, archive.IMAGE}:
            raise self._wrong(f"it has an image there that nothing names: {name}")
        self._images.discard(name)
        self._put(keys.image_key(name), value)

    def _add_assignment(self, key: bytes, value: bytes) -> None:
        self._check_pages()
        slot = self._slot + 1
        self._check_slot(key, slot, {archive.DEFINITION, archive.IMAGE, *archive.PROOF_KINDS, *_IN_SLOT})
        assignment = cache.parse(value, "assignment", self.process, slot)
        parsed = schedules.parse_assignment(assignment, self.process, slot)
        self._head, body = scheduler.head_after(parsed), parsed.body
        self._keep_proof(body)
        self._slot = slot
        self.line[-1] = self.line[-1]._replace(last=slot)
        self._put(keys.assignment_key(self.process, slot), value)
        self._put(keys.message_slot_key(message_id(body), self.process), keys.encode_slot(slot))

    def _add_record(self, key: bytes, value: bytes) -> None:
        self._check_slot(key, self._slot, {archive.ASSIGNMENT})
        cache.parse_record(value, self.process, self._slot)
        if (strange := unlike_record(loads_message(value))) is not None:
            raise self._wrong(f"the slot record has a key that none has: {strange[:80]!r}")
        self._put(keys.slot_record_key(self.process, self._slot), value)

    def _add_page(self, key: bytes, value: bytes) -> None:
        name = _id(key)
        if self._before not in {archive.RECORD, archive.PAGE}:
            raise self._wrong("it has a memory page there that is of no memory image")
        if len(value) != cache.PAGE_BYTES or ids.digest(value) != name:
            raise self._wrong(f"memory page {name} is not what its digest says")
        self._pages.add(name)
        self._put(keys.page_key(name), cache.compress(value))

    def _add_memory(self, key: bytes, value: bytes) -> None:
        self._check_slot(key, self._slot, {archive.RECORD, archive.PAGE})
        image = cache.parse_image(value, self.process, self._slot)
        self._pages -= set(image.held.values())
        self._check_pages()
        self._put(keys.memory_image_key(self.process, self._slot), value)

    def _add_proof(self, record: Record) -> None:
        self._check_pages()
        if self._proof.is_empty and self._before not in {archive.DEFINITION, archive.IMAGE, *_IN_SLOT}:
            raise self._wrong("it has a proof there that is of no message")
        self._proof.add(record)

    def _check_proof(self, kind: bytes) -> None:
        if kind != archive.ASSIGNMENT and not self._proof.is_empty:
            raise self._wrong("it has a proof that is of no message")

    def _keep_proof(self, body: Message) -> None:
        proof = self._proof.take(body)
        if proof is None:
            return
        if any(at.process == proof.process for at in self.line):
            raise self._wrong("it has a proof of a slot that it has itself")
        batch = Batch()
        proofs.put(batch, proof)
        for key, value in batch.puts.items():
            self._put(key, value)

    def _get(self, key: bytes) -> bytes | None:
        return self._batch.puts.get(key) or self._store.get(key)

    def _check_slot(self, key: bytes, slot: int, after: set[bytes]) -> None:
        if slot < 0 or slot > definitions.MAX_FORK_SLOT or key != keys.encode_slot(slot) or self._before not in after:
            raise self._wrong("it has a record of another slot there, or one too many")

    def _check_pages(self) -> None:
        if self._pages:
            raise self._wrong(f"memory page {min(self._pages)} is in no memory image")

    def _end_process(self) -> None:
        self._check_pages()
        if self._head is None:
            raise self._wrong("it has no slot of its own")
        self._put(keys.head_key(self.process), self._head.encode())

    def _wrong(self, what: str) -> IntegrityError:
        process = self.line[-1].process if self.line else None
        return IntegrityError(what, process=process, slot=self._slot if self._slot >= 0 else None)

    def _put(self, key: bytes, value: bytes) -> None:
        self._batch.puts[key] = value
        self._size += len(key) + len(value)

    def _commit(self) -> None:
        self._written += self._size
        if self._written > SMALL_BYTES and shutil.disk_usage(gettempdir()).free < FREE_BYTES:
            raise HomeUnusable(
                f"there is no room in {gettempdir()} to lay out the history: {self._written >> 20} MiB, and it goes on",
                hint="set TMPDIR to a directory on a disk with more room",
            )
        self._store.commit(self._batch)
        self._batch, self._size = Batch(), 0


_IN_SLOT = (archive.ASSIGNMENT, archive.RECORD, archive.MEMORY)


def _id(key: bytes) -> str:
    name = key.decode("ascii", "replace")
    if not ids.is_id(name):
        raise IntegrityError("it has a record under a key that is no ID", got=repr(key[:80]))
    return name
