"""Homes with a fixed key and clock, and the modules of `samples/`, for tests of a process's life."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb import home as homes
from hb import keyring
from hb.environment import Environment
from hb.protocol.request import build_message
from hb.wasm import module
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.compute.context import Context
    from hb.home import Home
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.schedule.scheduler import Scheduled

SAMPLES = Path(__file__).parents[2] / "samples"


class Shell:
    """What a test does with a node: as the command line would, with a clock and randomness that repeat."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.key: Key = keyring.load(home.keys, "default")
        self.environment = fixed_environment()

    @property
    def node(self) -> Node:
        """A node that remembers nothing, as each command has one."""
        return Node(self.home)

    def context(self, **changes: object) -> Context:
        """What verbs need of the world, with some of it changed."""
        return self.node.context.replace(**changes)

    def spawn(self, sample: str, **options: object) -> str:
        image = (SAMPLES / sample).read_bytes()
        return self.spawned(image, **options).process

    def spawn_text(self, wat: str, **options: object) -> str:
        return self.spawned(module.from_text(wat), **options).process

    def spawned(self, image: bytes | str, **options: object) -> Scheduled:
        options = {"anchor": "a", "environment": self.environment, "signer": self.key, **options}
        return self.node.spawn(image, **options)  # type: ignore[arg-type]

    def send(self, process: str, action: str, *parameters: object, **fields: object) -> int:
        message = build_message(action, list(parameters), anchor=self.environment.random_bytes(8).hex(), **fields)  # type: ignore[arg-type]
        return self.send_all(process, [message])[0].slot

    def send_all(self, process: str, messages: list[Message]) -> list[Scheduled]:
        return self.node.send(process, messages, signer=self.key, environment=self.environment)

    def results(self, process: str, slot: int) -> Message:
        return self.node.state(process, slot).state["results"]  # type: ignore[return-value]

    def call(self, process: str, action: str, *parameters: object) -> Message:
        """Sends, computes, and gives the results."""
        return self.results(process, self.send(process, action, *parameters))

    def records(self) -> dict[bytes, bytes]:
        """Every byte of the store, by key."""
        with self.home.storage.session() as store:
            return dict(store.scan(b"", b"\xff"))


def fixed_environment() -> Environment:
    numbers = count(1)
    return Environment(now_ms=lambda: 1_700_000_000_000, random_bytes=lambda size: next(numbers).to_bytes(size, "big"))


@pytest.fixture(scope="session")
def shell_at() -> Callable[[Path], Shell]:
    """A shell of the home at a path, which is made if need be: for homes that tests share."""
    return lambda path: Shell(homes.create(path, seed=bytes(range(32))))


@pytest.fixture
def make_shell(tmp_path: Path) -> Callable[[str], Shell]:
    def make(name: str) -> Shell:
        return Shell(homes.create(tmp_path / name, seed=bytes(range(32))))

    return make


@pytest.fixture
def shell(make_shell: Callable[[str], Shell]) -> Shell:
    return make_shell("home")
