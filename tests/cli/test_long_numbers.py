"""Integers longer than the interpreter converts by itself: shown by every view, as any other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hb.environment import system_environment
from hb.home import open_home
from verbs import Node

if TYPE_CHECKING:
    from conftest import Shell

LONG = "7" * 5000

VIEWS = [
    ("state", "counter"),
    ("state", "counter", "--slot", "1"),
    ("inspect", "counter"),
    ("inspect", "counter", "--slot", "1"),
    ("inspect", "counter", "--definition"),
    ("list",),
    ("trace", "counter", "1"),
    ("diff", "counter", "0", "1"),
    ("verify", "counter", "--replay"),
    ("verify", "--all"),
]


def test_every_view_shows_a_long_integer(counter: Shell) -> None:
    counter.hb("send", "counter", "Increment", LONG, "--wait")
    for words in VIEWS:
        piped, shown = counter.hb(*words), counter.terminal(*words)
        assert piped.code in (0, 15), (words, piped.err)
        assert shown.code == piped.code, (words, shown.text)
    assert LONG in counter.ok("inspect", "counter").out
    name = re.findall('"message":"([^"]*)"', counter.ok("inspect", "counter").out)[1]
    assert LONG in counter.ok("message", "show", name).out
    assert counter.terminal("message", "show", name).code == 0


def test_a_longer_one_is_refused_at_the_door(counter: Shell) -> None:
    refused = counter.hb("send", "counter", "Increment", "7" * 32_769)
    assert refused.code == 13
    assert "a number in a message may have 32,768 digits, got one with more" in refused.err
    assert json.loads(counter.ok("list").out)["slots"] == 1


def test_a_definition_with_a_long_integer_is_shown_or_refused_with_a_sentence(counter: Shell) -> None:
    home = open_home(counter.home)
    spawned = Node(home).spawn(
        Path(counter.counter_wasm).read_bytes(),
        signer=home.key("default"),
        environment=system_environment(),
        tags={"n": 10**5000},
    )
    for words in (["inspect", spawned.process], ["state", spawned.process], ["verify", spawned.process], ["list"]):
        counter.ok(*words)
        assert counter.terminal(*words).code == 0
    refused = counter.hb("inspect", spawned.process, "--definition")
    assert refused.code == 13
    assert "TOML has no integer of more than 4,300 digits" in refused.err
    assert counter.terminal("inspect", spawned.process, "--definition").code == 13
