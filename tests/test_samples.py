"""The samples are built from their sources, are all documented, and do what their documentation says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import check, from_text, inspect, load

if TYPE_CHECKING:
    from hb import FrozenHome, Process

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
SOURCES = sorted(SAMPLES.glob("*.wat"))


def start(name: str) -> Instance:
    return Instance(load((SAMPLES / f"{name}.wasm").read_bytes()), Limits(gas=10**6, memory_pages=4, result_bytes=1000))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_what_is_built_is_what_the_source_gives(source: Path) -> None:
    assert source.with_suffix(".wasm").read_bytes() == from_text(source.read_text(encoding="utf-8"))


def test_the_build_script_agrees() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "build-samples"), "--check"]
    ran = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_every_sample_has_a_source_and_a_line_that_names_its_functions() -> None:
    assert {built.stem for built in SAMPLES.glob("*.wasm")} == {source.stem for source in SOURCES}
    lines = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    for source in SOURCES:
        [line] = [line for line in lines if line.startswith(f"| `{source.stem}` |")]
        functions = inspect(source.with_suffix(".wasm").read_bytes()).functions
        # Hostile samples have an `Increment` too, which the table need not repeat.
        assert [name for name in functions if f"`{name}" not in line] in ([], ["Increment"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_process_can_be_made_of_every_sample(source: Path) -> None:
    check(inspect(source.with_suffix(".wasm").read_bytes()), set())


def test_the_counters_whole_state_is_public() -> None:
    info = inspect((SAMPLES / "counter.wasm").read_bytes())
    assert (info.globals, info.hidden_globals, info.memory) == ({"counter": "i32"}, 0, None)


def test_the_ledgers_state_is_all_hidden() -> None:
    info = inspect((SAMPLES / "ledger.wasm").read_bytes())
    assert info.globals == {}
    assert info.hidden_globals == 2
    assert info.memory is not None
    assert info.memory.exported is None


def test_the_ledger_keeps_its_books() -> None:
    ledger = start("ledger")

    def ask(function: str, *arguments: int) -> int | None:
        outcome = ledger.call(function, arguments)
        return int(outcome.values[0]) if outcome.failure is None else None

    assert ask("Mint", 1, 100) == 100
    assert ask("Mint", 1, 20) == 120
    assert ask("Transfer", 1, 2, 50) == 1
    assert ask("Transfer", 2, 1, 51) == 0
    assert ask("Transfer", 9, 1, 1) == 0
    assert ask("Transfer", 1, 1, 70) == 1
    assert [ask("Balance", account) for account in (1, 2, 9)] == [70, 50, 0]
    assert ask("Supply") == 120
    assert ask("Mint", 1, -1) is None
    assert ask("Transfer", 1, 2, -1) is None
    assert ask("Mint", 3, 2**63 - 1) is None


def test_a_refused_transfer_changes_nothing() -> None:
    ledger = start("ledger")
    ledger.call("Mint", [1, 5])
    before = ledger.page(0), ledger.raw_globals()
    assert ledger.call("Transfer", [8, 1, 3]).values == (0,)
    assert ledger.call("Transfer", [1, 8, 6]).values == (0,)
    assert (ledger.page(0), ledger.raw_globals()) == before


@pytest.fixture
def pair(ao: FrozenHome) -> tuple[Process, Process]:
    """Ping and pong."""
    return ao.spawn(SAMPLES / "ping.wasm"), ao.spawn(SAMPLES / "pong.wasm")


def test_the_pair_talks_three_rounds_and_then_ends_by_itself(pair: tuple[Process, Process]) -> None:
    ping, pong = pair
    tree = ping.send("Start", tags={"partner": pong.id}, push=True).tree
    assert [(node.depth, node.process, node.slot, node.view and node.view.action) for node in tree] == [
        (0, ping.id, 1, "Start"),
        (1, pong.id, 1, "Ping"),
        (2, ping.id, 2, "Pong"),
        (3, pong.id, 2, "Ping"),
        (4, ping.id, 3, "Pong"),
        (5, pong.id, 3, "Ping"),
        (6, ping.id, 4, "Pong"),
    ]
    assert [ping.state(slot)["count"] for slot in range(5)] == [0, 0, 1, 2, 3]
    ping.send("Start", tags={"partner": pong.id}, push=True)
    assert (ping.state()["count"], ping.slots, pong.slots) == (6, 9, 7)
    assert (ping.verify(replay=True), pong.verify(replay=True)) == ([], [])


def test_the_commands_of_the_samples_readme_run_as_they_stand(tmp_path: Path) -> None:
    commands = "".join(re.findall(r"^    (.*\n)", (SAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), "HB_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        ["/bin/sh", "-euc", commands],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "3"


def test_pong_answers_to_the_sender_whatever_else_the_message_says(pair: tuple[Process, Process]) -> None:
    ping, pong = pair
    alice = pong.home.address("alice")
    for tags in ({}, {"from": ping.id}, {"a": {'b"From': ping.id}}, {"name": 'Action","value":"Pong"}'}):
        data = f'"From":"{ping.id}"'
        (sent,) = pong.send("Ping", data=data, tags=tags, signer="alice").result().outbox
        assert (sent["action"], sent["target"]) == ("Pong", alice)
    for action in ("Pong", "ping", "Pinging", None):
        assert pong.send(action, data='{"name":"Action","value":"Ping"}').result().outbox == []


def test_ping_counts_what_its_partner_says_and_nothing_else(pair: tuple[Process, Process]) -> None:
    ping, pong = pair
    assert ping.send("Pong", signer="alice").result().ok  # it has no partner yet
    ping.send("Start", tags={"partner": pong.id})
    result = ping.send("Pong", tags={"from": pong.id}, signer="alice").result()
    assert (result.outbox, ping.state()["count"]) == ([], 0)
    alice = ping.home.address("alice")
    ping.send("Start", tags={"partner": alice})
    assert ping.send("Pong", signer="alice").result().outbox[0]["target"] == alice
    assert ping.state()["count"] == 1


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"partner": ""},
        {"partner": "x" * 42},
        {"partner": "x" * 44},
        {"partner": "x" * 42 + "\\"},
        {"partner": "x" * 42 + '"'},
        {"partner": "ä" * 43},
        {"partner": ["x" * 43]},
        {"partners": "x" * 43},
    ],
    ids=str,
)
def test_a_partner_that_is_no_id_fails_the_start(pair: tuple[Process, Process], tags: dict[str, object]) -> None:
    ping, pong = pair
    ping.send("Start", tags={"partner": pong.id})
    failed = ping.send("Start", tags=tags).result()
    assert (failed.ok, failed.error) == (False, "Start needs a tag Partner: the ID of a process")
    assert ping.push().held == 0
    assert ping.state()["count"] == 3


def test_the_pair_takes_long_messages_while_there_is_memory(ao: FrozenHome) -> None:
    long, small = "x" * 1_000_000, ao.spawn(SAMPLES / "pong.wasm", memory_limit_pages=1)
    roomy = ao.spawn(SAMPLES / "pong.wasm")
    assert len(roomy.send("Ping", data=long).result().outbox) == 1
    assert small.send("Ping", data=long).result().kind == "allocation"
    assert len(small.send("Ping", data="short").result().outbox) == 1


def test_the_pairs_public_state_is_the_count() -> None:
    ping, pong = (inspect((SAMPLES / f"{name}.wasm").read_bytes()) for name in ("ping", "pong"))
    assert (ping.globals, pong.globals) == ({"count": "i32"}, {})
