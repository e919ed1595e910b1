"""Files prove what was delivered: a home without the sender checks a message by the proof, and refuses a false one."""

from __future__ import annotations

import random
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

import hb
from hb import ids
from hb.errors import HbError, IntegrityError, Refused
from hb.files import archive, challenge, proving, staging
from hb.files import witness as witnesses
from hb.protocol import delivery
from hb.protocol.commitment import sign
from hb.protocol.delivery import MESSAGE, SPAWN, SPAWNED, Place
from hb.protocol.message import dumps, loads_message
from hb.records import keys, proofs
from hb.records.packing import pack, unpack
from hb.storage.store import Batch
from hb.verify.evidence import Kind
from talking import NOBODY, TALKER, System, altered, assigning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb.files.archive import Record
    from hb.library import Home
    from hb.verify.evidence import Finding

SYSTEM = System().talk()
ONE, TWO, CHILD = SYSTEM.one, SYSTEM.two, SYSTEM.child
KEY = SYSTEM.home.signer("default")
LAST = SYSTEM.home.process("two").slots - 1
SLOTS = (1, 6)
"""The slots of `one` that sent to `two`."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The histories of the processes of the system, each written where all are."""
    directory = tmp_path_factory.mktemp("proofs")
    for process in (ONE, TWO, CHILD):
        SYSTEM.home.process(process).export(directory / process)
    return {process: directory / process for process in (ONE, TWO, CHILD)}


def read(path: Path) -> list[Record]:
    return list(archive.Archive(BytesIO(path.read_bytes())).records())


def written(records: list[Record], form: str = archive.HISTORY, version: int = 2) -> bytes:
    stream = BytesIO()
    writer = archive.Writer(stream, form, version)
    for each in records:
        writer.put(*each)
    writer.close()
    return stream.getvalue()


def stored(home: Home) -> dict[bytes, bytes]:
    with home.context.session() as store:
        return dict(store.scan(*keys.EVERYTHING))


def proofs_in(home: Home) -> dict[bytes, bytes]:
    return {key: raw for key, raw in stored(home).items() if key[:2] == b"e/"}


def commit(home: Home, **batch: Any) -> None:
    with home.context.session() as store:
        store.commit(Batch(**batch))


def findings(home: Home, *, replay: bool = False) -> list[Finding]:
    return list(home.verify(replay=replay))


# -- right ones


def test_a_history_has_a_proof_for_each_slot_that_sent_something(files: dict[str, Path]) -> None:
    records = read(files[TWO])
    kinds = [each.kind for each in records if each.kind in archive.PROOF_KINDS]
    assert kinds == [b"F", b"G", b"R", b"G", b"R"]
    places = [(each.key[:43].decode(), keys.decode_slot(each.key[43:])) for each in records if each.kind == b"G"]
    assert places == [(ONE, slot) for slot in SLOTS]
    # Each proof is just before the assignment of the first message that came from its slot.
    after = [records[n + 1].key for n, each in enumerate(records) if each.kind == b"R"]
    assert [keys.decode_slot(key) for key in after] == [1, 4]
    for path in files.values():
        assert hb.verify_file(path, replay=True).findings == []


def test_a_history_that_proves_nothing_has_version_1_and_the_bytes_that_it_always_had(
    files: dict[str, Path], tmp_path: Path
) -> None:
    assert files[ONE].read_bytes().startswith(b"hb history 1\n")  # it heard from itself alone
    assert files[TWO].read_bytes().startswith(b"hb history 2\n")
    home = hb.frozen()
    home.spawn("samples/counter.wasm", name="counter").send("Increment").result()
    home.process("counter").export(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == written(read(tmp_path / "c"), version=1)


def test_another_home_takes_the_proofs_in_and_verifies_by_them(files: dict[str, Path]) -> None:
    home = hb.memory()
    for process in (TWO, CHILD):
        home.import_history(files[process])
        assert findings(home) == []
        assert findings(home, replay=True) == []
    assert proofs_in(home).keys() == {
        keys.sender_key(ONE),
        *(keys.proof_key(ONE, slot) for slot in (*SLOTS, 3)),
    }
    before = stored(home)
    home.import_history(files[TWO])
    assert stored(home) == before


def test_a_home_that_has_proofs_alone_passes_them_on(files: dict[str, Path], tmp_path: Path) -> None:
    home = hb.memory()
    for process in (TWO, CHILD):
        home.import_history(files[process]).export(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == files[process].read_bytes()


def test_proofs_are_not_stored_where_the_sender_is_and_not_used_once_it_came(files: dict[str, Path]) -> None:
    home = hb.memory()
    home.import_history(files[ONE])
    home.import_history(files[TWO])
    assert proofs_in(home) == {}
    other = hb.memory()
    other.import_history(files[TWO])
    commit(other, puts={keys.proof_key(ONE, 1): b"torn"})
    assert [finding.kind for finding in findings(other)] == [Kind.PROOF]
    other.import_history(files[ONE])
    assert findings(other, replay=True) == []


def test_proofs_are_added_to_a_process_that_came_without_them(files: dict[str, Path], tmp_path: Path) -> None:
    home = hb.memory()
    bare = written([each for each in read(files[TWO]) if each.kind not in archive.PROOF_KINDS], version=1)
    (tmp_path / "bare").write_bytes(bare)
    assert hb.verify_file(tmp_path / "bare", replay=True).findings == []
    home.import_history(tmp_path / "bare")
    home.process(TWO).export(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == bare
    home.import_history(files[TWO])
    assert len(proofs_in(home)) == 3
    # A stored proof that is damaged is replaced by one that is right; one that is right stays.
    intact = stored(home)
    commit(home, deletes={keys.sender_key(ONE)})
    home.import_history(files[TWO])
    assert stored(home) == intact


def test_a_message_of_a_slot_that_is_not_computed_here_has_a_proof_too(files: dict[str, Path]) -> None:
    home = hb.memory()
    home.import_history(files[ONE])
    commit(
        home,
        deletes={
            key
            for key in stored(home)
            if key[:2] in (b"s/", b"v/") and keys.owner_of(key) == ONE and keys.slot_of(key) > 3
        },
    )
    home.import_history(files[TWO])
    assert proofs_in(home).keys() == {keys.sender_key(ONE), keys.proof_key(ONE, 6)}
    assert findings(home) == []


def test_what_an_assigned_message_has_sent_is_right_though_nobody_else_knows_its_root(tmp_path: Path) -> None:
    system = System()
    one, two, three = (system.home.spawn(TALKER, name=name) for name in ("one", "two", "three"))
    note = two.send("Note", data=f"{{'Messages':[{{'Target':'{three.id}'}}]}}")
    sent = two.send("Assign", data=assigning(note.message, one.id), push=True)
    roots = {str(system.message(three.id, slot)["pushed-for"]) for slot in (1, 2)}
    assert roots == {note.message, sent.message}
    assert findings(system.home, replay=True) == []
    three.export(tmp_path / "three")
    one.export(tmp_path / "one")
    for names in (("three",), ("one", "three"), ("three", "one")):
        home = hb.memory()
        for name in names:
            home.import_history(tmp_path / name)
        assert findings(home, replay=True) == []
    # Here it is known, and a lie about it is found.
    slot = next(slot for slot in (1, 2) if system.message(three.id, slot)["from-process"] == one.id)
    assert slot == 2
    system.reassign(three.id, altered(system.message(three.id, slot), pushed_for=note.message))
    [finding] = findings(system.home)
    assert (finding.process, finding.slot, finding.part) == (three.id, 2, "pushed-for")


def test_a_fork_that_hears_and_a_fork_that_sends_are_proved(tmp_path: Path) -> None:
    system = SYSTEM.same()
    one, two = system.home.process("one"), system.home.process("two")
    sender, hearer = one.fork(4, anchor="s", name="sender"), two.fork(5, anchor="h", name="hearer")
    sender.send("Go", data=f"{{'Messages':[{{'Target':'{hearer.id}'}}]}}", push=True)
    hearer.export(tmp_path / "f")
    proved = {each.key[:43] for each in read(tmp_path / "f") if each.kind == b"F"}
    assert proved == {one.id.encode(), sender.id.encode()}
    assert hb.verify_file(tmp_path / "f", replay=True).findings == []
    home = hb.memory()
    home.import_history(tmp_path / "f")
    assert findings(home, replay=True) == []
    assert len(proofs_in(home)) == 2 + len([1, 6, 6])


def test_a_proof_that_was_forgotten_is_written_again_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "KNOWN_SLOTS", 0)
    monkeypatch.setattr(proving, "KNOWN_SENDERS", 0)
    SYSTEM.home.process("two").export(tmp_path / "f")
    assert [each.kind for each in read(tmp_path / "f")].count(b"F") == 4
    assert hb.verify_file(tmp_path / "f").findings == []
    home = hb.memory()
    home.import_history(tmp_path / "f")
    assert len(proofs_in(home)) == 3


# -- false ones


def place_of(records: list[Record], kind: bytes, number: int = 0) -> int:
    return [n for n, each in enumerate(records) if each.kind == kind][number]


def changed(records: list[Record], kind: bytes, change: Callable[[Any], Any], number: int = 0) -> list[Record]:
    """The records with the message in one of them changed."""
    place = place_of(records, kind, number)
    each = records[place]
    return [*records[:place], each._replace(value=dumps(change(loads_message(each.value)))), *records[place + 1 :]]


def resigned(signer: str = "default", **fields: Any) -> Callable[[Any], Any]:
    """Changes an assignment, or a definition, and signs it anew."""

    def change(message: Any) -> Any:
        return pack(sign(altered(unpack(message), **fields), SYSTEM.home.signer(signer)))

    return change


def asking(**fields: Any) -> Callable[[Any], Any]:
    """Changes the first message that a slot record asks for."""

    def change(record: Any) -> Any:
        first = record["results"]["outbox"]["1"]
        outbox = {**record["results"]["outbox"], "1": {**first, **fields}}
        return {**record, "results": {**record["results"], "outbox": outbox}}

    return change


Change = "Callable[[list[Record]], list[Record]]"

# What a file may claim, and the findings: of which slot of `two`, and what.
FALSE: dict[str, tuple[Any, int, str]] = {
    "asks-for-another-action": (lambda r: changed(r, b"R", asking(action="A9")), 1, "delivered message's action"),
    "asks-for-nothing": (
        lambda r: changed(r, b"R", lambda record: {**record, "results": {"type": "ok"}}), 1, "delivered message",
    ),
    "failed": (
        lambda r: changed(r, b"R", lambda record: {**record, "results": {**record["results"], "type": "error"}}),
        1, "delivered message",
    ),
    "asks-for-another-target": (lambda r: changed(r, b"R", asking(target=NOBODY)), 1, "delivered message's target"),
    "record-of-another-assignment": (
        lambda r: changed(r, b"R", lambda record: {**record, "assignment": NOBODY}),
        1, "proof of a delivered message's slot record's assignment",
    ),
    "record-of-another-slot": (
        lambda r: changed(r, b"R", lambda record: {**record, "slot": 2}),
        1, "proof of a delivered message's slot record's slot",
    ),
    "record-with-an-odd-key": (
        lambda r: changed(r, b"R", lambda record: {**record, "odd": 2}), 1, "proof of a delivered message's slot record",
    ),
    "record-that-is-none": (
        lambda r: changed(r, b"R", lambda record: {"results": record["results"]}),
        1, "proof of a delivered message's the slot record lacks its assignment",
    ),
    "assignment-signed-by-another": (
        lambda r: changed(r, b"G", resigned("other")), 1, "proof of a delivered message's assignment's signer",
    ),
    "assignment-altered": (
        lambda r: changed(r, b"G", lambda assignment: {**assignment, "timestamp": 1}),
        1, "proof of a delivered message's assignment's commitments",
    ),
    "assignment-of-another-slot": (
        lambda r: changed(r, b"G", resigned(slot=2)), 1, "proof of a delivered message's assignment's slot",
    ),
    "assignment-of-another-process": (
        lambda r: changed(r, b"G", resigned(process=TWO)), 1, "proof of a delivered message's assignment's process",
    ),
    "assignment-with-an-odd-timestamp": (
        lambda r: changed(r, b"G", resigned(timestamp="now")), 1, "proof of a delivered message's assignment's timestamp",
    ),
    "another-assignment-of-the-scheduler": (
        lambda r: changed(r, b"G", resigned(timestamp=1)), 1, "proof of a delivered message's slot record's assignment",
    ),
    "definition-altered": (
        lambda r: changed(r, b"F", lambda definition: {**definition, "odd": 1}),
        1, "proof of a delivered message's definition's commitments",
    ),
    "another-definition": (
        lambda r: changed(r, b"F", lambda definition: sign(altered(definition, odd=1), KEY)), 1, "proof of a delivered message's definition's ID",
    ),
    "definition-in-another-form": (
        lambda r: [each._replace(value=b" " + each.value) if each.kind == b"F" else each for each in r],
        1, "proof of a delivered message's definition",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_a_false_proof_is_found_and_refused(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    change, slot, what = FALSE[name]
    path = tmp_path / "false"
    path.write_bytes(written(change(read(files[TWO]))))
    found = hb.verify_file(path).findings
    assert (found[0].process, found[0].slot, found[0].what) == (TWO, slot, what)
    assert all(None not in (each.expected, each.got) and each.expected != each.got for each in found)
    # Messages of the same sender, or of the same slot, share the flaw; others do not.
    assert all(each.what == what for each in found)
    home = hb.memory()
    before = stored(home)
    with pytest.raises(IntegrityError, match="nothing was stored: "):
        home.import_history(path, replay=False)
    assert stored(home) == before


def without(records: list[Record], kind: bytes, number: int = 0) -> list[Record]:
    place = place_of(records, kind, number)
    return records[:place] + records[place + 1 :]


def moved(records: list[Record], kinds: bytes, to: int) -> list[Record]:
    """The records with the first proof somewhere else."""
    taken = [
        each
        for each in records[: place_of(records, b"R") + 1]
        if each.kind in kinds.decode().split() or each.kind in {bytes([k]) for k in kinds}
    ]
    left = [each for each in records if each not in taken]
    return [*left[:to], *taken, *left[to:]]


# Files whose records are out of place: they are refused with a sentence.
MISPLACED: dict[str, tuple[Any, str]] = {
    "without-the-definition": (lambda r: without(r, b"F"), "without the definition of the sender"),
    "without-the-assignment": (lambda r: without(r, b"G"), "a part of a proof there that is out of place"),
    "without-the-record": (lambda r: without(r, b"R"), "a proof that is not whole"),
    "definition-alone": (lambda r: without(without(r, b"G"), b"R"), "a proof that is not whole"),
    "of-another-slot": (
        lambda r: [each._replace(key=each.key[:43] + keys.encode_slot(2)) if each.kind in b"GR" else each for each in r],
        "a proof of another slot than the one that the message comes from",
    ),
    "parts-of-two-slots": (
        lambda r: [each._replace(key=each.key[:43] + keys.encode_slot(2)) if each.kind == b"R" else each for each in r],
        "parts of different proofs",
    ),
    "parts-of-two-senders": (
        lambda r: [each._replace(key=NOBODY.encode()) if each.kind == b"F" else each for each in r],
        "parts of different proofs",
    ),
    "an-odd-key": (
        lambda r: [each._replace(key=each.key[:-1]) if each.kind in b"GR" else each for each in r],
        "a key that is no slot of a process",
    ),
    "of-no-message": (lambda r: [*r, *r[place_of(r, b"F") : place_of(r, b"R") + 1]], "a proof that is of no message"),
    "before-the-definition": (lambda r: moved(r, b"FGR", 0), "a record that no history has there"),
    "before-slot-0": (lambda r: moved(r, b"FGR", 2), "a proof of another slot"),
    "within-a-slot": (lambda r: moved(r, b"FGR", 3), "a proof that is of no message"),
    "of-its-own": (
        lambda r: [
            each._replace(key=TWO.encode() + each.key[43:]) if each.kind in archive.PROOF_KINDS else each for each in r
        ],
        "a proof of another slot",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISPLACED)
def test_a_proof_out_of_place_is_refused(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    change, says = MISPLACED[name]
    path, home = tmp_path / "misplaced", hb.memory()
    path.write_bytes(written(change(read(files[TWO]))))
    [finding] = hb.verify_file(path).findings
    assert (finding.kind, says in finding.what) == (Kind.DAMAGE, True), finding
    before = stored(home)
    with pytest.raises(IntegrityError, match=says):
        home.import_history(path)
    assert stored(home) == before


def test_a_file_of_version_1_has_no_proofs(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(written(read(files[TWO]), version=1))
    [finding] = hb.verify_file(tmp_path / "one").findings
    assert "a record of a kind that there is not" in finding.what


def test_a_proof_of_what_the_file_has_itself_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    records = read(files[ONE])
    with SYSTEM.home.context.session() as store:
        proof = proofs.of_sender(store, ONE, 1)
    assert proof is not None
    key = ONE.encode() + keys.encode_slot(1)
    parts = [
        archive.Record(b"F", ONE.encode(), proof.definition),
        archive.Record(b"G", key, proof.assignment),
        archive.Record(b"R", key, proof.record),
    ]
    at = place_of(records, b"A", SYSTEM.slot_from(ONE, Place(ONE, 1, MESSAGE, 4)))
    (tmp_path / "f").write_bytes(written([*records[:at], *parts, *records[at:]]))
    [finding] = hb.verify_file(tmp_path / "f").findings
    assert "a proof of a slot that it has itself" in finding.what


def test_a_message_that_was_made_up_is_found_in_the_file_of_its_process(tmp_path: Path) -> None:
    system = SYSTEM.same()
    system.forge(TWO, altered(system.message(TWO, LAST), anchor=delivery.anchor(6, MESSAGE, 7)))
    system.home.process("two").result()
    system.home.process("two").export(tmp_path / "f")
    [finding] = hb.verify_file(tmp_path / "f", replay=True).findings
    assert (finding.process, finding.slot, finding.kind) == (TWO, LAST + 1, Kind.DELIVERY)
    with pytest.raises(IntegrityError, match="nothing was stored: delivered message"):
        hb.memory().import_history(tmp_path / "f")


def test_a_message_that_nobody_trusted_signed_is_found_in_a_file_without_proofs(tmp_path: Path) -> None:
    system = SYSTEM.same()
    system.forge(ONE, {"action": "X", "anchor": "x", "target": ONE, "pushed-for": NOBODY}, "stranger")
    system.home.process("one").export(tmp_path / "f")
    [finding] = hb.verify_file(tmp_path / "f").findings
    assert (finding.slot, finding.what) == (7, "delivered message's signer")


def test_a_sender_that_is_here_with_another_slot_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    home = hb.memory()
    home.import_history(files[ONE])
    before = stored(home)
    again = changed(read(files[TWO]), b"G", resigned(timestamp=1))
    name = loads_message(again[place_of(again, b"G")].value)["commitments"]
    signed = next(key for key, entry in name.items() if "committer" in entry)  # type: ignore[union-attr, operator]
    again = changed(again, b"R", lambda record: {**record, "assignment": signed})
    (tmp_path / "f").write_bytes(written(again))
    assert hb.verify_file(tmp_path / "f").findings == []
    with pytest.raises(Refused, match=rf"process {ONE}, which sent a message .* its slot 1 is another one"):
        home.import_history(tmp_path / "f")
    assert stored(home) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda home: commit(home, puts={keys.proof_key(ONE, 1): b""}),
        lambda home: commit(home, puts={keys.proof_key(ONE, 1): b"\xff" * 9}),
        lambda home: commit(home, puts={keys.proof_key(ONE, 1): stored(home)[keys.proof_key(ONE, 6)]}),
        lambda home: commit(home, puts={keys.proof_key(ONE, 1): stored(home)[keys.proof_key(ONE, 1)][:-1]}),
        lambda home: commit(home, puts={keys.sender_key(ONE): b"{}"}),
        lambda home: commit(home, deletes={keys.sender_key(ONE)}),
    ],
)
def test_a_stored_proof_that_is_damaged_is_found(files: dict[str, Path], damage: Any) -> None:
    home = hb.memory()
    home.import_history(files[TWO])
    intact = stored(home)
    damage(home)
    found = findings(home)
    assert {(each.process, each.kind) for each in found} == {(TWO, Kind.PROOF)}
    assert 1 in {each.slot for each in found}
    assert all(None not in (each.expected, each.got) and each.expected != each.got for each in found)
    with pytest.raises(Refused, match="nothing was mended: the proof of a delivered message"):
        home.process(TWO).repair()
    home.import_history(files[TWO])
    assert stored(home) == intact


def test_no_bit_of_a_stored_proof_can_be_another(files: dict[str, Path]) -> None:
    home = hb.memory()
    home.import_history(files[TWO])
    for key in (keys.sender_key(ONE), keys.proof_key(ONE, 6)):
        raw = stored(home)[key]
        for place in range(0, len(raw), 97):
            commit(home, puts={key: raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]})
            is_about_state = not findings(home)  # what else a record says is nobody's signature
            assert not is_about_state or place > raw.index(b'"changed"')
        commit(home, puts={key: raw})
    assert findings(home) == []


# -- witnesses


def made(process: str, slot: int) -> witnesses.Witness:
    return witnesses.make(SYSTEM.home.context, process, slot)


TOLD = SYSTEM.slot_from(ONE, Place(ONE, 3, SPAWNED, 1))


@pytest.mark.parametrize(
    ("process", "slot", "of"), [(TWO, 1, 1), (TWO, LAST, 6), (ONE, 2, 1), (ONE, TOLD, 3), (CHILD, 0, 3)]
)
def test_a_witness_proves_the_message_that_it_is_about(tmp_path: Path, process: str, slot: int, of: int) -> None:
    found = made(process, slot)
    assert found.proof is not None
    assert (found.proof.process, found.proof.slot) == (ONE, of)
    witnesses.write(found, tmp_path / "w")
    assert (tmp_path / "w").read_bytes().startswith(b"hb witness 2\n")
    assert witnesses.read(tmp_path / "w") == found
    judged = hb.verify_file(tmp_path / "w")
    assert (judged.findings, judged.process, judged.slot) == ([], process, slot)
    attested = witnesses.attest(found, KEY)
    witnesses.write(attested, tmp_path / "w")
    assert hb.verify_file(tmp_path / "w").attested_by == (KEY.address,)


def test_a_witness_of_a_message_that_nobody_delivered_has_version_1(tmp_path: Path) -> None:
    witnesses.write(made(ONE, 1), tmp_path / "w")
    assert (tmp_path / "w").read_bytes().startswith(b"hb witness 1\n")


@pytest.mark.parametrize("name", [*FALSE, "without-the-definition", "of-another-slot", "an-odd-key"])
def test_a_witness_with_a_false_proof_is_found_out(tmp_path: Path, name: str) -> None:
    witnesses.write(made(TWO, 1), tmp_path / "w")
    change = FALSE[name][0] if name in FALSE else MISPLACED[name][0]
    (tmp_path / "w").write_bytes(written(change(read(tmp_path / "w")), archive.WITNESS))
    found = challenge.challenge_file(tmp_path / "w", staging.bare_machine).findings
    assert found
    if name in FALSE:
        assert (found[0].process, found[0].slot, found[0].what) == (TWO, 1, FALSE[name][2])
    else:
        assert MISPLACED[name][1] in found[0].what


def test_a_witness_has_no_proof_of_the_slot_before(tmp_path: Path) -> None:
    witnesses.write(made(TWO, 2), tmp_path / "w")
    records = read(tmp_path / "w")
    with SYSTEM.home.context.session() as store:
        proof = proofs.of_sender(store, ONE, 1)
    assert proof is not None
    stream = BytesIO()
    proving.ProofWriter(writer := archive.Writer(stream, archive.WITNESS, 2)).put(proof)
    writer.close()
    parts = list(archive.Archive(BytesIO(stream.getvalue())).records())
    at = place_of(records, b"A")
    (tmp_path / "w").write_bytes(written([*records[:at], *parts, *records[at:]], archive.WITNESS))
    [finding] = hb.verify_file(tmp_path / "w").findings
    assert "a proof of a message that it is not about" in finding.what


# -- strangers


ODD: list[Any] = [
    None,
    True,
    -1,
    2**64,
    10**5000,
    1.5,
    "",
    "x",
    "0" * 43,
    "9" * 5000,
    b"\xff",
    [],
    {},
    {"1": {}},
    {"9" * 5000: {}},
]


def test_odd_values_in_proofs_are_findings_or_refused_and_never_a_crash(files: dict[str, Path], tmp_path: Path) -> None:
    chance, path, records = random.Random("odd"), tmp_path / "odd", read(files[CHILD])
    kept = {"found": 0, "clean": 0, "refused": 0}
    for _ in range(60):
        base = read(files[TWO]) if chance.random() < 0.5 else records
        place = chance.choice([n for n, each in enumerate(base) if each.kind in archive.PROOF_KINDS])
        message = loads_message(base[place].value)
        part: Any = message
        while True:
            key = chance.choice(list(part) if isinstance(part, dict) else list(range(len(part))))
            if not isinstance(part[key], (dict, list)) or not part[key] or chance.random() < 0.3:
                break
            part = part[key]
        part[key] = chance.choice(ODD)
        if chance.random() < 0.7 and base[place].kind != b"R":
            try:
                message = pack(sign(altered(unpack(message)), KEY))
            except HbError:
                continue
        path.write_bytes(written([*base[:place], base[place]._replace(value=dumps(message)), *base[place + 1 :]]))
        try:
            kept["found" if hb.verify_file(path).findings else "clean"] += 1
        except HbError:
            kept["refused"] += 1
    assert kept["found"] > 20


def test_the_id_of_a_sender_is_that_of_its_definition(files: dict[str, Path]) -> None:
    [definition] = [each for each in read(files[CHILD]) if each.kind == b"F"]
    assert ids.is_id(definition.key.decode())
    assert delivery.origin(SYSTEM.message(CHILD, 0)) == Place(definition.key.decode(), 3, SPAWN, 1)
