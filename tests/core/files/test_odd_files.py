"""Histories and witnesses with odd values in odd places: what comes of them is findings or a refusal, never a crash.

Each file has one field altered. Assignments and definitions are signed anew, so that what is odd is reached.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from aowat import echo_module
from hb import ids
from hb.errors import HbError, IntegrityError
from hb.files import archive, challenge, staging, transfer
from hb.files import witness as witnesses
from hb.history import fork as forks
from hb.protocol import assignment as assignments
from hb.protocol.commitment import message_id, sign
from hb.protocol.message import Atom, dumps, loads_message
from hb.protocol.request import build_message
from hb.records.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hb.files.archive import Record

TIMES = int(os.environ.get("HB_ODD_FILES", "15"))
"""How many files of each kind are tried."""
GONE = object()
ODD: list[Any] = [
    GONE,
    None,
    True,
    -1,
    2**64,
    10**400,
    10**5000,
    1.5,
    float("nan"),
    "",
    "x",
    "0" * 43,
    "_" * 43,
    "é\u0130",
    "9" * 5000,
    b"\xff\xfe",
    Atom("odd"),
    [],
    [[]],
    {},
    {"a": {"b": 1}},
    {"commitments": {}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a message, outermost first."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def altered(chance: random.Random, message: Any) -> Any:
    """A copy of a message with an odd value somewhere, or a key too many."""
    copy = loads_message(dumps(message))
    path = chance.choice(list(places(copy)))
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    odd = chance.choice(ODD)
    if odd is GONE:
        del part[path[-1]]
    elif chance.random() < 0.1 and isinstance(part, dict):
        part["odd"] = odd
    else:
        part[path[-1]] = odd
    return copy


def signed(message: Any, key: Any) -> Any:
    return pack(sign({name: value for name, value in message.items() if name != "commitments"}, key))


def mutant(chance: random.Random, records: list[Record], key: Any) -> bytes:
    """The file of `records`, one of which is altered."""
    place = chance.choice([n for n, each in enumerate(records) if each.kind not in {archive.IMAGE, archive.PAGE}])
    found = records[place]
    message = altered(chance, loads_message(found.value))
    if found.kind in {archive.ASSIGNMENT, archive.DEFINITION} and chance.random() < 0.8:
        with suppress(HbError, AttributeError):
            message = signed(unpack(message), key)
    changed = list(records)
    changed[place] = found._replace(value=dumps(message))
    return b"".join(written(changed))


def defined(chance: random.Random, records: list[Record], key: Any) -> bytes:
    """The file of a process whose definition is odd, and whose ID, signatures and first slots are right for it."""
    definition = next(each for each in records if each.kind == archive.DEFINITION)
    return with_definition(records, altered(chance, loads_message(definition.value)), key)


def with_definition(records: list[Record], definition: Any, key: Any) -> bytes:
    """The file of a process with another definition, and whose ID, signatures and first slots are right for it."""
    odd = signed(definition, key)
    process, changed = message_id(odd), []
    for each in records:
        if each.kind == archive.DEFINITION:
            changed.append(each._replace(key=process.encode(), value=dumps(odd)))
        elif each.kind == archive.ASSIGNMENT:
            message = {**unpack(loads_message(each.value)), "process": process}
            if each.key == b"\0" * 8:
                message |= {"body": unpack(odd), "hash-chain": ids.encode(assignments.chain(b"", process))}
            changed.append(each._replace(value=dumps(signed(message, key))))
        else:
            changed.append(each)
    return b"".join(written(changed))


def written(records: list[Record], form: str = archive.HISTORY) -> list[bytes]:
    stream = BytesIO()
    writer = archive.Writer(stream, form)
    for each in records:
        writer.put(*each)
    writer.close()
    return [stream.getvalue()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shell_at: Callable[[Path], Any]) -> dict[str, Any]:
    """The records of a history, of a fork's history, and of a witness, and the key that signed them."""
    directory = tmp_path_factory.mktemp("odd")
    shell = shell_at(directory / "home")
    process = shell.spawn("ledger.wasm")
    shell.send_all(process, [build_message("Mint", [n, 100 * n], anchor=str(n)) for n in range(1, 4)])
    shell.node.compute(process)
    options = {"signer": shell.key, "environment": shell.environment, "anchor": "f"}
    forked = forks.fork(shell.context(), process, 2, **options).process
    shell.call(forked, "Mint", 9, 9)
    # A program that is told of every field of a message and of its assignment.
    echo = shell.spawn_text(echo_module())
    shell.send_all(echo, [build_message("Echo", anchor=str(n), data="x") for n in range(2)])
    shell.node.compute(echo)
    found: dict[str, Any] = {"key": shell.key}
    for name, each in (("history", process), ("fork", forked), ("ao", echo)):
        transfer.export(shell.context(), each, "now", directory / name)
    witnesses.write(witnesses.attest(witnesses.make(shell.context(), process, 2), shell.key), directory / "witness")
    for name in ("history", "fork", "ao", "witness"):
        found[name] = list(archive.Archive(BytesIO((directory / name).read_bytes())).records())
    return found


def outcome(work: Callable[[], Any]) -> str:
    """What came of it: `clean`, `found` or `refused`. Anything but an HbError fails the test."""
    try:
        return "found" if work() else "clean"
    except HbError:
        return "refused"


@pytest.mark.parametrize(
    ("form", "make"), [("history", mutant), ("history", defined), ("fork", mutant), ("ao", mutant)]
)
def test_an_odd_history_has_findings_or_is_refused(made, make_shell, tmp_path, form: str, make: Any) -> None:
    chance = random.Random(f"{form}{make.__name__}")
    path, shell = tmp_path / "odd.history", make_shell("home")
    became = []
    for _ in range(TIMES):
        path.write_bytes(make(chance, made[form], made["key"]))
        found = outcome(lambda: list(staging.verify(path, staging.bare_machine, replay=True)))
        became.append(found)
        imported = outcome(lambda: transfer.import_history(shell.context(), path, replay=chance.random() < 0.5))
        assert imported == "refused" or found != "refused"
        if imported != "refused":
            for each in shell.node.processes():
                outcome(lambda each=each: shell.node.state(each.process))  # type: ignore[misc]
    assert ({"found"} if make is defined else {"found", "refused"}) <= set(became)


def test_a_history_whose_definition_has_an_odd_image_is_refused_and_changes_nothing(made, make_shell, tmp_path) -> None:
    path, shell = tmp_path / "odd.history", make_shell("home")
    [definition] = [loads_message(each.value) for each in made["history"] if each.kind == archive.DEFINITION]
    before = shell.records()
    for odd in ODD:
        changed = {key: value for key, value in {**definition, "image": odd}.items() if value is not GONE}
        path.write_bytes(with_definition(made["history"], changed, made["key"]))
        with pytest.raises(IntegrityError, match="an image there that nothing names"):
            list(staging.verify(path, staging.bare_machine, replay=True))
        with pytest.raises(IntegrityError, match="an image there that nothing names"):
            transfer.import_history(shell.context(), path, replay=False)
    assert shell.records() == before


@pytest.mark.parametrize("odd", [10**5000, 5, None, ["x"]], ids=["long", "number", "null", "list"])
def test_what_is_no_text_where_a_text_is_expected_is_told(made, tmp_path, odd: Any) -> None:
    """A committer, and the image of a witness's definition, are read before their types are checked."""
    path, changed = tmp_path / "odd", list(made["history"])
    place = next(n for n, each in enumerate(changed) if each.kind == archive.ASSIGNMENT and each.key[-1] == 1)
    assignment = unpack(loads_message(changed[place].value))
    body: Any = assignment["body"]
    commitments = {name: {**entry, "committer": odd} for name, entry in body["commitments"].items()}
    changed[place] = changed[place]._replace(
        value=dumps(signed({**assignment, "body": {**body, "commitments": commitments}}, made["key"]))
    )
    path.write_bytes(b"".join(written(changed)))
    found = list(staging.verify(path, staging.bare_machine, replay=True))
    assert "assignment's message" in [finding.what for finding in found]
    for key in ("image", "converted-image"):
        changed = list(made["witness"])
        changed[0] = changed[0]._replace(value=dumps({**loads_message(changed[0].value), key: odd}))
        path.write_bytes(b"".join(written(changed, archive.WITNESS)))
        [finding] = challenge.challenge_file(path, staging.bare_machine).findings
        assert "names no image" in finding.what


def test_an_odd_witness_has_findings_or_is_refused(made, tmp_path) -> None:
    chance = random.Random(5)
    path = tmp_path / "odd.witness"
    became = []
    for _ in range(TIMES):
        records = made["witness"]
        place = chance.choice([n for n, each in enumerate(records) if each.kind not in {archive.IMAGE, archive.PAGE}])
        message = altered(chance, loads_message(records[place].value))
        if records[place].kind in {archive.ASSIGNMENT, archive.DEFINITION, archive.CLAIM}:
            with suppress(HbError, AttributeError):
                message = signed(unpack(message), made["key"])
        changed = [*records]
        changed[place] = records[place]._replace(value=dumps(message))
        path.write_bytes(b"".join(written(changed, archive.WITNESS)))
        became.append(outcome(lambda: challenge.challenge_file(path, staging.bare_machine).findings))
    assert "found" in became
