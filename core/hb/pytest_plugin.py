"""The pytest plugin of hb: a test that takes `ao` gets a home of its own, in memory, in which time is frozen.

    def test_it_counts(ao):
        counter = ao.spawn("counter.wasm")
        counter.send("Increment")
        assert counter.state()["counter"] == 1

Its manual is docs/testing-your-module.md.

Invariants:
    pytest loads this in every run, so nothing of hb is imported before a test asks for a fixture, or the command line
    for a report of gas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb.library import FrozenHome

KEPT_FILES = 32
"""Maximum files of compiled modules, two for each module, that stay in pytest's cache between runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for gas."""
    group = parser.getgroup("hb", "gas of AO processes (hb)")
    group.addoption("--hb-gas", action="store_true", help="show the gas of each test and action")
    group.addoption("--hb-gas-save", metavar="FILE", help="write the gas of each test and action to FILE, as JSON")
    group.addoption(
        "--hb-gas-compare",
        metavar="FILE",
        help="show what differs from FILE, which --hb-gas-save wrote. If something costs more, the run fails.",
    )
    group.addoption(
        "--hb-gas-tolerance",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="how much more something may cost than in the file of --hb-gas-compare. The default is 0.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the gas of each test, if it is asked for. Under pytest-xdist its controller does that."""
    if _wants_gas(config) and not hasattr(config, "workerinput"):
        from hb.pytest_gas import GasReport

        config.pluginmanager.register(GasReport(config), "hb-gas")


@pytest.fixture
def ao(ao_factory: Callable[[], FrozenHome]) -> FrozenHome:
    """Return an empty home in memory in which time is frozen, an `hb.FrozenHome`. The same test gets the same IDs."""
    return ao_factory()


@pytest.fixture(scope="session")
def ao_factory(request: pytest.FixtureRequest) -> Callable[[], FrozenHome]:
    """Return a function that makes homes like `ao`: for fixtures of your own, of any scope."""
    import hb
    from hb.pytest_report import Homes

    config = request.config
    homes, cache = Homes(gas=_wants_gas(config)), _cache(config)
    config.pluginmanager.register(homes)
    request.addfinalizer(lambda: config.pluginmanager.unregister(homes))  # noqa: PT021
    return lambda: homes.add(hb.frozen(cache=cache))


def _wants_gas(config: pytest.Config) -> bool:
    return any(config.getoption(name) for name in ("hb_gas", "hb_gas_save", "hb_gas_compare"))


def _cache(config: pytest.Config) -> Path | None:
    """Return a directory for compiled modules in pytest's cache, or None if that is off or cannot be written."""
    if not hasattr(config, "cache") or config.cache is None:
        return None
    try:
        directory = config.cache.mkdir("hb")
        # Nobody else may write what the engine loads.
        directory.chmod(0o700)
        files = sorted(directory.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in files[KEPT_FILES:]:
            file.unlink(missing_ok=True)
    except OSError:
        return None
    return directory
