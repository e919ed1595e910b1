"""docs/format.md, taken at its word: records made by hand from it are what the program reads and writes.

Nothing of hb's own encoders is used here: only json, hashlib, base64 and zlib.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

import pytest

import hb
from hb.errors import IntegrityError
from hb.storage.store import Batch
from talking import TALKER, System

WAT = """
(module
  (memory 2)
  (global $hidden (mut i64) (i64.const -2))
  (global (export "total") (mut i32) (i32.const 0))
  (func (export "Put") (param i32)
    (i32.store8 (i32.const 65541) (local.get 0)) (global.set 1 (local.get 0))))
"""


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(raw: bytes) -> str:
    return encoded(hashlib.sha256(raw).digest())


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def slot_key(kind: bytes, process: str, slot: int) -> bytes:
    return kind + b"/" + process.encode() + b"/" + slot.to_bytes(8, "big")


def every_id(message: dict) -> str:
    return digest(", ".join(sorted(message["commitments"])).encode())


def all_id(message: dict) -> str:
    (signed,) = [name for name, commitment in message["commitments"].items() if "committer" in commitment]
    return signed


@pytest.fixture
def process(shell) -> str:
    process = shell.spawn_text(WAT, name="by-hand")
    shell.send(process, "Put", 7)
    shell.send(process, "Nothing")
    return process


def hand_made_records(store: dict[bytes, bytes], process: str) -> dict[bytes, bytes]:
    """The computed records of slots 0 to 2, from the definition and the assignments alone."""
    definition = json.loads(store[b"p/" + process.encode()])
    assignments = [json.loads(store[slot_key(b"a", process, slot)]) for slot in range(3)]
    page = bytearray(65536)
    page[5] = 7
    page_digest = digest(bytes(page))
    minus_two = 2**64 - 2
    images = [
        canonical({"globals": [["i64", minus_two], ["i32", 0]], "held": {}, "pages": 2}),
        canonical({"globals": [["i64", minus_two], ["i32", 7]], "held": {"1": page_digest}, "pages": 2}),
    ]
    images.append(images[1])
    failure = {
        "error": "no function 'Nothing' is exported; there are: Put",
        "gas": 0,
        "kind": "unknown-function",
        "type": "error",
    }
    first = every_id(definition) + "/" + every_id(assignments[0])
    hashpaths = [first]
    for assignment in assignments[1:]:
        before, last = hashpaths[-1].split("/")
        hashpaths.append(digest(decoded(before) + decoded(last)) + "/" + every_id(assignment))
    made = {b"g/" + page_digest.encode(): zlib.compress(bytes(page), 1)}
    previous = ""
    gas = json.loads(store[slot_key(b"s", process, 1)])["results"]["gas"]
    for slot, (changed, results, total) in enumerate(
        [(True, {}, 0), (True, {"gas": gas, "output": [], "type": "ok"}, 7), (False, failure, 7)]
    ):
        record = canonical(
            {
                "assignment": all_id(assignments[slot]),
                "changed": changed,
                "engine": "wasmtime-50",
                "hashpath": hashpaths[slot],
                "image": digest(images[slot]),
                "previous": previous,
                "results": results,
                "slot": slot,
                "state": {"total": total},
            }
        )
        made[slot_key(b"s", process, slot)] = record
        made[slot_key(b"v", process, slot)] = images[slot]
        previous = digest(record)
    return made


def test_records_made_by_hand_are_what_the_program_writes(shell, process) -> None:
    shell.node.compute(process)
    stored = shell.records()
    made = hand_made_records(stored, process)
    assert {key: stored[key] for key in made} == made
    assert {key for key in stored if key[:2] in {b"s/", b"v/", b"g/"}} == made.keys()


def test_records_made_by_hand_are_read_and_gone_on_from(shell, process) -> None:
    shell.node.compute(process)
    made = hand_made_records(shell.records(), process)
    shell.send(process, "Put", 9)
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes=set(made)))
        store.commit(Batch(puts=made))
    assert shell.node.state("by-hand", 2).state["total"] == 7
    assert shell.node.state("by-hand", 3).state["total"] == 9


def test_a_record_made_by_hand_that_is_wrong_is_found_when_its_slot_is_computed_again(shell, process) -> None:
    shell.node.compute(process)
    made = hand_made_records(shell.records(), process)
    key = slot_key(b"s", process, 1)
    wrong = canonical({**json.loads(made[key]), "state": {"total": 8}})
    gone = {slot_key(b"v", process, slot) for slot in range(3)} | {slot_key(b"s", process, 2)}
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: wrong}, deletes=gone))
    with pytest.raises(IntegrityError, match="came out differently"):
        shell.node.compute(process)


def test_the_schedule_is_chained_as_described(shell, process) -> None:
    stored = shell.records()
    chain = b""
    for slot in range(3):
        assignment = json.loads(stored[slot_key(b"a", process, slot)])
        message = all_id(assignment["body"])
        chain = hashlib.sha256(chain + message.encode()).digest()
        assert assignment["hash-chain"] == encoded(chain)
        assert stored[b"m/" + message.encode() + b"/" + process.encode()] == slot.to_bytes(8, "big")
    head = {"hash-chain": encoded(chain), "slot": 2, "timestamp": assignment["timestamp"]}
    assert stored[b"h/" + process.encode()] == canonical(head)


def test_every_key_of_a_store_is_one_that_is_described(shell, process) -> None:
    shell.node.compute(process)
    stored = shell.records()
    definition = json.loads(stored[b"p/" + process.encode()])
    assert stored[b"format"] == b"1"
    assert stored[b"n/by-hand"] == process.encode()
    assert stored[b"i/" + definition["image"].encode()].startswith(b"\x00asm")
    assert all_id(definition) == process
    kinds = {key[:2] for key in stored}
    assert kinds == {b"fo", b"p/", b"i/", b"h/", b"a/", b"m/", b"s/", b"v/", b"g/", b"n/"}


def test_an_assignment_has_the_keys_described_and_leaves_out_what_can_be_derived(shell, process) -> None:
    assignment = json.loads(shell.records()[slot_key(b"a", process, 1)])
    assert sorted(assignment) == [
        "block-hash", "block-height", "block-timestamp", "body", "commitments", "data-protocol", "epoch",
        "hash-chain", "path", "process", "slot", "timestamp", "variant",
    ]  # fmt: skip
    for message in (assignment, assignment["body"]):
        signed, mac = sorted(message["commitments"].values(), key=len, reverse=True)
        assert sorted(signed) == ["alg", "commitment-device", "committer", "signature", "signature-input"]
        assert mac == {}
        assert digest(decoded_signature(signed["signature"])) == all_id(message)


# -- deliveries


@pytest.fixture(scope="module")
def talked() -> tuple[dict[bytes, bytes], str, str, str]:
    """The store of a home where processes talked, and the processes."""
    system = System().talk()
    return system.records(), system.one, system.two, system.child


def results(store: dict[bytes, bytes], process: str, slot: int) -> dict:
    return json.loads(store[slot_key(b"s", process, slot)])["results"]


def test_each_delivery_has_the_record_described(talked) -> None:
    store, one, two, child = talked
    made = {
        (one, 1, 0): {"process": two, "slot": 1},
        (one, 1, 3): {"process": one, "slot": 2},
        (one, 3, 0): {"process": child, "slot": 0, "told": 4},
        **{(one, 6, ordinal): {"process": two, "slot": 4 + ordinal} for ordinal in range(3)},
        (two, 3, 0): {"process": one, "slot": 5},
    }
    by_hand = {
        slot_key(b"d", process, slot) + ordinal.to_bytes(4, "big"): canonical(went)
        for (process, slot, ordinal), went in made.items()
    }
    by_hand |= {
        b"c/" + process.encode(): canonical({"slot": next_, "ordinal": 0})
        for process, next_ in ((one, 7), (two, 7), (child, 1))
    }
    by_hand[slot_key(b"u", one, 5)] = canonical({"process": two, "slot": 3, "ordinal": 0})
    held = slot_key(b"w", one, 1) + (1).to_bytes(4, "big")
    assert {key: raw for key, raw in store.items() if key[:2] in {b"c/", b"d/", b"u/", b"q/", b"b/", b"e/"}} == by_hand
    assert [key for key in store if key[:2] == b"w/"] == [held]
    said = json.loads(store[held])
    assert sorted(said) == ["depth", "reason", "says", "target"]
    assert (said["depth"], said["reason"], said["target"]) == (1, "missing", "N" * 43)


def test_what_is_sent_for_a_delivery_says_where_it_is_from(talked) -> None:
    store, one, two, child = talked
    assert len(results(store, one, 1)["outbox"]) == 4
    begin = all_id(json.loads(store[slot_key(b"a", one, 1)])["body"])
    for process, slot, anchor in (
        (two, 1, "00000000000000000001m00000000001"),
        (one, 2, "00000000000000000001m00000000004"),
        (child, 0, "00000000000000000003p00000000001"),
        (one, 4, "00000000000000000003s00000000001"),
    ):
        body = json.loads(store[slot_key(b"a", process, slot)])["body"]
        assert (body["anchor"], body["from-process"]) == (anchor, one)
        assert (body["pushed-for"] == begin) == ("1m" in anchor)


def test_the_queue_has_the_entries_described_while_a_push_goes_on() -> None:
    system = System()
    process = system.home.spawn(TALKER, name="one")
    sent = process.send("Go", data=f"{{'Messages':[{{'Target':'{process.id}'}}]}}")
    seen: list[dict[bytes, bytes]] = []
    process.push(on_delivery=lambda *_: seen.append(system.records()))
    after = seen[0]
    entry = {"process": process.id, "slot": 2, "root": sent.message, "depth": 1}
    assert [raw for key, raw in sorted(after.items()) if key[:2] == b"q/"] == [canonical(entry)]
    assert all(len(key) == 10 for key in after if key[:2] == b"q/")
    used = json.loads(after[b"b/" + sent.message.encode()])
    assert sorted(used) == ["entries", "gas", "messages"]
    assert (used["entries"], used["messages"]) == (1, 1)
    assert not [key for key in system.records() if key[:2] in {b"q/", b"b/"}]


def test_a_proof_is_stored_as_described(talked, tmp_path) -> None:
    store, one, _, _ = talked
    system = System()
    system.commit(puts=store)
    system.home.process("two").export(tmp_path / "two")
    home = System(hb.memory())
    home.home.import_history(tmp_path / "two")
    expected = {b"e/" + one.encode(): store[b"p/" + one.encode()]}
    for slot in (1, 6):
        assignment, record = (store[slot_key(kind, one, slot)] for kind in (b"a", b"s"))
        expected[slot_key(b"e", one, slot)] = len(assignment).to_bytes(4, "big") + assignment + record
    assert {key: raw for key, raw in home.records().items() if key[:2] == b"e/"} == expected
    raw = (tmp_path / "two").read_bytes()
    content = zlib.decompress(raw[len(b"hb history 2\n") : -32])
    kinds = []
    while content:
        kind, key_bytes, length = content[:1], content[1], int.from_bytes(content[2:6], "big")
        key, value = content[6 : 6 + key_bytes], content[6 + key_bytes : 6 + key_bytes + length]
        kinds.append(kind)
        if kind == b"F":
            assert (key, value) == (one.encode(), store[b"p/" + one.encode()])
        if kind in b"GR":
            at = one.encode(), int.from_bytes(key[43:], "big")
            assert key[:43] == at[0]
            assert value == store[slot_key(b"a" if kind == b"G" else b"s", one, at[1])]
        content = content[6 + key_bytes + length :]
    assert b"".join(kinds).replace(b"P", b"") == b"DIASV" + b"FGRASV" + b"ASV" * 2 + b"GRASV" + b"ASV" * 2 + b"E"


def decoded_signature(text: str) -> bytes:
    return base64.b64decode(text.split("=:", 1)[1].rstrip(":"))
