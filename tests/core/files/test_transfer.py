"""Histories in files: what another home takes in, what it refuses, and that it then has nothing of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.errors import HbError, IntegrityError, NotFound, Refused
from hb.files import archive, staging, transfer
from hb.history import fork
from hb.protocol.commitment import Key, sign
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.records.packing import pack, unpack
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hb.files.archive import Record

SAMPLES = Path(__file__).parents[3] / "samples"

# Twenty pages: too many to be compared and imaged at every slot.
LARGE = """
(module
  (global $n (export "n") (mut i64) (i64.const 0))
  (memory (export "memory") 20)
  (func (export "Increment")
    (global.set $n (i64.add (i64.const 1) (global.get $n)))
    (i64.store offset=1000000 (i32.const 0) (global.get $n))))
"""


def read(path: Path) -> list[Record]:
    with path.open("rb") as stream:
        return list(archive.Archive(stream).records())


def write(path: Path, records: Iterable[Record], form: str = archive.HISTORY) -> Path:
    """A file whose digest is right, of records that may be anything."""
    stream = io.BytesIO()
    writer = archive.Writer(stream, form)
    for record in records:
        writer.put(*record)
    writer.close()
    path.write_bytes(stream.getvalue())
    return path


def export(shell, process: str, path: Path, to: str | int = "now", **options) -> transfer.Exported:
    return transfer.export(shell.node.context, process, to, path, **options)


def take(shell, path: Path, **options) -> transfer.Imported:
    return transfer.import_history(shell.node.context, path, **options)


def findings(shell, process: str) -> list:
    return list(shell.node.verify(process, replay=True))


class Counter:
    """A home with a counter of four slots, all computed, and the file of its history."""

    def __init__(self, shell, path: Path) -> None:
        self.shell = shell
        self.process = shell.spawn("counter.wasm", initial_state={"counter": 0})
        for _ in range(3):
            shell.send(self.process, "Increment")
        shell.node.compute(self.process)
        self.path = path / "c.history"
        self.exported = export(shell, self.process, self.path)

    def refork(self, other: Path, alter: Callable[[Record], Record | None]) -> Path:
        altered = [alter(record) for record in read(self.path)]
        return write(other, [record for record in altered if record is not None])


@pytest.fixture(scope="module")
def counter(shell_at, tmp_path_factory: pytest.TempPathFactory) -> Counter:
    directory = tmp_path_factory.mktemp("counter")
    return Counter(shell_at(directory / "home"), directory)


@pytest.fixture
def other(make_shell):
    return make_shell("other")


def test_a_history_comes_out_as_it_went_in_and_goes_on(counter, other) -> None:
    assert counter.exported[:4] == (counter.process, 4, 4, 4)
    assert counter.exported.bytes == counter.path.stat().st_size
    done = take(other, counter.path, name="again", replay=True)
    assert done[:5] == (counter.process, True, 4, 4, 3)
    mine = {key: raw for key, raw in counter.shell.records().items() if key != keys.FORMAT_KEY}
    theirs = {key: raw for key, raw in other.records().items() if key != keys.FORMAT_KEY}
    assert theirs.pop(keys.name_key("again")) == counter.process.encode()
    assert theirs == mine
    assert findings(other, "again") == []
    other.send("again", "Add", 1)  # with the same key: it is a copy of the same home
    assert other.node.state("again").state["counter"] == 4
    assert findings(other, "again") == []


def test_equal_histories_are_equal_files(counter, tmp_path: Path) -> None:
    export(counter.shell, counter.process, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == counter.path.read_bytes()


def test_a_part_of_a_history_is_one(counter, other, tmp_path: Path) -> None:
    assert export(counter.shell, counter.process, tmp_path / "part", 1)[:3] == (counter.process, 2, 2)
    assert take(other, tmp_path / "part")[:5] == (counter.process, True, 2, 2, 1)
    assert other.node.state(counter.process).state["counter"] == 1
    assert findings(other, counter.process) == []
    assert take(other, counter.path)[:5] == (counter.process, False, 2, 2, 3)  # it was behind
    assert findings(other, counter.process) == []
    before = other.records()
    for path in (counter.path, tmp_path / "part"):  # the same, and ahead
        assert take(other, path)[:5] == (counter.process, False, 0, 0, 3)
    assert other.records() == before


def test_what_is_not_computed_is_computed_where_it_comes_to(make_shell, other, tmp_path: Path) -> None:
    shell = make_shell("one")
    process = shell.spawn("counter.wasm", initial_state={"counter": 0})
    shell.node.compute(process)
    shell.send(process, "Increment")
    assert export(shell, process, tmp_path / "f")[:3] == (process, 2, 1)
    assert take(other, tmp_path / "f")[:5] == (process, True, 2, 1, 1)
    assert other.node.state(process).state["counter"] == 1
    shell.node.compute(process)
    export(shell, process, tmp_path / "g")
    assert take(other, tmp_path / "g")[:5] == (process, False, 0, 0, 1)
    third = make_shell("third")
    take(third, tmp_path / "f")
    assert take(third, tmp_path / "g")[:5] == (process, False, 0, 1, 1)
    assert findings(third, process) == []


def test_of_a_large_memory_the_first_and_the_newest_image_go_along_or_all(make_shell, other, tmp_path: Path) -> None:
    shell = make_shell("one")
    process = shell.spawn_text(LARGE)
    for _ in range(130):
        shell.send(process, "Increment")
    shell.node.compute(process)
    with shell.home.storage.session() as store:
        images = [keys.slot_of(key) for key, _ in store.scan(*keys.memory_images(process))]
    assert images == [0, 128]
    assert export(shell, process, tmp_path / "two", 130)[1:4] == (131, 131, 2)
    assert export(shell, process, tmp_path / "f127", 127)[1:4] == (128, 128, 1)
    assert take(other, tmp_path / "f127")[1:5] == (True, 128, 128, 127)
    assert take(other, tmp_path / "two")[1:5] == (False, 3, 3, 130)
    assert findings(other, process) == []
    assert export(other, process, tmp_path / "all", every_image=True)[1:4] == (131, 131, 2)


def test_large_histories_are_stored_a_stretch_at_a_time(
    make_shell, other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = make_shell("one")
    process = shell.spawn("counter.wasm", initial_state={"counter": 0})
    for _ in range(11):
        shell.send(process, "Increment")
    shell.node.compute(process)
    monkeypatch.setattr(transfer, "WINDOW_SLOTS", 3)
    monkeypatch.setattr(staging, "BATCH_BYTES", 100)
    export(shell, process, tmp_path / "f")
    commit = transfer._commit
    for kept in (1, 2, 0):  # it dies after so many batches, and is done again

        def dies(*arguments, left=[kept]) -> None:  # noqa: B006
            if left[0]:
                left[0] -= 1
                commit(*arguments)
            else:
                raise KeyboardInterrupt

        monkeypatch.setattr(transfer, "_commit", dies)
        with pytest.raises(KeyboardInterrupt):
            take(other, tmp_path / "f", name="n")
        assert findings(other, "n") == []
    assert other.node.process("n").slots == 9
    monkeypatch.setattr(transfer, "_commit", commit)
    assert take(other, tmp_path / "f", name="n")[1:5] == (False, 3, 3, 11)
    assert findings(other, "n") == []


def test_a_fork_brings_what_it_shares(counter, other, make_shell, tmp_path: Path) -> None:
    shell = make_shell("one")
    take(shell, counter.path)
    context = shell.node.context
    forked = fork.fork(context, counter.process, 1, signer=shell.key, environment=shell.environment).process
    shell.send(forked, "Add", 40)
    twice = fork.fork(shell.node.context, forked, 3, signer=shell.key, environment=shell.environment).process
    shell.send(twice, "Increment")
    shell.node.compute(twice)
    assert export(shell, twice, tmp_path / "f")[:3] == (twice, 6, 6)
    assert take(other, tmp_path / "f", name="twice", replay=True)[1:5] == (True, 6, 6, 5)
    assert findings(other, "twice") == []
    assert other.node.state("twice").state["counter"] == 42
    assert other.node.process(counter.process).slots == 2
    assert take(other, counter.path)[1:5] == (False, 2, 2, 3)
    assert findings(other, "twice") == []
    assert export(shell, twice, tmp_path / "g", 1)[:3] == (counter.process, 2, 2)


def test_another_schedule_of_the_same_process_is_named_and_changes_nothing(counter, other, tmp_path: Path) -> None:
    export(counter.shell, counter.process, tmp_path / "part", 1)
    take(other, tmp_path / "part")
    other.send(counter.process, "Add", 5)
    before = other.records()
    with pytest.raises(Refused) as refused:
        take(other, counter.path, name="n")
    assert "slot 2 is the first that differs: here it has another message" in refused.value.message
    assert other.records() == before


def test_another_record_of_the_same_message_is_named_and_changes_nothing(counter, other) -> None:
    take(other, counter.path)
    key = keys.slot_record_key(counter.process, 3)
    with other.home.storage.session() as store:
        raw = store.get(key)
        store.commit(Batch(puts={key: dumps({**loads_message(raw), "state": {"counter": 9}})}))
    before = other.records()
    with pytest.raises(Refused, match="slot 3 is the first that differs: here it has the same message, and another"):
        take(other, counter.path)
    assert other.records() == before


def test_a_schedule_that_goes_on_meanwhile_is_left_alone(counter, other, tmp_path: Path, monkeypatch) -> None:
    export(counter.shell, counter.process, tmp_path / "part", 1)
    take(other, tmp_path / "part")
    store = transfer._store

    def late(*arguments) -> None:
        other.send(counter.process, "Add", 5)
        store(*arguments)

    monkeypatch.setattr(transfer, "_store", late)
    with pytest.raises(Refused, match="slot 2 is the first that differs"):
        take(other, counter.path)
    assert other.node.state(counter.process).state["counter"] == 6
    assert findings(other, counter.process) == []


def test_a_name_that_cannot_be_given_is_refused_before_anything_is_stored(counter, other) -> None:
    other.spawn("counter.wasm", initial_state={"counter": 1}, name="taken")
    before = other.records()
    for name in ("taken", "../up", counter.process):
        with pytest.raises(Refused):
            take(other, counter.path, name=name)
    assert other.records() == before


def test_no_byte_of_a_history_can_be_another(counter, other, tmp_path: Path) -> None:
    raw, path = counter.path.read_bytes(), tmp_path / "altered"
    for place in range(len(raw)):
        with pytest.raises((IntegrityError, Refused)):
            archive.Archive(io.BytesIO(_flipped(raw, place)))
    before = other.records()
    path.write_bytes(_flipped(raw, len(raw) // 2))
    with pytest.raises(IntegrityError, match="digest"):
        take(other, path)
    assert other.records() == before


def test_no_record_of_a_history_can_be_another_though_the_digest_is_made_anew(counter, other, tmp_path: Path) -> None:
    records = read(counter.path)
    before = other.records()
    for number, record in enumerate(records):
        altered = record._replace(value=_flipped(record.value, len(record.value) // 2))
        path = write(tmp_path / "altered", [*records[:number], altered, *records[number + 1 :]])
        with pytest.raises((IntegrityError, Refused)):
            take(other, path)
        assert other.records() == before, record


def _flipped(raw: bytes, place: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def _fields(record: Record, **changes) -> Record:
    return record._replace(value=dumps({**loads_message(record.value), **changes}))


def _at(kind: bytes, slot: int, change: Callable[[Record], Record | None]) -> Callable[[Record], Record | None]:
    return lambda record: change(record) if (record.kind, record.key) == (kind, keys.encode_slot(slot)) else record


def _signed(record: Record, **changes) -> Record:
    """An assignment altered, and signed anew by somebody."""
    altered = {**unpack(loads_message(record.value)), **changes}
    del altered["commitments"]
    return record._replace(value=dumps(pack(sign(altered, Key(bytes(32))))))


_PID = b"A" * 43

ALTERATIONS = {
    "a timestamp": (_at(b"A", 2, lambda r: _fields(r, timestamp=1)), "assignment's commitments"),
    "a slot": (_at(b"A", 2, lambda r: _fields(r, slot=9)), "assignment's commitments"),
    "a signer": (_at(b"A", 2, lambda r: _signed(r, timestamp=1_700_000_000_001)), "assignment's signer"),
    "a gap": (lambda r: None if r.key == keys.encode_slot(1) else r, "another slot there"),
    "no record": (lambda r: None if r.kind in {b"S", b"V"} and r.key == keys.encode_slot(1) else r, "slot record"),
    "a hashpath": (_at(b"S", 1, lambda r: _fields(r, hashpath="a/b")), "slot record's hashpath"),
    "a link": (_at(b"S", 2, lambda r: _fields(r, previous="x")), "slot record's previous"),
    "results": (_at(b"S", 1, lambda r: _fields(r, results={"type": "ok"})), "slot record's previous"),
    "a foreign key": (_at(b"S", 3, lambda r: _fields(r, more=1)), "has a key that none has: 'more'"),
    "a private key": (_at(b"S", 3, lambda r: _fields(r, state={"process": {}})), "that none has: 'process'"),
    "an image": (_at(b"V", 3, lambda r: _fields(r, globals=[["i64", 9]])), "memory image"),
    "no image": (_at(b"V", 3, lambda r: None), "memory image"),
    "a module": (lambda r: r._replace(value=r.value + b"\0") if r.kind == b"I" else r, "image"),
    "no module": (lambda r: None if r.kind == b"I" else r, "image"),
    "a definition": (lambda r: _fields(r, anchor="b") if r.kind == b"D" else r, "definition's commitments"),
    "another process": (lambda r: r._replace(key=_PID) if r.kind == b"D" else r, "definition's ID"),
    "a path": (lambda r: r._replace(key=b"../../etc/passwd") if r.kind == b"D" else r, "a key that is no ID"),
    "a name": (_at(b"A", 1, lambda r: r._replace(key=b"n/x")), "another slot there"),
    "a claim": (_at(b"A", 1, lambda r: archive.Record(b"C", b"", b"{}")), "a record that no history has there"),
    "no JSON": (_at(b"A", 1, lambda r: r._replace(value=b"{")), "the assignment is not readable"),
    "a list": (_at(b"A", 1, lambda r: r._replace(value=b"[]")), "no message"),
    "another form": (_at(b"A", 1, lambda r: r._replace(value=r.value + b" ")), "assignment"),
}


@pytest.mark.parametrize(("alter", "says"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_whoever_makes_the_digest_anew_is_found_out_by_what_was_altered(
    counter, other, tmp_path: Path, alter, says: str
) -> None:
    path = counter.refork(tmp_path / "altered", alter)
    before = other.records()
    with pytest.raises(IntegrityError) as raised:
        take(other, path)
    assert says in raised.value.what
    assert other.records() == before


def test_pages_that_nothing_holds_and_processes_that_nothing_needs_are_no_part_of_it(
    counter, other, tmp_path: Path
) -> None:
    records = read(counter.path)
    page = archive.Record(b"P", b"A" * 43, bytes(65536))
    place = [record.kind for record in records].index(b"V")
    for extra, says in (
        ([*records[:place], page, *records[place:]], "not what its digest says"),
        ([*records, page], "of no memory image"),
        ([*records, *records], "a process twice"),
        ([], "no process"),
        (records[1:], "no history has there"),
        (records[:1], "no slot of its own"),
    ):
        with pytest.raises(IntegrityError, match=says):
            take(other, write(tmp_path / "f", extra))
    second = other.spawn("counter.wasm", initial_state={"counter": 1})
    export(other, second, tmp_path / "second")
    before = other.records()
    with pytest.raises(IntegrityError, match="other slots than those"):
        take(other, write(tmp_path / "f", [*records, *read(tmp_path / "second")]))
    assert other.records() == before


def _made_up(records: Iterable[Record]) -> Iterator[Record]:
    """A history in which every Increment added a hundred: each record and each image follows from the one before."""
    previous = ""
    for record in records:
        if record.kind in (b"S", b"V"):
            count = 100 * keys.decode_slot(record.key)
            image = dumps({"globals": [["i32", count]], "held": {}, "pages": 0})
        if record.kind == b"V":
            yield record._replace(value=image)
        elif record.kind == b"S":
            made_up = _fields(record, state={"counter": count}, image=ids.digest(image), previous=previous)
            previous = ids.digest(made_up.value)
            yield made_up
        else:
            yield record


def test_a_history_that_is_made_up_as_a_whole_is_noticed_unless_it_is_to_be_believed(
    counter, other, tmp_path: Path
) -> None:
    path = write(tmp_path / "made-up", _made_up(read(counter.path)))
    before = other.records()
    with pytest.raises(IntegrityError, match="replay: state/counter, .*slot 1, expected 1, got 100"):
        take(other, path)
    assert other.records() == before
    take(other, path, replay=False)
    assert other.node.state(counter.process).state["counter"] == 300
    assert [finding.what for finding in findings(other, counter.process)] == ["replay: state/counter"]


@pytest.mark.parametrize(("kind", "path"), [(NotFound, "nothing"), (Refused, "."), (Refused, "text")])
def test_what_is_no_history_is_refused(other, tmp_path: Path, kind: type[HbError], path: str) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(kind):
        take(other, tmp_path / path)


def test_a_file_that_could_not_be_written_leaves_nothing_behind(counter, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "f").write_text("mine")
    monkeypatch.setitem(archive.KIND_BYTES, archive.IMAGE, 10)
    with pytest.raises(Refused, match="10 bytes in one image"):
        export(counter.shell, counter.process, tmp_path / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "mine"
    with pytest.raises(HbError):
        export(counter.shell, counter.process, tmp_path / "no" / "f")


def test_damage_at_home_is_not_sent_out(make_shell, tmp_path: Path) -> None:
    shell = make_shell("one")
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    shell.node.compute(process)
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes={keys.memory_image_key(process, 1)}))
    with pytest.raises(IntegrityError, match="the memory image is gone"):
        export(shell, process, tmp_path / "f")
    assert list(tmp_path.glob("*f*")) == []
