"""Challenge a witness: derive all that it claims again, run its transition again, and compare.

Invariants:
    What comes from a file is a stranger's. It is never believed and never stored.

Source: docs/format.md, "A witness".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import worker
from hb.errors import BeyondThisMachine, IntegrityError, Refused, as_text
from hb.files import witness as witnesses
from hb.files.witness import At, Code, Witness, claim_of
from hb.protocol import assignment as assignments
from hb.protocol import definition as definitions
from hb.protocol import delivery
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import committers, message_id, without_commitments
from hb.protocol.message import loads_message
from hb.records import cache, images, schedules
from hb.records.packing import unpack
from hb.schedule import scheduler
from hb.verify import deliveries, senders
from hb.verify import replay as replays
from hb.verify.deliveries import Received
from hb.verify.evidence import PREVIOUS, Finding, Kind, differs, finding_of, unlike_record
from hb.verify.evidence import message_in as read_message
from hb.verify.evidence import signed as commitment_findings
from hb.verify.senders import Flawed
from hb.verify.walk import is_hashpath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hb.compute.computed import Computed
    from hb.compute.worker import Worker
    from hb.devices.device import Machine
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.verify.replay import Note


class Challenged(NamedTuple):
    """What a challenge came to.

    `findings` say what is wrong with the transition. `attested_by` are the addresses that attest it. `notes` name
    another engine that computed it: its gas is not compared.
    """

    process: str | None
    slot: int | None
    hashpath: str | None
    findings: list[Finding]
    attested_by: list[str]
    notes: list[Note] = []  # noqa: RUF012


def challenge(witness: Witness, make_machine: Callable[[Mapping[str, bytes]], Machine]) -> Challenged:
    """Check what a witness claims, and run its transition again.

    `make_machine` makes a machine that has the images it is given, by ID. Who attests a witness is told only if
    nothing is wrong with it.

    Raises:
        Interrupted: the caller was cancelled.
        Refused: a signature needs `cryptography`, which is not installed; or the program needs more memory than this
            machine allows.
    """
    from hb.wasm.engine import run_interruptibly

    process, slot = witness.code.process, witness.result.slot
    found = _findings(witness)
    notes: dict[str, Note] = {}
    if not found:
        given = {code.image: code.wasm for code in (witness.code, witness.origin) if code is not None}
        machine = make_machine(given)
        found = run_interruptibly(lambda stop: _run(witness, machine.under(stop), notes))
    if not found and witness.claim is not None:
        found = _claim_findings(witness, witness.claim)
    hashpath = None
    attested_by: list[str] = []
    if not found:
        hashpath = str(loads_message(witness.result.record)["hashpath"])
        attested_by = witnesses.attested_by(witness)
    return Challenged(process, slot, hashpath, found, attested_by, list(notes.values()))


def challenge_file(path: Path, make_machine: Callable[[Mapping[str, bytes]], Machine]) -> Challenged:
    """Challenge the witness in a file; damage of the file is a finding too.

    Raises:
        NotFound, Refused, BeyondThisMachine, HomeUnusable: as `witness.read`.
        Interrupted: as `challenge`.
    """
    try:
        return challenge(witnesses.read(path, make_machine({}).host_memory_pages), make_machine)
    except IntegrityError as error:
        return Challenged(error.process, error.slot, None, [finding_of(error)], [])


def attest(witness: Witness, key: Key, make_machine: Callable[[Mapping[str, bytes]], Machine]) -> Witness:
    """Return the witness with the signature of `key` on what it claims, after running it again.

    Raises:
        IntegrityError: something in it is not what it must be; nothing was signed.
        Refused: another engine computed it, so that its gas cannot be confirmed here; or as `challenge`.
        Interrupted: as `challenge`.
    """
    found = challenge(witness, make_machine)
    for finding in found.findings:
        raise finding.as_damage("the witness is not right, and nothing was signed")
    for note in found.notes:
        raise Refused(
            f"the slot was computed by {note.engine} and this is {note.here}, which counts gas differently; "
            "nothing was signed",
            hint=f"attest it with an hb that has {note.engine}",
        )
    return witnesses.attest(witness, key)


def _findings(witness: Witness) -> list[Finding]:
    """Return what is wrong with a witness before it is run, without what would only follow from that."""
    base, origin = witness.base, witness.origin or witness.code
    stages: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _code_findings(origin),
        lambda: _code_findings(witness.code),
        lambda: iter(()) if base is None else _at_findings(origin, base),
        lambda: _at_findings(witness.code, witness.result),
        lambda: _delivery_findings(witness),
        lambda: _step_findings(witness),
        lambda: iter(()) if base is None else _memory_findings(witness, base, origin.process),
    )
    return next((found for stage in stages if (found := list(stage()))), [])


def _code_findings(code: Code) -> Iterator[Finding]:
    process, kind = code.process, Kind.DEFINITION
    definition, findings = read_message(code.definition, process, None, kind)
    yield from findings
    if definition is None:
        return
    yield from commitment_findings(definition, process, None, kind)
    yield from differs(process, None, kind, "ID", process, message_id(definition))
    try:
        definitions.check(definition)
    except Refused as error:
        yield Finding(process, None, kind, None, "one that can be run", error.message)
    yield from differs(process, None, Kind.IMAGE, None, code.image, images.image_id(code.wasm))


def _at_findings(code: Code, at: At) -> Iterator[Finding]:
    """Yield what is wrong with a slot by itself: its signatures, its IDs, its form."""
    process, slot = code.process, at.slot
    packed, findings = read_message(at.assignment, process, slot, Kind.ASSIGNMENT)
    yield from findings
    record, findings = read_message(at.record, process, slot, Kind.RECORD)
    yield from findings
    if packed is None or record is None:
        return
    assignment = unpack(packed)
    yield from _assignment_findings(code, assignment, slot)
    try:
        schedules.parse_assignment(assignment)
        cache.parse_record(at.record, process, slot)
        image = cache.parse_image(at.memory, process, slot)
    except IntegrityError as error:
        yield finding_of(error)
        return
    yield from differs(process, slot, Kind.MEMORY_IMAGE, "form", at.memory, image.encode())
    expected = ids.digest(at.memory) if image.pages <= worker.SMALL_PAGES else None
    yield from differs(process, slot, Kind.RECORD, "image", expected, record.get("image"))
    yield from differs(process, slot, Kind.RECORD, "slot", slot, record["slot"])
    yield from differs(process, slot, Kind.RECORD, "assignment", message_id(assignment), record["assignment"])
    if (strange := unlike_record(record)) is not None:
        yield Finding(process, slot, Kind.RECORD, None, "no keys but its own", strange[:80])
    hashpath = record["hashpath"]
    if not is_hashpath(hashpath):
        yield Finding(process, slot, Kind.RECORD, "hashpath", "two IDs", as_text(hashpath)[:100])
        return
    try:
        ending = hashpaths.part(assignment)
    except Refused as error:
        yield Finding(process, slot, Kind.ASSIGNMENT, "path", "one that a hashpath goes on with", error.message)
        return
    yield from differs(process, slot, Kind.RECORD, "hashpath ends", ending, hashpath.partition("/")[2])


def _delivery_findings(witness: Witness) -> Iterator[Finding]:
    """Yield what is wrong with the message, if it says that it was delivered, and with the proof of that."""
    code, slot = witness.code, witness.result.slot
    body = unpack(loads_message(witness.result.assignment))["body"]
    assert isinstance(body, dict)
    is_definition = slot == _first(code)
    if not is_definition:
        yield from deliveries.untrusted(code.process, slot, body, loads_message(code.definition))
    place = delivery.origin(body)
    if place is None or witness.proof is None:
        return
    found = senders.proven(witness.proof)
    if isinstance(found, Flawed):
        yield from deliveries.proof_findings(code.process, slot, found)
        return
    received = Received(code.process, slot, body, place, is_definition)
    yield from deliveries.unlike(
        received, found, lambda image: deliveries.devices_of(code.wasm) if image == code.image else None
    )


def _assignment_findings(code: Code, assignment: Message, slot: int) -> Iterator[Finding]:
    process, kind = code.process, Kind.ASSIGNMENT
    definition = loads_message(code.definition)
    yield from commitment_findings(assignment, process, slot, kind, str(definition["scheduler"]))
    yield from differs(process, slot, kind, "process", process, assignment.get("process"))
    yield from differs(process, slot, kind, "slot", slot, assignment.get("slot"))
    body = assignment.get("body")
    if not isinstance(body, dict) or not committers(body):
        yield Finding(process, slot, kind, "message", "one that somebody signed", "one that nobody signed")
    elif slot == _first(code) and body != definition:
        yield Finding(process, slot, kind, "message", f"the definition {process}", message_id(body))


def _first(code: Code) -> int:
    origin = definitions.origin(loads_message(code.definition))
    return 0 if origin is None else origin.slot + 1


def _step_findings(witness: Witness) -> Iterator[Finding]:
    """Yield what is wrong with how the slot follows from the one before it."""
    process, slot = witness.code.process, witness.result.slot
    definition = loads_message(witness.code.definition)
    result, assignment = loads_message(witness.result.record), loads_message(witness.result.assignment)
    hashpath, previous, chain, since_ms = hashpaths.base(definition), "", b"", 0
    origin = definitions.origin(definition)
    if witness.base is not None:
        record, before = loads_message(witness.base.record), loads_message(witness.base.assignment)
        _, chain, since_ms = scheduler.head_after(schedules.parse_assignment(before))
        hashpath, previous = str(record.get("hashpath")), ids.digest(witness.base.record)
        if witness.origin is not None:
            wanted = (witness.origin.process, slot - 1, hashpath)
            yield from differs(process, None, Kind.DEFINITION, "origin", wanted, origin and tuple(origin))
    if witness.origin is None and origin is not None and slot <= origin.slot + 1:
        yield Finding(process, slot, Kind.DEFINITION, None, "the process that it comes from", "nothing")
    body, timestamp_ms = assignment.get("body"), assignment.get("timestamp")
    if isinstance(body, dict):
        expected = ids.encode(assignments.chain(chain, message_id(body)))
        yield from differs(process, slot, Kind.ASSIGNMENT, "hash-chain", expected, assignment.get("hash-chain"))
    if type(timestamp_ms) is not int or timestamp_ms < since_ms:
        got = as_text(timestamp_ms)[:80]
        yield Finding(process, slot, Kind.ASSIGNMENT, "timestamp", f"{since_ms} ms or later", got)
    yield from differs(process, slot, Kind.RECORD, PREVIOUS, previous, result.get(PREVIOUS))
    expected = hashpaths.step(hashpath, unpack(assignment))
    yield from differs(process, slot, Kind.RECORD, "hashpath", expected, result.get("hashpath"))


def _memory_findings(witness: Witness, base: At, process: str) -> Iterator[Finding]:
    slot, image = base.slot, cache.parse_image(base.memory, process, base.slot)
    held = set(image.held.values())
    for digest in sorted(held ^ witness.pages.keys()):
        expected = digest if digest in held else "none that the memory image does not hold"
        yield Finding(process, slot, Kind.PAGE, digest, expected, "nothing" if digest in held else digest)
    most = definitions.limits(loads_message(witness.code.definition)).memory_pages
    beyond = next((page for page in image.held if page >= image.pages), None)
    if beyond is not None or image.pages > most:
        got = f"{image.pages} pages" if beyond is None else f"page {beyond} of {image.pages}"
        yield Finding(process, slot, Kind.MEMORY_IMAGE, None, f"at most {most} pages, and none beyond", got)


def _run(witness: Witness, machine: Machine, notes: dict[str, Note]) -> list[Finding]:
    """Run the transition, and return what comes out differently. Put a note about another engine into `notes`."""
    process, result = witness.code.process, witness.result
    try:
        live, computed = _again(witness, machine)
    except IntegrityError as error:
        return [finding_of(error)]
    except BeyondThisMachine:
        raise  # it says nothing about the witness
    except Refused as error:
        return [Finding(process, result.slot, Kind.REPLAY, None, "a module that runs", error.message)]
    differing = replays.compare(live, computed, (result.record, result.memory), notes)
    if differing is None and computed.record != result.record and not notes:
        # A key that no record has: `compare` knows none of it.
        expected, got = ids.digest(computed.record), ids.digest(result.record)
        differing = Finding(process, computed.slot, Kind.REPLAY, str(Kind.RECORD), expected, got)
    return [] if differing is None else [differing]


def _again(witness: Witness, machine: Machine) -> tuple[Worker, Computed]:
    """Compute the slot, from the memory of the slot before."""
    code, base = witness.code, witness.base
    definition = loads_message(code.definition)
    assignment = unpack(loads_message(witness.result.assignment))
    if base is None:
        return worker.begin(code.process, definition, assignment, machine)
    origin = witness.origin or code
    image = cache.parse_image(base.memory, origin.process, base.slot)
    machine.check_memory(image.pages)
    pages = {page: witness.pages[digest] for page, digest in image.held.items()}
    live = worker.resume(origin.process, loads_message(origin.definition), base.record, image, pages, machine)
    if witness.origin is None:
        return live, live.compute_next(assignment)
    return live.start_fork(code.process, definition, assignment, machine)


def _claim_findings(witness: Witness, raw: bytes) -> list[Finding]:
    """Return what is wrong with the attestation of a witness that is right."""
    process, slot, kind = witness.code.process, witness.result.slot, Kind.ATTESTATION
    packed, findings = read_message(raw, process, slot, kind)
    if packed is None or findings:
        return findings
    claim = unpack(packed)
    findings = commitment_findings(claim, process, slot, kind)
    if findings:
        return findings
    expected, got = claim_of(witness), without_commitments(claim)
    for key in sorted(expected.keys() | got.keys()):
        findings += differs(process, slot, kind, key, expected.get(key), got.get(key))
    return findings
