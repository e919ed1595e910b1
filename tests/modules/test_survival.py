"""Every message in a program of its own: what Lua holds is there in the next one, in memory and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HB = Path(sys.executable).parent / "hb"
STEPS = [
    ("count = (count or 0) + 1; return count", "1"),
    ("count = count + 1; return count", "2"),
    ("gen = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i * i) end end); return gen()", "1"),
    ("return gen() .. ' ' .. gen()", "4 9"),
    ("package.loaded.mine = { calls = 0, next = function(self) self.calls = self.calls + 1; return self.calls end }; return 'put'", "put"),
    ("return require('mine'):next() .. ' ' .. require('mine'):next()", "1 2"),
    ("error('this one never was')", None),
    ("return gen() .. ' ' .. require('mine'):next() .. ' ' .. count", "16 3 2"),
    ("Handlers.add('twice', Handlers.utils.hasMatchingTag('Action', 'Twice'), function(m) ao.send({Target = m.From, Data = m.Data .. m.Data}) end); return 'added'", "added"),
    ("return #Handlers.list > 1", "true"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["aos2_0_6.wasm"])
def test_a_process_goes_on_in_a_new_program_after_every_message(make_shell, fetch, name: str) -> None:
    shell = make_shell(name)
    process = shell.spawn((fetch("modules") / name).read_bytes())

    def hb(*arguments: str) -> tuple[int, str]:
        environment = {"PATH": os.environ["PATH"], "HB_HOME": str(shell.home.path)}
        ran = subprocess.run([HB, *arguments], env=environment, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout

    for number, (code, expected) in enumerate(STEPS, 1):
        exit_code, out = hb("send", process, "Eval", "--data", code, "--wait", "--json")
        assert json.loads(out)["slot"] == number, out
        results = shell.results(process, number)
        assert exit_code == (15 if expected is None else 0), out
        assert results["type"] == ("error" if expected is None else "ok")
        if expected is not None:
            assert results["data"] == expected, code
    hb("send", process, "Twice", "--data", "ab", "--wait")
    assert shell.results(process, len(STEPS) + 1)["outbox"]["1"]["data"] == "abab"


def test_a_module_that_was_used_before_starts_in_milliseconds(make_shell, fetch) -> None:
    from time import perf_counter

    from hb.wasm import module

    shell = make_shell("sqlite.wasm")
    wasm = (fetch("modules") / "sqlite.wasm").read_bytes()
    times = []
    for _ in range(5):
        start = perf_counter()
        module.load(wasm, shell.home.cache)
        times.append(perf_counter() - start)
    assert min(times) < 0.1, f"{times} seconds for a module that is compiled already"
