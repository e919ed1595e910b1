"""A witness and a history of a real aos: they hold in a home that has nothing else, and no byte of them can be another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import IntegrityError, Refused
from hb.files import challenge, transfer, witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modules.conftest import Shell

AOS = "aos2_0_6.wasm"
SAMPLED = 150


def test_an_aos_slot_made_in_one_home_holds_in_an_empty_one(
    make_shell: Callable[..., Shell], fetch, tmp_path: Path
) -> None:
    shell, empty = make_shell(AOS, name="one"), make_shell(AOS, name="empty")
    process = shell.spawn((fetch("modules") / AOS).read_bytes())
    for code in ("x = 1", "x = x + 1 print(x) return x", "error('no')"):
        shell.call(process, "Eval", code)
    path = tmp_path / "w.witness"
    for slot in (0, 2, 3):
        made = witness.make(shell.node.context, process, slot)
        witness.write(witness.attest(made, shell.home.key("default")), path)
        found = challenge.challenge_file(path, empty.node.context.machine)
        assert found.findings == []
        assert (found.process, found.slot) == (process, slot)
        assert found.attested_by == [shell.home.key("default").address]
    with empty.home.storage.session() as store:
        assert [key for key, _ in store.scan(b"", b"\xff")] == [b"format"]

    assert made.base is not None
    digest = sorted(made.pages)[1]
    altered = made._replace(pages={**made.pages, digest: made.pages[digest][:-1] + bytes([made.pages[digest][-1] ^ 1])})
    witness.write(altered, path)
    [finding] = challenge.challenge_file(path, empty.node.context.machine).findings
    assert finding.what.endswith("a memory page is not what its digest says")

    witness.write(made, path)
    alter_each(path, lambda: refuses(lambda: witness.read(path)))
    history = tmp_path / "f.history"
    transfer.export(shell.node.context, process, "now", history)
    alter_each(history, lambda: refuses(lambda: transfer.import_history(empty.node.context, history)))
    with empty.home.storage.session() as store:
        assert [key for key, _ in store.scan(b"", b"\xff")] == [b"format"]

    done = transfer.import_history(empty.node.context, history, name="theirs", replay=True)
    assert (done.slots, done.records) == (4, 4)
    assert empty.eval("theirs", "return x") == "2"
    assert list(empty.node.verify("theirs", replay=True)) == []


def alter_each(path: Path, is_noticed: Callable[[], bool]) -> None:
    """Alters a byte in many places of a file, the first and the last among them, and each must be noticed."""
    raw = path.read_bytes()
    for place in {*range(0, len(raw), len(raw) // SAMPLED), len(raw) - 1, len(raw) - 33}:
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(bytes([raw[place] ^ 1]))
        assert is_noticed(), place
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(raw[place : place + 1])
    assert path.read_bytes() == raw


def refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except (IntegrityError, Refused):
        return True
    return False
