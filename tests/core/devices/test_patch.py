"""`patch@1.0`: public keys that a program sets by message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aowat import BAD_ANSWER_AT, ao_module
from hb.protocol import bounds
from hb.protocol.definition import Limits

if TYPE_CHECKING:
    from conftest import Shell

LIMITS = Limits(gas=10**9, memory_pages=100, result_bytes=4000)


def spawn(shell: Shell, *messages: dict[str, Any], patches: tuple[dict[str, Any], ...] = (), **options: object) -> str:
    """A process whose program gives these messages and patches to a message with a `!`."""
    text = json.dumps({"ok": True, "response": {"Messages": messages, "Patches": patches}}).encode()
    return shell.spawn_text(ao_module(bad_answer=text, **options), limits=LIMITS)  # type: ignore[arg-type]


def tagged(**tags: object) -> dict[str, Any]:
    """A message as aos sends it: what it says is in tags, behind those that every message has."""
    envelope = {"Data-Protocol": "ao", "Variant": "ao.TN.1", "Type": "Message", "Reference": "1"}
    return {
        "Target": "T",
        "Anchor": "0",
        "Tags": [{"name": name, "value": value} for name, value in {**envelope, **tags}.items()],
    }


def public(shell: Shell, process: str) -> dict[str, Any]:
    own = {"at-slot", "device", "hashpath", "image", "process", "results", "count"}
    return {key: value for key, value in shell.node.state(process).state.items() if key not in own}


@pytest.mark.parametrize("mark", [{"device": "patch@1.0"}, {"method": "PATCH"}])
def test_a_message_that_is_a_patch_sets_its_keys_and_leaves_the_outbox(shell: Shell, mark: dict[str, str]) -> None:
    process = spawn(shell, tagged(Action="Other"), tagged(**mark, Balance=7, Prices={"Apple": 1}))
    results: Any = shell.call(process, "Patch!")
    assert public(shell, process) == {"balance": 7, "prices": {"apple": 1}}
    assert list(results["outbox"]) == ["1"]
    assert results["outbox"]["1"]["action"] == "Other"


def test_patches_by_themselves_are_set_after_those_of_the_outbox(shell: Shell) -> None:
    process = spawn(shell, tagged(device="patch@1.0", a=1, b=1), patches=({"b": 2}, tagged(c=3)))
    results = shell.call(process, "Patch!")
    assert public(shell, process) == {"a": 1, "b": 2, "c": 3}
    assert "outbox" not in results


def test_a_map_is_merged_into_the_map_that_is_there_and_all_else_replaced(shell: Shell) -> None:
    first = {"m": {"a": 1, "deep": {"x": 1}}, "list": [1, 2], "n": 1}
    second = {"m": {"b": 2, "deep": {"y": 2}}, "list": [3], "n": {"now": "a map"}}
    process = spawn(shell, patches=(first, second))
    shell.call(process, "Patch!")
    assert public(shell, process) == {
        "m": {"a": 1, "b": 2, "deep": {"x": 1, "y": 2}},
        "list": [3],
        "n": {"now": "a map"},
    }


def test_what_a_patch_set_stays_until_another_sets_it(shell: Shell) -> None:
    process = spawn(shell, patches=({"balance": 7},))
    shell.call(process, "Patch!")
    shell.call(process, "Good")
    assert public(shell, process) == {"balance": 7}
    assert shell.node.state(process, 1).state["balance"] == 7
    assert "balance" not in shell.node.state(process, 0).state
    with shell.home.storage.session() as store:
        records = [value for key, value in store.scan(b"s/", b"s0") if key]
    assert b'"balance":7' in records[-1]


@pytest.mark.parametrize("key", ["at-slot", "hashpath", "image", "process", "results", "commitments", "count"])  # fmt: skip
def test_keys_that_are_not_a_programs_to_set(shell: Shell, key: str) -> None:
    process = spawn(shell, patches=({"good": 1, key: 3},))
    results = shell.call(process, "Patch!")
    assert results["type"] == "error"
    assert results["kind"] == "patch"
    reason = "a global of the module" if key == "count" else "a key of the process itself"
    assert results["error"] == f"a patch sets {key!r}, which is {reason}"
    assert public(shell, process) == {}
    assert shell.node.state(process).state["count"] == 1
    assert shell.call(process, "Good")["data"] == "fine"


def test_the_public_keys_have_a_limit_over_all_messages_together(shell: Shell) -> None:
    text = json.dumps({"ok": True, "response": {"Patches": [{"?": "x" * 1000}]}}).encode()
    # Another key each time: `b` for the first message, `c` for the second.
    name_it = (
        f"(i32.store8 (i32.const {BAD_ANSWER_AT + text.index(b'?')}) (i32.add (i32.const 96) (global.get $count)))"
    )
    bad = f"{name_it} (i32.const {BAD_ANSWER_AT}) return"
    process = shell.spawn_text(ao_module(bad_answer=text, bad=bad), limits=LIMITS)
    for _ in range(3):
        assert shell.call(process, "Patch!")["type"] == "ok"
    results = shell.call(process, "Patch!")
    assert results["error"] == "a patch makes the public keys 4039 bytes; the limit is 4000"
    assert sorted(public(shell, process)) == ["b", "c", "d"]


def test_public_keys_have_a_limit_to_their_values(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        json.dumps({"ok": True, "response": {"Patches": [{"m": {key: [0] * 600}}]}}).encode() for key in "ab"
    )
    place = f"(i32.mul (i32.sub (global.get $count) (i32.const 2)) (i32.const {len(first) + 1}))"
    bad = f"(i32.add (i32.const {BAD_ANSWER_AT}) {place}) return"
    process = shell.spawn_text(ao_module(bad_answer=first + b"\0" + second, bad=bad), limits=LIMITS)
    monkeypatch.setattr(bounds, "MESSAGE_VALUES", 1000)
    assert shell.call(process, "Patch!")["type"] == "ok"
    results = shell.call(process, "Patch!")
    assert results["error"] == "a patch makes the public keys more than 1,000 values"
    assert results["kind"] == "patch"
