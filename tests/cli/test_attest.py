"""`hb attest`: who claims what of a slot, and that nothing is signed that was not run again."""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from cli.conftest import prepared

if TYPE_CHECKING:
    from cli.conftest import Shell


@prepared("counter")
def counted(counter: Shell) -> None:
    """A counter of two computed slots, and a key `auditor`."""
    counter.ok("send", "counter", "Increment", "--wait")
    counter.ok("key", "new", "auditor")


def address(shell: Shell, name: str) -> str:
    told: str = shell.ok("key", "show", name, "--json").json()["address"]
    return told


def test_several_attest_the_same_witness_and_verify_says_who(counted: Shell) -> None:
    me, auditor = address(counted, "default"), address(counted, "auditor")
    before = counted.records()
    told = counted.ok("attest", "counter", "--slot", "1", "-o", "w.witness").json()
    assert (told["slot"], told["attested-by"], told["file"]) == (1, [me], "w.witness")
    told = counted.ok("attest", "w.witness", "--as", "auditor").json()
    assert told["attested-by"] == sorted([me, auditor])
    raw = (counted.directory / "w.witness").read_bytes()
    counted.ok("attest", "w.witness", "--as", "auditor")
    assert (counted.directory / "w.witness").read_bytes() == raw
    counted.ok("attest", "w.witness", "-o", "copy.witness")
    verified = counted.ok("verify", "w.witness").lines()
    assert verified[0]["attested-by"] == sorted([me, auditor])
    assert f"attested by {auditor}" in counted.terminal("verify", "w.witness").text
    assert counted.records() == before
    assert f"{me} attests slot 1 of" in counted.terminal("attest", "w.witness").text.replace("\n", " ")


def test_what_is_not_right_is_not_signed(counted: Shell) -> None:
    counted.ok("export", "counter", "--slot", "1", "--witness", "-o", "w.witness")
    path = counted.directory / "w.witness"
    raw = path.read_bytes()
    content = zlib.decompress(raw[len(b"hb witness 1\n") : -32])
    assert content.count(b'"state":{"counter":1}') == 1
    altered = b"hb witness 1\n" + zlib.compress(content.replace(b'"state":{"counter":1}', b'"state":{"counter":9}'))
    altered += sha256(altered).digest()
    path.write_bytes(altered)
    verified = counted.hb("verify", "w.witness")
    assert verified.code == 14
    assert verified.lines()[0]["what"] == "replay: state/counter"
    outcome = counted.hb("attest", "w.witness")
    assert outcome.code == 14
    assert "the witness is not right, and nothing was signed: replay: state/counter" in outcome.err
    assert path.read_bytes() == altered


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("counter", "--slot", "1"), 2, "give -o FILE"),
        (("counter", "-o", "f"), 2, "give a FILE"),
        (("counter", "--slot", "9", "-o", "f"), 12, "slot 9 is not scheduled"),
        (("counter", "--slot", "1", "-o", "f", "--as", "nobody"), 12, "nobody"),
        (("none.witness",), 12, "no file none.witness"),
        (("c.history",), 13, "it is a history, not a witness"),
    ],
)
def test_what_cannot_be_is_refused(counted: Shell, arguments: tuple[str, ...], code: int, says: str) -> None:
    counted.ok("export", "counter", "-o", "c.history")
    outcome = counted.hb("attest", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert not (counted.directory / "f").exists()
