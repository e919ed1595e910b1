"""What pytest shows of the homes of a test: the last slots if it fails, and its gas if that is asked for.

The fixture `ao_factory` registers `Homes` with pytest when a test first asks for it. A run without such tests has none
of these hooks.

Invariants:
    Nothing is computed or written in a home.
    What is damaged is said in a line. No exception leaves a hook, because it would end the whole run.
"""

from __future__ import annotations

import re
from contextlib import suppress
from statistics import median_low
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import ref

import pytest

from hb.errors import HbError
from hb.history import pushed, views
from hb.library.home import Home
from hb.library.past import Past
from hb.library.result import Result
from hb.protocol.message import dumps
from hb.records import lineage, links, names
from hb.schedule import scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager
    from weakref import ReferenceType

    from hb.history.pushed import HeldGroup
    from hb.history.views import SlotView
    from hb.library.home import FrozenHome
    from hb.library.place import Place
    from hb.storage.store import OpenStore, Store

SHOWN_SLOTS, SHOWN_PROCESSES, SHOWN_HOMES, SHOWN_HELD = 10, 8, 4, 5
"""Maximum slots of a process, processes of a home, homes of a test, and groups of held deliveries of a process."""

_ID_LENGTH = 43
_REQUEST, _OUTCOME, _PRINTED, _NAME = 40, 160, 80, 60
"""Maximum characters of each part of a line."""

_PATIENCE_S = 1.0
"""How long to wait for a store that a thread of the test still holds."""


class _Made(NamedTuple):
    """Where a home is that `ao_factory` made, and by which fixture of which test or file; None if the test itself did.

    The reference is weak, so that a home goes when its test no longer uses it.
    """

    place: ReferenceType[Place]
    fixture: str | None
    node: pytest.Item | pytest.Collector | None

    def is_used_by(self, item: pytest.Item) -> bool:
        """Return whether the test that runs now made it, or has the fixture that did."""
        if self.fixture is None:
            return True  # what earlier tests made is forgotten
        return self.fixture in getattr(item, "fixturenames", ()) and any(self.node is each for each in item.listchain())


class Homes:
    """The homes that `ao_factory` made, and what pytest asks of them. It is a plugin of pytest.

    With `gas`, the report of each test that passes has an attribute `hb_gas`, for `hb.pytest_gas`.
    """

    def __init__(self, *, gas: bool) -> None:
        self._gas = gas
        self._made: list[_Made] = []
        self._fixtures: list[tuple[str, pytest.Item | pytest.Collector]] = []
        self._kept: list[Place] | None = None
        self._spent: dict[str, Any] | None = None

    def add(self, home: FrozenHome) -> FrozenHome:
        """Note a home that was made; return it."""
        fixture, node = self._fixtures[-1] if self._fixtures else (None, None)
        self._made.append(_Made(ref(home.place), fixture, node))
        if self._kept is not None:
            self._kept.append(home.place)
        return home

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Note which fixture is set up, to know whose the homes are that it makes."""
        self._fixtures.append((fixturedef.argname, request.node))
        try:
            return (yield)
        finally:
            self._fixtures.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure the gas of what is sent while the test runs, if it is asked for."""
        if not self._gas:
            return (yield)
        self._spent, self._kept = None, self._places(item)
        try:
            before = _heads(self._kept)
            outcome = yield
            self._spent = _spent(self._kept, before)
            return outcome
        finally:
            self._kept = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Give the report of a failed test the last slots of its processes."""
        report = yield
        if report.failed and (places := self._places(item)):
            report.sections.append(("hb", describe(places, lambda: _variables(item, call))))
        if report.when == "call" and report.passed and self._spent and self._spent["actions"]:
            cast("Any", report).hb_gas = self._spent
        if report.when == "teardown":
            self._made = [each for each in self._made if each.node not in (None, item) and each.place()]
        return report

    def _places(self, item: pytest.Item) -> list[Place]:
        found = (made.place() for made in self._made if made.is_used_by(item))
        return [place for place in found if place is not None]


def _variables(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, str]:
    """Return the names that fixtures and variables of a failed test give to process IDs."""
    found: dict[str, str] = {}
    variables = [getattr(item, "funcargs", {})]
    variables += [entry.locals for entry in call.excinfo.traceback] if call.excinfo else []
    for each in variables:
        for name, value in each.items():
            if isinstance(value, Past):
                try:
                    found.setdefault(value.id, name)
                except HbError:
                    continue  # it was never looked up, and there is none
    return found


def describe(places: list[Place], variables: Callable[[], Mapping[str, str]]) -> str:
    """Return the last slots of each process, a line each. The newest of the homes in `places` comes first.

    `variables` is called for the names that the test has for process IDs. Processes with a name come first.
    """
    lines: list[str] = []
    try:
        called = variables()
        for place in reversed(places[-SHOWN_HOMES:]):
            lines += _home_lines(Home(place, lock_timeout_s=_PATIENCE_S).context.session, called)
        if len(places) > SHOWN_HOMES:
            lines.append(f"and {len(places) - SHOWN_HOMES} more homes, made earlier")
    except Exception as error:  # the test's own failure must be shown, whatever is wrong here
        lines.append(f"the rest cannot be shown: {_short(_sentence(error), _OUTCOME)}")
    return "\n".join(lines or ["there is no process in the home of this test"])


def _sentence(error: Exception) -> str:
    return error.message if isinstance(error, HbError) else repr(error)


def _home_lines(session: OpenStore, called: Mapping[str, str]) -> Iterator[str]:
    with session() as store:
        processes = scheduler.processes(store)
    try:
        with session() as store:
            named = {process: name for name, process in names.read_all(store).items()}
        held = pushed.held(session)
    except HbError as error:
        yield f"names and held deliveries cannot be shown: {_short(error.message, _OUTCOME)}"
        named, held = {}, []
    labels = {**called, **named}
    processes.sort(key=lambda process: process not in labels)
    for process in processes[:SHOWN_PROCESSES]:
        with session() as store:
            yield from _process_lines(store, process, labels.get(process, ""))
        yield from _held_lines([group for group in held if group.process == process])
    if len(processes) > SHOWN_PROCESSES:
        yield f"and {len(processes) - SHOWN_PROCESSES} more processes"


def _process_lines(store: Store, process: str, label: str) -> Iterator[str]:
    title = f"{_short(label, _NAME)} ({process[:_ID_LENGTH]})" if label else process[:_ID_LENGTH]
    try:
        newest = scheduler.get_head(store, process).slot
    except HbError as error:
        yield f"{title}: {_short(error.message, _OUTCOME)}"
        return
    yield f"{title}, slots 0 to {newest}"
    for slot in range(max(0, newest - SHOWN_SLOTS + 1), newest + 1):
        place = f"  {slot:>{len(str(newest))}}  "
        try:
            for view in views.slot_views(store, process, slot, slot):
                yield place + _slot_line(view)
        except HbError as error:
            yield place + f"damaged: {_short(error.message, _OUTCOME)}"


def _slot_line(view: SlotView) -> str:
    parts = [_request_name(view), *view.parameters, *([] if view.data is None else [view.data])]
    request = " ".join(_short(part, _REQUEST) for part in parts[:_REQUEST])
    line = f"{_short(request, _REQUEST):<{_REQUEST // 2}}  "
    if not view.computed:
        return line + "not computed"
    result = Result(view.results or {}, view.state or {})
    if result.ok:
        answer = "" if result.answer is None else _short(result.answer, _OUTCOME)
        line += f"ok: {answer}" if answer else "ok"
    else:
        line += _short(f"{result.kind}: {result.line}", _OUTCOME)
    line += f"  gas {view.gas}" if view.gas is not None else ""
    return line + (f"  printed {_short(result.printed, _PRINTED)!r}" if result.printed else "")


def _held_lines(groups: list[HeldGroup]) -> Iterator[str]:
    for group in groups[:SHOWN_HELD]:
        yield f"  held: {group.size} for {_short(group.target, _ID_LENGTH)}: {_short(group.says, _OUTCOME)}"
    if len(groups) > SHOWN_HELD:
        yield f"  held: {sum(group.size for group in groups[SHOWN_HELD:])} more"


def _short(value: Any, limit: int) -> str:
    """Return a value on one line of at most `limit` characters, without what a terminal obeys."""
    if isinstance(value, bytes):
        value = value[: 4 * limit].decode("utf-8", "replace")
    text = value if isinstance(value, str) else dumps(value).decode("utf-8", "replace")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text[: 8 * limit])
    line = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return line if len(line) <= limit and len(text) <= 8 * limit else line[: limit - 1] + "…"


# -- gas


def _heads(places: list[Place]) -> dict[tuple[int, str], int]:
    """Return the newest scheduled slot of each process of these homes, by the home's identity and the process ID.

    What is damaged, or held by a thread of the test for long, is left out.
    """
    found: dict[tuple[int, str], int] = {}
    for place in places:
        with suppress(HbError), _session(place) as store:
            for process in scheduler.processes(store):
                with suppress(HbError):
                    found[id(place), process] = scheduler.get_head(store, process).slot
    return found


def _spent(places: list[Place], before: Mapping[tuple[int, str], int]) -> dict[str, Any]:
    """Return the gas of the computed slots that processes got since `before`, by action, and what engines ran them."""
    gas: dict[str, list[int]] = {}
    engines: set[str] = set()
    by_identity = {id(place): place for place in places}
    for (place, process), newest in _heads(places).items():
        with suppress(HbError), _session(by_identity[place]) as store:
            first = max(lineage.first_slot(store, process), before.get((place, process), -1) + 1)
            for view in views.slot_views(store, process, first, newest):
                if view.gas is not None:
                    gas.setdefault(_request_name(view), []).append(view.gas)
            engines |= {record.engine for record in links.records(store, process, first, newest)}
    return {"actions": {name: _summary(found) for name, found in gas.items()}, "engines": sorted(engines)}


def _session(place: Place) -> AbstractContextManager[Store]:
    return Home(place, lock_timeout_s=_PATIENCE_S).context.session()


def _request_name(view: SlotView) -> str:
    if view.slot == 0 or view.origin is not None:
        return "(spawn)" if view.origin is None else "(fork)"
    return _short(view.action or "(no action)", _NAME)


def _summary(gas: list[int]) -> dict[str, int]:
    return {"calls": len(gas), "least": min(gas), "median": median_low(gas), "most": max(gas)}
