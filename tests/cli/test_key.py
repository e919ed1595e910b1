"""`hb key`."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from hb import ids

if TYPE_CHECKING:
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
