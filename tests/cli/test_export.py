"""`hb export`, `hb import` and `hb verify FILE`: files that go from one home to another, and what does not come in."""

from __future__ import annotations

import shutil
import signal
import subprocess
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from aowat import says
from cli.conftest import Shell, prepared
from hb.records import keys
from watching import wait_until_it_works

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Templates


@prepared("counter")
def counted(shell: Shell) -> None:
    """A counter of three computed slots, exported as c.history, and slot 2 as c.witness."""
    shell.ok("send", "counter", "--batch", "-", stdin='{"action":"Increment"}\n' * 2)
    shell.ok("compute", "counter")
    shell.ok("export", "counter", "-o", "c.history")
    shell.ok("export", "counter", "--slot", "2", "--witness", "-o", "c.witness")


@pytest.fixture
def elsewhere(counted: Shell, templates: Templates, tmp_path: Path) -> Shell:
    """A shell with another home, and the files."""
    shell = templates.copy(Shell(tmp_path / "elsewhere"), "plain")
    for name in ("c.history", "c.witness"):
        shutil.copy(counted.directory / name, shell.directory)
    return shell


def process_of(shell: Shell) -> str:
    process: str = shell.ok("list").lines()[0]["process"]
    return process


def test_export_says_what_the_file_got(counted: Shell) -> None:
    before = counted.records()
    told = counted.ok("export", "counter", "-o", "again.history").json()
    assert told == {
        "bytes": (counted.directory / "again.history").stat().st_size,
        "computed": 3,
        "file": "again.history",
        "memory-images": 3,
        "process": process_of(counted),
        "slots": 3,
    }
    assert counted.ok("export", "counter", "--to", "now~1", "-o", "part.history").json()["slots"] == 2
    told = counted.ok("export", "counter", "--witness", "--slot", "2", "-o", "w").json()
    assert (told["slot"], told["process"]) == (2, process_of(counted))
    shown = counted.terminal("export", "counter", "-o", "c.history").text
    assert f"c.history: 3 slots, 3 computed, of {process_of(counted)}" in shown.replace("\n", " ")
    assert counted.records() == before
    assert b"default" not in (counted.directory / "c.history").read_bytes()


def test_another_home_takes_it_in_and_goes_on(counted: Shell, elsewhere: Shell) -> None:
    process = process_of(counted)
    done = elsewhere.ok("import", "c.history", "--name", "theirs")
    assert (done.out, done.err) == (f"{process}\n", "hb: imported 3 slots, 3 computed\n")
    assert elsewhere.ok("state", "theirs", "counter").out == "2\n"
    assert elsewhere.ok("state", "theirs", "--slot", "1", "counter").out == "1\n"
    assert elsewhere.ok("call", "theirs", "ReadValue").json()["output"] == [2]
    assert elsewhere.ok("inspect", "theirs").out == counted.ok("inspect", "counter").out
    assert elsewhere.ok("verify", "--all", "--replay").json()["findings"] == 0
    refused = elsewhere.hb("send", "theirs", "Increment")
    assert refused.code == 13
    assert "this home has not that key" in refused.err
    elsewhere.ok("fork", "theirs", "--name", "ours")
    elsewhere.ok("send", "ours", "Increment")
    assert elsewhere.ok("state", "ours", "counter").out == "3\n"


def test_what_is_here_is_added_to_and_never_written_over(counted: Shell, elsewhere: Shell) -> None:
    counted.ok("export", "counter", "--to", "1", "-o", "part.history")
    shutil.copy(counted.directory / "part.history", elsewhere.directory)
    told = elsewhere.ok("import", "part.history", "--json").json()
    assert told == {"process": process_of(counted), "new": True, "stored": {"slots": 2, "records": 2}, "newest": 1}
    behind = elsewhere.ok("import", "c.history", "--no-replay")
    assert behind.err == "hb: it was here already; added 1 slot and 1 record\n"
    before = elsewhere.records()
    for same_or_ahead in ("c.history", "part.history"):
        outcome = elsewhere.ok("import", same_or_ahead)
        assert outcome.err == "hb: it is here already, with all that is in the file; nothing was stored\n"
    assert elsewhere.records() == before


def test_a_schedule_that_went_another_way_is_named(counted: Shell, elsewhere: Shell) -> None:
    counted.ok("export", "counter", "--to", "1", "-o", "part.history")
    fresh = Shell(counted.directory / "fresh")
    fresh.directory.mkdir()
    shutil.copytree(counted.home / "keys", fresh.directory / "keys")
    fresh.ok("init")
    shutil.rmtree(fresh.home / "keys")
    shutil.copytree(counted.home / "keys", fresh.home / "keys")
    fresh.ok("import", counted.directory / "part.history", "--name", "counter")
    fresh.ok("send", "counter", "Add", "5")
    before = fresh.records()
    outcome = fresh.hb("import", counted.directory / "c.history")
    assert outcome.code == 13
    assert "slot 2 is the first that differs: here it has another message" in outcome.err
    assert fresh.records() == before


def test_a_file_is_verified_with_no_home_at_all(elsewhere: Shell, tmp_path: Path) -> None:
    away = Shell(tmp_path / "away")
    away.directory.mkdir()
    for name in ("c.history", "c.witness"):
        shutil.copy(elsewhere.directory / name, away.directory / name.replace(".", "-"))
    told = away.ok("verify", "c-history", "./c-witness", "--replay").lines()
    assert told[-1] == {"findings": 0, "processes": 2, "replayed": True, "slots": 4}
    assert (told[0]["slot"], told[0]["attested-by"], told[0]["file"]) == (2, [], "c-witness")
    shown = away.terminal("verify", "c-witness").text
    assert "c-witness: slot 2 of" in shown
    assert "comes out as it says" in shown.replace("\n", " ")
    assert not away.home.exists()


def test_an_altered_file_is_a_finding(elsewhere: Shell) -> None:
    before = elsewhere.records()
    for name in ("c.history", "c.witness"):
        path = elsewhere.directory / name
        raw = path.read_bytes()
        for place, code in ((2, 13), (0, 13), (12, 14), (len(raw) // 2, 14), (len(raw) - 1, 14)):
            path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
            outcome = elsewhere.hb("verify", name)
            assert outcome.code in {13, 14}
            assert outcome.code == code or place == 12
            assert elsewhere.hb("import", name).code in {13, 14}
            assert "Traceback" not in outcome.err
        path.write_bytes(raw[: len(raw) // 2])
        outcome = elsewhere.hb("verify", name)
        assert outcome.code == 14
        assert "cut or altered" in outcome.lines()[0]["what"]
        assert outcome.lines()[-1]["findings"] == 1
    assert elsewhere.records() == before


def test_a_newer_file_and_a_bomb_are_refused(elsewhere: Shell) -> None:
    def sealed(raw: bytes) -> bytes:
        return raw + sha256(raw).digest()

    elsewhere.write("new.history", sealed(b"hb history 3\nwhatever"))
    header = b"I\x2b\x7f\xff\xff\xff" + b"A" * 43
    elsewhere.write("bomb.history", sealed(b"hb history 1\n" + zlib.compress(header + bytes(50 << 20))))
    for command in ("verify", "import"):
        outcome = elsewhere.hb(command, "new.history")
        assert outcome.code == 13
        assert "it has version 3; this hb knows 2" in outcome.err
        assert "use a newer hb" in outcome.err
        outcome = elsewhere.hb(command, "bomb.history")
        assert outcome.code == 13
        assert "a file may have 134217728 bytes in one image" in outcome.err


def test_no_home_is_made_for_a_file_that_is_none(elsewhere: Shell, tmp_path: Path) -> None:
    away = Shell(tmp_path / "away")
    away.directory.mkdir()
    raw = (elsewhere.directory / "c.history").read_bytes()
    away.write("cut.history", raw[:-1])
    assert away.hb("import", "cut.history").code == 14
    assert not (away.directory / "user").exists()
    away.write("c.history", raw)
    assert "hb: made a home at" in away.ok("import", "c.history").err


def test_an_altered_claim_is_a_finding_that_says_which(elsewhere: Shell) -> None:
    path = elsewhere.directory / "c.history"
    raw = path.read_bytes()
    content = zlib.decompress(raw[len(b"hb history 1\n") : -32])
    assert content.count(b'"state":{"counter":1}') == 1
    altered = b"hb history 1\n" + zlib.compress(content.replace(b'"state":{"counter":1}', b'"state":{"counter":9}'))
    path.write_bytes(altered + sha256(altered).digest())
    outcome = elsewhere.hb("verify", "c.history")
    assert outcome.code == 14
    assert outcome.lines()[0]["what"] == "slot record's previous"
    before = elsewhere.records()
    outcome = elsewhere.hb("import", "c.history")
    assert outcome.code == 14
    assert "c.history is not what it must be, and nothing was stored: slot record's previous" in outcome.err
    assert elsewhere.records() == before


def test_a_process_and_a_file_of_one_name_are_told_apart(counted: Shell) -> None:
    counted.ok("verify", "counter")
    counted.write("counter", "no file of hb")
    assert counted.ok("verify", "counter").json()["slots"] == 3
    shutil.copy(counted.directory / "c.witness", counted.directory / "counter")
    assert counted.ok("verify", "counter").lines()[0]["file"] == "counter"
    assert counted.ok("verify", process_of(counted)).json()["slots"] == 3
    counted.write("other", "no file of hb")
    outcome = counted.hb("verify", "other")
    assert outcome.code == 13
    assert "the file other is not a history or a witness" in outcome.err
    assert counted.hb("verify", "no.witness").code == 12


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("export", "nobody", "-o", "f"), 12, "no process is called 'nobody'"),
        (("export", "counter", "--to", "9", "-o", "f"), 12, "slot 9 is not scheduled"),
        (("export", "counter"), 2, "--output"),
        (("export", "counter", "-o", "no/f"), 1, "cannot write no/f"),
        (("export", "counter", "-o", "."), 13, "no plain file"),
        (("export", "counter", "--witness", "-o", "f"), 2, "a witness is of one --slot"),
        (("import", "none.history"), 12, "no file none.history"),
        (("import", "c.witness"), 13, "it is a witness, not a history"),
        (("import", "c.history", "--name", "../x"), 13, "a name has"),
        (("verify", "c.history", "--repair"), 2, "a FILE is not repaired"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(
    counted: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    before = counted.records()
    outcome = counted.hb(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert counted.records() == before
    assert not (counted.directory / "f").exists()


def test_killed_at_any_moment_there_is_a_whole_process_or_nothing(counted: Shell, elsewhere: Shell) -> None:
    elsewhere.variables["TMPDIR"] = str(elsewhere.directory)  # what is killed leaves its scratch behind
    patience_s, is_whole = 0.1, False
    while not is_whole:
        running = elsewhere.start("import", "c.history", "--name", "theirs")
        try:
            is_whole = running.wait(timeout=patience_s) == 0
        except subprocess.TimeoutExpired:
            running.kill()
        patience_s *= 1.4
        running.communicate()
        told = elsewhere.ok("verify", "--all").lines()[-1]
        assert told["findings"] == 0
        assert told["processes"] in ({1} if is_whole else {0, 1})
    assert elsewhere.ok("state", "theirs", "counter").out == "2\n"


def test_ctrl_c_ends_what_a_strangers_history_runs_and_nothing_is_stored(counted: Shell, elsewhere: Shell) -> None:
    counted.ok("spawn", counted.samples / "loop.wasm", "--name", "loop", "--gas-limit", "1000000000")
    assert counted.hb("send", "loop", "Loop", "--wait").code == 15
    counted.ok("export", "loop", "-o", elsewhere.directory / "loop.history")
    before = elsewhere.records()
    running = elsewhere.start("import", "loop.history")
    wait_until_it_works(running)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b"")
    assert err.startswith(b"hb: error: ")
    assert elsewhere.records() == before
    assert elsewhere.hb("import", "loop.history", "--no-replay").code == 0


@prepared("talkers")
def talked(shell: Shell) -> None:
    """Two processes that talked: pong.history and pong.witness prove what ping sent."""
    pong = shell.records()[keys.name_key("pong")].decode()
    shell.ok("send", "ping", "Go", "--data", says({"Target": pong, "Action": "Hello"}), "--push")
    shell.ok("export", "pong", "-o", "pong.history")
    shell.ok("export", "pong", "--slot", "1", "--witness", "-o", "pong.witness")


def test_a_home_without_the_sender_verifies_a_message_by_its_proof(talked: Shell, tmp_path: Path) -> None:
    elsewhere = Shell(tmp_path / "elsewhere")
    elsewhere.directory.mkdir()
    elsewhere.ok("init")
    ping = talked.records()[keys.name_key("ping")].decode()
    for name in ("pong.history", "pong.witness"):
        shutil.copy(talked.directory / name, elsewhere.directory)
        assert elsewhere.ok("verify", name, "--replay").lines()[-1]["findings"] == 0
    elsewhere.ok("import", "pong.history", "--name", "pong")
    assert elsewhere.ok("verify", "--all", "--replay").json()["findings"] == 0
    assert {keys.sender_key(ping), keys.proof_key(ping, 1)} <= elsewhere.records().keys()
    elsewhere.ok("export", "pong", "-o", "again.history")
    assert (elsewhere.directory / "again.history").read_bytes() == (talked.directory / "pong.history").read_bytes()


@pytest.mark.parametrize("name", ["pong.history", "pong.witness"])
def test_a_false_proof_is_found_and_does_not_come_in(talked: Shell, name: str) -> None:
    path = talked.directory / name
    line, raw = path.read_bytes().split(b"\n", 1)
    content = zlib.decompress(raw[:-32])
    said, lie = (b'"outbox":{"1":{"action":"%b"' % action for action in (b"Hello", b"Howdy"))
    assert content.count(said) == 1
    altered = line + b"\n" + zlib.compress(content.replace(said, lie))
    path.write_bytes(altered + sha256(altered).digest())
    outcome = talked.hb("verify", name)
    assert outcome.code == 14
    [finding, _] = outcome.lines()
    assert (finding["slot"], finding["what"]) == (1, "delivered message's action")
    assert (finding["expected"], finding["got"]) == ('"Howdy"', '"Hello"')
    other = Shell(talked.directory / "other")
    other.directory.mkdir()
    other.ok("init")
    shutil.copy(path, other.directory)
    before = other.records()
    refused = other.hb("import", name) if name.endswith("history") else other.hb("attest", name)
    assert refused.code == 14
    assert "nothing was " in refused.err
    assert other.records() == before
