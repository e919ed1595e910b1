"""Real AO modules from npm, in homes with fixed keys and a fixed clock. Where npm cannot be reached, tests are skipped.

What is fetched, and what is compiled, is kept in `.modules` of the clone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import compiled
from compiled import locked
from hb import keyring
from hb.environment import Environment
from hb.protocol.request import build_message
from modules.run_session import load_script
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from hb.home import Home
    from hb.protocol.message import Message

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def fetch(shared: Path) -> Callable[[str], Path]:
    """Gives the directory of what scripts/fetch-modules fetches, or skips the test, for the reason that it gives."""

    def get(what: str) -> Path:
        missing = shared / f"no-{what}"
        with locked(shared / "fetch.lock"):
            if not missing.exists():
                command = [sys.executable, SCRIPTS / "fetch-modules", what]
                ran = subprocess.run(command, capture_output=True, text=True, check=False)
                if ran.returncode == 0:
                    return Path(ran.stdout.strip())
                missing.write_text(ran.stderr.strip().splitlines()[-1])
        pytest.skip(missing.read_text())

    return get


@pytest.fixture(scope="session")
def compare_loader() -> ModuleType:
    """scripts/compare-loader as a module: it knows the session that modules are compared by."""
    return load_script()


@dataclass
class Shell:
    """A home, and what its owner does there. Nothing is remembered between two calls but what is stored."""

    home: Home
    environment: Environment

    @property
    def node(self) -> Node:
        return Node(self.home)

    def spawn(self, wasm: bytes, **options: Any) -> str:
        owner = keyring.load(self.home.keys, "default")
        return self.node.spawn(wasm, signer=owner, environment=self.environment, anchor="a", **options).process

    def send(self, process: str, action: str, data: str, *, signer: str = "default") -> int:
        message = build_message(action, data=data, anchor=self.environment.random_bytes(8).hex())
        key = keyring.load(self.home.keys, signer)
        return self.node.send(process, [message], signer=key, environment=self.environment)[0].slot

    def results(self, process: str, slot: int) -> Message:
        return self.node.state(process, str(slot)).state["results"]  # type: ignore[return-value]

    def call(self, process: str, action: str, data: str, **options: Any) -> Message:
        """Sends, computes, and gives the results."""
        return self.results(process, self.send(process, action, data, **options))

    def eval(self, process: str, code: str) -> Any:
        """What Lua code gives: old aos modules have it in their data, which others are."""
        results = self.call(process, "Eval", code)
        assert results["type"] == "ok", results
        answer = results.get("data")
        return answer["output"] if isinstance(answer, dict) else answer


@pytest.fixture
def make_shell(tmp_path: Path, fetch: Callable[[str], Path], compare_loader: ModuleType) -> Callable[..., Shell]:
    """Makes a shell whose home has the compiled forms of the modules named."""

    def make(*modules: str, name: str = "home") -> Shell:
        home = compare_loader.make_home(tmp_path / name)
        for each in modules:
            compiled.put(fetch("modules") / each, home.cache)
        clock, numbers = count(1_700_000_000_000, 1000), count(1)
        return Shell(
            home,
            Environment(now_ms=lambda: next(clock), random_bytes=lambda size: next(numbers).to_bytes(size, "big")),
        )

    return make
