"""Witnesses: each field of what one claims is challenged by what it is, and who attests it has signed all of it."""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.files import archive, challenge, staging, witness
from hb.files import opening as files
from hb.history import fork
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.records.packing import pack, unpack
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb.files.archive import Record
    from hb.files.witness import At, Witness

# Two pages that are compared at every slot, and one that only counts.
MEMORY = """
(module
  (global $n (export "n") (mut i64) (i64.const 0))
  (memory (export "memory") 2)
  (func (export "Increment")
    (global.set $n (i64.add (i64.const 1) (global.get $n)))
    (i64.store offset=70000 (i32.const 0) (i64.const 7))
    (i64.store offset=100 (i32.const 0) (global.get $n))))
"""
# Twenty pages, which no record names.
LARGE = MEMORY.replace('(memory (export "memory") 2)', '(memory (export "memory") 20)')

ALICE, BOB = Key(bytes(32)), Key(bytes(31) + b"b")


def make(shell, process: str, slot: int | str) -> Witness:
    return witness.make(shell.node.context, process, slot)


def counted(shell, wat: str, **options) -> str:
    process = shell.spawn_text(wat, **options)
    for _ in range(3):
        shell.send(process, "Increment")
    shell.node.compute(process)
    return process


@pytest.fixture(scope="module")
def shell(shell_at, tmp_path_factory: pytest.TempPathFactory):
    return shell_at(tmp_path_factory.mktemp("witness") / "home")


@pytest.fixture(scope="module")
def process(shell) -> str:
    return counted(shell, MEMORY)


@pytest.fixture(scope="module")
def large(shell) -> str:
    return counted(shell, LARGE)


@pytest.fixture(scope="module")
def second(shell, process: str) -> Witness:
    return make(shell, process, 2)


def judge(made: Witness) -> challenge.Challenged:
    """What a machine without a home says of it."""
    return challenge.challenge(made, staging.bare_machine)


def test_every_slot_has_a_witness_that_a_machine_without_a_home_confirms(shell, process: str, large: str) -> None:
    before = shell.records()
    for pid in (process, large):
        for slot in range(4):
            found = judge(make(shell, pid, slot))
            assert found.findings == []
            assert (found.process, found.slot, found.attested_by) == (pid, slot, [])
    assert shell.records() == before


def test_a_witness_of_a_slot_that_is_not_computed_computes_it(shell_at, tmp_path: Path) -> None:
    shell = shell_at(tmp_path / "home")
    process = shell.spawn_text(MEMORY)
    shell.send(process, "Increment")
    assert judge(make(shell, process, "now")).findings == []


def test_a_message_that_failed_has_a_witness_too(shell_at, tmp_path: Path) -> None:
    shell = shell_at(tmp_path / "home")
    process = counted(shell, MEMORY)
    shell.send(process, "Nothing")
    assert judge(make(shell, process, 4)).findings == []


def test_a_witness_of_where_a_fork_begins_has_what_it_comes_from(shell_at, tmp_path: Path) -> None:
    shell = shell_at(tmp_path / "home")
    process = counted(shell, MEMORY)
    forked = fork.fork(shell.node.context, process, 2, signer=shell.key, environment=shell.environment).process
    shell.send(forked, "Increment")
    made = make(shell, forked, 3)
    witness.write(made, tmp_path / "w")
    assert witness.read(tmp_path / "w") == made
    assert judge(made).findings == []
    assert judge(make(shell, forked, 4)).findings == []
    assert make(shell, forked, 2) == make(shell, process, 2)
    alone = made._replace(origin=None)
    assert judge(alone).findings


def test_what_is_written_is_read_back(second: Witness, tmp_path: Path) -> None:
    attested = witness.attest(second, ALICE)
    for made in (second, attested):
        witness.write(made, tmp_path / "w")
        assert witness.read(tmp_path / "w") == made


def test_no_byte_of_a_witness_can_be_another(second: Witness, tmp_path: Path) -> None:
    witness.write(witness.attest(second, ALICE), tmp_path / "w")
    raw, path = (tmp_path / "w").read_bytes(), tmp_path / "altered"
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        try:
            found = challenge.challenge_file(path, staging.bare_machine)
        except Refused:
            continue
        assert found.findings
        assert found.attested_by == []


def test_a_byte_of_what_it_holds_cannot_be_another_though_the_digest_is_made_anew(
    shell, process: str, tmp_path: Path
) -> None:
    path, line = tmp_path / "w", b"hb witness 1\n"
    witness.write(make(shell, process, 2), path)
    content = zlib.decompress(path.read_bytes()[len(line) : -32])
    for place in range(0, len(content), 61):
        altered = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        raw = line + zlib.compress(altered, 1)
        path.write_bytes(raw + sha256(raw).digest())
        try:
            found = challenge.challenge_file(path, staging.bare_machine)
        except Refused:
            continue
        assert found.findings, place


def _record(made: At, **changes) -> At:
    return made._replace(record=dumps({**loads_message(made.record), **changes}))


def _assignment(made: At, **changes) -> At:
    return made._replace(assignment=dumps({**loads_message(made.assignment), **changes}))


def _results(made: At, **changes) -> At:
    return _record(made, results={**loads_message(made.record)["results"], **changes})


def _memory(made: At, **changes) -> At:
    return made._replace(memory=dumps({**loads_message(made.memory), **changes}))


def _resigned(made: At, key: Key, **changes) -> At:
    altered = {**unpack(loads_message(made.assignment)), **changes}
    del altered["commitments"]
    return made._replace(assignment=dumps(pack(sign(altered, key))))


_ID = "A" * 43
_PATH = f"{_ID}/{_ID}"

RESULT: dict[str, tuple[Callable[[At], At], str]] = {
    "assignment": (lambda at: _record(at, assignment=_ID), "slot record's assignment"),
    "changed": (lambda at: _record(at, changed=False), "replay: changed"),
    "engine": (lambda at: _record(at, engine=7), "the slot record lacks its engine"),
    "hashpath": (lambda at: _record(at, hashpath=_PATH), "slot record's hashpath"),
    "image": (lambda at: _record(at, image=_ID), "slot record's image"),
    "previous": (lambda at: _record(at, previous=_ID), "slot record's previous"),
    "results": (lambda at: _record(at, results={"type": "error"}), "replay: results"),
    "gas": (lambda at: _results(at, gas=1), "replay: results/gas"),
    "slot": (lambda at: _record(at, slot=3), "slot record's slot"),
    "state": (lambda at: _record(at, state={"n": 9}), "replay: state/n"),
    "another key": (lambda at: _record(at, more=1), "slot record"),
    "a key less": (
        lambda at: at._replace(record=dumps({k: v for k, v in loads_message(at.record).items() if k != "results"})),
        "the slot record lacks its results",
    ),
    "spaces": (lambda at: at._replace(record=at.record + b" "), "slot record"),
    "memory": (lambda at: _memory(at, pages=3), "slot record's image"),
    "no memory": (lambda at: at._replace(memory=b"{}"), "the memory image lacks"),
    "a page beyond numbers": (lambda at: _memory(at, held={"9" * 5000: _ID}), "the memory image lacks"),
    "message": (lambda at: _assignment(at, slot=3), "assignment's commitments"),
    "signer": (lambda at: _resigned(at, BOB), "assignment's signer"),
    "no JSON": (lambda at: at._replace(assignment=b"{"), "assignment"),
}


@pytest.mark.parametrize(("alter", "says"), RESULT.values(), ids=RESULT)
def test_one_field_of_what_came_of_it_that_is_not_true_is_found(
    second: Witness, alter: Callable[[At], At], says: str
) -> None:
    found = judge(second._replace(result=alter(second.result)))
    assert says in " / ".join(finding.what for finding in found.findings)


BASE = {
    "assignment": (lambda at: _record(at, assignment=_ID), "slot record's assignment"),
    "changed": (lambda at: _record(at, changed=False), "slot record's previous"),
    "engine": (lambda at: _record(at, engine="other"), "slot record's previous"),
    "hashpath": (lambda at: _record(at, hashpath=_PATH), "slot record's hashpath"),
    "previous": (lambda at: _record(at, previous=_ID), "slot record's previous"),
    "results": (lambda at: _record(at, results={"type": "ok"}), "slot record's previous"),
    "state": (lambda at: _record(at, state={"n": 9}), "slot record's previous"),
    "a private key": (lambda at: _record(at, state={"n": 1, "process": 1}), "slot record"),
    "globals": (lambda at: _memory(at, globals=[["i64", 2]]), "slot record's image"),
    "pages": (lambda at: _memory(at, pages=3), "slot record's image"),
    "held": (lambda at: _memory(at, held={}), "slot record's image"),
    "message": (lambda at: _assignment(at, slot=0), "assignment's commitments"),
    "signer": (lambda at: _resigned(at, BOB), "assignment's signer"),
}


@pytest.mark.parametrize(("alter", "says"), BASE.values(), ids=BASE)
def test_one_field_of_the_state_before_that_is_not_true_is_found(second: Witness, alter, says: str) -> None:
    found = judge(second._replace(base=alter(second.base)))
    assert says in " / ".join(finding.what for finding in found.findings)


def test_a_schedule_that_does_not_follow_is_found_though_the_scheduler_signed_it(second: Witness, shell) -> None:
    for changes, says in (
        ({"hash-chain": _ID}, "assignment's hash-chain"),
        ({"timestamp": 1}, "assignment's timestamp"),
    ):
        result = _resigned(second.result, shell.key, **changes)
        assignment = unpack(loads_message(result.assignment))
        hashpath = hashpaths.step(loads_message(second.base.record)["hashpath"], assignment)
        found = judge(second._replace(result=_record(result, assignment=message_id(assignment), hashpath=hashpath)))
        assert [finding.what for finding in found.findings] == [says]


def test_a_page_or_a_module_that_is_not_the_one_is_found(second: Witness, shell, process: str) -> None:
    page = bytes(65535) + b"x"
    digest = next(iter(second.pages))
    for pages in ({}, {**second.pages, ids.digest(page): page}):
        assert judge(second._replace(pages=pages)).findings[0].what == "memory page"
    other = second.code._replace(wasm=second.code.wasm + b"\0")
    assert judge(second._replace(code=other)).findings[0].what == "image"
    other = second.code._replace(process=_ID)
    assert judge(second._replace(code=other)).findings[0].what == "definition's ID"
    assert digest in second.pages


def test_a_large_memory_that_no_record_names_is_found_out_by_what_comes_of_it(shell, large: str) -> None:
    made = make(shell, large, 2)
    assert made.base is not None
    page = bytes(65535) + b"x"
    held = {**loads_message(made.base.memory)["held"], "5": ids.digest(page)}
    pages = {**made.pages, ids.digest(page): page}
    found = judge(made._replace(base=_memory(made.base, held=held), pages=pages))
    assert [finding.what for finding in found.findings] == ["replay: memory image, page 5"]
    found = judge(made._replace(result=_memory(made.result, globals=[["i64", 9]])))
    assert [finding.what for finding in found.findings] == ["replay: memory image, global 0"]


def test_a_memory_that_the_definition_does_not_allow_is_not_made(shell, large: str) -> None:
    made = make(shell, large, 2)
    assert made.base is not None
    found = judge(made._replace(base=_memory(made.base, pages=2**40)))
    assert [finding.what for finding in found.findings] == ["memory image"]


def test_who_attests_it_is_told_each_once_and_only_where_all_is_right(second: Witness, process: str) -> None:
    once = witness.attest(second, ALICE)
    both = witness.attest(once, BOB)
    assert judge(once).attested_by == [ALICE.address]
    assert judge(both).attested_by == sorted([ALICE.address, BOB.address])
    assert witness.attest(both, BOB) == both
    claim = unpack(loads_message(both.claim))
    assert claim["process"] == process
    assert claim["result"] == ids.digest(second.result.record)
    assert claim["base-memory"] == ids.digest(second.base.memory)
    wrong = judge(both._replace(result=_results(second.result, gas=1)))
    assert wrong.findings
    assert wrong.attested_by == []


def test_each_field_of_an_attestation_is_held_to_the_witness(second: Witness) -> None:
    claim = unpack(loads_message(witness.attest(second, ALICE).claim))
    del claim["commitments"]
    for key, value in claim.items():
        other = {**claim, key: "x" if isinstance(value, str) else 1}
        found = judge(second._replace(claim=dumps(pack(sign(other, ALICE)))))
        assert [finding.what for finding in found.findings] == [f"attestation's {key}"]
        assert found.attested_by == []
    found = judge(second._replace(claim=dumps(pack(sign({**claim, "more": "x"}, ALICE)))))
    assert [finding.what for finding in found.findings] == ["attestation's more"]
    signed = loads_message(witness.attest(second, ALICE).claim)
    assert judge(second._replace(claim=dumps({**signed, "slot": 1}))).findings[0].what == "attestation's commitments"
    assert judge(second._replace(claim=dumps(claim))).findings[0].what == "attestation's signer"


def records_of(path: Path) -> list[Record]:
    with files.reading(path) as opened:
        return list(opened.records())


def test_records_that_are_not_there_or_too_many_are_no_witness(second: Witness, tmp_path: Path) -> None:
    path = tmp_path / "w"
    witness.write(witness.attest(second, ALICE), path)
    whole = records_of(path)
    for place, left_out in enumerate(whole):
        if left_out.kind == archive.CLAIM:
            continue
        with files.writing(path, archive.WITNESS) as writer:
            for record in whole[:place] + whole[place + 1 :]:
                writer.put(*record)
        assert challenge.challenge_file(path, staging.bare_machine).findings
        with files.writing(path, archive.WITNESS) as writer:
            for record in [*whole[:place], left_out, *whole[place:]]:
                writer.put(*record)
        with pytest.raises(IntegrityError):
            witness.read(path)


def test_a_slot_that_comes_out_otherwise_than_it_is_stored_has_no_witness(shell_at, tmp_path: Path) -> None:
    shell = shell_at(tmp_path / "home")
    process = counted(shell, MEMORY)
    key = keys.slot_record_key(process, 3)
    with shell.home.storage.session() as store:
        record = loads_message(store.get(key))
        store.commit(Batch(puts={key: dumps({**record, "state": {"n": 9}})}))
    with pytest.raises(IntegrityError, match="differs from its record"):
        make(shell, process, 3)
    assert message_id(loads_message(make(shell, process, 2).code.definition)) == process
