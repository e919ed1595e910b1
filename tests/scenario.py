"""A fixed scenario that always stores the same bytes, for tests that disturb it.

    answers = []
    run(homes.create(path, seed=SEED), answers)     # spawn, send, batch, compute, on counter and ledger

Each step can be run again: a spawn or a message that the home already has keeps its slot. So a run that was disturbed,
and is then run again, must end with the bytes of an undisturbed run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hb import keyring
from hb.environment import Environment
from hb.errors import Unfinished
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
    """Return a message for a call. Equal calls with equal anchors give equal messages."""
    return build_message(str(call[0]), list(call[1:]), anchor=anchor)


def run(home: Home, answers: list[Scheduled]) -> None:
    """Run the whole scenario, each step with a new `Node`. Append what is acknowledged to `answers`."""
    try:
        for batch in steps(home):
            answers += batch
    except Unfinished as error:
        answers += error.done
        raise


def steps(home: Home) -> Iterator[list[Scheduled]]:
    """Run the scenario step by step. Yield what each step acknowledged."""
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
    """Return every record of the store."""
    with home.storage.session() as store:
        return dict(store.scan(b"", b"\xff"))
