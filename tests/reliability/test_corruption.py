"""Stored bytes that were altered: what is read is right, or says what is damaged and where; `verify` finds all of it.

Two kinds of damage, and what a read does about each:

- A disk's: bytes of LevelDB's files that flip, or are gone. LevelDB's checksums tell, and every read checks them.
- Somebody's, or a program's: a record that was written over through LevelDB, its checksum in order. A read looks at
  what is next to the record (`core/hb/records/links.py`): its slot, process and IDs, the digest that the following
  slot record names, the hash-chain. It cannot know what nothing else names: what `BY_VERIFY_ALONE` lists. To check a
  signature, or run a module again, is what `hb verify` and `hb verify --replay` are for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import scenario
from disk import quick_directory, settle
from hb import home as homes
from hb import keyring
from hb.errors import HbError, IntegrityError, NotFound, Refused
from hb.history.views import SlotView
from hb.home import Home
from hb.records import cache, formats, keys
from hb.storage.memory import MemoryStorage, MemoryStore
from hb.storage.storage import FOREVER, Patience
from hb.storage.store import Batch
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = bool(os.environ.get("HB_LONG"))
Records = dict[bytes, bytes]

KINDS = {
    b"f": "format", b"p": "definition", b"i": "image", b"h": "head", b"a": "assignment", b"m": "index",
    b"s": "slot record", b"v": "memory image", b"g": "memory page", b"n": "name",
}  # fmt: skip

BY_VERIFY_ALONE = {
    ("assignment", "flip"): "what a message says, but for its ID: its signature covers that",
    ("definition", "flip"): "the text of its signature: its content has the ID that it should",
    ("slot record", "flip"): "the results and the state of the newest slot: no other record names them yet",
}
"""A read may be misled by these, and `hb verify --replay` has a finding."""

BY_NOBODY = {
    ("name", "swap"): "a name may stand for any process that is here",
    ("name", "delete"): "a name that is gone was never given",
}

DERIVED = ("slot record", "memory image")
"""One that is gone is like one that was not made yet: a slot is pending, and is computed again when it is asked for."""


@dataclass(frozen=True)
class HeldHome(Home):
    """A home whose records are held in memory: to damage one of them, and look, takes no time."""

    held: MemoryStore

    @property
    def storage(self) -> HeldStorage:  # type: ignore[override]
        return HeldStorage(self.held)


class HeldStorage(MemoryStorage):
    """A storage in memory whose store is given."""

    def __init__(self, held: MemoryStore) -> None:
        super().__init__()
        self._store = held

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[MemoryStore]:
        with super().session(patience) as store:
            formats.ensure(store, "the home")
            yield store


class Damage(NamedTuple):
    """One way to damage a record: `value` takes its place, or nothing does."""

    key: bytes
    way: str
    value: bytes | None

    @property
    def kind(self) -> str:
        return KINDS[self.key[:1]]


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with quick_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def home(root: Path) -> Home:
    """The scenario's home, with one message in each schedule that is not computed yet."""
    home = homes.create(root / "sound", seed=scenario.SEED)
    scenario.run(home, [])
    key = keyring.load(home.keys, "default")
    for name, call in (("counter", ("Add", 10)), ("ledger", ("Mint", 7, 7))):
        message = scenario.message(call, "last")
        Node(home).send(name, [message], signer=key, environment=scenario.ENVIRONMENT)
    return home


@pytest.fixture(scope="module")
def records(home: Home) -> Records:
    return scenario.records(home)


def questions(records: Records) -> dict[str, Callable[[Node], object]]:
    """What is asked of a home, in this order; the last ones compute what is not computed yet."""
    message = next(key for key in records if key.startswith(b"m/")).split(b"/")[1].decode()
    asked: dict[str, Callable[[Node], object]] = {"list": listed}
    for name in ("counter", "ledger"):
        asked |= {
            f"state {name} 3": lambda node, name=name: node.state(name, 3),
            f"state {name} newest": lambda node, name=name: node.state(name, "now~1"),
            f"inspect {name}": lambda node, name=name: list(node.history(name)),
            f"definition {name}": lambda node, name=name: node.definition(name),
        }
    asked["message"] = lambda node: node.stored_message(message)
    for name in ("counter", "ledger"):
        asked |= {
            f"compute {name}": lambda node, name=name: node.compute(name),
            f"state {name}": lambda node, name=name: node.state(name),
        }
    return asked


def listed(node: Node) -> object:
    """What the list says, or the trouble that it tells of one process; those that are sound are listed all the same."""
    views = node.processes()
    for view in views:
        if view.trouble is not None:
            raise view.trouble
    return views


def ask(node: Node, asked: dict[str, Callable[[Node], object]]) -> dict[str, object]:
    """The answer to each question: a value, or the HbError in its place. Anything else that is raised is a bug."""
    answers: dict[str, object] = {}
    for name, question in asked.items():
        try:
            answers[name] = question(node)
        except HbError as error:
            answers[name] = error
    return answers


def hold(home: Home, records: Records) -> HeldHome:
    store = MemoryStore()
    store.commit(Batch(puts=records))
    return HeldHome(home.path, store)


def wrong(answers: dict[str, object], right: dict[str, object], *, pending: bool = False) -> list[str]:
    """The questions that had another answer than the right one; `pending` slots and images may be missing from it."""
    as_is = _without_derived if pending else (lambda answer: answer)
    return [
        name
        for name, answer in answers.items()
        if not isinstance(answer, HbError) and as_is(answer) != as_is(right[name])
    ]


def _without_derived(answer: object) -> object:
    if not isinstance(answer, list):
        return answer
    return [
        item[: SlotView._fields.index("computed")] if isinstance(item, SlotView) else item._replace(computed=None)
        for item in answer
    ]


def told(answers: dict[str, object]) -> list[HbError]:
    return [answer for answer in answers.values() if isinstance(answer, HbError)]


def check_sentence(error: HbError, damage: Damage) -> None:
    """What is told is one line, that it is damage, and where; of a record that is gone, that there is no such thing."""
    assert "\n" not in error.message
    if isinstance(error, NotFound):
        assert damage.value is None
        assert damage.kind in ("name", "index")
    elif isinstance(error, Refused):
        assert damage.kind == "format"
        assert "newer hb" in str(error.hint)
    else:
        assert isinstance(error, IntegrityError), (damage, error)
        where = (error.process, error.slot, error.expected, error.got)
        named = "'" in error.message or damage.key[2:] in error.message.encode()
        assert named or any(part is not None for part in where), (damage, error)


def findings(home: Home, damage: Damage) -> list[object]:
    """What `hb verify --all` finds, with `--replay` where it finds nothing else."""
    node, found = Node(home), []
    try:
        names = [name for name in ("counter", "ledger") if node.resolve(name).encode() in damage.key]
        for replay in (False, True):
            for name in names or ["counter", "ledger"]:
                found += node.verify(name, replay=replay)
            if found:
                return found
        found += node.verify_names()
    except HbError as error:
        found.append(error)
    return found


def means_the_same(damage: Damage, was: bytes) -> bool:
    """Whether the record says what it said: a page that unpacks to the same, a record that names another engine."""
    if damage.value is None or damage.way != "flip":
        return False
    if damage.kind == "memory page":
        return cache.decompress(damage.value) == cache.decompress(was)
    if damage.kind == "slot record":
        try:
            return dict(json.loads(damage.value), engine=None) == dict(json.loads(was), engine=None)
        except (ValueError, TypeError):
            return False
    return False


def flips(records: Records, count: int) -> Iterator[Damage]:
    """`count` bytes of each record, spread evenly, and its last, flipped in one bit and in all by turns."""
    masks = cycle((0x01, 0xFF))
    for key, value in records.items():
        for position in sorted({len(value) * place // count for place in range(count)} | {len(value) - 1}):
            broken = bytearray(value)
            broken[position] ^= next(masks)
            yield Damage(key, "flip", bytes(broken))


def cuts(records: Records) -> Iterator[Damage]:
    for key, value in records.items():
        yield Damage(key, "delete", None)
        for length in (0, 1, len(value) // 2, len(value) - 1) if LONG else (0, len(value) // 2):
            if length != len(value):
                yield Damage(key, "truncate", value[:length])


def swaps(records: Records, count: int) -> Iterator[Damage]:
    """Every record in the place of some others of its kind that have other bytes."""
    for kind in KINDS:
        alike = [(key, value) for key, value in records.items() if key[:1] == kind]
        for at, (key, value) in enumerate(alike):
            others = [other for _, other in alike[at + 1 :] + alike[:at] if other != value]
            for other in others[:: max(len(others) // count, 1)]:
                yield Damage(key, "swap", other)


def try_all(home: Home, records: Records, damages: Iterator[Damage]) -> Counter[str]:
    """Every answer is the right one or says what is damaged, and `verify` finds all that is; returns how many of what."""
    asked = questions(records)
    right = ask(Node(hold(home, records)), asked)
    assert not told(right)
    seen: Counter[str] = Counter()
    for damage in damages:
        damaged = {key: value for key, value in records.items() if key != damage.key}
        if damage.value is not None:
            damaged[damage.key] = damage.value
        answers = ask(Node(hold(home, damaged)), asked)
        for error in told(answers):
            check_sentence(error, damage)
        case = (damage.kind, damage.way)
        pending = damage.value is None and damage.kind in DERIVED
        misled = wrong(answers, right, pending=pending)
        assert not misled or case in BY_VERIFY_ALONE or case in BY_NOBODY, (damage, misled)
        if not (case in BY_NOBODY or pending or means_the_same(damage, records[damage.key])):
            assert findings(hold(home, damaged), damage), (damage, misled, told(answers))
        seen["tried"] += 1
        seen["misled"] += bool(misled)
        seen["told"] += bool(told(answers))
    print(dict(seen))
    return seen


def test_no_flipped_byte_of_a_record_misleads_unseen(home: Home, records: Records) -> None:
    seen = try_all(home, records, flips(records, 100 if LONG else 2))
    assert seen["tried"] > 150
    assert seen["told"] > seen["tried"] // 3
    assert seen["misled"] < seen["tried"] // 10


def test_no_record_that_is_cut_short_or_gone_misleads_unseen(home: Home, records: Records) -> None:
    seen = try_all(home, records, cuts(records))
    assert seen["tried"] > 200
    assert seen["told"] > seen["tried"] // 3


def test_no_record_in_the_place_of_another_misleads_unseen(home: Home, records: Records) -> None:
    seen = try_all(home, records, swaps(records, 10 if LONG else 2))
    assert seen["tried"] > 100
    assert seen["told"] > seen["tried"] // 3


def test_a_state_that_is_altered_is_not_served_once_another_slot_follows(home: Home, records: Records) -> None:
    """Valid JSON, of the right types, its checksum in order: the digest that the next record names tells."""
    process = Node(home).resolve("counter")
    key = keys.slot_record_key(process, 3)
    forged = dict(json.loads(records[key]), state={"counter": 1_000_000})
    altered = records | {key: json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()}
    with pytest.raises(IntegrityError, match="do not fit together") as raised:
        Node(hold(home, altered)).state("counter", 3)
    assert (raised.value.process, raised.value.slot) == (process, 4)
    assert any(finding.slot in (3, 4) for finding in Node(hold(home, altered)).verify("counter"))


def test_a_newest_state_that_is_altered_goes_no_further_and_replaying_finds_it(home: Home, records: Records) -> None:
    process = Node(home).resolve("counter")
    newest = max(key for key in records if key.startswith(keys.slot_records(process)[0][:46]))
    forged = dict(json.loads(records[newest]), state={"counter": 1_000_000})
    altered = records | {newest: json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()}
    with pytest.raises(IntegrityError, match="counter is not that of its memory image"):
        Node(hold(home, altered)).compute("counter")
    found = list(Node(hold(home, altered)).verify("counter", replay=True))
    assert [finding.slot for finding in found][:1] == [keys.slot_of(newest)]


# Files of LevelDB


class OnDisk(NamedTuple):
    """A home on the disk whose last send is in the log alone, and the right answers with and without that send."""

    home: Path
    asked: dict[str, Callable[[Node], object]]
    right: dict[str, object]
    earlier: dict[str, object]


@pytest.fixture(scope="module")
def on_disk(root: Path, home: Home, records: Records) -> OnDisk:
    directory = root / "on-disk"
    shutil.copytree(home.path, directory)
    settle(directory / "store")
    message = scenario.message(("Mint", 9, 9), "one more")
    key = keyring.load(directory / "keys", "default")
    Node(homes.open_home(directory)).send("ledger", [message], signer=key, environment=scenario.ENVIRONMENT)
    shutil.copytree(directory, root / "read")
    now = scenario.records(homes.open_home(root / "read"))
    asked = questions(records)
    right, earlier = (ask(Node(hold(home, each)), asked) for each in (now, records))
    return OnDisk(directory, asked, right, earlier)


def alterations(content: bytes, count: int) -> Iterator[tuple[str, bytes | None]]:
    yield "delete", None
    for position in range(0, len(content), max(len(content) // count, 1)):
        broken = bytearray(content)
        broken[position] ^= 0xFF if position % 2 else 0x01
        yield "flip", bytes(broken)
        if position % 3 == 0:
            yield "truncate", content[:position]


def alter(on_disk: OnDisk, to: Path, name: str, content: bytes | None) -> None:
    shutil.copytree(on_disk.home, to)
    (to / "store" / name).unlink()
    if content is not None:
        (to / "store" / name).write_bytes(content)


@pytest.mark.parametrize("kind", ["*.ldb", "*.log", "MANIFEST-*", "CURRENT", "LOG", "LOCK"])
def test_no_altered_file_of_the_store_misleads(on_disk: OnDisk, tmp_path: Path, root: Path, kind: str) -> None:
    """All is right, or damage is told; but a log whose last write is not whole is one that a crash cut off."""
    seen: Counter[str] = Counter()
    for file in sorted((on_disk.home / "store").glob(kind)):
        for way, content in alterations(file.read_bytes(), 200 if LONG else 8):
            copy = root / "altered"
            alter(on_disk, copy, file.name, content)
            try:
                answers = ask(Node(homes.open_home(copy)), on_disk.asked)
            except IntegrityError as error:
                answers = dict.fromkeys(on_disk.asked, error)
            shutil.rmtree(copy)
            expected = on_disk.earlier if kind == "*.log" and way != "delete" else on_disk.right
            assert wrong(answers, expected) == [], (file.name, way)
            for error in told(answers):
                assert isinstance(error, IntegrityError), (file.name, way, error)
                assert str(copy / "store") in error.message
            seen[way] += 1
            seen["told"] += bool(told(answers))
    print(kind, dict(seen))
    altered = seen["delete"] if kind == "*.log" else seen["flip"] + seen["delete"]
    assert altered > 0
    assert seen["told"] == 0 if kind in ("LOG", "LOCK") else seen["told"] > altered * 0.8


# The program


@pytest.mark.parametrize("damage", ["table", "manifest", "current", "record"])
def test_the_program_says_what_is_damaged_and_ends_with_14(
    on_disk: OnDisk, records: Records, root: Path, damage: str
) -> None:
    directory = root / f"program-{damage}"
    if damage == "record":
        shutil.copytree(on_disk.home, directory)
        home = homes.open_home(directory)
        key = keys.slot_record_key(Node(home).resolve("counter"), 3)
        with home.storage.session() as store:
            store.commit(Batch(puts={key: records[key].replace(b'"counter":6', b'"counter":7')}))
    else:
        pattern = {"table": "*.ldb", "manifest": "MANIFEST-*", "current": "CURRENT"}[damage]
        file = max((on_disk.home / "store").glob(pattern), key=lambda file: file.stat().st_size)
        broken = bytearray(file.read_bytes())
        broken[len(broken) // 3] ^= 0xFF
        alter(on_disk, directory, file.name, bytes(broken))
    program = [str(Path(sys.executable).parent / "hb"), "--home", str(directory)]
    for words in (["state", "counter", "--slot", "3"], ["inspect", "counter"], ["verify", "counter"]):
        ran = subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 14, (words, ran)
        assert "Traceback" not in ran.stdout + ran.stderr
        assert ran.stderr.startswith("hb: error: ") or words[0] == "verify", ran
        if words[0] != "verify":
            assert ("slot 4" if damage == "record" else f"{directory}/store") in ran.stderr
