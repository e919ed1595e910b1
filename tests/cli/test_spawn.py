"""`hb spawn`."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell


def test_it_prints_the_process_id_alone(home: Shell) -> None:
    outcome = home.ok("spawn", home.counter_wasm)
    assert len(outcome.out) == 44
    assert outcome.err == ""
    assert home.ok("list").json()["process"] == outcome.out.strip()


def test_json_tells_the_rest(home: Shell) -> None:
    told = home.ok("spawn", home.counter_wasm, "--name", "c", "--json").json()
    assert (told["slot"], told["fresh"], told["name"]) == (0, True, "c")
    assert told["process"] == home.ok("inspect", "c").json()["message"]


def test_text_and_standard_input_are_modules_too(home: Shell) -> None:
    text = home.write("counter.wat", (home.samples / "counter.wat").read_bytes())
    ids = {
        home.ok("spawn", module, "--anchor", "same", stdin=stdin).out
        for module, stdin in ((home.counter_wasm, b""), ("-", home.counter_wasm.read_bytes()))
    }
    assert len(ids) == 1
    pid = home.ok("spawn", text, "--initial-state", '{"counter": 7}').out.strip()
    assert home.ok("state", "--", pid, "counter").out == "7\n"


def test_the_initial_state_may_come_from_a_file_or_standard_input(home: Shell) -> None:
    home.write("state.json", '{"counter": 5}')
    home.ok("spawn", home.counter_wasm, "--name", "file", "--initial-state", "@state.json")
    home.ok("spawn", home.counter_wasm, "--name", "input", "--initial-state", "-", stdin='{"counter": 6}')
    assert home.ok("state", "file", "counter").out == "5\n"
    assert home.ok("state", "input", "counter").out == "6\n"


def test_without_an_anchor_two_spawns_are_two_processes_and_with_one_they_are_one(home: Shell) -> None:
    assert home.ok("spawn", home.counter_wasm).out != home.ok("spawn", home.counter_wasm).out
    first = home.ok("spawn", home.counter_wasm, "--anchor", "x")
    before = home.records()
    again = home.ok("spawn", home.counter_wasm, "--anchor", "x")
    assert again.out == first.out
    assert "here already" in again.err
    assert home.records() == before


def test_a_definition_that_inspect_writes_makes_the_same_process(home: Shell) -> None:
    pid = home.ok(
        "spawn", home.counter_wasm, "--name", "first", "--initial-state", '{"counter": 3}', "--tag", "subject=ünïcode \x01",
        "--gas-limit", "1000", "--memory-limit", "7", "--result-limit", "9999",
    ).out  # fmt: skip
    text = home.ok("inspect", "first", "--definition").out
    home.write("first.toml", text)
    assert home.ok("spawn", "--definition", "first.toml").out == pid
    table = tomllib.loads(text)
    assert table["limits"] == {"gas": 1000, "memory-pages": 7, "result-bytes": 9999}
    # In another home with the same key the image is given beside it, and it is the same process again.
    other = type(home)(home.directory / "other")
    other.directory.mkdir()
    other.ok("init")
    (other.home / "keys" / "default.json").write_bytes((home.home / "keys" / "default.json").read_bytes())
    other.write("first.toml", text)
    assert other.hb("spawn", "--definition", "first.toml").code == 12
    assert other.ok("spawn", home.counter_wasm, "--definition", "first.toml").out == pid
    assert other.ok("inspect", "--definition", "--", pid.strip()).out == text


def test_a_definition_that_names_no_authority_has_the_homes_own(home: Shell) -> None:
    address = home.ok("key", "show", "default").json()["address"]
    home.write("with.toml", f'[tags]\nauthority = "{"A" * 43}"\n')
    home.write("closed.toml", "authority = []\n")
    home.write("two.toml", f'authority = ["{"A" * 43}", "{"B" * 43}"]\n')
    tag = ("--tag", f"authority={'T' * 43}")
    for name, words, authority in (
        ("default", (), address),
        ("tag", tag, "T" * 43),
        ("with", ("--definition", "with.toml"), "A" * 43),
        ("over", ("--definition", "with.toml", *tag), "T" * 43),
        ("two", ("--definition", "two.toml"), f"{'A' * 43},{'B' * 43}"),
        ("closed", ("--definition", "closed.toml"), None),
        ("opened", ("--definition", "closed.toml", *tag), "T" * 43),
    ):
        pid = home.ok("spawn", home.counter_wasm, "--name", name, *words).out
        assert home.ok("inspect", name, "--definition", "--json").json().get("authority") == authority
        home.write("again.toml", home.ok("inspect", name, "--definition").out)
        before = home.records()
        assert home.ok("spawn", "--definition", "again.toml").out == pid
        assert home.records() == before


def test_a_definition_of_another_home_makes_a_process_that_trusts_this_home(home: Shell) -> None:
    home.ok("spawn", home.counter_wasm, "--name", "first")
    other = type(home)(home.directory / "other")
    other.directory.mkdir()
    other.ok("init")
    other.write("first.toml", home.ok("inspect", "first", "--definition").out)
    other.ok("spawn", home.counter_wasm, "--definition", "first.toml", "--name", "second")
    address = other.ok("key", "show", "default").json()["address"]
    found = other.ok("inspect", "second", "--definition", "--json").json()
    assert (found["authority"], found["scheduler"]) == (address, address)


def test_a_definition_finds_its_image_beside_itself_and_options_go_over_it(home: Shell) -> None:
    folder = home.directory / "folder"
    folder.mkdir()
    (folder / "counter.wasm").write_bytes(home.counter_wasm.read_bytes())
    (folder / "it.toml").write_text(
        'name = "toml"\nimage = "counter.wasm"\ndevices = ["WASM-64@1.0"]\n[initial-state]\ncounter = 4\n[tags]\na = "1"\n'
        "[limits]\ngas = 500\n"
    )
    home.ok("spawn", "--definition", "folder/it.toml")
    assert home.ok("state", "toml", "counter").out == "4\n"
    assert home.ok("state", "toml", "process/execution-device").out == "wasm64@1.0\n"
    assert home.ok("state", "toml", "process/gas-limit").out == "500\n"
    home.ok(
        "spawn",
        "--definition",
        "folder/it.toml",
        "--name",
        "over",
        "--tag",
        "a=2",
        "--gas-limit",
        "600",
        "--initial-state",
        '{"counter": 9}',
    )
    assert home.ok("state", "over", "counter").out == "9\n"
    assert home.ok("state", "over", "process/a").out == "2\n"
    assert home.ok("state", "over", "process/gas-limit").out == "600\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "not TOML"),
        ("\xff", "not TOML"),
        ("a = " + "9" * 5000, "not TOML"),
        ("imagine = 'counter.wasm'", "imagine"),
        ("image = 5", "image"),
        ("image = 'counter.wasm'\nauthority = 'me'", "a definition's authority must be a list of texts, got 'me'"),
        ("image = 'counter.wasm'\nauthority = [5]", "a definition's authority must be a list of texts, got [5]"),
        ("image = 'nosuch.wasm'", "nosuch.wasm"),
        ("image = 'counter.wasm'\n[limits]\ngas = 0", "gas"),
        ("image = 'counter.wasm'\n[limits]\ngas = 'all'", "gas"),
        ("image = 'counter.wasm'\ndevices = ['nosuch@1.0']", "nosuch@1.0"),
        ("image = 'counter.wasm'\n[tags]\nimage = 'x'", "image"),
        ("image = 'counter.wasm'\n[tags]\nwhen = 2020-01-01", ""),
        ("image = 'counter.wasm'\nname = ''", "name"),
    ],
)
def test_a_bad_definition_is_refused_and_changes_nothing(home: Shell, text: str, says: str) -> None:
    home.write("counter.wasm", home.counter_wasm.read_bytes())
    home.write("bad.toml", text)
    before = home.records()
    outcome = home.hb("spawn", "--definition", "bad.toml")
    assert (outcome.code, outcome.out) == (13, "")
    assert outcome.err.startswith("hb: error: ")
    assert says in outcome.err
    assert home.records() == before


def test_a_definition_without_an_image_needs_a_module(home: Shell) -> None:
    home.write("bare.toml", "[initial-state]\ncounter = 2\n")
    assert home.hb("spawn", "--definition", "bare.toml").code == 2
    home.ok("spawn", home.counter_wasm, "--definition", "bare.toml", "--name", "bare")
    assert home.ok("state", "bare", "counter").out == "2\n"


def test_a_name_is_taken_once(counter: Shell) -> None:
    before = counter.records()
    outcome = counter.hb("spawn", counter.counter_wasm, "--name", "counter")
    assert outcome.code == 13
    assert "'counter' is taken" in outcome.err
    assert counter.records() == before


def test_a_file_of_lua_is_told_how_it_gets_into_a_process(shell: Shell) -> None:
    for words in (["spawn", "token.lua"], ["module", "inspect", "token.LUA"]):
        outcome = shell.hb(*words)
        assert (outcome.code, outcome.out) == (13, "")
        assert "code for an aos process" in outcome.err
        assert f"`hb eval NAME @{words[-1]}`" in outcome.err
    assert not list(shell.directory.iterdir())
    shell.write("c.toml", "image = 'token.lua'\n")
    assert "code for an aos process" in shell.hb("spawn", "--definition", "c.toml").err


def test_a_refusal_makes_no_home(shell: Shell) -> None:
    shell.hb("spawn", "--definition", "nosuch.toml")
    shell.hb("spawn", "nosuch.wasm", "--tag", "bad")
    assert not list(shell.directory.iterdir())


def test_a_module_that_the_settings_name_needs_no_file(home: Shell) -> None:
    first = home.ok("spawn", home.counter_wasm).out.strip()
    image = home.ok("state", first, "process/image").out.strip()
    config = home.home / "config.toml"
    config.write_text(config.read_text() + f'\n[modules]\ncounting = "{image}"\nlost = "{"i" * 43}"\n')
    named = home.ok("spawn", "counting").out.strip()
    assert named != first
    assert home.ok("state", named, "process/image").out.strip() == image
    assert home.hb("spawn", "lost").code == 12
    (home.directory / "counting").write_bytes(b"no module")
    assert home.hb("spawn", "counting").code == 13, "a file of that name is meant first"
