"""All processes verified in one pass; repairs that state what they read; findings that say what they are in fields."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hb.errors import IntegrityError
from hb.history import fork as forks
from hb.records import keys
from hb.storage.leveldb import LevelStore
from hb.storage.store import Batch
from hb.verify import audit, census, index, repair
from hb.verify.evidence import Finding, Kind, finding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


def several(shell: Any, count: int = 4) -> list[str]:
    processes = [shell.spawn("counter.wasm", anchor=str(n), name=f"c{n}") for n in range(count)]
    for process in processes:
        shell.send(process, "Increment")
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f"}
    return [*processes, forks.fork(shell.context(), processes[0], 1, **options).process]


def all_of(shell: Any, **options: Any) -> list[Finding]:
    return list(audit.verify_all(shell.context(), shell.node.process_ids(), replay=True, **options))


def test_the_message_index_is_read_once_for_all_processes(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = several(shell)
    started: list[bytes] = []
    scan = LevelStore.scan

    def counted(self: LevelStore, start: bytes, stop: bytes, *, reverse: bool = False) -> Any:
        if start.startswith(keys.MESSAGE_SLOTS):
            started.append(start)
        return scan(self, start, stop, reverse=reverse)

    monkeypatch.setattr(LevelStore, "scan", counted)
    begun: list[str] = []
    assert all_of(shell, on_process=begun.append) == []
    assert begun == sorted(processes)
    assert started == [keys.messages()[0]]


def test_stray_entries_of_several_processes_are_found_in_the_same_pass(shell, monkeypatch) -> None:
    monkeypatch.setattr(index, "WINDOW_KEYS", 3)
    monkeypatch.setattr(census, "WINDOW_KEYS", 2)
    processes = several(shell)
    strays = {keys.message_slot_key("m" * 43, process): keys.encode_slot(n) for n, process in enumerate(processes[:2])}
    strays[keys.message_slot_key("odd", processes[2])] = b"odd"
    with shell.home.storage.session() as store:
        store.commit(Batch(puts=strays))
    found = all_of(shell)
    assert {(each.process, each.kind, each.part) for each in found} == {
        (processes[0], Kind.INDEX, "m" * 43),
        (processes[1], Kind.INDEX, "m" * 43),
        (processes[2], Kind.INDEX, "odd"),
    }
    for process in processes[:3]:
        [message] = [each.part for each in found if each.process == process]
        assert shell.node.repair(process) == [f"took back the index entry of message {message}: no slot has it"]
    assert all_of(shell) == []


def test_the_words_of_a_finding_follow_from_its_fields() -> None:
    words = {
        "slot record": (Kind.RECORD, None),
        "slot record's previous": (Kind.RECORD, "previous"),
        "index entry of message M": (Kind.INDEX, "M"),
        "name 'it'": (Kind.NAME, "it"),
        "memory page": (Kind.PAGE, "digest"),
        "replay": (Kind.REPLAY, None),
        "replay: state/n": (Kind.REPLAY, "state/n"),
    }
    for what, (kind, part) in words.items():
        finding = Finding("P", 1, kind, part, "a", "b")
        assert finding.what == what
        assert finding.is_derived
    assert not Finding("P", 1, Kind.IMAGE).is_derived
    met = finding_of(IntegrityError("it is cut", process="P", expected=1, got=2))
    assert (met.what, met.expected, met.got, met.is_derived) == ("it is cut", "1", "2", False)


# -- repairs beside another writer


class Racing:
    """A store in which another program writes just before the first batch is committed."""

    def __init__(self, store: Any, meanwhile: list[Callable[[Any], None]]) -> None:
        self.get, self.get_many, self.scan = store.get, store.get_many, store.scan
        self._store, self._meanwhile = store, meanwhile

    def commit(self, batch: Batch) -> None:
        if self._meanwhile:
            self._meanwhile.pop()(self._store)
        self._store.commit(batch)


def racing(shell: Any, meanwhile: Callable[[Any], None]) -> Callable[[], Any]:
    waiting = [meanwhile]

    @contextmanager
    def session() -> Iterator[Any]:
        with shell.context().session() as store:
            yield Racing(store, waiting)

    return session


def test_a_head_is_mended_to_what_was_scheduled_meanwhile(shell, make_shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    before = shell.records()
    shell.send(process, "Increment")
    after = shell.records()
    # The home as it was before the second message, with a head that is gone; it comes while the head is mended.
    gone = {key for key in after if key not in before} | {keys.head_key(process)}
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes=gone))

    def meanwhile(store: Any) -> None:
        store.commit(Batch(puts={key: raw for key, raw in after.items() if key not in before}))

    finding = Finding(process, None, Kind.HEAD)
    done = repair.mend_links(racing(shell, meanwhile), process, [finding])
    assert done == ["wrote the head of the schedule anew: slot 2"]
    assert shell.records() == after


def test_nothing_is_left_after_a_gap_when_a_slot_is_computed_meanwhile(shell) -> None:
    process = shell.spawn("counter.wasm")
    for _ in range(3):
        shell.send(process, "Increment")
    shell.node.compute(process)
    complete = shell.records()
    newest = {key: raw for key, raw in complete.items() if key[:2] in {b"s/", b"v/"} and keys.slot_of(key) == 3}
    with shell.home.storage.session() as store:
        store.commit(Batch(deletes=set(newest)))
    repair.forget(racing(shell, lambda store: store.commit(Batch(puts=newest))), process, 2, [])
    left = [keys.slot_of(key) for key in shell.records() if key[:2] == b"s/"]
    assert left == [0, 1]
    shell.node.compute(process)
    assert shell.records() == complete


def test_a_name_that_was_given_meanwhile_is_not_taken_back(shell) -> None:
    process = shell.spawn("counter.wasm")
    key = keys.name_key("lost")
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: b"x" * 43}))
    found = list(census.check_names(shell.context().session))
    assert [each.part for each in found] == ["lost"]
    given = racing(shell, lambda store: store.commit(Batch(puts={key: process.encode()})))
    assert repair.mend_names(given, found) == []
    assert shell.records()[key] == process.encode()


def test_a_damaged_page_is_deleted_only_as_long_as_it_is_damaged(shell) -> None:
    process = shell.spawn("ledger.wasm")
    shell.call(process, "Mint", 1, 1)
    with shell.home.storage.session() as store:
        key, raw = next(store.scan(b"g/", b"g0"))
        store.commit(Batch(puts={key: b"torn"}))
    [finding] = [each for each in shell.node.verify(process) if each.kind is Kind.PAGE]
    assert finding.part == key[2:].decode()
    mend = racing(shell, lambda store: store.commit(Batch(puts={key: raw})))
    repair.forget(mend, process, 9, [finding])
    assert shell.records()[key] == raw
