"""One scenario of a home's life, the same bytes whenever it is run: for tests of what disturbs it.

    answers = []
    run(homes.create(path, seed=SEED), answers)     # spawn, send, batch, compute, on counter and ledger

Each step may be run again: a spawn and a message that the home has already keep the slot that they have. So running
it again after whatever came between must end in the bytes of a run that nothing disturbed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hb import keyring
from hb.environment import Environment
from hb.protocol.request import build_message
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.home import Home
    from hb.protocol.message import Message
    from hb.schedule.scheduler import Scheduled

SEED = bytes(range(32))
SAMPLES = Path(__file__).parents[1] / "samples"
ENVIRONMENT = Environment(now_ms=lambda: 1_700_000_000_000, random_bytes=bytes)

COUNTER_CALLS = [("Increment",), ("Add", 5), ("Nonsense",), ("Increment",), ("ReadValue",), ("Add", -2)]
LEDGER_CALLS = [
    ("Mint", 1, 100), ("Transfer", 1, 2, 30), ("Mint", 1, -1), ("Transfer", 1, 2, 1000), ("Balance", 2), ("Supply",),
]  # fmt: skip
COUNTER_VALUES = [0, 1, 6, 6, 7, 7, 5]
LEDGER_OUTPUTS = [None, [100], [1], None, [0], [30], [100]]


def message(call: tuple[str | int, ...], anchor: str) -> Message:
    """A call, the same message whenever it is made with that anchor."""
    return build_message(str(call[0]), list(call[1:]), anchor=anchor)


def run(home: Home, answers: list[Scheduled]) -> None:
    """Runs the whole scenario, each step by a node that remembers nothing; what is acknowledged goes to `answers`."""
    for batch in steps(home):
        answers += batch


def steps(home: Home) -> Iterator[list[Scheduled]]:
    """The scenario step by step: what each acknowledged."""
    key = keyring.load(home.keys, "default")
    processes = {}
    for name in ("counter", "ledger"):
        image = (SAMPLES / f"{name}.wasm").read_bytes()
        spawned = Node(home).spawn(image, signer=key, environment=ENVIRONMENT, anchor=name, name=name)
        processes[name] = spawned.process
        yield [spawned]
    counter, ledger = processes["counter"], processes["ledger"]

    def send(process: str, calls: list[tuple[str | int, ...]], first: int) -> list[Scheduled]:
        messages = [message(call, f"{first + place}") for place, call in enumerate(calls)]
        return Node(home).send(process, messages, signer=key, environment=ENVIRONMENT)

    yield send(counter, COUNTER_CALLS[:1], 1)
    yield send(counter, COUNTER_CALLS[1:5], 2)
    Node(home).compute(counter)
    yield send(ledger, LEDGER_CALLS, 1)
    Node(home).compute(ledger, 2)
    yield send(counter, COUNTER_CALLS[5:], 6)
    assert Node(home).state(counter).state["counter"] == COUNTER_VALUES[-1]
    Node(home).compute(ledger)


def records(home: Home) -> dict[bytes, bytes]:
    """Every record of the store."""
    with home.storage.session() as store:
        return dict(store.scan(b"", b"\xff"))
