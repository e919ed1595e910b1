"""`hb module inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shell


def test_it_says_what_a_module_is_without_a_home(shell: Shell) -> None:
    facts = shell.ok("module", "inspect", shell.counter_wasm).json()
    assert facts["functions"]["Add"] == "(i32) -> ()"
    assert facts["globals"] == {"counter": "i32"}
    assert (facts["abi"], facts["imports"], facts["memory"]) == ("function", [], None)
    assert not list(shell.directory.iterdir())


def test_text_and_standard_input_too(shell: Shell) -> None:
    text = shell.write("m.wat", '(module (import "env" "now" (func (result i64))) (memory (export "memory") 1 2))')
    facts = shell.ok("module", "inspect", text).json()
    assert facts["imports"][0]["module"] == "env"
    assert facts["memory"] == {"minimum-pages": 1, "maximum-pages": 2, "64-bit": False, "exported": "memory"}
    piped = shell.ok("module", "inspect", "-", stdin=shell.counter_wasm.read_bytes()).json()
    assert piped["globals"] == {"counter": "i32"}
    shown = shell.terminal("module", "inspect", "m.wat").text
    assert "env (1)  now () -> (i64)" in shown
    assert "32-bit, 1 page (64 KiB) to start with, 2 pages (128 KiB) at most" in shown


def test_what_is_no_module_is_refused(shell: Shell) -> None:
    for content in (b"", b"hello", b"\0asm", shell.counter_wasm.read_bytes()[:40]):
        outcome = shell.hb("module", "inspect", "-", stdin=content)
        assert (outcome.code, outcome.out) == (13, "")
        assert outcome.err.startswith("hb: error: ")
    assert shell.hb("module", "inspect", "nosuch.wasm").code == 13


def test_the_verdict_is_the_spawns(home: Shell) -> None:
    counted = home.ok("module", "inspect", home.counter_wasm).json()["verdict"]
    assert counted == {
        "runs": True,
        "device": "wasm64@1.0",
        "devices": ["wasm64@1.0"],
        "converted-by": None,
        "sentence": "runs here, as wasm64@1.0",
        "hint": None,
    }
    home.write("alien.wat", '(module (import "a" "b" (func)) (import "a" "c" (func)))')
    refused = home.ok("module", "inspect", "alien.wat").json()["verdict"]
    assert (refused["runs"], refused["device"]) == (False, None)
    assert "a.b" in refused["sentence"]
    assert "minified" in refused["sentence"]
    spawned = home.hb("spawn", "alien.wat")
    assert spawned.code == 13
    assert spawned.err.splitlines()[0] == f"hb: error: {refused['sentence'].removeprefix('does not run here: ')}"


AO = """(module
  (import "env" "strftime" (func (param i64 i64 i64 i64) (result i64)))
  (memory (export "memory") i64 2)
  (func (export "malloc") (param i64) (result i64) (i64.const 0))
  (func (export "handle") (param i64 i64) (result i64) (i64.const 0)))"""


def test_a_module_of_the_ao_abi_runs_as_json_iface_and_that_is_seen_at_a_glance(shell: Shell) -> None:
    shell.write("ao.wat", AO)
    facts = shell.ok("module", "inspect", "ao.wat").json()
    assert (facts["abi"], facts["verdict"]["device"]) == ("ao", "json-iface@1.0")
    assert facts["verdict"]["devices"][0] == "wasi@1.0"
    shown = shell.terminal("module", "inspect", "ao.wat").text
    for line in (
        "ao.wat · ",
        "✓ runs here, as json-iface@1.0",
        "memory64, 2 pages (128 KiB) to start with",
        "env (1)  strftime (i64, i64, i64, i64) -> (i64)",
        "handle (i64, i64) -> (i64)",
    ):
        assert line in shown
    assert not list(shell.directory.glob(".hb"))


def test_imports_are_shown_by_group_and_without_types_where_there_are_many(shell: Shell) -> None:
    imports = "".join(f'(import "{group}" "f{n}" (func))' for n in range(40) for group in ("env", "wasi"))
    shell.write("many.wat", f"(module {imports})")
    shown = " ".join(shell.terminal("module", "inspect", "many.wat").text.replace("│", " ").split())
    assert "env (40) f0, f1, f2" in shown
    assert "wasi (40) f0, f1, f2" in shown
    assert "✗ does not run here" in shown


def test_the_memory_that_a_module_may_have_is_the_homes(home: Shell) -> None:
    home.write("big.wat", "(module (memory 20000))")
    told = home.ok("module", "inspect", "big.wat").json()["verdict"]
    assert told["sentence"].endswith("the module wants 20000 pages of memory to start with; the limit is 16384")
    assert "--memory-limit 20000" in told["hint"]
    shown = home.terminal("module", "inspect", "big.wat").text
    assert "hint: allow it: --memory-limit 20000" in shown
    (home.home / "config.toml").write_text("[process]\nmemory-limit = 20000\n")
    assert home.ok("module", "inspect", "big.wat").json()["verdict"]["runs"] is True


# A function of `try`, `catch_all` and `end`, by hand: no tool here writes the legacy form.
_LEGACY = bytes.fromhex("0061736d01000000 0104016000 00 03020100 0a08010600 0640190b0b".replace(" ", ""))


def test_a_module_of_legacy_exceptions_is_told_how_it_would_be_converted(shell: Shell) -> None:
    told = shell.ok("module", "inspect", "-", stdin=_LEGACY, env={"PATH": "/nonexistent"}).json()
    assert told["verdict"]["runs"] is False
    assert "--translate-to-exnref" in told["verdict"]["sentence"] + str(told["verdict"]["hint"])
    assert "legacy exception" in told["verdict"]["sentence"]
    shell.write("legacy.wasm", _LEGACY)
    shown = shell.terminal("module", "inspect", "legacy.wasm", env={"PATH": "/nonexistent"}).text
    assert "✗ does not run here" in shown
