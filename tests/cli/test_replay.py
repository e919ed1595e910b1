"""`hb replay --module`: what it prints, and its exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from cli.conftest import Shell


@prepared("counter")
def counted(counter: Shell) -> None:
    """A shell whose counter was read and then incremented twice."""
    lines = '{"action":"ReadValue"}\n' + '{"action":"Increment"}\n' * 2
    counter.ok("send", "counter", "--batch", "-", stdin=lines)
    counter.ok("compute", "counter")


def test_it_names_the_first_slot_that_differs_and_exits_with_1(counted: Shell) -> None:
    before = counted.records()
    outcome = counted.hb("replay", "counter", "--module", counted.samples / "counter2.wasm")
    assert (outcome.code, outcome.err) == (1, "")
    process = counted.ok("list").json()["process"]
    change, told = outcome.lines()
    assert change == {
        "slot": 2,
        "differences": [{"path": "state/counter", "before": 1, "after": 2}],
        "gas": {"before": 5, "after": 5},
    }
    assert told == {
        "process": process,
        "to": 2,
        "asked": 3,
        "differing": 1,
        "first": 2,
        "gas": {"before": 7, "after": 7},
    }
    assert counted.records() == before


def test_with_all_it_goes_on_to_the_end(counted: Shell) -> None:
    outcome = counted.hb("replay", "counter", "--module", counted.samples / "counter2.wat", "--all", "--json")
    assert outcome.code == 1
    assert [line["slot"] for line in outcome.lines()[:-1]] == [2, 3]
    assert (outcome.lines()[-1]["to"], outcome.lines()[-1]["differing"]) == (3, 2)
    stopped = counted.hb("replay", "counter", "--module", counted.samples / "counter2.wat", "--json").lines()[-1]
    assert (stopped["to"], stopped["asked"]) == (2, 3)


def test_it_exits_with_0_where_nothing_differs(counted: Shell) -> None:
    told = counted.ok("replay", "counter", "--module", counted.counter_wasm).json()
    assert (told["to"], told["differing"], told["first"]) == (3, 0, None)
    assert counted.ok("replay", "counter", "--module", counted.samples / "counter2.wasm", "--to", "1").json()["to"] == 1


def test_a_terminal_shows_it_in_words(counted: Shell) -> None:
    shown = counted.terminal("replay", "counter", "--module", counted.samples / "counter2.wasm", "--all")
    assert shown.code == 1
    assert "slot 2 differs   gas 5 → 5\n  state/counter  1  →  2" in shown.text
    assert "slots 0 to 3: 2 slots differ; gas 12 → 12" in shown.text
    assert "stopped" not in shown.text
    shown = counted.terminal("replay", "counter", "--module", counted.samples / "counter2.wasm")
    assert "stopped at the first slot that differs; --all looks at slot 3 too" in shown.text
    shown = counted.terminal("replay", "counter", "--module", counted.counter_wasm)
    assert "slots 0 to 3: no slot differs; gas 12 → 12" in shown.text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("counter",), 2, "--module"),
        (("nobody", "--module", "counter2.wat"), 12, "no process is called 'nobody'"),
        (("counter", "--module", "counter2.wat", "--to", "9"), 12, "slot 9 is not scheduled"),
        (("counter", "--module", "gone.wat"), 13, "cannot read the module"),
        (("counter", "--module", "ledger.wat"), 13, "initial-state sets 'counter'"),
    ],
)
def test_what_cannot_be_is_refused(counted: Shell, arguments: tuple[str, ...], code: int, says: str) -> None:
    for sample in ("counter2.wat", "ledger.wat"):
        counted.write(sample, (counted.samples / sample).read_bytes())
    outcome = counted.hb("replay", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
