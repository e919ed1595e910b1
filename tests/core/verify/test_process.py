"""What is stored held to what it must be: every kind of damage is found where it is, and mended where it can be."""

from __future__ import annotations

import shutil
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from hb import ids
from hb.cancellation import Cancellation
from hb.errors import IntegrityError, Interrupted, NotFound, Refused
from hb.history import selection
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.message import dumps, loads_message
from hb.protocol.request import build_message
from hb.records import keys
from hb.records.packing import pack, unpack
from hb.schedule.scheduler import Head
from hb.storage.memory import MemoryStore
from hb.storage.store import Batch
from hb.verify import evidence, walk
from hb.verify import index as index_check
from hb.verify import process as checks
from hb.verify import replay as replays
from hb.verify.evidence import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hb.verify.evidence import Finding

LARGE = """
(module
  (memory (export "memory") 20)
  (global $n (mut i32) (i32.const 0))
  (func (export "Add") (param i32)
    (global.set $n (i32.add (global.get $n) (local.get 0)))
    (i32.store (i32.const 70000) (global.get $n))))
"""


class Damaged:
    """A home with a ledger whose five slots are computed, to be altered record by record."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.process = shell.node.resolve("ledger")
        self.intact = shell.records()

    def put(self, key: bytes, value: bytes) -> None:
        with self.shell.home.storage.session() as store:
            store.commit(Batch(puts={key: value}))

    def delete(self, *gone: bytes) -> None:
        with self.shell.home.storage.session() as store:
            store.commit(Batch(deletes=set(gone)))

    def change(self, key: bytes, **fields: object) -> None:
        """Alters a record that is JSON, and leaves it canonical."""
        self.put(key, dumps({**loads_message(self.intact[key]), **{k.replace("_", "-"): v for k, v in fields.items()}}))

    def assign(self, place: int, key: Key | None = None, /, **fields: object) -> None:
        """Alters an assignment and signs it again, with the scheduler's key: what a scheduler that lies would write."""
        stored = unpack(loads_message(self.intact[self.assignment(place)]))
        del stored["commitments"]
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        self.put(self.assignment(place), dumps(pack(sign({**stored, **fields}, key or self.shell.key))))

    def found(self, *, replay: bool = False) -> list[Finding]:
        return list(self.shell.node.verify(self.process, replay=replay))

    def assignment(self, slot: int) -> bytes:
        return keys.assignment_key(self.process, slot)

    def record(self, slot: int) -> bytes:
        return keys.slot_record_key(self.process, slot)

    def image(self, slot: int) -> bytes:
        return keys.memory_image_key(self.process, slot)

    def message(self, slot: int) -> str:
        return message_id(loads_message(self.intact[self.assignment(slot)])["body"])  # type: ignore[arg-type]

    def page(self, slot: int) -> bytes:
        """A page that the memory image of `slot` holds, and none before."""
        held = [set(loads_message(self.intact[self.image(number)])["held"].values()) for number in (slot - 1, slot)]  # type: ignore[union-attr]
        return keys.page_key(next(iter(held[1] - held[0])))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, shell_at: Callable[[Path], Any]) -> Path:
    """The home that is damaged, made once and copied."""
    shell = shell_at(tmp_path_factory.mktemp("template") / "home")
    process = shell.spawn("ledger.wasm", name="ledger")
    mints = [build_message("Mint", [account, 100 * account], anchor=str(account)) for account in range(1, 5)]
    shell.send_all(process, mints)
    shell.node.compute(process)
    path: Path = shell.home.path
    return path


@pytest.fixture
def home(template: Path, tmp_path: Path, shell_at: Callable[[Path], Any]) -> Damaged:
    shutil.copytree(template, tmp_path / "copy")
    return Damaged(shell_at(tmp_path / "copy"))


def test_a_home_as_it_was_written_has_no_findings_and_looking_writes_nothing(home: Damaged) -> None:
    heard: list[tuple[int, int]] = []
    assert list(home.shell.node.verify("ledger", on_slot=lambda slot, last: heard.append((slot, last)))) == []
    assert heard == [(slot, 4) for slot in range(5)]
    assert home.found(replay=True) == []
    assert list(home.shell.node.verify_names()) == []
    assert home.shell.node.process_ids() == [home.process]
    assert home.shell.records() == home.intact


@pytest.mark.parametrize("kind", ["record", "assignment"])
@pytest.mark.parametrize("written", [b'{"slot":4,', b'{"SLOT":4,', b"{ "])
def test_a_record_in_another_form_than_it_is_written_in_is_found(home: Damaged, kind: str, written: bytes) -> None:
    key = getattr(home, kind)(4)
    home.put(key, written + home.intact[key][1:])
    assert any(finding.slot == 4 for finding in home.found())


def test_a_process_that_is_not_computed_or_only_in_part_has_no_findings(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    assert list(shell.node.verify(process, replay=True)) == []
    shell.node.compute(process, 0)
    assert list(shell.node.verify(process, replay=True)) == []


def test_what_is_not_there_is_no_process(shell) -> None:
    for name in ("nothing", ids.digest(b"")):
        with pytest.raises(NotFound):
            list(shell.node.verify(name))


def a_byte_in(key: Callable[[Damaged], bytes]) -> Callable[[Damaged], None]:
    """Damage: one bit of a record is another."""

    def damage(home: Damaged) -> None:
        raw = bytearray(home.intact[key(home)])
        raw[len(raw) // 2] ^= 1
        home.put(key(home), bytes(raw))

    return damage


def definition_key(home: Damaged) -> bytes:
    return keys.definition_key(home.process)


def module_key(home: Damaged) -> bytes:
    return keys.image_key(str(loads_message(home.intact[definition_key(home)])["image"]))


def sign_the_definition_by_another(home: Damaged) -> None:
    definition = loads_message(home.intact[definition_key(home)])
    home.put(
        definition_key(home),
        dumps(sign({k: v for k, v in definition.items() if k != "commitments"}, Key(bytes(32)))),
    )


# What only the schedule, the definition or the image says: each way to damage it, and how that is found.
ORIGINALS = {
    "definition-gone": (lambda h: h.delete(definition_key(h)), None, "definition"),
    "definition-no-json": (lambda h: h.put(definition_key(h), b"{"), None, "definition"),
    "definition-altered": (lambda h: h.change(definition_key(h), anchor="b"), None, "definition's commitments"),
    "definition-of-another": (sign_the_definition_by_another, None, "definition's ID"),
    "definition-other-form": (
        lambda h: h.put(definition_key(h), h.intact[definition_key(h)] + b" "),
        None,
        "definition",
    ),
    "image-gone": (lambda h: h.delete(module_key(h)), None, "image"),
    "image-altered": (a_byte_in(module_key), None, "image"),
    "assignment-gone": (lambda h: h.delete(h.assignment(2)), 2, "assignment"),
    "assignment-no-json": (lambda h: h.put(h.assignment(2), b"\xff"), 2, "assignment"),
    "assignment-altered": (lambda h: h.change(h.assignment(2), epoch="1"), 2, "assignment's commitments"),
    "assignment-unsigned": (lambda h: h.change(h.assignment(2), commitments={}), 2, "assignment's signer"),
    "assignment-by-another": (lambda h: h.assign(2, Key(bytes(32))), 2, "assignment's signer"),
    "assignment-of-another-slot": (lambda h: h.assign(2, slot=3), 2, "assignment's slot"),
    "assignment-of-another-process": (lambda h: h.assign(2, process="x"), 2, "assignment's process"),
    "assignment-chain": (lambda h: h.assign(2, hash_chain=ids.digest(b"")), 2, "assignment's hash-chain"),
    "assignment-earlier": (lambda h: h.assign(2, timestamp=1), 2, "assignment's timestamp"),
    "assignment-no-message": (lambda h: h.assign(2, body="text"), 2, "assignment"),
    "assignment-unsigned-message": (lambda h: h.assign(2, body={"a": "b"}), 2, "assignment's message"),
    "assignment-0-no-definition": (
        lambda h: h.assign(0, body=unpack(loads_message(h.intact[h.assignment(1)])["body"])),  # type: ignore[arg-type]
        0,
        "assignment's message",
    ),
    "assignments-swapped": (lambda h: h.put(h.assignment(2), h.intact[h.assignment(3)]), 2, "assignment's slot"),
    "last-assignment-gone": (lambda h: h.delete(h.assignment(4)), 4, "assignment"),
    "last-assignment-and-head-gone": (
        lambda h: h.delete(h.assignment(4), keys.head_key(h.process)),
        4,
        "assignment",
    ),
    "head-too-far": (
        lambda h: h.put(keys.head_key(h.process), Head(9, bytes(32), 1).encode()),
        5,
        "assignment",
    ),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_damage_to_what_nothing_else_says_is_found_and_never_mended(home: Damaged, name: str) -> None:
    damage, slot, what = ORIGINALS[name]
    damage(home)  # type: ignore[operator]
    found = home.found()
    assert (slot, what) in [(finding.slot, finding.what) for finding in found], found
    assert all(finding.process == home.process for finding in found)
    assert all(None not in (finding.expected, finding.got) and finding.expected != finding.got for finding in found)
    before = home.shell.records()
    with pytest.raises(Refused, match="nothing was mended"):
        home.shell.node.repair(home.process)
    assert home.shell.records() == before


def test_a_bit_anywhere_in_an_assignment_is_found(home: Damaged) -> None:
    raw = home.intact[home.assignment(3)]
    for place in range(0, len(raw), 193):
        home.put(home.assignment(3), raw[:place] + bytes([raw[place] ^ 2]) + raw[place + 1 :])
        found = home.found()
        assert found, place
        assert {finding.slot for finding in found} <= {3, 4, None}, found


def index(home: Damaged, slot: int) -> bytes:
    return keys.message_slot_key(home.message(slot), home.process)


# What follows from the schedule: each way to damage it, and how that is found.
DERIVED = {
    "head-gone": (lambda h: h.delete(keys.head_key(h.process)), None, "head of the schedule"),
    "head-no-json": (lambda h: h.put(keys.head_key(h.process), b"["), None, "head of the schedule"),
    "head-behind": (lambda h: h.change(keys.head_key(h.process), slot=3), None, "head of the schedule"),
    "head-chain": (
        lambda h: h.change(keys.head_key(h.process), hash_chain=ids.digest(b"")),
        None,
        "head of the schedule",
    ),
    "index-gone": (lambda h: h.delete(index(h, 2)), 2, "index entry of message"),
    "index-wrong": (lambda h: h.put(index(h, 2), keys.encode_slot(3)), 2, "index entry of message"),
    "index-no-slot": (lambda h: h.put(index(h, 2), b"2"), 2, "index entry of message"),
    "index-of-nothing": (
        lambda h: h.put(keys.message_slot_key(ids.digest(b"?"), h.process), keys.encode_slot(2)),
        None,
        "index entry of message",
    ),
    "index-beyond": (
        lambda h: h.put(keys.message_slot_key(ids.digest(b"?"), h.process), keys.encode_slot(7)),
        None,
        "index entry of message",
    ),
    "record-gone": (lambda h: h.delete(h.record(2)), 2, "slot record"),
    "record-no-json": (lambda h: h.put(h.record(2), b"\x00"), 2, "slot record"),
    "record-no-map": (lambda h: h.put(h.record(2), b"[]"), 2, "slot record"),
    "record-lacks": (lambda h: h.put(h.record(4), b"{}"), 4, "slot record"),
    "record-hashpath": (lambda h: h.change(h.record(2), hashpath="a/b"), 2, "slot record's hashpath"),
    "record-assignment": (lambda h: h.change(h.record(2), assignment="a"), 2, "slot record's assignment"),
    "record-slot": (lambda h: h.change(h.record(2), slot=3), 2, "slot record's slot"),
    "record-previous": (lambda h: h.change(h.record(2), previous=""), 2, "slot record's previous"),
    "record-results": (lambda h: h.change(h.record(2), results={"type": "ok"}), 3, "slot record's previous"),
    "records-swapped": (lambda h: h.put(h.record(2), h.intact[h.record(1)]), 2, "slot record's slot"),
    "record-beyond": (lambda h: h.put(h.record(5), h.intact[h.record(4)]), 5, "slot record"),
    "image-gone": (lambda h: h.delete(h.image(2)), 2, "memory image"),
    "first-image-gone": (lambda h: h.delete(h.image(0)), 0, "memory image"),
    "image-no-json": (lambda h: h.put(h.image(2), b""), 2, "memory image"),
    "image-altered": (lambda h: h.change(h.image(2), pages=2), 2, "memory image"),
    "image-lacks": (lambda h: h.put(h.image(2), b'{"held":{"a":1}}'), 2, "memory image"),
    "image-of-no-record": (lambda h: h.delete(h.record(4)), 4, "memory image"),
    "image-beyond": (lambda h: h.put(h.image(9), h.intact[h.image(4)]), 9, "memory image"),
    "page-gone": (lambda h: h.delete(h.page(3)), 3, "memory page"),
    "page-no-zlib": (lambda h: h.put(h.page(3), b"page"), 3, "memory page"),
    "page-altered": (lambda h: h.put(h.page(3), zlib.compress(b"x" * 65536)), 3, "memory page"),
    "page-short": (lambda h: h.put(h.page(3), zlib.compress(b"x")), 3, "memory page"),
}


@pytest.mark.parametrize("name", DERIVED)
def test_damage_to_what_can_be_computed_is_found_and_mended_to_the_same_bytes(home: Damaged, name: str) -> None:
    damage, slot, what = DERIVED[name]
    damage(home)  # type: ignore[operator]
    found = home.found()
    assert any(finding.slot == slot and finding.what.startswith(what) for finding in found), found
    assert all(None not in (finding.expected, finding.got) and finding.expected != finding.got for finding in found), (
        found
    )
    assert home.shell.node.repair(home.process)
    assert home.shell.records() == home.intact


def test_many_kinds_of_damage_are_mended_at_once(home: Damaged) -> None:
    for name in ("head-gone", "index-wrong", "index-of-nothing", "record-gone", "page-gone"):
        DERIVED[name][0](home)  # type: ignore[operator]
    assert len(home.found()) == 6
    assert len(home.shell.node.repair(home.process)) == 5  # deleted from slot 2 on, computed again
    assert home.shell.records() == home.intact


def test_names_that_stand_for_nothing_are_found_and_taken_back(home: Damaged) -> None:
    home.put(keys.name_key("lost"), ids.digest(b"").encode())
    home.put(keys.name_key("torn"), b"\xff")
    home.put(keys.name_key("it's\n"), home.process.encode())
    assert [finding.what for finding in home.shell.node.verify_names()] == [
        'name "it\'s\\n"',
        "name 'lost'",
        "name 'torn'",
    ]
    assert len(home.shell.node.repair_leftovers()) == 3
    assert home.shell.records() == home.intact


def test_all_processes_are_named_though_half_of_one_is_gone(home: Damaged) -> None:
    other = home.shell.spawn("counter.wasm", anchor="b")
    home.delete(keys.head_key(other), keys.definition_key(other))
    assert home.shell.node.process_ids() == sorted([home.process, other])
    assert {finding.what for finding in home.shell.node.verify(other)} == {"definition", "head of the schedule"}


# -- run again


def lie(home: Damaged, slot: int, **fields: object) -> None:
    """Alters the record of `slot`, and the later ones so that their chain is whole: only running it again can tell."""
    previous = None
    for number in range(slot, 5):
        record = loads_message(home.intact[home.record(number)])
        changed = {**record, **(fields if number == slot else {"previous": previous})}
        home.put(home.record(number), dumps(changed))  # type: ignore[arg-type]
        previous = ids.digest(dumps(changed))  # type: ignore[arg-type]


def results_of(home: Damaged, slot: int) -> dict[str, Any]:
    return loads_message(home.intact[home.record(slot)])["results"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "alter"),
    [
        ("results/output", lambda home: {"results": {**results_of(home, 2), "output": [7]}}),
        ("results/gas", lambda home: {"results": {**results_of(home, 2), "gas": 1}}),
        ("results/print", lambda home: {"results": {**results_of(home, 2), "print": "no"}}),
        ("state/rich", lambda home: {"state": {"rich": True}}),
        ("changed", lambda home: {"changed": False}),
    ],
)
def test_running_again_names_the_first_slot_that_differs_and_in_what(home: Damaged, what: str, alter: Any) -> None:
    lie(home, 2, **alter(home))
    assert home.found() == []
    [finding] = home.found(replay=True)
    assert (finding.slot, finding.what) == (2, f"replay: {what}")
    assert finding.expected != finding.got
    assert home.shell.node.repair(home.process) == []
    assert home.shell.node.repair(home.process, replay=True)
    assert home.shell.records() == home.intact


def test_running_again_names_the_page_that_differs(home: Damaged) -> None:
    forged = b"x" * 65536
    image = loads_message(home.intact[home.image(3)])
    page = next(iter(image["held"]))  # type: ignore[arg-type, call-overload]
    altered = dumps({**image, "held": {**image["held"], page: ids.digest(forged)}})  # type: ignore[dict-item]
    home.put(keys.page_key(ids.digest(forged)), zlib.compress(forged))
    home.put(home.image(3), altered)
    lie(home, 3, image=ids.digest(altered))
    assert home.found() == []
    [finding] = home.found(replay=True)
    assert (finding.process, finding.slot, finding.kind) == (home.process, 3, Kind.REPLAY)
    assert finding.what == f"replay: memory image, page {page}"
    assert (finding.expected, finding.got) == (image["held"][page], ids.digest(forged))  # type: ignore[index, call-overload]


def test_gas_of_another_engine_is_not_compared_but_all_else_is(home: Damaged) -> None:
    lie(home, 2, engine="wasmtime-49", results={**results_of(home, 2), "gas": 1})
    assert home.found(replay=True) == []
    lie(home, 2, engine="wasmtime-49", results={**results_of(home, 2), "output": [7]})
    [finding] = home.found(replay=True)
    assert finding.what == 'replay: results/output (computed by "wasmtime-49", run again by "wasmtime-50")'


def test_the_image_of_a_large_memory_is_compared_wherever_it_is(shell) -> None:
    process = shell.spawn_text(LARGE)
    shell.send_all(process, [build_message("Add", [1], anchor=str(n)) for n in range(140)])
    shell.node.compute(process)
    assert list(shell.node.verify(process, replay=True)) == []
    key = keys.memory_image_key(process, 128)
    raw = shell.records()[key]
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: dumps({**loads_message(raw), "globals": [["i32", 5]]})}))
    assert list(shell.node.verify(process)) == []
    [finding] = shell.node.verify(process, replay=True)
    assert (finding.slot, finding.what, finding.got) == (128, "replay: memory image, global 0", "['i32', 5]")
    assert shell.node.repair(process, replay=True)
    assert shell.records()[key] == raw


def test_what_ran_is_not_run_past_a_damaged_schedule(home: Damaged) -> None:
    lie(home, 3, results={})
    home.delete(home.assignment(2))
    with home.shell.home.storage.session() as store:
        assert store is not None
    assert not [finding for finding in home.found(replay=True) if finding.what.startswith("replay")]
    assert replays.reach(home.shell.home.storage.session, home.process, home.found()) == 1


def test_running_again_can_be_stopped(home: Damaged) -> None:
    context, cancellation = home.shell.node.context, Cancellation()
    with pytest.raises(Interrupted, match="interrupted at slot 0 of 4"):
        replays.replay(
            home.shell.home.storage.session,
            home.process,
            4,
            context.machine().under(cancellation),
            on_slot=lambda slot, last: cancellation.cancel(),
        )


# -- short slices, and bytes that cannot be read


class TornStore:
    """A store some of whose keys LevelDB cannot read."""

    def __init__(self, records: dict[bytes, bytes], torn: set[bytes]) -> None:
        self.inner = MemoryStore()
        self.inner.commit(Batch(puts=records))
        self.torn = torn

    def get(self, key: bytes) -> bytes | None:
        from hb.errors import IntegrityError

        if key in self.torn:
            raise IntegrityError("the store is damaged: block checksum mismatch")
        return self.inner.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for key, _ in self.inner.scan(start, stop, reverse=reverse):
            yield key, self.get(key)  # type: ignore[misc]

    def commit(self, batch: Batch) -> None:
        raise AssertionError("looking must write nothing")


@pytest.mark.parametrize("kind", ["assignment", "record", "image", "index", "head", "definition", "page", "module"])
def test_what_cannot_be_read_is_told_and_all_around_it_is_checked(home: Damaged, kind: str) -> None:
    from contextlib import nullcontext

    torn = {
        "assignment": home.assignment(2),
        "record": home.record(2),
        "image": home.image(2),
        "index": index(home, 2),
        "head": keys.head_key(home.process),
        "definition": definition_key(home),
        "page": home.page(2),
        "module": module_key(home),
    }[kind]
    store = TornStore(home.intact, {torn})
    found = list(checks.check_process(lambda: nullcontext(store), home.process, lambda slot, last: None))
    assert found
    assert all("checksum" in str(finding.got) for finding in found), found
    assert {finding.slot for finding in found} <= {2, None}


def test_the_store_is_held_for_short_slices_only(home: Damaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "WINDOW_SLOTS", 2)
    monkeypatch.setattr(walk, "WINDOW_PAGES", 1)
    monkeypatch.setattr(index_check, "WINDOW_KEYS", 2)
    assert home.found() == []
    home.put(index(home, 3), keys.encode_slot(1))
    assert [finding.slot for finding in home.found()] == [3]


def test_slots_that_come_meanwhile_are_no_findings(home: Damaged) -> None:
    def meanwhile(slot: int, last: int) -> None:
        if slot == 2:
            home.shell.call(home.process, "Mint", 7, 7)

    assert list(home.shell.node.verify(home.process, on_slot=meanwhile)) == []


def test_a_slot_far_beyond_all_others_is_found_at_once(home: Damaged) -> None:
    far = 2**60
    home.put(home.assignment(far), dumps({**loads_message(home.intact[home.assignment(4)]), "slot": far}))
    home.change(keys.head_key(home.process), slot=far)
    gap = next(finding for finding in home.found() if finding.got == f"nothing, and none up to slot {far - 1}")
    assert (gap.slot, gap.what) == (evidence.WINDOW_SLOTS, "assignment")
    node = home.shell.node
    for reference in ("A" * 43, "_" * 43):
        with pytest.raises(NotFound):
            node.state(home.process, reference)
    for reverse in (False, True):
        with pytest.raises(IntegrityError, match="gone from the schedule"):
            list(selection.select(node.context.session, home.process, 0, far, reverse=reverse))


@pytest.mark.parametrize("slot", [1000, 2**63, keys.LAST_SLOT])
def test_a_slot_planted_far_beyond_the_others_is_no_long_way(home: Damaged, slot: int) -> None:
    planted = loads_message(home.intact[home.assignment(4)])
    home.put(home.assignment(slot), dumps({**planted, "slot": slot}))
    found = home.found()
    assert len(found) < evidence.WINDOW_SLOTS + 20
    gaps = [finding for finding in found if finding.got == f"nothing, and none up to slot {slot - 1}"]
    assert [finding.slot for finding in gaps] == [evidence.WINDOW_SLOTS]
    assert any(finding.slot == slot and "hash-chain" not in finding.what for finding in found)


@pytest.mark.parametrize("what", ["assignment", "record", "image"])
def test_a_number_of_any_length_is_a_finding(home: Damaged, what: str) -> None:
    key = getattr(home, what)(2)
    fields = {"assignment": {"timestamp": -(10**5000)}, "record": {"slot": 10**5000}, "image": {"pages": 10**5000}}
    home.change(key, **fields[what])
    assert any(finding.slot == 2 for finding in home.found(replay=True))
