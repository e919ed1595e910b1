"""The stores that one suite is run on."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from hb.storage.leveldb import open_store
from hb.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hb.storage.store import Store


@pytest.fixture(params=["memory", "leveldb"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Makes empty stores, as many as asked for."""
    with ExitStack() as opened:
        count = iter(range(1_000_000))

        def make() -> Store:
            if request.param == "memory":
                return MemoryStore()
            return opened.enter_context(open_store(tmp_path / f"store-{next(count)}", create=True))

        yield make


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    """An empty store."""
    return new_store()
