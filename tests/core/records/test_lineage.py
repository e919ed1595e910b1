"""Whose a slot is: the view of a store in which a fork has the slots that it shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.definition import Limits, Origin
from hb.protocol.message import dumps
from hb.records import keys, lineage
from hb.records.lineage import Segment, View
from hb.storage.memory import MemoryStore
from hb.storage.store import Batch

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

KEY = Key(b"k" * 32)
HASHPATH = f"{ids.digest(b'before')}/{ids.digest(b'added')}"


class Counting(MemoryStore):
    """A store that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        return super().get(key)


def put(store: MemoryStore, definition: Message) -> str:
    signed = sign(definition, KEY)
    process = message_id(signed)
    store.commit(Batch(puts={keys.definition_key(process): dumps(signed)}))
    return process


def plain(store: MemoryStore, **changed: Value) -> str:
    definition = definitions.build(
        image="I" * 43,
        scheduler=KEY.address,
        devices=["wasm64@1.0"],
        initial_state=None,
        anchor="a",
        tags={},
        limits=Limits(1, 1, 1),
    )
    return put(store, {**definition, **changed})


def fork(store: MemoryStore, process: str, slot: int) -> str:
    origin = Origin(process, slot, HASHPATH)
    definition = lineage.get_definition(store, process)
    return put(store, definitions.fork(definition, origin, scheduler=KEY.address, anchor=f"f{slot}", tags={}))


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def family(store: Counting) -> tuple[str, str, str]:
    """A process with slots 0 to 5, its fork after 3 with slots 4 to 6, and that one's after 5 with slots 6 and 7."""
    first = plain(store)
    second = fork(store, first, 3)
    third = fork(store, second, 5)
    slots = {first: range(6), second: range(4, 7), third: range(6, 8)}
    puts = {
        keys.slotted_key(kind, process, slot): f"{kind.decode()}{process}{slot}".encode()
        for kind in keys.SLOTTED
        for process, own in slots.items()
        for slot in own
    }
    store.commit(Batch(puts=puts))
    return first, second, third


def test_a_process_that_is_no_fork_has_all_its_slots_itself(store) -> None:
    process = plain(store)
    assert lineage.segments(store, process) == (Segment(process, 0, keys.LAST_SLOT),)
    assert lineage.owner(View(store), process, 7) == process
    nobody = ids.digest(b"nobody")
    assert View(store).segments(nobody) == (Segment(nobody, 0, keys.LAST_SLOT),)


def test_segments_lead_from_where_the_history_began(store, family) -> None:
    first, second, third = family
    expected = (Segment(first, 0, 3), Segment(second, 4, 5), Segment(third, 6, keys.LAST_SLOT))
    assert lineage.segments(store, third) == View(store).segments(third) == expected
    assert lineage.first_slot(store, third) == 6
    assert [lineage.owner(store, third, slot) for slot in (0, 3, 4, 5, 6, 99)] == [
        first,
        first,
        second,
        second,
        third,
        third,
    ]
    assert lineage.owner_in((), 0) is None


def test_a_fork_of_a_slot_that_a_fork_shares_skips_that_fork(store, family) -> None:
    first, second, _ = family
    early = fork(store, second, 2)
    assert lineage.segments(store, early) == (Segment(first, 0, 2), Segment(early, 3, keys.LAST_SLOT))


@pytest.mark.parametrize("kind", sorted(keys.SLOTTED))
def test_what_is_read_of_a_shared_slot_is_the_owners(store, family, kind) -> None:
    first, second, third = family
    owners = [first] * 4 + [second] * 2 + [third] * 2
    stored = [f"{kind.decode()}{owner}{slot}".encode() for slot, owner in enumerate(owners)]
    view = View(store)
    assert [view.get(keys.slotted_key(kind, third, slot)) for slot in range(9)] == [*stored, None]
    for start, end in ((0, keys.LAST_SLOT), (0, 3), (3, 4), (4, 6), (6, 6), (7, 9)):
        found = list(view.scan(*keys.slotted(kind, third, start, end)))
        assert [raw for _, raw in found] == stored[start : end + 1]
        assert [keys.slot_of(key) for key, _ in found] == list(range(start, min(end, 7) + 1))
        assert list(view.scan(*keys.slotted(kind, third, start, end), reverse=True)) == found[::-1]
    assert list(view.scan(*keys.slotted(kind, third, 5, 4))) == []


def test_what_is_stored_under_a_forks_id_for_a_shared_slot_is_not_read(store, family) -> None:
    _, second, _ = family
    store.commit(Batch(puts={keys.slot_record_key(second, 1): b"planted"}))
    view = View(store)
    assert view.get(keys.slot_record_key(second, 1)) != b"planted"
    assert b"planted" not in dict(view.scan(*keys.slot_records(second))).values()


def test_a_message_of_a_shared_slot_is_found_and_one_of_a_later_slot_is_not(store, family) -> None:
    first, second, third = family
    names = [ids.digest(bytes([number])) for number in range(5)]
    store.commit(
        Batch(
            puts={
                keys.message_slot_key(names[0], first): keys.encode_slot(3),
                keys.message_slot_key(names[1], first): keys.encode_slot(4),
                keys.message_slot_key(names[2], second): keys.encode_slot(5),
                keys.message_slot_key(names[3], second): keys.encode_slot(6),
                keys.message_slot_key(names[4], first): b"short",
            }
        )
    )
    view = View(store)
    found = [view.get(keys.message_slot_key(name, third)) for name in names]
    assert found == [keys.encode_slot(3), None, keys.encode_slot(5), None, None]


def test_what_is_written_goes_where_it_says(store, family) -> None:
    _, second, _ = family
    View(store).commit(Batch(puts={keys.slot_record_key(second, 0): b"x"}))
    assert store.get(keys.slot_record_key(second, 0)) == b"x"


def test_a_process_that_is_no_fork_is_asked_for_once(store) -> None:
    process = plain(store)
    known: dict[str, lineage.Lineage] = {}
    for _ in range(3):
        view = View(store, known)
        for slot in range(4):
            view.get(keys.assignment_key(process, slot))
            list(view.scan(*keys.slot_records(process)))
    assert store.asked.count(keys.definition_key(process)) == 1
    assert len(store.asked) == 1 + 3 * 4


def test_other_keys_are_read_as_they_are(store, family) -> None:
    first, _, third = family
    view = View(store)
    store.asked.clear()
    assert view.get(keys.definition_key(third)) is not None
    assert view.get(keys.page_key("x")) is None
    assert len(list(view.scan(*keys.definitions()))) == 3
    assert list(view.scan(*keys.schedules())) == list(store.scan(*keys.schedules()))
    assert list(view.scan(*keys.schedules(first.encode()))) == list(store.scan(*keys.schedules(first.encode())))
    assert store.asked == [keys.definition_key(third), keys.page_key("x")]


def test_an_ancestor_that_is_gone_or_altered_is_damage(store, family) -> None:
    first, _, third = family
    whole = store.get(keys.definition_key(first))
    assert whole is not None
    for left in (None, b"", b"{}", whole.replace(b'"anchor":"a"', b'"anchor":"b"')):
        change = (
            Batch(deletes={keys.definition_key(first)})
            if left is None
            else Batch(puts={keys.definition_key(first): left})
        )
        store.commit(change)
        with pytest.raises(IntegrityError):
            View(store).get(keys.slot_record_key(third, 0))
        assert View(store).get(keys.slot_record_key(first, 0)) is not None


def test_processes_that_come_from_each_other_are_damage(store) -> None:
    """Whoever writes a store can give any definition any ID: an ID that is read is not yet one that was verified."""
    one, other = "A" * 43, "B" * 43
    definition = lineage.get_definition(store, fork(store, plain(store), 3))
    del definition["commitments"]
    for process, origin in ((one, other), (other, one)):
        content = {**definition, "fork-of": origin}
        mac = message_id(content, "none")
        commitments = {process: {"committer": "x"}, mac: {"alg": "hmac-sha256"}}
        store.commit(Batch(puts={keys.definition_key(process): dumps({**content, "commitments": commitments})}))
    with pytest.raises(IntegrityError, match="comes from itself"):
        lineage.segments(store, one)


def test_each_definition_of_a_long_lineage_is_read_once(store: Counting) -> None:
    family = [plain(store)]
    for slot in range(30):
        family.append(fork(store, family[-1], slot))
    store.asked.clear()
    view = View(store)
    for process in reversed(family):
        place = family.index(process)
        expected = [Segment(name, slot, slot) for slot, name in enumerate(family[:place])]
        assert view.segments(process) == (*expected, Segment(process, place, keys.LAST_SLOT))
    asked = [store.asked.count(keys.definition_key(process)) for process in family]
    assert max(asked) <= 2, "once to be read, and once more to see that it is a fork"


def test_a_process_comes_from_so_many_others_and_no_more(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_ORIGINS", 3)
    family = [plain(store)]
    for slot in range(4):
        family.append(fork(store, family[-1], slot))
    assert len(lineage.segments(store, family[3])) == 4
    with pytest.raises(IntegrityError, match="comes from more others than one can"):
        lineage.segments(store, family[4])


@pytest.mark.parametrize("changed", [{"passes": 0}, {"image": "no ID"}, {"anchor": ""}, {"gas-limit": -1}])
def test_a_stored_definition_with_an_impossible_field_is_damage(store: Counting, changed: dict[str, Value]) -> None:
    process = plain(store, **changed)
    with pytest.raises(IntegrityError, match="the definition is not what it must be"):
        lineage.get_definition(store, process)
