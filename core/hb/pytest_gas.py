"""The gas of each test and action in a run of pytest: a table, a file, and how it differs from an earlier file.

The numbers come with the reports of the tests, so it makes no difference which process ran a test.

Invariants:
    Nothing of hb is imported here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
_NUMBERS = ("calls", "least", "median", "most")
_COSTS = _NUMBERS[1:]

Gas = dict[str, dict[str, dict[str, int]]]
"""For each test, by its node ID, and each action: how often it ran, and the least, median and most gas."""


class Change(NamedTuple):
    """An action of a test whose gas is not what it was. `percent` is the largest increase of a cost, at least 0."""

    test: str
    action: str
    before: dict[str, int]
    after: dict[str, int]
    percent: float

    @property
    def line(self) -> str:
        """What changed, number by number."""
        parts = [f"{key} {self.before[key]} -> {self.after[key]}" for key in _NUMBERS if self._differs(key)]
        more = f" (+{self.percent:.1f}%)" if self.percent else ""
        return f"{self.test}  {self.action}: {', '.join(parts)}{more}"

    def _differs(self, key: str) -> bool:
        return self.before[key] != self.after[key]


class GasReport:
    """Collect the gas of the tests that pass; then show it, write it, and compare it. It is a plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the file to compare with.

        Raises:
            pytest.UsageError: it cannot be read, or is no such file.
        """
        self._gas: Gas = {}
        self._engines: set[str] = set()
        self._is_table: bool = config.getoption("hb_gas")
        self._tolerance: float = config.getoption("hb_gas_tolerance")
        save, earlier = config.getoption("hb_gas_save"), config.getoption("hb_gas_compare")
        self._save = None if save is None else config.invocation_params.dir / save
        self._earlier = None if earlier is None else _read(config.invocation_params.dir / earlier)
        self._trouble: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the gas of a test, if its report has any."""
        spent = getattr(report, "hb_gas", None)
        if spent is not None:
            self._gas[report.nodeid] = spent["actions"]
            self._engines.update(spent["engines"])

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the file. Let the run fail if that fails, or if something costs too much."""
        if self._save is not None:
            content = {"engines": sorted(self._engines), "gas": self._gas, "version": VERSION}
            try:
                self._save.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
            except OSError as error:
                self._trouble = f"cannot write {self._save}: {error.strerror}"
        if exitstatus == 0 and (self._trouble or self._too_much()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table, and what differs."""
        if self._is_table:
            terminalreporter.section("gas of each test and action")
            for line in _table(self._gas):
                terminalreporter.line(line)
        if self._earlier is not None:
            terminalreporter.section("gas, compared with the earlier file")
            for line in self._compared():
                terminalreporter.line(line)
            for change in self._too_much():
                terminalreporter.line(f"too much: {change.line}", red=True)
        if self._trouble:
            terminalreporter.line(f"hb: {self._trouble}", red=True)

    def _changes(self) -> list[Change]:
        before = {} if self._earlier is None else self._earlier[0]
        return list(_changes(before, self._gas))

    def _has_other_engine(self) -> bool:
        """Return whether the numbers cannot be compared: another engine counts in other units."""
        return self._earlier is not None and bool(self._earlier[1] and self._engines - self._earlier[1])

    def _too_much(self) -> list[Change]:
        if self._has_other_engine():
            return []
        return [change for change in self._changes() if change.percent > self._tolerance]

    def _compared(self) -> Iterator[str]:
        assert self._earlier is not None
        before, engines = self._earlier
        if self._has_other_engine():
            yield f"not compared: the file is from {_listed(engines)}, and this run from {_listed(self._engines)}"
            return
        changes = self._changes()
        yield from (change.line for change in changes if change.percent <= self._tolerance)
        counts = [(test, action) for test, actions in self._gas.items() for action in actions]
        known = sum(action in before.get(test, {}) for test, action in counts)
        yield f"{known - len(changes)} the same, {len(changes)} changed, {len(counts) - known} not in the file"


def _listed(engines: set[str]) -> str:
    return ", ".join(sorted(engines))


def _changes(before: Gas, after: Gas) -> Iterator[Change]:
    """Yield the actions that both have and that differ. Tests that did not run are not among them."""
    for test, actions in sorted(after.items()):
        for action, numbers in sorted(actions.items()):
            earlier = before.get(test, {}).get(action)
            if earlier is not None and earlier != numbers:
                percent = max(_percent(earlier[key], numbers[key]) for key in _COSTS)
                yield Change(test, action, earlier, numbers, percent)


def _percent(before: int, after: int) -> float:
    """Return by how much it increased, or 0 if it did not."""
    if after <= before:
        return 0.0
    return 100 * (after - before) / before if before else float("inf")


def _table(gas: Gas) -> Iterator[str]:
    names = [f"  {action}" for actions in gas.values() for action in actions]
    width = max(map(len, names), default=0)
    if not gas:
        yield "no test that passed sent a message to a process of `ao` and had it computed"
        return
    yield f"{'':{width}}" + "".join(f"{key:>12}" for key in _NUMBERS)
    for test, actions in sorted(gas.items()):
        yield test
        for action, numbers in sorted(actions.items()):
            yield f"{'  ' + action:{width}}" + "".join(f"{numbers[key]:>12}" for key in _NUMBERS)


def _read(path: Path) -> tuple[Gas, set[str]]:
    try:
        content: Any = json.loads(path.read_text())
    except OSError as error:
        raise pytest.UsageError(f"--hb-gas-compare: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise pytest.UsageError(f"--hb-gas-compare: {path} is not JSON: {error}") from error
    if not _is_ours(content):
        raise pytest.UsageError(f"--hb-gas-compare: {path} is not a file that --hb-gas-save of this hb wrote")
    return content["gas"], set(content["engines"])


def _is_ours(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.get("version") == VERSION
        and isinstance(content.get("engines"), list)
        and all(isinstance(engine, str) for engine in content["engines"])
        and isinstance(content.get("gas"), dict)
        and all(isinstance(actions, dict) for actions in content["gas"].values())
        and all(_is_numbers(numbers) for actions in content["gas"].values() for numbers in actions.values())
    )


def _is_numbers(numbers: Any) -> bool:
    return isinstance(numbers, dict) and all(type(numbers.get(key)) is int for key in _NUMBERS)
