"""The pytest plugin that comes with hb: a test that takes `ao` gets a home of its own, in memory, where time is frozen.

    def test_it_counts(ao):
        counter = ao.spawn("counter.wasm")
        counter.send("Increment")
        assert counter.state()["counter"] == 1

pytest loads this in every run: it must import nothing of hb before a fixture is asked for. docs/testing-your-module.md
is its manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb.library import FrozenHome

KEPT_FILES = 32
"""So many files of compiled modules, two a module, are kept in pytest's cache from run to run: the newest."""


@pytest.fixture
def ao(ao_factory: Callable[[], FrozenHome]) -> FrozenHome:
    """An empty home in memory where time is frozen, an `hb.FrozenHome`. The same test gets the same IDs."""
    return ao_factory()


@pytest.fixture(scope="session")
def ao_factory(request: pytest.FixtureRequest) -> Callable[[], FrozenHome]:
    """Makes homes as `ao` is one: for fixtures of your own, of whatever scope."""
    import hb

    cache = _cache(request.config)
    return lambda: hb.frozen(cache=cache)


def _cache(config: pytest.Config) -> Path | None:
    """A directory for compiled modules in pytest's own cache; None where that is switched off, or cannot be written."""
    if not hasattr(config, "cache") or config.cache is None:
        return None
    try:
        directory = config.cache.mkdir("hb")
        # The engine is only ever handed what nobody else can have written.
        directory.chmod(0o700)
        files = sorted(directory.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in files[KEPT_FILES:]:
            file.unlink(missing_ok=True)
    except OSError:
        return None
    return directory
