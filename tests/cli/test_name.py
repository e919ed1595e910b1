"""`hb name`, and `--replace` of the commands that make a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import COUNTER
from hb.records import keys

if TYPE_CHECKING:
    from cli.conftest import Shell


def names(shell: Shell) -> dict[str, str]:
    """The names of the home, and the processes that they stand for."""
    return {key[2:].decode(): raw.decode() for key, raw in shell.records().items() if key[:2] == keys.names()[0]}


def test_a_process_gets_another_name_and_the_old_one_is_gone(counter: Shell) -> None:
    [process] = names(counter).values()
    renamed = counter.ok("name", "counter", "tally")
    assert (renamed.out, renamed.err) == ("", f"hb: process {process} is called tally, and not counter any more\n")
    assert names(counter) == {"tally": process}
    assert counter.hb("state", "counter").code == 12
    assert counter.ok("state", "tally", "counter").out == "0\n"
    told = counter.ok("name", "tally", "counter", "--json").json()
    assert told == {"process": process, "name": "counter", "removed": ["tally"]}
    assert counter.ok("name", "counter", "counter", "--json").json()["removed"] == []
    assert names(counter) == {"counter": process}


def test_a_name_can_be_added_and_taken_away(counter: Shell) -> None:
    [process] = names(counter).values()
    counter.ok("name", "counter", "second", "--also")
    assert names(counter) == {"counter": process, "second": process}
    # Only the name that was given changes.
    counter.ok("name", "second", "third")
    assert names(counter) == {"counter": process, "third": process}
    ambiguous = counter.hb("name", process, "fourth")
    assert (ambiguous.code, ambiguous.out) == (13, "")
    assert "has 2 names: counter, third" in ambiguous.err
    taken = counter.ok("name", "third", "--remove")
    assert taken.err == f"hb: took the name third from process {process}\n"
    told = counter.ok("name", "counter", "--remove", "--json").json()
    assert told == {"process": process, "name": None, "removed": ["counter"]}
    assert names(counter) == {}
    assert counter.hb("name", "counter", "--remove").code == 12
    assert counter.hb("name", process, "--remove").code == 12
    # By its ID, one without a name gets one, and one with a name gets another.
    counter.ok("name", process[:6], "fifth")
    counter.ok("name", process, "sixth")
    assert names(counter) == {"sixth": process}
    assert counter.ok("verify", "--all").code == 0


def test_a_name_that_is_taken_moves_only_if_told(counter: Shell) -> None:
    first = names(counter)["counter"]
    second = counter.ok("spawn", COUNTER, "--name", "other").out.strip()
    refused = counter.hb("name", "other", "counter")
    assert (refused.code, refused.out) == (13, "")
    assert first in refused.err
    assert "--replace" in refused.err
    assert names(counter) == {"counter": first, "other": second}
    counter.ok("name", "other", "counter", "--replace")
    assert names(counter) == {"counter": second}


def test_a_new_process_takes_a_name_over_if_told(counter: Shell) -> None:
    first = names(counter)["counter"]
    counter.ok("export", "counter", "-o", "counter.history")
    making = [
        ("spawn", COUNTER, "--name", "counter"),
        ("fork", first, "--name", "counter"),
        ("import", "counter.history", "--name", "counter"),
    ]
    holder = first
    for words in making:
        if words[0] != "spawn":
            counter.ok("spawn", COUNTER, "--name", "counter", "--replace")
            holder = names(counter)["counter"]
        refused = counter.hb(*words)
        assert (refused.code, names(counter)) == (13, {"counter": holder}), words
        assert "--replace" in refused.err
        made = counter.ok(*words, "--replace").out.strip()
        assert names(counter) == {"counter": made}, words
        assert made != holder
        holder = made
    assert holder == first


@pytest.mark.parametrize(
    "words",
    [
        ("name", "counter"),
        ("name", "counter", "new", "--remove"),
        ("name", "counter", "--remove", "--also"),
        ("name", "counter", "--remove", "--replace"),
        ("spawn", COUNTER, "--replace"),
        ("fork", "counter", "--replace"),
        ("import", "counter.history", "--replace"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(counter: Shell, words: tuple[str, ...]) -> None:
    before = names(counter)
    assert counter.hb(*words).code == 2
    assert names(counter) == before


def test_what_cannot_be_a_name_is_refused(counter: Shell) -> None:
    before = names(counter)
    for new in ("", "a b", "x" * 65, "A" * 43):
        assert counter.hb("name", "counter", new).code == 13, new
    assert counter.hb("name", "nobody", "new").code == 12
    assert names(counter) == before


def test_a_name_that_is_left_over_can_be_taken_away(counter: Shell) -> None:
    from hb.home import open_home
    from hb.storage.store import Batch

    with open_home(counter.home).storage.session() as store:
        store.commit(Batch(puts={keys.name_key("gone"): b"N" * 43}, sync=True))
    assert counter.hb("verify", "--all").code == 14
    counter.ok("name", "gone", "--remove")
    counter.ok("verify", "--all")
