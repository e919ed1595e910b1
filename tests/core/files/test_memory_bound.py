"""What comes in a file, and what is stored, gets no more memory than this machine's setting allows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hb import ids
from hb.compute import driver
from hb.errors import BeyondThisMachine
from hb.files import archive, challenge, staging, transfer
from hb.files import witness as witnesses
from hb.protocol.definition import Limits
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hb.devices.device import Machine

PROGRAM = """(module (memory (export "memory") 1)
  (func (export "Fill") (param i32) (i32.store (i32.mul (i32.const 65536) (local.get 0)) (local.get 0)))
  (func (export "Grow") (param i32) (drop (memory.grow (local.get 0)))))"""
LIMITS = Limits(gas=10**9, memory_pages=2**32, result_bytes=1000)
"""A stranger's definition may allow 2^32 pages of 64 KiB."""


def grown(shell: Any, pages: int) -> str:
    """A process whose memory has this many pages, two of which are not zero."""
    process: str = shell.spawn_text(PROGRAM, limits=LIMITS)
    shell.send(process, "Grow", pages - 1)
    shell.send(process, "Fill", pages - 1)
    shell.send(process, "Fill", pages // 2)
    shell.node.compute(process)
    return process


def small_machine(given: Mapping[str, bytes]) -> Machine:
    return replace(staging.bare_machine(given), host_memory_pages=16)


def small(shell: Any) -> Any:
    """A context of a machine that allows a program 1 MB."""
    context = shell.context()
    return context.replace(settings=context.settings._replace(program_memory_mb=1))


def test_a_history_whose_program_takes_more_is_refused_and_nothing_is_stored(make_shell, tmp_path: Path) -> None:
    there, here = make_shell("there"), make_shell("here")
    process = grown(there, 30)
    transfer.export(there.context(), process, "now", tmp_path / "p.history")
    with pytest.raises(BeyondThisMachine, match="this machine allows 1 MiB") as refusal:
        transfer.import_history(small(here), tmp_path / "p.history")
    assert "program-memory" in str(refusal.value.hint)
    assert here.node.processes() == []
    assert transfer.import_history(here.context(), tmp_path / "p.history").slots == 4


def test_a_witness_with_more_memory_is_refused_before_it_is_run_and_while_it_is_read(shell, tmp_path: Path) -> None:
    made = witnesses.make(shell.context(), grown(shell, 30), 3)
    assert len(made.pages) == 1, "its memory is sparse"
    with pytest.raises(BeyondThisMachine, match="needs 2 MiB of memory; this machine allows 1 MiB"):
        challenge.challenge(made, small_machine)
    path = tmp_path / "w"
    witnesses.write(made._replace(pages={str(n): bytes([n]) * 65536 for n in range(17)}), path)
    with pytest.raises(BeyondThisMachine, match="more memory than this machine allows, which is 1 MiB"):
        _read_without_digests(path)


def _read_without_digests(path: Path) -> None:
    """Read a witness whose pages have the digests that they must have: those written above have others."""
    pages = [bytes([n]) * 65536 for n in range(17)]
    with path.open("rb") as stream:
        records = list(archive.Archive(stream).records())
    first = next(n for n, each in enumerate(records) if each.kind == archive.PAGE)
    others = [each for each in records if each.kind != archive.PAGE]
    right = [archive.Record(archive.PAGE, ids.digest(page).encode(), page) for page in pages]
    with path.open("wb") as stream:
        writer = archive.Writer(stream, archive.WITNESS)
        for each in (*others[:first], *right, *others[first:]):
            writer.put(*each)
        writer.close()
    challenge.challenge_file(path, small_machine)


def test_a_stored_image_of_more_memory_is_not_loaded(shell) -> None:
    process = grown(shell, 30)
    shell.send(process, "Fill", 1)
    context = small(shell)
    with pytest.raises(BeyondThisMachine):
        context.run(lambda inner: driver.compute(inner, process, 4))
    # Page tables that claim pages which no store could hold: refused by what they say.
    key = keys.memory_image_key(process, 0)
    raw = shell.records()[key]
    image = loads_message(raw)
    with shell.home.storage.session() as store:
        store.commit(Batch(puts={key: dumps({**image, "pages": 2**40})}))
    assert any(finding.expected == "at most 4294967296 pages" for finding in shell.node.verify(process))
