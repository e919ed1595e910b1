"""The AO ABI: what a program is told, and what becomes of its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aowat import FINE, ao_module, echo_module
from hb.devices import ao_json
from hb.devices.json_iface import results_of, results_of_text
from hb.errors import Refused
from hb.protocol.commitment import Key, message_id, sign

if TYPE_CHECKING:
    from conftest import Shell

PROCESS, IMAGE = "P" * 43, "I" * 43
KEY = Key(bytes(range(32)))


def answer(**response: object) -> bytes:
    return json.dumps({"ok": True, "response": response}).encode()


def results(text: bytes) -> dict[str, Any]:
    return results_of_text(text, PROCESS, IMAGE)


def told(message: dict[str, Any], **assignment: object) -> dict[str, Any]:
    """What a program is told of a message that KEY signed."""
    given: dict[str, Any] = {
        "process": PROCESS,
        "slot": 7,
        "epoch": "0",
        "timestamp": 1_700_000_000_123,
        "block-height": 12,
        "hash-chain": "H" * 43,
        "body": sign(message, KEY),
        **assignment,
    }
    return json.loads(ao_json.message_json(given, IMAGE))  # type: ignore[no-any-return]


# What a program is told


def test_a_message_as_its_program_gets_it() -> None:
    message = {"action": "Eval", "data": "return 1", "target": PROCESS, "anchor": "a", "x-some-tag": "7"}
    signed = sign(message, KEY)
    got = told(message)
    signature = got.pop("Signature")
    assert got == {
        "Id": message_id(signed),
        "Owner": KEY.address,
        "From": KEY.address,
        "Target": PROCESS,
        "Anchor": "a",
        "Tags": [{"name": "Action", "value": "Eval"}, {"name": "X-Some-Tag", "value": "7"}],
        "Data": "return 1",
        "Module": IMAGE,
        "Block-Height": 12,
        "Timestamp": 1_700_000_000_123,
        "Epoch": 0,
        "Nonce": 7,
        "Hash-Chain": "H" * 43,
        "Cron": False,
    }
    assert len(signature) == 86
    assert set(signature) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_values_of_other_types_are_told_as_the_network_encodes_them() -> None:
    got = told({"n": 3, "ok": True, "list": ["a", 1], "map": {"inner": "x"}})
    tags = {tag["name"]: tag["value"] for tag in got["Tags"]}
    assert tags["N"] == "3"
    assert tags["Ok"] == '"true"'
    assert tags["Map"] == {"inner": "x"}
    assert tags["List"] == '"a", "(ao-type-integer) 1"'
    assert 'n="integer"' in tags["Ao-Types"]


def test_a_message_from_a_process_says_so_and_names_its_signer() -> None:
    got = told({"from-process": "Q" * 43, "data": "x"})
    assert got["From"] == "Q" * 43
    assert got["Owner"] == KEY.address


def test_a_message_cannot_say_who_owns_it() -> None:
    got = told({"owner": "someone", "from": "someone", "id": "x", "data": "x"})
    assert got["Owner"] == got["From"] == KEY.address
    assert got["Tags"] == []


def test_data_that_no_json_can_hold_is_an_outcome(shell: Shell) -> None:
    process = shell.spawn_text(ao_module())
    got = shell.results(process, shell.send(process, "Eval", data=b"\xff\xfe"))
    assert got["kind"] == "message"
    assert got["error"] == "the message's data is not UTF-8, and no JSON can hold it: send it as base64"
    assert shell.call(process, "Eval")["data"] == "fine"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("action", "Action"),
        ("x-some-tag", "X-Some-Tag"),
        ("a--b", "A--B"),
        ("a" * 43, "a" * 43),
        ("-", "-"),
        ("é", "É"),
    ],
)
def test_tags_are_spelled_in_header_case(key: str, name: str) -> None:
    assert ao_json.header_case(key) == name


@pytest.mark.parametrize("bits", [32, 64])
def test_a_program_of_either_width_gets_message_and_environment(shell: Shell, bits: int) -> None:
    process = shell.spawn_text(echo_module(bits=bits))
    text = 'quotes " and \\, a NUL \0, a line\n, ü, 𝄞'
    got = shell.results(process, shell.send(process, "Eval", data=text))["output"]
    assert got["data"] == text  # type: ignore[index, call-overload]
    assert got["nonce"] == 1  # type: ignore[index, call-overload]
    assert got["target"] == process  # type: ignore[index, call-overload]


def test_the_environment_says_whose_process_it_is_and_not_how_it_runs(shell: Shell) -> None:
    process = shell.spawn_text(echo_module(environment=True), tags={"name": "me", "authority": "A" * 43})
    got: Any = shell.call(process, "Eval")["output"]
    image = shell.node.definition(process)["image"]
    assert got["module"] == {"id": image, "tags": []}
    assert got["process"]["id"] == process
    assert got["process"]["owner"] == got["process"]["from"] == shell.key.address
    assert [tag["name"] for tag in got["process"]["tags"]] == [
        *("Authority", "Data-Protocol", "Name", "Scheduler", "Type", "Variant", "Module"),
    ]
    assert got["process"]["tags"][-1]["value"] == image


def test_the_message_that_spawns_the_process_is_the_first_that_its_program_answers(shell: Shell) -> None:
    process = shell.spawn_text(echo_module(), tags={"data": "boot", "on-boot": "Data"})
    got: Any = shell.results(process, 0)["output"]
    assert got["id"] == got["target"] == process
    assert got["nonce"] == 0
    assert got["data"] == "boot"
    assert {"name": "Type", "value": "Process"} in got["tags"]
    assert {"name": "On-Boot", "value": "Data"} in got["tags"]


def test_a_program_that_fails_at_its_spawn_is_a_process_all_the_same(shell: Shell) -> None:
    process = shell.spawn_text(ao_module(bad="unreachable"), tags={"greeting": "hello!"})
    assert shell.results(process, 0)["kind"] == "trap"
    assert shell.node.state(process, 0).state["count"] == 0
    assert shell.call(process, "Eval")["data"] == "fine"
    assert shell.node.state(process, 1).state["count"] == 1


def test_what_is_written_is_freed(shell: Shell) -> None:
    process = shell.spawn_text(
        ao_module(free="(global.set $count (i32.add (global.get $count) (i32.const 100)))"), initial_state={"count": 0}
    )
    assert shell.call(process, "Eval")["type"] == "ok"
    assert shell.node.state(process, 1).state["count"] == 402, "twice for each of two messages, at once a public key"


def test_a_stack_that_could_not_read_the_answer_is_refused(shell: Shell) -> None:
    for devices in (["json-iface@1.0", "wasm64@1.0"], ["wasm64@1.0", "json-iface@1.0", "multipass@1.0"]):
        with pytest.raises(Refused, match="json-iface@1.0 needs wasm64@1.0 after it and multipass@1.0 in the stack"):
            shell.spawn_text(ao_module(), devices=devices)


def test_the_interface_alone_stands_for_its_stack(shell: Shell) -> None:
    process = shell.spawn_text(ao_module(), devices=["~json-iface@1.0"])
    assert shell.call(process, "Eval")["data"] == "fine"


# What becomes of its answer


def test_everything_that_a_response_can_hold() -> None:
    got = results(
        answer(
            Output={"data": "text", "prompt": "> "},
            Messages=[{"Target": "T", "Data": "D", "Anchor": "1", "Tags": [{"name": "X-Tag", "value": "v"}]}],
            Spawns=[{"Data": "NODATA", "Tags": [{"name": "Module", "value": "M"}]}],
            Assignments=[{"Processes": ["P"], "Message": "M"}],
            Patches=[{"balance": 3}],
        )
    )
    origin = {"from-process": PROCESS, "from-image": IMAGE}
    assert got == {
        "type": "ok",
        "output": {"data": "text", "prompt": "> "},
        "data": "text",
        "outbox": {"1": {"target": "T", "data": "D", "anchor": "1", "x-tag": "v", **origin}},
        "spawns": {"1": {"data": "NODATA", "module": "M", **origin}},
        "assignments": [{"processes": ["P"], "message": "M"}],
        "patches": [{"balance": 3}],
    }


@pytest.mark.parametrize("nothing", [[], {}, None])
def test_what_is_empty_is_absent(nothing: object) -> None:
    # Lua writes an empty table as a list, whatever it was to be.
    parts = ("Output", "Messages", "Spawns", "Assignments", "Patches", "Error")
    response: dict[str, Any] = {
        part: nothing for part in parts if (part, nothing) not in (("Error", []), ("Error", {}))
    }
    assert results(answer(**response)) == {"type": "ok"}


@pytest.mark.parametrize("output", ["text", 7, 0, 1.5, True, False, ["a"]])
def test_an_output_of_any_type_is_kept(output: object) -> None:
    assert results(answer(Output=output)) == {"type": "ok", "output": output}


def test_an_empty_error_is_none() -> None:
    assert results(answer(Error="", Output="x"))["type"] == "ok"
    assert results(answer(Error=False, Output="x"))["type"] == "ok"


def test_an_error_takes_everything_else_with_it() -> None:
    got = results(answer(Error="no", Output="x", Messages=[{"Target": "T"}]))
    assert got == {"type": "error", "error": "no", "kind": "program"}


def test_a_message_cannot_say_that_it_comes_from_another_process() -> None:
    forged = [{"name": "From-Process", "value": "other"}, {"name": "from-image", "value": "other"}]
    got = results(answer(Messages=[{"Target": "T", "From-Process": "other", "Tags": forged}]))
    assert got["outbox"]["1"] == {"target": "T", "from-process": PROCESS, "from-image": IMAGE}


def test_of_tags_of_one_name_the_last_counts_and_none_counts_more_than_the_message_itself() -> None:
    tags = [{"name": "A", "value": 1}, {"name": "a", "value": 2}, {"name": "Target", "value": "other"}, {"name": "N"}]
    got = results(answer(Messages=[{"Target": "T", "Tags": tags}]))
    assert got["outbox"]["1"] == {"target": "T", "a": 2, "from-process": PROCESS, "from-image": IMAGE}


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert results(b'{"ok":false,"ok":true,"response":{"Output":1,"Output":2}}') == {"type": "ok", "output": 2}


def test_integers_are_exact() -> None:
    number = 2**64 + 1
    assert results(answer(Output=number))["output"] == number


def test_bytes_that_are_not_utf8_are_replaced_as_a_browser_would() -> None:
    got = results(b'{"ok":true,"response":{"Output":"a\xff\xe2\x82b\xed\xa0\x80"}}')
    assert got["output"] == "a��b���"


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_a_character() -> None:
    got = results(rb'{"ok":true,"response":{"Output":{"k\ud800":"\ud834\udd1e \udd1e \uD834."}}}')
    assert got["output"] == {"k�": "𝄞 � �."}


def test_brackets_within_texts_do_not_nest() -> None:
    text = '[{"\\' * 200
    assert results(answer(Output=text))["output"] == text


def test_64_levels_are_not_too_deep_and_65_are() -> None:
    def nested(levels: int) -> bytes:
        return b'{"ok":true,"response":{"Output":' + b"[" * levels + b"1" + b"]" * levels + b"}}"

    assert results(nested(61))["type"] == "ok"
    assert results(nested(63))["error"] == "the program's answer nests deeper than 64 levels"


def test_private_keys_are_no_part_of_a_result() -> None:
    got = results(answer(Output={"Private-Key": 1, "public": 2}))
    assert got["output"] == {"public": 2}


def test_another_engines_response_becomes_results_in_the_same_way() -> None:
    response = {"Output": "x", "Memory": None, "Error": None, "GasUsed": 3, "Messages": []}
    assert results_of(response, PROCESS, IMAGE) == {"type": "ok", "output": "x"}
    assert results_of("text", PROCESS, IMAGE)["kind"] == "result"


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    # Each of these would take minutes if any of the searches were quadratic.
    size = 4_000_000
    for text in (
        b'"\\' * (size // 2),
        b'\\"' * (size // 2),
        b'["' * (size // 2),
        b'{"":' * (size // 4),
        b"[]" * (size // 2),
    ):
        assert results(text)["type"] == "error"


def test_results_longer_than_their_limit_are_an_error(shell: Shell) -> None:
    from hb.protocol.definition import Limits

    many = json.dumps({"ok": True, "response": {"Messages": [{}] * 20}}).encode()
    process = shell.spawn_text(ao_module(bad_answer=many), limits=Limits(10**9, 100, 2000))
    assert shell.call(process, "Bad!")["error"] == "the results are longer than the limit of 2000 bytes"
    assert shell.call(process, "Good")["data"] == "fine"


def test_what_the_program_printed_is_kept_with_an_error_too(shell: Shell) -> None:
    imports = '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
    put = "(i32.store (i32.const 900) (i32.const 31)) (i32.store (i32.const 904) (i32.const 2))"
    printing = f"{put} (drop (call $write (i32.const 1) (i32.const 900) (i32.const 1) (i32.const 920)))"
    process = shell.spawn_text(ao_module(imports=imports, bad=f"{printing} (i32.const 1024) return", bad_answer=b"no"))
    assert shell.call(process, "Good").get("print") is None
    got = shell.call(process, "Bad!")
    assert got["kind"] == "result"
    assert got["print"] == FINE[15:17].decode(), "a piece of what lies at 16"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            b'{"ok":true,"response":{"Output":[' + b"[]," * 500_000 + b"[]]}}",
            "the program's answer may hold 500,000 values, it holds more",
        ),
        (
            b'{"ok":true,"response":{"Messages":[' + b"{}," * 100_000 + b"{}]}}",
            "Messages may have 100,000 entries, it has 100,001",
        ),
        (
            b'{"ok":true,"response":{"Patches":[' + b"{}," * 100_000 + b"{}]}}",
            "Patches may have 100,000 entries, it has 100,001",
        ),
    ],
)
def test_an_answer_has_a_limit_to_its_values_and_messages(text: bytes, sentence: str) -> None:
    assert results(text) == {"type": "error", "error": sentence, "kind": "result"}


def test_commas_and_brackets_in_an_answers_texts_do_not_count() -> None:
    assert results(answer(Output="[]," * 600_000))["type"] == "ok"
