from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from hb.binary import convert
from hb.errors import HomeUnusable, Refused
from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, load
from legacy import LEGACY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = Limits(gas=1000, memory_pages=1, result_bytes=1000)
# What a tool makes of it.
CONVERTED = """(module (tag $t)
  (func (export "f") (result i32)
    (block $caught (try_table (catch $t $caught) (throw $t)) unreachable) (i32.const 42)))"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a `wasm-opt` on the PATH that is the Python given: `arguments` is what it was called with."""

    def make(body: str, version: str = "print('wasm-opt version 132 (version_132)')") -> None:
        program = tmp_path / "bin" / "wasm-opt"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!{shlex.quote(sys.executable)}\nimport sys\narguments = sys.argv[1:]\n"
            f"if arguments == ['--version']:\n    {version}\n    sys.exit()\n"
            f"source, target = arguments[-3], arguments[-1]\n{body}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return make


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    path = tmp_path / "converted.wasm"
    path.write_bytes(from_text(CONVERTED))
    return path


def test_only_legacy_exceptions_need_translation() -> None:
    assert convert.needs_translation(LEGACY)
    assert not convert.needs_translation(from_text(CONVERTED))
    assert not convert.needs_translation(from_text("(module)"))
    assert not convert.needs_translation(b"not a module")
    assert not convert.needs_translation(LEGACY[:-1])


def test_the_engine_itself_refuses_the_legacy_module() -> None:
    with pytest.raises(Refused, match="legacy exception"):
        load(LEGACY)


def test_a_module_is_given_to_the_tool_and_taken_from_it(tool, converted: Path, tmp_path: Path) -> None:
    tool(
        f"assert arguments[:3] == ['-all', '--disable-compact-imports', '--translate-to-exnref'], arguments\n"
        f"assert open(source, 'rb').read() == bytes.fromhex('{LEGACY.hex()}')\n"
        f"open(target, 'wb').write(open({str(converted)!r}, 'rb').read())\n"
        f"open({str(tmp_path / 'where')!r}, 'w').write(source)"
    )
    translated, by = convert.translate(LEGACY)
    assert by == "wasm-opt 132"
    assert Instance(load(translated), LIMITS).call("f", []).values == (42,)
    directory = (tmp_path / "where").read_text()
    assert not os.path.exists(os.path.dirname(directory)), "the tool's files were left behind"  # noqa: PTH110, PTH120


def test_a_tool_that_does_not_know_the_newest_feature_yet_is_called_without_it(tool, converted: Path) -> None:
    tool(
        "if '--disable-compact-imports' in arguments:\n"
        "    sys.exit(\"Unknown option '--disable-compact-imports'\")\n"
        f"open(target, 'wb').write(open({str(converted)!r}, 'rb').read())",
        "print('wasm-opt version 118 (version_118)')",
    )
    translated, by = convert.translate(LEGACY)
    assert by == "wasm-opt 118"
    assert Instance(load(translated), LIMITS).call("f", []).values == (42,)


def test_without_a_tool_the_refusal_has_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="no wasm-opt is on the PATH") as refused:
        convert.translate(LEGACY)
    assert "wasm-opt -all --disable-compact-imports --translate-to-exnref" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("sys.exit('[parse exception: bad section]')", r"wasm-opt 132 cannot convert the module: \[parse exception"),
        ("sys.exit(3)", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("pass", "writes no module"),
        ("open(target, 'wb').write(open(source, 'rb').read())", "left legacy exceptions"),
        ("open(target, 'wb').truncate(100_000_000)", "more than 1048576 bytes"),
        ("print('x' * 10_000_000); sys.exit(1)", "cannot convert the module: x{300}$"),
    ],
    ids=["fails", "fails silently", "is killed", "writes nothing", "changes nothing", "writes much", "says much"],
)
def test_a_tool_that_misbehaves_is_a_refusal(tool, body: str, sentence: str) -> None:
    tool(body)
    with pytest.raises(Refused, match=sentence):
        convert.translate(LEGACY)


def test_a_tool_that_does_not_end_is_stopped(tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("import time; time.sleep(600)")
    monkeypatch.setattr(convert, "TIMEOUT_S", 1.0)
    with pytest.raises(Refused, match="took longer than 1 seconds"):
        convert.translate(LEGACY)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("print('wasm-opt version 117 (version_117)')", "is of version 117, which cannot convert"),
        ("print('who knows')", "does not tell its version: who knows"),
        ("sys.exit(1)", "does not tell its version"),
    ],
)
def test_a_tool_that_is_too_old_or_not_the_one_is_a_refusal(tool, version: str, sentence: str) -> None:
    tool("sys.exit('called all the same')", version)
    with pytest.raises(Refused, match=sentence) as refused:
        convert.translate(LEGACY)
    assert "118 or later" in str(refused.value.hint)


def test_a_tool_that_cannot_be_run_is_a_refusal(tool, tmp_path: Path) -> None:
    tool("pass")
    (tmp_path / "bin" / "wasm-opt").write_bytes(b"\x7fELF, cut off")
    with pytest.raises(Refused, match="cannot be run: Exec format error"):
        convert.translate(LEGACY)


def test_where_no_temporary_file_can_be_written_it_says_so(tool, tmp_path: Path, monkeypatch) -> None:
    tool("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(HomeUnusable, match="temporary file, to convert it: No such file") as unusable:
        convert.translate(LEGACY)
    assert "$TMPDIR" in (unusable.value.hint or "")
