"""A module with legacy exceptions, converted by the real wasm-opt."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hb.errors import Refused
from hb.protocol.commitment import message_id
from legacy import LEGACY
from verbs import Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def wasm_opt(fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """binaryen's wasm-opt, and what it runs under, on the PATH."""
    if shutil.which("node") is None:
        pytest.skip("npm's wasm-opt runs under node, and node is not installed")
    monkeypatch.setenv("PATH", str(fetch("binaryen")), prepend=":")


@pytest.mark.usefixtures("wasm_opt")
def test_a_module_with_legacy_exceptions_is_converted_when_it_is_spawned(make_shell) -> None:
    shell = make_shell()
    process = shell.spawn(LEGACY)
    definition = shell.node.definition(process)
    assert definition["image"] == message_id({"body": LEGACY})
    assert definition["converted-by"] == "wasm-opt 132"
    assert definition["converted-image"] != definition["image"]
    assert shell.call(process, "f", "")["output"] == [42]


def test_and_runs_on_where_there_is_no_tool(make_shell, wasm_opt, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = make_shell()
    process = shell.spawn(LEGACY)
    monkeypatch.setenv("PATH", "")
    assert Node(shell.home).state(process).slot == 0
    assert shell.call(process, "f", "")["output"] == [42]


def test_without_a_tool_the_spawn_is_refused_with_the_command(
    make_shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shell = make_shell()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="legacy exceptions") as refused:
        shell.spawn(LEGACY)
    assert "wasm-opt -all --disable-compact-imports --translate-to-exnref" in str(refused.value.hint)
    assert shell.node.processes() == []
