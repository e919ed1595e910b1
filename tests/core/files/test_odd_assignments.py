"""A scheduler that signs odd numbers: its history is kept out, found out, and ends no view of another process."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from hb.errors import HbError, IntegrityError
from hb.files import archive, staging, transfer
from hb.protocol.commitment import message_id, sign
from hb.protocol.message import dumps, loads_message
from hb.records import keys
from hb.records.packing import pack, unpack
from hb.schedule import scheduler
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLOT = 2

ODD: dict[str, tuple[str, object]] = {
    "a timestamp of 5,000 digits": ("timestamp", 10**5000),
    "a timestamp of 400 digits": ("timestamp", 10**400),
    "a slot that is true": ("slot", True),
    "a block height of 5,000 digits": ("block-height", 10**5000),
    "no block hash": ("block-hash", None),
    "no epoch": ("epoch", None),
    "an epoch in other digits": ("epoch", "\u0663"),
    "a hash-chain with stray bits": ("hash-chain", "H" * 43),
    "no message": ("body", "text"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, shell_at: Callable[[Path], Any]) -> Path:
    """A home with two processes: a sound one, and one of an AO module whose last assignment is to be altered."""
    shell = shell_at(tmp_path_factory.mktemp("template") / "home")
    for name in ("sound", "odd"):
        process = shell.spawn("counter.wasm", initial_state={"counter": 0}, name=name, anchor=name)
        shell.send(process, "Increment")
        shell.send(process, "Increment")
    shell.node.compute("sound")
    shell.node.compute("odd", SLOT - 1)
    path: Path = shell.home.path
    return path


@pytest.fixture
def shell(template: Path, tmp_path: Path, shell_at: Callable[[Path], Any]) -> Any:
    shutil.copytree(template, tmp_path / "copy")
    return shell_at(tmp_path / "copy")


def altered(shell: Any, raw: bytes, key: str, value: object) -> bytes:
    """An assignment with another value, signed by the scheduler's key."""
    stored = unpack(loads_message(raw))
    del stored["commitments"]
    changed = {**stored, key: value}
    return dumps(pack(sign({name: item for name, item in changed.items() if item is not None}, shell.key)))


def told(path: Path) -> list[str]:
    """What checking a file finds, or why it cannot be laid out."""
    try:
        return [str(finding) for finding in staging.verify(path, staging.bare_machine, replay=True)]
    except IntegrityError as error:
        return [error.message]


def put(shell: Any, puts: dict[bytes, bytes]) -> None:
    with shell.home.storage.session() as store:
        store.commit(Batch(puts=puts))


@pytest.mark.parametrize(("key", "value"), ODD.values(), ids=ODD)
def test_an_odd_assignment_is_a_finding_and_hides_no_other_process(shell: Any, key: str, value: object) -> None:
    process = shell.node.resolve("odd")
    place = keys.assignment_key(process, SLOT)
    raw = altered(shell, shell.records()[place], key, value)
    head = loads_message(shell.records()[keys.head_key(process)])
    if key in head and key != "slot":
        head = {**head, key: value} if value is not None else head
    put(shell, {place: raw, keys.head_key(process): dumps(head)})
    found = list(shell.node.verify(process))
    named = "message" if key == "body" else key
    assert any(finding.what.startswith("assignment") and named in f"{finding}" for finding in found), found
    assert list(shell.node.verify("sound", replay=True)) == []
    list(shell.node.verify(process, replay=True))

    sound = next(view for view in shell.node.processes() if view.names == ["sound"])
    assert (sound.slots, sound.trouble) == (SLOT + 1, None)
    assert shell.node.state("sound").state["counter"] == SLOT
    for ask in (shell.node.state, shell.node.compute, lambda name: list(shell.node.history(name))):
        with pytest.raises(IntegrityError):
            ask("odd")


@pytest.mark.parametrize(("key", "value"), ODD.values(), ids=ODD)
def test_a_history_with_an_odd_assignment_is_told_of_and_not_taken_in(
    shell: Any, make_shell: Callable[[str], Any], tmp_path: Path, key: str, value: object
) -> None:
    path, stream = tmp_path / "odd.history", io.BytesIO()
    transfer.export(shell.node.context, "odd", "now", path)
    writer = archive.Writer(stream, archive.HISTORY)
    with path.open("rb") as given:
        for record in archive.Archive(given).records():
            is_odd = record.kind == archive.ASSIGNMENT and record.key == keys.encode_slot(SLOT)
            writer.put(*(record._replace(value=altered(shell, record.value, key, value)) if is_odd else record))
    writer.close()
    path.write_bytes(stream.getvalue())
    found = told(path)
    assert any(key in sentence or key == "body" for sentence in found), found
    other = make_shell("other")
    before = other.records()
    with pytest.raises(IntegrityError):
        transfer.import_history(other.node.context, path)
    assert other.records() == before


def test_a_head_with_an_odd_number_ends_the_view_of_its_process_alone(shell: Any) -> None:
    process = shell.node.resolve("odd")
    head = loads_message(shell.records()[keys.head_key(process)])
    for key, value in (("timestamp", 10**5000), ("slot", 10**5000), ("slot", -1), ("hash-chain", "H" * 43)):
        put(shell, {keys.head_key(process): dumps({**head, key: value})})
        sound, odd = shell.node.processes()
        assert (sound.names, sound.trouble, sound.slots) == (["sound"], None, 3)
        assert odd.names == ["odd"]
        assert odd.trouble is not None
        assert odd.trouble.process == process
        assert any("head" in finding.what for finding in shell.node.verify(process))
        with pytest.raises(HbError):
            shell.node.state("odd")


ODD_DEFINITIONS: dict[str, tuple[str, object]] = {
    "a converted image that is a number": ("converted-image", 10**5000),
    "a converted image that is a map": ("converted-image", {"a": 1}),
    "a gas limit of 5,000 digits": ("gas-limit", 10**5000),
    "a device that is a number": ("execution-device", 10**5000),
    "a fork at a slot of 5,000 digits": ("fork-slot", 10**5000),
    "an initial state that is a number": ("initial-state", 10**5000),
    "a scheduler that is a number": ("scheduler", 10**5000),
}


@pytest.mark.parametrize(("key", "value"), ODD_DEFINITIONS.values(), ids=ODD_DEFINITIONS)
def test_a_process_with_an_odd_definition_is_told_of_and_not_taken_in(
    shell: Any, make_shell: Callable[[str], Any], tmp_path: Path, key: str, value: object
) -> None:
    sound = shell.node.definition("sound")
    definition = sign({**{k: v for k, v in sound.items() if k != "commitments"}, key: value}, shell.key)
    process = message_id(definition)
    opened, _, _ = scheduler.open_schedule(process, definition, key=shell.key, environment=shell.environment)
    opened.puts[keys.definition_key(process)] = dumps(definition)
    put(shell, opened.puts)
    assert [view.trouble for view in shell.node.processes() if view.names == ["sound"]] == [None]
    named = "fork-of" if key == "fork-slot" else key
    assert any(named in str(finding) for finding in shell.node.verify(process, replay=True))
    for ask in (shell.node.state, shell.node.compute):
        with pytest.raises(HbError):
            ask(process)

    stream = io.BytesIO()
    writer = archive.Writer(stream, archive.HISTORY)
    writer.put(archive.DEFINITION, process.encode(), dumps(definition))
    image = str(sound["image"])
    if key != "image":
        writer.put(archive.IMAGE, image.encode(), shell.records()[keys.image_key(image)])
    writer.put(archive.ASSIGNMENT, keys.encode_slot(0), opened.puts[keys.assignment_key(process, 0)])
    writer.close()
    path = tmp_path / "odd.history"
    path.write_bytes(stream.getvalue())
    assert told(path)
    other = make_shell("other")
    with pytest.raises(IntegrityError):
        transfer.import_history(other.node.context, path)
    assert other.records() == make_shell("empty").records()
