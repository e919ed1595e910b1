"""docs/commands.md, which `scripts/list-commands` writes."""

from __future__ import annotations

import runpy
from pathlib import Path

from hb_cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "list-commands"


def test_the_page_of_all_commands_is_up_to_date() -> None:
    written = runpy.run_path(str(SCRIPT))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text() == written, "it is stale: run scripts/list-commands"


def test_the_page_has_every_command_with_its_options() -> None:
    written = runpy.run_path(str(SCRIPT))["page"]()
    for name in (*COMMANDS, "key new", "message sign"):
        section = written.partition(f"### hb {name}\n")[2].partition("\n###")[0]
        assert f"Usage: hb {name} " in section
        assert "-h, --help" in section
        assert "Example" in section
    assert "\x1b" not in written


def test_a_stale_page_is_said(tmp_path: Path, monkeypatch, capsys) -> None:
    script = runpy.run_path(str(SCRIPT))
    main = script["main"]
    monkeypatch.setitem(main.__globals__, "PAGE", tmp_path / "commands.md")
    assert main(["--check"]) == 1
    assert "run scripts/list-commands" in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert main(["--chekc"]) == 2
