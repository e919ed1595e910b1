"""In what two states differ: values by their paths, memory to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hb.errors import NotFound, Refused
from hb.history import difference, fork
from hb.history.difference import Change, changes
from hb.protocol.message import dumps

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, 1, []),
        (1, 2, [Change("", 1, 2)]),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [Change("b", 2, 3)]),
        ({"a": 1}, {"b": 1}, [Change("a", 1, None, is_there=False), Change("b", None, 1, was_there=False)]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [Change("a/b/c", 1, 2)]),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, [Change("a/2", 2, 3), Change("a/3", None, 4, was_there=False)]),
        ({"a": [1]}, {"a": {"1": 1}}, [Change("a", [1], {"1": 1})]),
        ({"a": {"b": 1}}, {"a": 7}, [Change("a", {"b": 1}, 7)]),
        ({"a": 1}, {"a": 1.0}, [Change("a", 1, 1.0)]),
        ({"a": 1}, {"a": True}, [Change("a", 1, True)]),
        ({"a": None}, {}, [Change("a", None, None, is_there=False)]),
    ],
)
def test_values_differ_where_they_do(before: object, after: object, expected: list[Change]) -> None:
    assert list(changes(before, after)) == expected  # type: ignore[arg-type]


@given(VALUES, VALUES)
def test_a_value_differs_from_others_alone(one: object, other: object) -> None:
    assert list(changes(one, one)) == []  # type: ignore[arg-type]
    assert (list(changes(one, other)) == []) == (dumps(one) == dumps(other))  # type: ignore[arg-type]


# Puts bytes where a message says, grows, and keeps a number in a global that is nobody's public key.
SCRIBE = """
(module
  (memory (export "memory") 2 40)
  (global $hidden (mut i32) (i32.const 0))
  (func (export "Put") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "Fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "Hide") (param i32) (global.set $hidden (local.get 0)))
  (func (export "Grow") (param i32) (drop (memory.grow (local.get 0)))))
"""


@pytest.fixture(scope="module")
def scribe(shell_at, tmp_path_factory: pytest.TempPathFactory):
    """A shell and a process, each slot of which changes something else; three slots are not computed."""
    shell = shell_at(tmp_path_factory.mktemp("homes") / "home")
    process = shell.spawn_text(SCRIBE)
    sent = (
        ("Put", 10, 1),
        ("Put", 65536 + 5, 65),
        ("Fill", 100, 7, 50),
        ("Hide", 9),
        ("Grow", 3),
        ("Put", 4 * 65536, 1),
    )
    for place, words in enumerate(sent):
        shell.send(process, *words)
        if place == 2:
            shell.node.compute(process)
    return shell, process


def differ(scribe, before: str | int, after: str | int) -> difference.Difference:
    shell, process = scribe
    return difference.difference(shell.node.context, process, before, after)


def test_memory_differs_by_page_and_byte(scribe) -> None:
    records = scribe[0].records()
    found = differ(scribe, 0, 3)
    memory = found.memory
    assert [(each.page, each.offset, each.size) for each in memory.ranges] == [(0, 10, 1), (0, 100, 50), (1, 5, 1)]
    assert [each.after for each in memory.ranges] == [b"\1", b"\7" * difference.SHOWN_BYTES, b"A"]
    assert [set(each.before) for each in memory.ranges] == [{0}] * 3
    assert (memory.changed_pages, memory.changed_bytes, memory.left_out) == (2, 52, 0)
    assert (memory.pages_before, memory.pages_after) == (2, 2)
    assert not found.is_none
    back = differ(scribe, 3, 0).memory
    assert [(each.after, each.before) for each in memory.ranges] == [(each.before, each.after) for each in back.ranges]
    assert scribe[0].records() == records


def test_bytes_that_are_near_are_one_range(scribe) -> None:
    shell = scribe[0]
    process = shell.spawn_text(SCRIBE, anchor="near")
    for address in (0, difference.GAP_BYTES, 2 * difference.GAP_BYTES + 1, 65535, 65536):
        shell.send(process, "Put", address, 1)
    found = differ((shell, process), 0, "now").memory
    assert [(each.page, each.offset, each.size) for each in found.ranges] == [
        (0, 0, 9),
        (0, 17, 1),
        (0, 65535, 1),
        (1, 0, 1),
    ]
    assert found.changed_bytes == 5


def test_more_ranges_than_anybody_reads_are_counted(scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "MOST_RANGES", 2)
    found = differ(scribe, 0, 3).memory
    assert (len(found.ranges), found.left_out, found.changed_bytes) == (2, 1, 52)


def test_a_global_that_nobody_sees_and_growth_are_differences(scribe) -> None:
    found = differ(scribe, 3, 4)
    assert [(each.name, each.type, each.before, each.after) for each in found.globals] == [(None, "i32", 0, 9)]
    assert (found.keys, found.memory.changed_bytes, found.is_none) == ([], 0, False)
    found = differ(scribe, 4, 5)
    assert (found.memory.pages_before, found.memory.pages_after, found.memory.ranges, found.is_none) == (
        2,
        5,
        [],
        False,
    )
    # What was not there was zeros.
    found = differ(scribe, 4, "now")
    assert [(each.page, each.offset, each.size) for each in found.memory.ranges] == [(4, 0, 1)]


def test_a_slot_does_not_differ_from_itself(scribe) -> None:
    for slot in (0, 3, "now"):
        found = differ(scribe, slot, slot)
        assert found.is_none
        assert [found.keys, found.results, found.globals, found.memory.ranges] == [[], [], [], []]


def test_results_belong_to_the_message_and_not_to_the_state(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    shell.send(process, "ReadValue")
    shell.send(process, "Nothing")
    found = differ((shell, process), 1, 2)
    assert found.is_none
    assert found.results == [Change("output/1", None, 1, was_there=False)]
    assert (found.before.gas, found.after.gas) == (5, 2)
    assert [change.path for change in differ((shell, process), 2, 3).results] == ["error", "kind", "output", "type"]


def test_a_fork_differs_from_what_it_shares(shell) -> None:
    process = shell.spawn("counter.wasm")
    shell.send(process, "Increment")
    forked = fork.fork(shell.node.context, process, 1, signer=shell.key, environment=shell.environment).process
    shell.send(forked, "Add", 4)
    assert differ((shell, forked), 1, 2).is_none
    assert differ((shell, forked), 0, 3).keys == [Change("counter", 0, 5)]


@pytest.mark.parametrize(("reference", "error"), [(7, NotFound), ("A" * 43, NotFound), ("then", Refused)])
def test_what_is_no_slot_is_said(scribe, reference: str | int, error: type[Exception]) -> None:
    with pytest.raises(error):
        differ(scribe, 0, reference)
    with pytest.raises(error):
        differ(scribe, reference, 0)
