"""Inputs by the thousand that are almost right: a refusal or an outcome, never a crash, a traceback or a hang.

`fuzzing.py` tries them, in a process of its own, that a crash of the interpreter would be seen in. HB_LONG=1 tries
twenty times as many, and others each time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

LONG = bool(os.environ.get("HB_LONG"))
FUZZING = Path(__file__).with_name("fuzzing.py")
# Nothing here is about power loss: a disk in memory, where there is one, tries many times as much.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
BATCHES = 20 if LONG else 1
# Target -> inputs in a batch, and what must have become of some: else the inputs are not what they should be.
TARGETS = {
    "modules": (1500, {"refused by inspect", "refused by load", "refused by check", "run", "refused by spawn", "spawned"}),
    "batches": (250, {"exit 0", "exit 13", "exit 15"}),
    "definitions": (150, {"exit 0", "exit 13"}),
    "messages": (300, {"id: exit 0", "id: exit 13", "verify: exit 0", "verify: exit 13", "sign: exit 0", "sign: exit 13"}),
    "words": (200, {"exit 0", "exit 2", "exit 12", "exit 13"}),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_almost_right_is_refused_or_has_an_outcome(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    inputs, wanted = TARGETS[target]
    became: dict[str, int] = {}
    for batch in range(BATCHES):
        seed = random.SystemRandom().randrange(2**32) if LONG else 4 + batch
        with tempfile.TemporaryDirectory(prefix="hb-fuzz-", dir=FAST) as directory:
            ran = subprocess.run(
                [sys.executable, FUZZING, target, str(seed), str(inputs), directory],
                capture_output=True,
                timeout=600,
                check=False,
            )
            if ran.returncode != 0:  # the last input may be what killed it
                last = (Path(directory) / "input").read_bytes()
                pytest.fail(f"{target}, seed {seed}: exit {ran.returncode}\n{ran.stderr.decode()}\n{last[:2000]!r}")
        told = json.loads(ran.stdout)
        assert told["inputs"] == inputs
        for what, times in told["became"].items():
            became[what] = became.get(what, 0) + times
    with capsys.disabled():
        print(f"\n{sum(became.values())} {target}: {', '.join(f'{n} {what}' for what, n in sorted(became.items()))}")
    assert sum(became.values()) == inputs * BATCHES
    assert wanted <= became.keys(), became
