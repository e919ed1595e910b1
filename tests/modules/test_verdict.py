"""The verdict on real modules, and on one that has to be converted by the real wasm-opt."""

from __future__ import annotations

import shutil

import pytest

from hb.config import Config
from hb.devices.verdict import examine
from legacy import LEGACY

PAGES = Config().memory_limit_pages


def test_every_module_runs_as_json_iface_and_llama_where_its_memory_is_allowed(fetch) -> None:
    directory = fetch("modules")
    verdicts = {path.name: examine(path.read_bytes(), PAGES)[1] for path in directory.glob("*.wasm")}
    assert len(verdicts) >= 8
    refused = verdicts.pop("llama.wasm")
    assert "wants 19200 pages of memory to start with" in refused.sentence
    assert "--memory-limit 19200" in (refused.hint or "")
    verdicts["llama.wasm"] = examine((directory / "llama.wasm").read_bytes(), 19200)[1]
    assert {verdict.sentence for verdict in verdicts.values()} == {"runs here, as json-iface@1.0"}


def test_what_has_to_be_converted_runs_and_the_tool_is_named(fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("node") is None:
        pytest.skip("npm's wasm-opt runs under node, and node is not installed")
    monkeypatch.setenv("PATH", str(fetch("binaryen")), prepend=":")
    info, verdict = examine(LEGACY, PAGES)
    assert verdict.sentence == "runs here, as wasm64@1.0, converted by wasm-opt 132"
    assert info is not None
    assert (info.bytes, list(info.functions)) == (len(LEGACY), ["f"])
