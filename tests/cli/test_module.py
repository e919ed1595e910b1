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
    assert "env now" in shown


def test_what_is_no_module_is_refused(shell: Shell) -> None:
    for content in (b"", b"hello", b"\0asm", shell.counter_wasm.read_bytes()[:40]):
        outcome = shell.hb("module", "inspect", "-", stdin=content)
        assert (outcome.code, outcome.out) == (13, "")
        assert outcome.err.startswith("hb: error: ")
    assert shell.hb("module", "inspect", "nosuch.wasm").code == 13
