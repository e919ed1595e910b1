"""Whether a module runs here: what `judge` says, and that a spawn says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.devices.verdict import judge
from hb.errors import Refused
from hb.wasm import module

if TYPE_CHECKING:
    from conftest import Shell

PAGES = 16


def verdict(wat: str, pages: int = PAGES):
    wasm = module.from_text(wat)
    return judge(wasm, module.inspect(wasm), pages)


def test_a_module_of_functions_runs_as_wasm64() -> None:
    found = verdict('(module (func (export "Get")))')
    assert (found.runs_as, found.devices, found.refusal) == ("wasm64@1.0", ("wasm64@1.0",), None)
    assert found.sentence == "runs here, as wasm64@1.0"


@pytest.mark.parametrize(
    ("wat", "says"),
    [
        ('(module (import "env" "no_such" (func)))', "env.no_such"),
        ("(module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))", "table.set"),
        ('(module (global (export "results") (mut i32) (i32.const 0)))', "results"),
        ("(module (memory 17))", "wants 17 pages of memory to start with; the limit is 16"),
        ("(module (table 1000001 funcref))", "1000001"),
    ],
)
def test_what_does_not_run_is_refused_in_the_words_that_a_spawn_uses(shell: Shell, wat: str, says: str) -> None:
    from hb.protocol.definition import Limits

    found = verdict(wat)
    assert (found.runs_as, found.devices) == (None, ())
    assert found.refusal is not None
    assert says in found.refusal
    assert found.sentence == f"does not run here: {found.refusal}"
    with pytest.raises(Refused) as refused:
        shell.spawn_text(wat, limits=Limits(gas=1000, memory_pages=PAGES, result_bytes=1000))
    assert (refused.value.message, refused.value.hint) == (found.refusal, found.hint)


def test_a_memory_beyond_the_limit_has_a_hint_and_runs_where_the_limit_is_higher() -> None:
    assert "--memory-limit 17" in (verdict("(module (memory 17))").hint or "")
    assert verdict("(module (memory 17))", pages=17).runs_as == "wasm64@1.0"


def test_what_the_engine_does_not_take_does_not_run() -> None:
    # A function that says it gives an i32 and gives nothing: well-formed, and not valid.
    wasm = bytes.fromhex("0061736d01000000010501600001 7f 03020100 0a040102000b".replace(" ", ""))
    found = judge(wasm, module.inspect(wasm), PAGES)
    assert found.runs_as is None
    assert (found.refusal or "").startswith("not a valid wasm module: ")


CATCHES = """(module
  (import "env" "__cxa_throw" (func (param i32 i32 i32)))
  {catch}
  (memory (export "memory") 1))"""


def test_a_module_that_catches_through_its_host_runs_but_not_its_exceptions() -> None:
    caught = verdict(CATCHES.format(catch='(import "env" "__cxa_begin_catch" (func (param i32) (result i32)))'))
    assert caught.runs_as == "wasi@1.0"
    assert caught.sentence.startswith("runs here, as wasi@1.0; but it catches C++ exceptions through JavaScript")
    assert verdict(CATCHES.format(catch="")).sentence == "runs here, as wasi@1.0"


@pytest.mark.parametrize("name", ['invoke_"', "invoke_) (start", "invoke_v\\n", "invoke_\u00e9"])
def test_an_invoke_whose_name_is_no_name_is_refused_as_any_other_import(shell: Shell, name: str) -> None:
    spelled = "".join(f"\\{byte:02x}" for byte in name.encode())
    wat = f"""(module (import "env" "{spelled}" (func (param i32)))
      (table (export "__indirect_function_table") 1 funcref)
      (func (export "stackSave") (result i32) i32.const 0) (func (export "stackRestore") (param i32))
      (func (export "setThrew") (param i32 i32)))"""
    assert f"env.{name} (function (i32) -> ())" in (verdict(wat).refusal or "")
    with pytest.raises(Refused, match="none of its devices provides"):
        shell.spawn_text(wat)
    # The same module with a name that emscripten gives runs.
    assert verdict(wat.replace(spelled, "invoke_v")).refusal is None
