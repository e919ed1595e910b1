"""Make, write, read and attest witnesses: one transition with all that it takes to run it again.

A witness holds the state before a slot with its memory, the assignment, and what came of it. Whoever attests it signs
what it claims.

Invariants:
    Nothing is stored: a witness is held in memory.
    What is read is not believed. `challenge` checks it.

Source: docs/format.md, "A witness".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import driver, worker
from hb.compute.standing import worker_at
from hb.errors import BeyondThisMachine, IntegrityError, Refused
from hb.files import archive, proving
from hb.files import opening as files
from hb.files.proving import ProofReader, ProofWriter
from hb.history import references
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, committers, sign
from hb.protocol.message import dumps, loads_message
from hb.records import cache, images, keys, lineage, links, schedules
from hb.records.packing import pack, unpack
from hb.verify import deliveries
from hb.verify import replay as replays

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hb.compute.computed import Computed
    from hb.compute.context import Context
    from hb.compute.worker import Worker
    from hb.files.archive import Record
    from hb.protocol.message import Message
    from hb.records.proofs import Proof


class Code(NamedTuple):
    """A process: its ID, its stored definition, and the image that runs, with its ID."""

    process: str
    definition: bytes
    image: str
    wasm: bytes


class At(NamedTuple):
    """The stored bytes of a slot: its assignment, its record and its memory image."""

    slot: int
    assignment: bytes
    record: bytes
    memory: bytes


class Witness(NamedTuple):
    """The transition from `base` to `result`; slot 0 has no base. `pages` are the base's memory, by digest.

    `origin` is the process of the base if it is another: at the first slot of a fork's own. `claim` is the stored form
    of what was signed, if anybody attests it. `proof` is what the sender of the message asked for, if it was delivered.
    """

    code: Code
    result: At
    base: At | None
    pages: dict[str, bytes]
    origin: Code | None = None
    claim: bytes | None = None
    proof: Proof | None = None

    @property
    def process(self) -> str:
        """The ID of the process."""
        return self.code.process

    @property
    def slot(self) -> int:
        """The slot that it leads to."""
        return self.result.slot

    @property
    def attested_by(self) -> list[str]:
        """The addresses that say that they attest it; a challenge tells whether they do."""
        return attested_by(self)


# -- made


def make(context: Context, process: str, slot: str | int) -> Witness:
    """Return the witness of a slot; compute the slot if needed. A slot that a fork shares belongs to its owner.

    Raises:
        NotFound: there is no such process or slot.
        IntegrityError: what is stored is damaged, or the slot computed again differs from its record.
        BeyondThisMachine: the program needs more than this machine allows.
        Interrupted: the caller was cancelled.
    """
    pid, number = references.resolve(context.session, process, slot)
    driver.ensure_computed(context, pid, number)
    with context.session() as store:
        pid = lineage.owner(store, pid, number)
        before = lineage.owner(store, pid, number - 1) if number else pid
    code = _code(context, pid)
    origin = code if before == pid else _code(context, before)

    def work(context: Context) -> tuple[bytes | None, dict[str, bytes], bytes]:
        machine = context.machine()
        definition, assignment = loads_message(code.definition), _assignment(context, pid, number)
        if not number:
            live, computed = worker.begin(pid, definition, assignment, machine)
            _check_same(context, live, computed)
            return None, {}, live.make_image().record
        live = worker_at(context, before, number - 1, machine=machine)
        memory = live.make_image().record
        held = cache.parse_image(memory, before, number - 1).held
        pages = {digest: live.base["priv"].instance.page(page) for page, digest in held.items()}
        if before == pid:
            computed = live.compute_next(assignment)
        else:
            live, computed = live.start_fork(pid, definition, assignment, machine)
        _check_same(context, live, computed)
        return memory, pages, (computed.image or live.make_image()).record

    memory, pages, after = context.run(work)
    base = None if memory is None else _at(context, before, number - 1, memory)
    result = _at(context, pid, number, after)
    proof = proving.find(context.session, result.assignment)
    return Witness(code, result, base, pages, None if origin is code else origin, proof=proof)


def _code(context: Context, process: str) -> Code:
    with context.session() as store:
        definition = lineage.get_definition(store, process)
        raw = store.get(keys.definition_key(process))
        image = definitions.runs(definition)
        wasm = images.read(store, image, IntegrityError)
    assert raw is not None
    return Code(process, raw, image, wasm)


def _assignment(context: Context, process: str, slot: int) -> Message:
    with context.session() as store:
        return schedules.get_assignment(store, process, slot).message


def _at(context: Context, process: str, slot: int, memory: bytes) -> At:
    with context.session() as store:
        links.read(store, process, slot)
        assignment, record = store.get(keys.assignment_key(process, slot)), cache.read_bytes(store, process, slot)
    if assignment is None or record is None:
        raise IntegrityError("what is stored of the slot is gone", process=process, slot=slot)
    return At(slot, assignment, record, memory)


def _check_same(context: Context, live: Worker, computed: Computed) -> None:
    with context.session() as store:
        stored = cache.read_bytes(store, live.process, computed.slot)
    differing = replays.compare(live, computed, None if stored is None else (stored, None), {})
    if differing is not None:
        raise differing.as_damage(
            "the slot computed again differs from its record", hint=f"`hb verify {live.process} --replay` tells more"
        )


# -- written and read


def write(witness: Witness, path: Path) -> None:
    """Write a witness to a file.

    Raises:
        Refused, HomeUnusable: as `files.writing`; something has more bytes than a file may have in one.
    """
    with files.writing(path, archive.WITNESS, 1 if witness.proof is None else 2) as writer:
        for code in (witness.origin, witness.code):
            if code is not None:
                writer.put(archive.DEFINITION, code.process.encode(), code.definition)
                if code is witness.origin or witness.origin is None or code.image != witness.origin.image:
                    writer.put(archive.IMAGE, code.image.encode(), code.wasm)
        for at in (witness.base, witness.result):
            if at is not None:
                key = keys.encode_slot(at.slot)
                if at is witness.result and witness.proof is not None:
                    ProofWriter(writer).put(witness.proof)
                writer.put(archive.ASSIGNMENT, key, at.assignment)
                writer.put(archive.RECORD, key, at.record)
                for digest in sorted(witness.pages) if at is witness.base else ():
                    writer.put(archive.PAGE, digest.encode(), witness.pages[digest])
                writer.put(archive.MEMORY, key, at.memory)
        if witness.claim is not None:
            writer.put(archive.CLAIM, b"", witness.claim)


def read(path: Path, most_pages: int | None = None) -> Witness:
    """Return the witness in a file. Nothing that it says is believed yet.

    `most_pages` is how many pages of memory this machine allows; None for no bound.

    Raises:
        NotFound: there is no such file.
        Refused: it is no witness, a newer hb wrote it, or it is beyond a limit.
        BeyondThisMachine: it has more pages than this machine allows.
        IntegrityError: it is cut or altered, or lacks what a witness has, in its order.
        HomeUnusable: it cannot be read.
    """
    with files.reading(path) as opened:
        if opened.form != archive.WITNESS:
            raise Refused("it is a history, not a witness", hint=f"`hb verify {path}` verifies it")
        return _Reader(opened.records(), most_pages).witness()


class _Reader:
    """Take the records of a witness, which have one order."""

    def __init__(self, records: Iterable[Record], most_pages: int | None) -> None:
        self._most_pages = most_pages
        self._records = iter(records)
        self._next = next(self._records, None)
        self._images: dict[str, bytes] = {}
        self._proof: Proof | None = None
        self.pages: dict[str, bytes] = {}

    def witness(self) -> Witness:
        codes = [self._code()]
        if self._has(archive.DEFINITION):
            codes.append(self._code())
        ats = [self._at()]
        if self._has(archive.ASSIGNMENT) or (self._next is not None and self._next.kind in archive.PROOF_KINDS):
            if self._proof is not None:
                raise IntegrityError("it has a proof of a message that it is not about")
            ats.append(self._at(is_result=True))
        claim = self._take(archive.CLAIM).value if self._has(archive.CLAIM) else None
        if self._next is not None:
            raise IntegrityError("it has more than a witness has")
        base = ats[0] if len(ats) == 2 else None
        if base is not None and base.slot != ats[-1].slot - 1:
            raise IntegrityError("its slots do not follow each other", expected=base.slot + 1, got=ats[-1].slot)
        if base is None and (self.pages or len(codes) == 2 or ats[0].slot):
            raise IntegrityError("it has no state that the slot follows from", slot=ats[0].slot)
        origin = codes[0] if len(codes) == 2 else None
        return Witness(codes[-1], ats[-1], base, self.pages, origin, claim, self._proof)

    def _has(self, kind: bytes) -> bool:
        return self._next is not None and self._next.kind == kind

    def _take(self, kind: bytes) -> Record:
        taken = self._next
        if taken is None or taken.kind != kind:
            got = "its end" if taken is None else repr(taken.kind)
            raise IntegrityError("it lacks what a witness has there", expected=repr(kind), got=got)
        self._next = next(self._records, None)
        return taken

    def _code(self) -> Code:
        taken = self._take(archive.DEFINITION)
        process = _id(taken.key)
        definition = cache.parse(taken.value, "definition", process, None)
        image = definition.get("converted-image", definition.get("image"))
        if not isinstance(image, str):
            raise IntegrityError("its definition names no image", process=process)
        if image not in self._images:
            wasm = self._take(archive.IMAGE)
            if wasm.key != image.encode():
                raise IntegrityError("it has another image than the process runs", process=process, expected=image)
            self._images[image] = wasm.value
        return Code(process, taken.value, image, self._images[image])

    def _at(self, *, is_result: bool = False) -> At:
        proof = ProofReader(lambda process: None)
        while self._next is not None and self._next.kind in archive.PROOF_KINDS:
            proof.add(self._take(self._next.kind))
        assignment = self._take(archive.ASSIGNMENT)
        if not proof.is_empty:
            self._proof = proof.take(deliveries.body_in(assignment.value) or {})
        record = self._take(archive.RECORD)
        while self._has(archive.PAGE) and not is_result:
            page = self._take(archive.PAGE)
            digest = _id(page.key)
            if ids.digest(page.value) != digest or len(page.value) != cache.PAGE_BYTES or digest in self.pages:
                raise IntegrityError("a memory page is not what its digest says", expected=digest)
            if self._most_pages is not None and len(self.pages) >= self._most_pages:
                raise BeyondThisMachine(
                    f"it has more memory than this machine allows, which is {self._most_pages // 16} MiB",
                    hint="if you trust it, raise program-memory under [host] in the home's config.toml",
                )
            self.pages[digest] = page.value
        memory = self._take(archive.MEMORY)
        if len({assignment.key, record.key, memory.key}) != 1 or len(record.key) != keys.SLOT_BYTES:
            raise IntegrityError("it has records of several slots where one is")
        return At(keys.decode_slot(record.key), assignment.value, record.value, memory.value)


def _id(key: bytes) -> str:
    name = key.decode("ascii", "replace")
    if not ids.is_id(name):
        raise IntegrityError("it has a record under a key that is no ID", got=repr(key[:80]))
    return name


# -- attested


def attest(witness: Witness, key: Key) -> Witness:
    """Return the witness with its claim signed by `key` too. It was challenged and is right.

    Raises:
        Refused: too many have signed it.
    """
    claim = claim_of(witness) if witness.claim is None else unpack(loads_message(witness.claim))
    return witness._replace(claim=dumps(pack(sign(claim, key))))


def claim_of(witness: Witness) -> Message:
    """Return the message that whoever attests a witness signs."""
    claim: Message = {
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "type": "Attestation",
        "process": witness.code.process,
        "slot": witness.result.slot,
        "hashpath": loads_message(witness.result.record)["hashpath"],
        "result": ids.digest(witness.result.record),
        "result-memory": ids.digest(witness.result.memory),
    }
    if witness.base is not None:
        claim["base"] = ids.digest(witness.base.record)
        claim["base-memory"] = ids.digest(witness.base.memory)
    return claim


def attested_by(witness: Witness) -> list[str]:
    """Return the addresses that say they attest a witness. A challenge tells whether they do."""
    return [] if witness.claim is None else committers(loads_message(witness.claim))
