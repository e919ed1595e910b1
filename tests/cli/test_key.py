"""`hb key`."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from hb import ids
from wallets import SMALL_WALLET, WALLET

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shell


def test_new_prints_the_address_alone_and_show_says_where_it_comes_from(home: Shell) -> None:
    address = home.ok("key", "new", "alice").out.strip()
    shown = home.ok("key", "show", "alice").json()
    assert shown["address"] == address == ids.encode(sha256(ids.decode(shown["keyid"])).digest())
    assert (shown["name"], shown["algorithm"]) == ("alice", "ed25519")


def test_the_secret_is_shown_to_who_asks_for_it_and_signs_when_it_is_put_back(home: Shell) -> None:
    home.ok("key", "new", "alice")
    file = home.home / "keys" / "alice.json"
    shown = home.ok("key", "show", "alice", "--secret")
    assert shown.json() == json.loads(file.read_text())
    file.write_text(shown.out)
    home.ok("spawn", home.counter_wasm, "--as", "alice")


def test_the_secret_is_otherwise_never_shown(home: Shell) -> None:

    home.ok("key", "new", "alice")
    secret = json.loads((home.home / "keys" / "alice.json").read_text())["d"]
    for outcome in (home.ok("key", "show", "alice"), home.ok("key", "list"), home.terminal("key", "show", "alice")):
        assert secret not in outcome.out


def test_a_key_is_never_overwritten(home: Shell) -> None:
    address = home.ok("key", "new", "alice").out
    outcome = home.hb("key", "new", "alice")
    assert outcome.code == 13
    assert "alice" in outcome.err
    assert home.ok("key", "show", "alice").json()["address"] == address.strip()


def test_an_unknown_key_is_12_and_a_bad_name_13(home: Shell) -> None:
    assert home.hb("key", "show", "nobody").code == 12
    assert home.hb("key", "new", "../escape").code == 13
    assert home.hb("key", "new", "").code == 13


def test_a_key_that_others_can_read_is_refused_with_the_remedy(counter: Shell) -> None:
    counter.ok("key", "new", "alice")
    file = counter.home / "keys" / "alice.json"
    file.chmod(0o644)
    before = counter.records()
    outcome = counter.hb("send", "counter", "Increment", "--as", "alice")
    assert outcome.code == 13
    assert f"hint: chmod 600 {file}" in outcome.err
    assert counter.records() == before
    # A history is looked at without it.
    assert counter.terminal("inspect", "counter").code == 0


def test_on_a_terminal(home: Shell) -> None:
    address = home.ok("key", "new", "alice").out.strip()
    shown = home.terminal("key", "list").text
    assert "alice" in shown
    assert address in shown
    home.ok("key", "import", "wallet", "-", stdin=json.dumps(SMALL_WALLET))
    lines = {
        name: line
        for line in home.terminal("key", "list").text.splitlines()
        for name in ("alice", "wallet")
        if name in line
    }
    assert "ed25519" in lines["alice"]
    assert "rsa-pss-sha512" in lines["wallet"]


# Keys from files

ADDRESS = ids.encode(sha256(ids.decode(WALLET["n"])).digest())


def write(shell: Shell, name: str, content: str, mode: int = 0o600) -> Path:
    file = shell.directory / name
    file.write_text(content)
    file.chmod(mode)
    return file


def test_the_secret_that_was_shown_is_brought_back_in_another_home(home: Shell) -> None:
    address = home.ok("key", "new", "alice").out
    shown = home.ok("key", "show", "alice", "--secret").out
    write(home, "alice.json", shown, 0o644)
    home.ok("--home", "other", "init")
    assert home.ok("--home", "other", "key", "import", "alice", "alice.json").out == address
    assert home.ok("--home", "other", "key", "import", "again", "-", stdin=shown).out == address
    assert home.ok("--home", "other", "key", "show", "again", "--secret").out == shown
    assert (home.directory / "alice.json").read_text() == shown


def test_a_wallet_is_taken_in_and_signs(counter: Shell) -> None:
    file = write(counter, "arweave.json", json.dumps({**WALLET, "ext": True}), 0o644)
    told = counter.ok("--json", "key", "import", "wallet", file).json()
    assert told == counter.ok("key", "show", "wallet").json()
    assert told == {"name": "wallet", "address": ADDRESS, "keyid": WALLET["n"], "algorithm": "rsa-pss-sha512"}
    assert {"name": "wallet", "algorithm": "rsa-pss-sha512"}.items() <= counter.ok("key", "list").lines()[-1].items()
    assert counter.ok("key", "show", "wallet", "--secret").json() == WALLET
    assert (counter.home / "keys" / "wallet.json").stat().st_mode & 0o777 == 0o600
    counter.ok("send", "counter", "Increment", "--as", "wallet", "--wait")
    assert counter.ok("inspect", "counter", "--slot", "1").json()["sender"] == ADDRESS
    assert counter.ok("state", "counter", "counter").out == "1\n"
    assert counter.ok("verify", "counter", "--replay").json()["findings"] == 0


def test_a_wallet_can_be_the_sender_in_the_settings(counter: Shell) -> None:
    counter.ok("key", "import", "wallet", "-", stdin=json.dumps(SMALL_WALLET))
    (counter.home / "config.toml").write_text('[keys]\nsender = "wallet"\n')
    counter.ok("send", "counter", "Increment")
    address = counter.ok("key", "show", "wallet").json()["address"]
    assert counter.ok("inspect", "counter", "--slot", "1").json()["sender"] == address


def test_a_wallet_cannot_be_the_scheduler(home: Shell) -> None:
    home.ok("key", "import", "wallet", "-", stdin=json.dumps(SMALL_WALLET))
    (home.home / "config.toml").write_text('[keys]\nscheduler = "wallet"\n')
    before = home.records()
    outcome = home.hb("spawn", home.counter_wasm)
    assert outcome.code == 13
    assert "assignments must be signed with an Ed25519 key" in outcome.err
    assert "`scheduler` under [keys]" in outcome.err
    assert home.records() == before


def test_as_takes_the_file_of_a_wallet_wherever_something_is_signed(home: Shell) -> None:
    """One process, its whole life by a wallet that is in no home."""
    write(home, "wallet.json", json.dumps(WALLET))
    write(home, "wallet", json.dumps(WALLET))
    by = ("--as", "wallet.json")
    home.ok("spawn", home.counter_wasm, "--name", "counter", "--initial-state", '{"counter": 0}', *by)
    home.ok("send", "counter", "Increment", "--as", "./wallet")
    home.ok("send", "counter", "Increment", "--as", str(home.directory / "wallet"))
    slots = home.ok("inspect", "counter").lines()
    assert [line["sender"] for line in slots] == [ADDRESS] * 3
    home.ok("fork", "counter", "--slot", "1", "--name", "fork", *by)
    assert home.ok("call", "fork", "ReadValue", *by).json()["output"] == [1]
    told = home.ok("attest", "counter", "--slot", "2", "-o", "w.witness", *by).json()
    assert told["attested-by"] == [ADDRESS]
    assert home.ok("verify", "w.witness").lines()[0]["attested-by"] == [ADDRESS]
    signed = home.ok("message", "sign", "-", *by, stdin='{"a": "b"}').out
    assert home.ok("message", "verify", "-", stdin=signed).out == f"{ADDRESS}\n"
    assert home.ok("verify", "counter", "fork", "--replay").json()["findings"] == 0
    assert [key["name"] for key in home.ok("key", "list").lines()] == ["default"]


def test_eval_is_signed_by_the_file_of_a_key(speaker: Shell) -> None:
    write(speaker, "wallet.json", json.dumps(SMALL_WALLET))
    assert speaker.hb("eval", "me", "text", "--as", "none.json").code == 13
    speaker.ok("eval", "me", "text", "--as", "wallet.json")
    sender = speaker.ok("inspect", "me").lines()[-1]["sender"]
    assert sender == ids.encode(sha256(ids.decode(SMALL_WALLET["n"])).digest())


def test_a_cron_is_signed_by_a_key_of_the_home_not_by_a_file(counter: Shell) -> None:
    write(counter, "wallet.json", json.dumps(SMALL_WALLET))
    outcome = counter.hb("cron", "add", "counter", "Increment", "--every", "1h", "--as", "wallet.json")
    assert outcome.code == 12
    assert "hint: bring it in: hb key import NAME wallet.json" in outcome.err


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (None, 0o600, "'key.json' names a key file that cannot be read: No such file or directory"),
        (json.dumps(SMALL_WALLET), 0o644, "others have access to the key file key.json (mode 0644)"),
        ("{", 0o600, "is not a JSON Web Key"),
        ("x" * 100_000, 0o600, "larger than the limit"),
        (json.dumps(SMALL_WALLET | {"p": SMALL_WALLET["q"]}), 0o600, "do not belong together"),
        (json.dumps({k: v for k, v in SMALL_WALLET.items() if k != "d"}), 0o600, "its d is not"),
    ],
    ids=["none", "readable", "no json", "huge", "other numbers", "no secret"],
)
def test_a_file_that_cannot_sign_changes_nothing(counter: Shell, content: str | None, mode: int, sentence: str) -> None:
    if content is not None:
        write(counter, "key.json", content, mode)
    before = counter.records()
    outcome = counter.hb("send", "counter", "Increment", "--as", "key.json")
    assert (outcome.code, outcome.out) == (13, "")
    assert sentence in outcome.err
    assert SMALL_WALLET["d"][:8] not in outcome.err
    assert counter.records() == before


def test_what_is_no_key_is_not_taken_in(home: Shell) -> None:
    home.ok("key", "new", "alice")
    good = json.dumps(SMALL_WALLET)
    for words, given, code in (
        (("alice", "-"), good, 13),
        (("../alice", "-"), good, 13),
        (("bob.json", "-"), good, 13),
        (("bob", "none.json"), "", 13),
        (("bob", "."), "", 13),
        (("bob", "-"), "", 13),
        (("bob", "-"), "x" * 2_000_000, 13),
        (("bob",), "", 2),
    ):
        outcome = home.hb("key", "import", *words, stdin=given)
        assert (outcome.code, outcome.out) == (code, ""), (words, outcome)
        assert outcome.err.startswith("hb: error: "), outcome
    assert [key["name"] for key in home.ok("key", "list").lines()] == ["alice", "default"]
