"""The schedule: slots without gaps, the hash-chain, signed assignments, retries, time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hb import ids
from hb.errors import BadSignature, Conflict, NotFound, Refused
from hb.protocol import assignment as assignments
from hb.protocol.commitment import Key, committers, message_id, sign, verify
from hb.protocol.request import build_message
from hb.records import keys, lineage, schedules
from hb.records.packing import unpack
from hb.schedule import intake, scheduler, sending

ALICE = Key(b"a" * 32)


def increments(count: int, prefix: str = "") -> list:
    return [build_message("Increment", anchor=f"{prefix}{n}") for n in range(count)]


def stored_assignments(shell, process: str, last: int) -> list:
    with shell.home.storage.session() as store:
        return [unpack(assignment.message) for assignment in schedules.assignments(store, process, 0, last)]


def test_slots_have_no_gaps_from_0_across_sends_and_batches(shell) -> None:
    process = shell.spawn("counter.wasm")
    slots = [
        scheduled.slot
        for n in (1, 3, 1, 5)
        for scheduled in shell.send_all(process, increments(n, f"{n}-{shell.environment.random_bytes(1)}"))
    ]
    assert slots == list(range(1, 11))
    assert [assignment["slot"] for assignment in stored_assignments(shell, process, 10)] == list(range(11))


def test_slot_0_is_the_definition_itself(shell) -> None:
    process = shell.spawn("counter.wasm")
    (first,) = stored_assignments(shell, process, 0)
    assert first["body"] == shell.node.definition(process)
    assert message_id(first["body"]) == process


def test_the_hash_chain_is_hyperbeams() -> None:
    vector = json.loads((Path(__file__).parents[2] / "vectors/hash_chain.json").read_text())
    chain = b""
    for expected in vector["assignments"]:
        chain = assignments.chain(chain, expected["message_id_all"])
        assert ids.encode(chain) == expected["hash_chain"]


def test_assignments_are_chained_and_signed_by_the_scheduler(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send_all(process, increments(3))
    chain = b""
    for assignment in stored_assignments(shell, process, 3):
        chain = assignments.chain(chain, message_id(assignment["body"]))
        assert assignment["hash-chain"] == ids.encode(chain)
        assert verify(assignment) == [shell.key.address]
        assert assignment["path"] == "compute"
        assert assignment["process"] == process
        assert assignment["epoch"] == "0"


def test_a_message_is_signed_by_its_sender(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.node.send(process, increments(1), signer=ALICE, environment=shell.environment)
    (view,) = shell.node.history(process, 1)
    assert view.sender == ALICE.address
    assert committers(shell.node.stored_message(view.message)) == [ALICE.address]


def test_a_retry_is_not_scheduled_again(shell) -> None:
    process = shell.spawn("counter.wasm")
    first = shell.send_all(process, increments(2))
    before = shell.records()
    again = shell.send_all(process, increments(2))
    assert [(s.slot, s.message, s.assignment, s.fresh) for s in again] == [
        (s.slot, s.message, s.assignment, False) for s in first
    ]
    assert shell.records() == before


def test_equal_messages_in_one_batch_have_one_slot(shell) -> None:
    process = shell.spawn("counter.wasm")
    answers = shell.send_all(process, [*increments(1), *increments(1)])
    assert [(answer.slot, answer.fresh) for answer in answers] == [(1, True), (1, False)]


def test_the_same_message_can_be_in_two_processes_schedules_only_by_being_another(shell) -> None:
    one, two = shell.spawn("counter.wasm", anchor="1"), shell.spawn("counter.wasm", anchor="2")
    (first,), (second,) = shell.send_all(one, increments(1)), shell.send_all(two, increments(1))
    assert first.message != second.message


def test_time_never_runs_backwards(shell) -> None:
    process = shell.spawn("counter.wasm")
    times = iter([1_800_000_000_000, 1_600_000_000_000])
    shell.environment = shell.environment._replace(now_ms=lambda: next(times))
    shell.send(process, "Increment")
    shell.send(process, "Increment")
    stamps = [assignment["timestamp"] for assignment in stored_assignments(shell, process, 2)]
    assert stamps == [1_700_000_000_000, 1_800_000_000_000, 1_800_000_000_000]


def test_a_timestamp_asked_for_that_is_too_early_is_refused(shell) -> None:
    process = shell.spawn("counter.wasm")
    before = shell.records()
    shell.environment = shell.environment._replace(timestamp_ms=5)
    with pytest.raises(Refused, match="never run backwards"):
        shell.send(process, "Increment")
    assert shell.records() == before


def test_height_and_timestamp_asked_for_are_in_the_assignment(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.environment = shell.environment._replace(timestamp_ms=1_900_000_000_000, block_height=12)
    shell.send(process, "Increment")
    assignment = stored_assignments(shell, process, 1)[1]
    assert (assignment["timestamp"], assignment["block-height"]) == (1_900_000_000_000, 12)


def test_a_signed_message_is_taken_as_it_is(shell) -> None:
    process = shell.spawn("counter.wasm")
    signed = sign({"target": process, "action": "Increment"}, ALICE)
    (scheduled,) = shell.node.send(process, [signed], signer=None, environment=shell.environment)
    assert scheduled.message == message_id(signed)
    assert shell.node.stored_message(scheduled.message) == signed


def test_messages_that_are_not_what_they_say_are_refused_and_none_of_their_batch_is_scheduled(shell) -> None:
    process = shell.spawn("counter.wasm")
    signed = sign({"target": process, "action": "Increment"}, ALICE)
    before = shell.records()
    altered = {**signed, "action": "ReadValue"}
    with pytest.raises(BadSignature):
        shell.send_all(process, [*increments(1), altered])
    with pytest.raises(Refused, match="message 2: nobody signed it"):
        shell.send_all(process, [*increments(1), {**signed, "commitments": {}}])
    with pytest.raises(Refused, match="target"):
        shell.send_all(process, [*increments(1), sign({"target": "x" * 43, "action": "Increment"}, ALICE)])
    with pytest.raises(Refused, match="no key was given"):
        sending.send(
            shell.context().session,
            process,
            increments(1),
            signer=None,
            scheduler_key=shell.context().scheduler_key(),
            environment=shell.environment,
            limits=sending.SendLimits(10, 10_000),
        )
    assert shell.records() == before


def test_a_process_that_is_not_here_gets_nothing(shell) -> None:
    shell.spawn("counter.wasm")
    before = shell.records()
    with pytest.raises(NotFound):
        shell.send_all("z" * 43, increments(1))
    assert shell.records() == before


class MovesOn:
    """A store in which another program schedules a message just before the first batch is written."""

    def __init__(self, store, schedule) -> None:
        self._store, self._schedule = store, schedule

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def commit(self, batch) -> None:
        if self._schedule is not None:
            schedule, self._schedule = self._schedule, None
            schedule(self._store)
        self._store.commit(batch)


def test_a_schedule_that_moved_on_meanwhile_is_a_conflict_and_nothing_is_written(shell) -> None:
    process = shell.spawn("counter.wasm")
    mine, theirs = (
        [
            intake.prepare(message, shell.node.definition(process), shell.key, 1, 10_000, shell.environment)
            for message in increments(2, prefix)
        ]
        for prefix in ("mine", "theirs")
    )

    def schedule(store, messages):
        return scheduler.schedule(store, process, messages, key=shell.key, environment=shell.environment)

    with shell.home.storage.session() as store:
        with pytest.raises(Conflict):
            schedule(MovesOn(store, lambda inner: schedule(inner, theirs)), mine)
        assert [schedule(store, messages)[0].slot for messages in (theirs, mine)] == [1, 3]
    anchors = [assignment["body"]["anchor"] for assignment in stored_assignments(shell, process, 4)[1:]]
    assert anchors == ["theirs0", "theirs1", "mine0", "mine1"]
    # A spawn that finds the process there already is one too.
    with shell.home.storage.session() as store:
        batch, *_ = scheduler.open_schedule(
            process, lineage.get_definition(store, process), key=shell.key, environment=shell.environment
        )
        with pytest.raises(Conflict):
            store.commit(batch)


def test_a_batch_of_more_than_one_synced_write_keeps_its_order(shell, monkeypatch) -> None:
    monkeypatch.setattr("hb.schedule.sending.PART_MESSAGES", 3)
    process = shell.spawn("counter.wasm")
    answers = shell.send_all(process, increments(10))
    assert [answer.slot for answer in answers] == list(range(1, 11))
    bodies = [assignment["body"]["anchor"] for assignment in stored_assignments(shell, process, 10)[1:]]
    assert bodies == [str(n) for n in range(10)]


def test_the_index_finds_every_message(shell) -> None:
    process = shell.spawn("counter.wasm")
    answers = shell.send_all(process, increments(4))
    with shell.home.storage.session() as store:
        assert [scheduler.find_slot(store, process, answer.message) for answer in answers] == [1, 2, 3, 4]
        assert store.get(keys.message_slot_key(process, process)) == keys.encode_slot(0)
