from __future__ import annotations

import pytest

from hb.wasm.engine import PAGE_BYTES
from hb.wasm.memory import Mirror


@pytest.fixture
def live(start, everything):
    """An instance with three pages of memory."""
    instance = start(everything)
    instance.call("grow", [2])
    return instance


def poke(instance, page: int, value: int, offset: int = 0) -> None:
    assert instance.call("poke", [page * PAGE_BYTES + offset, value]).failure is None


def test_a_new_mirror_sees_no_change(live) -> None:
    mirror = Mirror(live)
    assert (mirror.changed(), mirror.globals_changed(), mirror.is_same(), mirror.pages) == ([], False, True, 3)


def test_changed_pages_are_found_at_their_first_and_last_byte(live) -> None:
    mirror = Mirror(live)
    poke(live, 2, 1 << 56, PAGE_BYTES - 8)
    poke(live, 1, 1)
    assert mirror.changed() == [1, 2]
    poke(live, 1, 0)
    assert mirror.changed() == [2]
    assert not mirror.is_same()


def test_of_added_pages_those_that_are_not_zero_have_changed(live) -> None:
    mirror = Mirror(live)
    live.call("grow", [3])
    assert mirror.changed() == []
    assert not mirror.is_same()
    poke(live, 5, 1)
    assert mirror.changed() == [5]
    assert mirror.accept() == [5]
    assert (mirror.pages, mirror.is_same()) == (6, True)


def test_changed_globals_are_found_to_the_bit(live) -> None:
    live.call("set_g", [0.0])
    mirror = Mirror(live)
    live.call("set_g", [-0.0])
    assert mirror.globals_changed()
    assert not mirror.is_same()
    mirror.accept()
    assert not mirror.globals_changed()


def test_accepting_brings_the_mirror_up_to_date(live) -> None:
    mirror = Mirror(live)
    poke(live, 1, 7)
    assert mirror.accept() == [1]
    assert mirror.accept() == []
    poke(live, 1, 8)
    assert mirror.restore() is live
    assert live.call("peek", [PAGE_BYTES]).values == (7,)


def test_a_call_is_undone_in_place(live) -> None:
    live.call("set_g", [2.5])
    mirror = Mirror(live)
    before = [live.page(i) for i in range(3)], live.raw_globals()
    poke(live, 0, 7)
    poke(live, 2, 7)
    live.call("set_g", [9.0])
    assert mirror.restore() is live
    assert ([live.page(i) for i in range(3)], live.raw_globals()) == before
    assert mirror.is_same()


@pytest.mark.parametrize("shrinks", [True, False], ids=["in place", "by a fresh instance"])
def test_a_call_that_grew_memory_is_undone(live, monkeypatch, shrinks: bool) -> None:
    if not shrinks:
        monkeypatch.setattr(live, "shrink", lambda pages: False)
    live.call("set_g", [2.5])
    poke(live, 1, 3)
    poke(live, 0, 0, 8)  # over what the module's own data segment wrote there
    mirror = Mirror(live)
    before = [live.page(i) for i in range(3)], live.raw_globals()
    live.call("grow", [1])
    poke(live, 3, 7)
    poke(live, 1, 9)
    live.call("set_g", [9.0])
    restored = mirror.restore()
    assert (restored is live) == shrinks
    assert mirror.instance is restored
    assert restored.memory_pages == 3
    assert ([restored.page(i) for i in range(3)], restored.raw_globals()) == before
    assert mirror.is_same()
    assert restored.call("grow", [1]).values == (3,)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("trap", "Unreachable"),
        ("trap", "OutOfBounds"),
        ("trap", "GrowAndTrap"),
        ("loop", "Loop"),
        ("recurse", "Recurse"),
    ],
)
def test_after_a_hostile_call_the_program_is_as_it_was(start, sample, module: str, function: str) -> None:
    instance = start(sample(module), gas=100_000)
    instance.call("Increment", [])
    mirror = Mirror(instance)
    assert instance.call(function, []).failure is not None
    assert instance.read_globals() == {"counter": 2}
    assert not mirror.is_same()
    restored = mirror.restore()
    assert mirror.is_same()
    restored.call("Increment", [])
    assert restored.read_globals() == {"counter": 2}
    if module == "trap":
        assert restored.call("Read", []).values == (2, 2, 2)


def test_a_program_without_memory_has_a_mirror_too(start, sample) -> None:
    counter = start(sample("counter"))
    mirror = Mirror(counter)
    counter.call("Increment", [])
    assert (mirror.changed(), mirror.globals_changed()) == ([], True)
    assert mirror.restore() is counter
    assert counter.read_globals() == {"counter": 0}


def test_a_memory_that_begins_empty_can_be_mirrored(start) -> None:
    instance = start(
        '(module (memory 0) (func (export "grow") (drop (memory.grow (i32.const 1))) (i32.store (i32.const 4) (i32.const 1))))'
    )
    mirror = Mirror(instance)
    instance.call("grow", [])
    assert mirror.changed() == [0]
    restored = mirror.restore()
    assert restored.memory_pages == 0
    restored.call("grow", [])
    assert mirror.accept() == [0]
