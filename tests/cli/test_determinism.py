"""Two homes with the same keys, anchors and timestamps hold the same bytes, whatever Python's hash seed is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shell

_BATCH = "\n".join(
    [
        '{"action": "Add", "parameters": [40], "anchor": "a1", "tags": {"b": "1", "a": "2", "c": "3"}}',
        '{"action": "NoSuch", "anchor": "a2"}',
        '{"action": "Increment", "data": {"$bytes": "_w"}, "anchor": "a3"}',
        '{"action": "ReadValue", "anchor": "a4"}',
    ]
)


def _run(shell: Shell, seed: str) -> tuple[str, dict[bytes, bytes]]:
    shell.variables["PYTHONHASHSEED"] = seed
    fixed = ("--timestamp", "1700000000000", "--block-height", "7")
    pid = shell.ok(
        "spawn", shell.counter_wasm, "--name", "counter", "--initial-state", '{"counter": 1}', "--anchor", "the same",
        "--tag", "zeta=1", "--tag", "alpha=2", *fixed,
    ).out  # fmt: skip
    assert shell.ok("send", "counter", "Increment", "--anchor", "first", *fixed).out == "1\n"
    assert (
        shell.ok("send", "counter", "--batch", "-", "--timestamp", "1700000000001", stdin=_BATCH).out == "2\n3\n4\n5\n"
    )
    assert shell.ok("state", "counter", "counter").out == "43\n"
    return pid, shell.records()


def test_the_same_schedule_gives_the_same_bytes(shell: Shell, tmp_path: Path) -> None:
    shell.ok("init")
    copy = type(shell)(tmp_path / "copy")
    copy.directory.mkdir()
    copy.ok("init")
    shutil.copy(shell.home / "keys" / "default.json", copy.home / "keys" / "default.json")
    first_pid, first = _run(shell, "0")
    second_pid, second = _run(copy, "4294967295")
    assert first_pid == second_pid
    assert len(first) > 12
    assert first == second


def test_time_never_runs_backwards(counter: Shell) -> None:
    counter.ok("send", "counter", "Increment", "--timestamp", "9000000000000")
    before = counter.records()
    outcome = counter.hb("send", "counter", "Increment", "--timestamp", "8999999999999")
    assert outcome.code == 13
    assert "backwards" in outcome.err
    assert counter.records() == before
    assert counter.ok("send", "counter", "Increment").out == "2\n"
    history = counter.ok("inspect", "counter").lines()
    assert history[2]["timestamp"] == 9000000000000
