"""The pytest plugin of hb: a test that takes `ao` gets a home of its own, in memory, in which time is frozen.

    def test_it_counts(ao):
        counter = ao.spawn("counter.wasm")
        counter.send("Increment")
        assert counter.state()["counter"] == 1

Its manual is docs/testing-your-module.md.

Invariants:
    pytest loads this in every run, so nothing of hb is imported before a test asks for a fixture.
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


@pytest.fixture
def ao(ao_factory: Callable[[], FrozenHome]) -> FrozenHome:
    """Return an empty home in memory in which time is frozen, an `hb.FrozenHome`. The same test gets the same IDs."""
    return ao_factory()


@pytest.fixture(scope="session")
def ao_factory(request: pytest.FixtureRequest) -> Callable[[], FrozenHome]:
    """Return a function that makes homes like `ao`: for fixtures of your own, of any scope."""
    import hb

    cache = _cache(request.config)
    return lambda: hb.frozen(cache=cache)


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
