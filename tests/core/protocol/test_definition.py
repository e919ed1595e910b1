"""Process definitions: building, reading, refusing; and the table that a person writes."""

from __future__ import annotations

import math
import tomllib
from typing import TYPE_CHECKING, Any, cast

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from hb.errors import Refused
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, message_id, sign, verify
from hb.protocol.definition import Converted, Limits, Origin
from hb.protocol.message import Atom, normalise
from protocol_vectors import PLAIN_KEYS, same, values

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

KEY = Key(b"k" * 32)
IMAGE = "I" * 43
LIMITS = Limits(gas=10, memory_pages=20, result_bytes=30)


def build(**changes: Any) -> Message:
    arguments: dict[str, Any] = {
        "image": IMAGE,
        "scheduler": KEY.address,
        "devices": ["wasm64@1.0"],
        "initial_state": None,
        "anchor": "a",
        "tags": {},
        "limits": LIMITS,
    }
    return definitions.build(**{**arguments, **changes})


def test_a_definition_has_the_keys_of_an_ao_process() -> None:
    assert build(tags={"Name": "counter"}, initial_state={"Counter": 5}) == {
        "device": "process@1.0",
        "type": "Process",
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "scheduler-device": "scheduler@1.0",
        "scheduler": KEY.address,
        "execution-device": "wasm64@1.0",
        "image": IMAGE,
        "initial-state": {"counter": 5},
        "anchor": "a",
        "gas-limit": 10,
        "memory-limit": 20,
        "result-limit": 30,
        "authority": KEY.address,
        "name": "counter",
    }


def test_the_scheduler_is_the_authority_unless_another_is_named() -> None:
    def named(**changes: Any) -> object:
        return build(**changes).get("authority", "no key")

    assert named(authority=None) == KEY.address
    assert named(authority=[]) == "no key"
    assert named(authority=["A" * 43]) == "A" * 43
    assert named(authority=["A" * 43, KEY.address]) == f"{'A' * 43},{KEY.address}"


@pytest.mark.parametrize("authority", [None, [], ["A" * 43]])
@pytest.mark.parametrize("key", ["authority", "Authority"])
@pytest.mark.parametrize("tag", ["T" * 43, "", ["T" * 43, "U" * 43], 5])
def test_a_tag_replaces_the_authority(authority: list[str] | None, key: str, tag: Value) -> None:
    assert build(tags={key: tag}, authority=authority) == {**build(), "authority": tag}


@pytest.mark.parametrize(
    ("authority", "addresses"),
    [
        ("a", {"a"}),
        ("a,b", {"a", "b"}),
        (" a , b ,, ", {"a", "b"}),
        (["a", "b,c", 5, None, ["d"]], {"a", "b", "c"}),
        ("", set()),
        ([], set()),
        (5, set()),
        (None, set()),
        ({"a": "b"}, set()),
    ],
)
def test_authorities_are_a_text_with_commas_or_a_list_of_texts(authority: Value, addresses: set[str]) -> None:
    assert definitions.authorities({**build(), "authority": authority}) == addresses


def test_a_definition_without_an_authority_trusts_nobody() -> None:
    assert definitions.authorities(build(authority=[])) == set()


def test_several_devices_are_a_stack() -> None:
    stack = ["wasi@1.0", "json-iface@1.0", "wasm64@1.0"]
    definition = build(devices=stack)
    assert definition["execution-device"] == "stack@1.0"
    assert definition["device-stack"] == stack == definitions.execution_devices(definition)
    assert definitions.execution_devices(build()) == ["wasm64@1.0"]


def test_what_was_built_is_read_back_and_can_be_signed() -> None:
    definition = build(tags={"a": 1, "b": "x"})
    assert definitions.limits(definition) == LIMITS
    assert definitions.authorities(definition) == {KEY.address}
    assert definitions.tags(definition) == {"a": 1, "b": "x", "authority": KEY.address}
    assert definitions.tags(build(tags={"a": 1}, authority=[])) == {"a": 1}
    signed = sign(definition, KEY)
    assert verify(signed) == [KEY.address]
    definitions.check(signed)
    assert definitions.tags(signed) == {"a": 1, "b": "x", "authority": KEY.address}
    assert message_id(signed) != message_id(sign(build(anchor="other"), KEY))


@pytest.mark.parametrize("key", sorted(definitions.RESERVED))
def test_no_tag_takes_a_key_that_a_definition_has_for_itself(key: str) -> None:
    with pytest.raises(Refused, match="a tag cannot be called"):
        build(tags={key.title(): "x"})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "device": ({"device": "other@1.0"}, "device must be 'process@1.0', got 'other@1.0'"),
    "type": ({"type": None}, "type must be 'Process', got nothing"),
    "scheduler": ({"scheduler": "me"}, "scheduler must be an ID of 43 characters, got 'me'"),
    "image": ({"image": {"a": 1}}, "image must be an ID of 43 characters"),
    "anchor": ({"anchor": ""}, "anchor must be a text"),
    "state": ({"initial-state": [1]}, "initial-state must be a map"),
    "no device": ({"execution-device": None}, "execution-device must be one device or a stack, got nothing"),
    "device and stack": ({"device-stack": ["x"]}, "execution-device must be one device or a stack"),
    "no stack": ({"execution-device": "stack@1.0"}, "device-stack must be a list of devices, got nothing"),
    "empty stack": ({"execution-device": "stack@1.0", "device-stack": []}, "device-stack must be a list of devices"),
    "number": ({"execution-device": "stack@1.0", "device-stack": ["a", 1]}, "got one with 1"),
    "stack in stack": (
        {"execution-device": "stack@1.0", "device-stack": ["stack@1.0"]},
        "got one with 'stack@1.0'",
    ),
    "gas": ({"gas-limit": 0}, "gas-limit must be an integer from 1 to 9223372036854775807, got 0"),
    "gas kind": ({"gas-limit": True}, "gas-limit must be an integer"),
    "gas beyond": ({"gas-limit": 2**63}, "gas-limit must be an integer"),
    "gas far beyond": ({"gas-limit": 10**5000}, "too long to be shown"),
    "memory": ({"memory-limit": 1.5}, "memory-limit must be an integer"),
    "result": ({"result-limit": None}, "result-limit must be an integer from 1 to 4294967296, got nothing"),
}


@pytest.mark.parametrize(("change", "sentence"), BAD.values(), ids=BAD)
def test_a_definition_that_cannot_be_run_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    definition = {key: item for key, item in {**build(), **change}.items() if item is not None}
    with pytest.raises(Refused, match=sentence):
        definitions.check(definition)


# Forks

ORIGIN = Origin("O" * 43, 3, f"{'H' * 43}/{'P' * 43}")


def forked(definition: Message | None = None, **changes: Any) -> Message:
    arguments: dict[str, Any] = {"scheduler": "S" * 43, "anchor": "f", "tags": {}}
    return definitions.fork(definition or build(), ORIGIN, **{**arguments, **changes})


def test_a_forks_definition_is_its_origins_but_for_where_it_comes_from() -> None:
    one = sign(build(tags={"mood": "good"}, initial_state={"counter": 5}, passes=2), KEY)
    other = forked(one, tags={"mood": "better"})
    assert definitions.origin(other) == ORIGIN
    assert definitions.origin(one) is None
    own = {"scheduler": "S" * 43, "authority": "S" * 43, "anchor": "f", "mood": "better"}
    told = {"fork-of": "O" * 43, "fork-slot": 3, "fork-hashpath": ORIGIN.hashpath}
    kept = {key: value for key, value in one.items() if key not in {"commitments", "initial-state"}}
    assert other == {**kept, **own, **told}
    assert definitions.tags(other) == {"mood": "better", "authority": "S" * 43}
    assert verify(sign(other, KEY)) == [KEY.address]


@pytest.mark.parametrize("authority", ["A" * 43, f"{KEY.address},{'A' * 43}", [KEY.address], "", 5])
def test_a_fork_keeps_an_authority_that_is_not_its_origins_scheduler_alone(authority: Value) -> None:
    assert forked(build(tags={"authority": authority}))["authority"] == authority


def test_a_fork_of_a_process_that_trusts_nobody_trusts_nobody() -> None:
    assert "authority" not in forked(build(authority=[]))


@pytest.mark.parametrize("key", ["authority", "Authority"])
@pytest.mark.parametrize("before", [None, [], ["A" * 43]])
def test_a_tag_replaces_the_authority_of_a_fork(key: str, before: list[str] | None) -> None:
    for tag in ("T" * 43, KEY.address):
        assert forked(build(authority=before), tags={key: tag})["authority"] == tag


def test_a_tag_of_a_fork_replaces_one_of_its_origins_in_any_case() -> None:
    assert forked(build(tags={"mood": "good"}), tags={"Mood": "better"})["mood"] == "better"


def test_a_fork_of_a_fork_names_the_nearer_origin_alone() -> None:
    again = definitions.fork(forked(), ORIGIN._replace(slot=9), scheduler=KEY.address, anchor="g", tags={})
    assert definitions.origin(again) == ORIGIN._replace(slot=9)


def test_other_code_takes_the_place_of_all_that_says_what_runs() -> None:
    converted = Converted("C" * 43, "a tool")
    one = build(devices=["wasi@1.0", "wasm64@1.0"], passes=2, converted=converted)
    assert definitions.code("I" * 43, ["wasi@1.0", "wasm64@1.0"], 2, converted) == {
        key: one[key] for key in definitions.CODE_KEYS
    }
    other = forked(one, code=definitions.code("N" * 43, ["wasm64@1.0"], None, None))
    assert {key: other[key] for key in definitions.CODE_KEYS if key in other} == {
        "image": "N" * 43,
        "execution-device": "wasm64@1.0",
    }


BAD_FORKS: dict[str, tuple[dict[str, Any], str]] = {
    "of nothing": ({"fork-of": None}, "fork-of must be an ID of 43 characters, got nothing"),
    "of no ID": ({"fork-of": "short"}, "fork-of must be an ID of 43 characters, got 'short'"),
    "no slot": ({"fork-slot": None}, "fork-slot must be a slot, got nothing"),
    "slot below": ({"fork-slot": -1}, "fork-slot must be a slot"),
    "slot beyond": ({"fork-slot": 2**63}, "fork-slot must be a slot"),
    "slot far beyond": ({"fork-slot": 10**5000}, "fork-slot must be a slot, got a number too long"),
    "slot kind": ({"fork-slot": True}, "fork-slot must be a slot"),
    "slot as text": ({"fork-slot": "3"}, "fork-slot must be a slot"),
    "no hashpath": ({"fork-hashpath": None}, "fork-hashpath must be two IDs joined by /, got nothing"),
    "half a hashpath": ({"fork-hashpath": "H" * 43}, "fork-hashpath must be two IDs"),
    "hashpath of three": ({"fork-hashpath": "/".join(["H" * 43] * 3)}, "fork-hashpath must be two IDs"),
    "initial state": ({"initial-state": {}}, "a fork's definition cannot have an initial-state"),
}


@pytest.mark.parametrize(("change", "sentence"), BAD_FORKS.values(), ids=BAD_FORKS)
def test_half_a_fork_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    definition = {key: item for key, item in {**forked(), **change}.items() if item is not None}
    with pytest.raises(Refused, match=sentence):
        definitions.check(definition)


@pytest.mark.parametrize("tag", ["fork-of", "Fork-Slot", "fork-hashpath"])
def test_no_tag_can_say_that_a_process_is_a_fork(tag: str) -> None:
    with pytest.raises(Refused, match="a tag cannot be called"):
        build(tags={tag: "x"})
    with pytest.raises(Refused, match="a tag cannot be called"):
        forked(tags={tag: "x"})


# Tables


def through_toml(table: dict[str, object]) -> dict[str, object]:
    return tomllib.loads(tomli_w.dumps(table))


def rebuilt(table: dict[str, object]) -> Message:
    arguments = definitions.from_table(table)
    return build(
        image=arguments["image"],
        devices=arguments["devices"],
        anchor=arguments["anchor"],
        tags=arguments.get("tags", {}),
        initial_state=arguments.get("initial_state"),
        limits=Limits(**arguments["limits"]),
        authority=arguments.get("authority"),
    )


TABLE_VALUES = values().map(normalise)


@given(
    st.dictionaries(PLAIN_KEYS.filter(lambda key: key not in definitions.RESERVED), TABLE_VALUES, max_size=3),
    st.one_of(st.none(), st.dictionaries(PLAIN_KEYS, TABLE_VALUES, max_size=3)),
    st.one_of(st.none(), st.lists(st.sampled_from([KEY.address, "A" * 43]), max_size=2)),
)
def test_a_definition_comes_back_from_the_table_that_it_is_written_as(
    tags: dict[str, Value], state: dict[str, Value] | None, authority: list[str] | None
) -> None:
    definition = build(tags=tags, initial_state=state, devices=["a@1.0", "b@1.0"], authority=authority)
    assert same(rebuilt(definitions.to_table(definition)), definition)


def test_a_definition_comes_back_from_toml() -> None:
    state: Message = {"n": None, "f": math.nan, "b": b"\xff", "$": [Atom("ok"), 1, 1.0, True, None], "m": {"$x": None}}
    definition = build(tags={"name": "x"}, initial_state=state)
    assert same(rebuilt(through_toml(definitions.to_table(definition))), definition)


def test_the_table_of_a_definition_with_its_scheduler_as_authority_names_none() -> None:
    table = through_toml(definitions.to_table(build()))
    assert not {"authority", "tags"} & table.keys()
    other = {**rebuilt(table), "scheduler": "S" * 43}
    arguments = definitions.from_table(table)
    again = build(scheduler="S" * 43, authority=arguments.get("authority"), tags=arguments.get("tags", {}))
    assert again == {**other, "authority": "S" * 43}


def test_the_table_of_a_definition_without_an_authority_says_so() -> None:
    older = {key: value for key, value in build(tags={"a": 1}).items() if key != "authority"}
    table = through_toml(definitions.to_table(older))
    assert (table["authority"], table["tags"]) == ([], {"a": 1})
    assert same(rebuilt(table), older)


@pytest.mark.parametrize("authority", ["A" * 43, f"{KEY.address},{'A' * 43}", [KEY.address], "", 5, None])
def test_the_table_of_a_definition_with_another_authority_has_it_as_a_tag(authority: Value) -> None:
    definition = build(tags={"authority": authority})
    table = through_toml(definitions.to_table(definition))
    assert "authority" not in table
    assert "authority" in cast("dict[str, object]", table["tags"])
    assert same(rebuilt(table), definition)


def test_a_table_says_only_what_it_says() -> None:
    assert definitions.from_table({}) == {}
    assert definitions.from_table({"image": "counter.wasm", "name": "c", "limits": {"memory-pages": 3}}) == {
        "image": "counter.wasm",
        "name": "c",
        "limits": {"memory_pages": 3},
    }
    for authority in ([], ["A" * 43, "B" * 43]):
        assert definitions.from_table({"authority": authority}) == {"authority": authority}


@pytest.mark.parametrize(
    ("table", "sentence", "hint"),
    [
        ({"imgae": "x"}, "a definition has no key 'imgae'", "did you mean 'image'?"),
        ({"zzz": 1}, "no key 'zzz'", None),
        ({"limits": {"gass": 1}}, "a definition's limits has no key 'gass'", "did you mean 'gas'?"),
        ({"limits": 5}, "limits must be a table, got 5", None),
        ({"limits": {"gas": "5"}}, "limit gas must be an integer from 1", None),
        ({"limits": {"gas": 0}}, "limit gas must be an integer from 1", None),
        ({"image": 5}, "image must be text, got 5", None),
        ({"devices": "wasm64@1.0"}, "devices must be a list of texts", None),
        ({"devices": [1]}, "devices must be a list of texts", None),
        ({"authority": "A" * 43}, "authority must be a list of texts, got 'AAA", None),
        ({"authority": ["A" * 43, 5]}, "authority must be a list of texts", None),
        ({"autority": []}, "a definition has no key 'autority'", "did you mean 'authority'?"),
        ({"tags": []}, "tags must be a table", None),
        ({"tags": {"a": {"$bytes": 1}}}, "no form", None),
    ],
)
def test_a_table_that_is_not_understood_is_refused(table: dict[str, object], sentence: str, hint: str | None) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        definitions.from_table(table)
    if hint is not None:
        assert cast("Refused", refused.value).hint == hint


def test_a_date_in_a_table_is_refused() -> None:
    with pytest.raises(Refused, match="a datetime"):
        definitions.from_table(tomllib.loads("[tags]\nwhen = 2026-01-01T00:00:00Z\n"))
