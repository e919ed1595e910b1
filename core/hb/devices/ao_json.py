"""The AO interface's JSON: what a program is told about a message and its process, and what its answer says.

All of it follows from the assignment, the definition and the answer alone. A program's answer is never trusted: its
caller limits its bytes; its shape, depth, numbers and number of values are checked here.

Invariants:
    Nothing here calls a program.
    Whatever a program answers, `results_of` and `results_of_text` return results; they raise nothing.

Source: HyperBEAM `dev_json_iface`; the AO loader (`@permaweb/ao-loader`) and compute unit, where they say more.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, cast

from hb.errors import Refused
from hb.protocol import bounds, casing, tabm
from hb.protocol import definition as definitions
from hb.protocol.commitment import committers, message_id
from hb.protocol.coverage import COMMITMENTS_KEY
from hb.protocol.message import MAX_DEPTH, dumps, is_id_key, normal_key, normalise_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.protocol.message import Message
    from hb.protocol.tabm import Tabm

PROGRAM, RESULT = "program", "result"
"""The kinds of failure: the program says that it failed; or its answer is not one."""

_NOT_TAGS = frozenset({"anchor", COMMITMENTS_KEY, "data", "from", "id", "owner", "signature", "target"})
_HOW_IT_RUNS = definitions.RESERVED - {"anchor", "data-protocol", "scheduler", "type", "variant", COMMITMENTS_KEY}

MAX_MESSAGES = 100_000
"""Maximum number of messages, and of spawns, assignments and patches, in one answer."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class NotJson(Exception):
    """JSON cannot hold the message; the text is a sentence."""


class _MalformedError(Exception):
    """The answer is not one; the text is a sentence."""


# What a program is told


def message_json(assignment: Message, image: str) -> bytes:
    """Return the message of an assignment as the program gets it. Numbers are numbers, the rest is text.

    Raises:
        NotJson: its data or a tag is not UTF-8.
    """
    message = assignment["body"]
    assert isinstance(message, dict)
    fields = {
        **_fields(message),
        "Module": image,
        "Block-Height": assignment["block-height"],
        "Timestamp": assignment["timestamp"],
        "Epoch": int(str(assignment["epoch"])),
        "Nonce": assignment["slot"],
        "Hash-Chain": assignment["hash-chain"],
        "Cron": False,
    }
    return _ENCODER.encode(fields).encode()


def environment_json(definition: Message, process: str) -> bytes:
    """Return the process as its program gets it: its ID, its owner, and what its definition says.

    How it is run (devices, limits, initial state) is left out: every message would pay for reading it. The image is a
    tag called `Module`, where programs look for it, unless the definition has one.

    Raises:
        NotJson: a tag is not UTF-8.
    """
    fields = _fields({key: value for key, value in definition.items() if key not in _HOW_IT_RUNS})
    del fields["Data"], fields["Signature"]
    fields["Id"] = process
    image, tags = definition["image"], cast("list[dict[str, object]]", fields["Tags"])
    if "module" not in definition:
        tags.append({"name": "Module", "value": image})
    return _ENCODER.encode({"Process": fields, "Module": {"Id": image, "Tags": []}}).encode()


def _fields(message: Message) -> dict[str, object]:
    """Return what is told about both a message and a process.

    A message without a target is a definition: its target is the process that it makes, wherever it has a slot.
    """
    content = tabm.encode({key: value for key, value in message.items() if key != COMMITMENTS_KEY})
    owner, signature = _signer(message)
    name = message_id(message)
    sender = _plain("from-process", content.get("from-process", b""))
    return {
        "Id": name,
        "Owner": owner,
        "From": sender if isinstance(sender, str) and sender else owner,
        "Target": _plain("target", content.get("target", name.encode())),
        "Anchor": _plain("anchor", content.get("anchor", b"")),
        "Tags": [
            {"name": header_case(key), "value": _plain(key, value)}
            for key, value in content.items()
            if key not in _NOT_TAGS
        ],
        "Data": _plain("data", content.get("data", b"")),
        "Signature": signature,
    }


def _signer(message: Message) -> tuple[str, str]:
    """Return a message's signer and the signature in base64url; of several signers, the first by address."""
    signers, commitments = committers(message), message.get(COMMITMENTS_KEY)
    if not signers or not isinstance(commitments, dict):
        return "", ""
    for entry in commitments.values():
        if isinstance(entry, dict) and entry.get("committer") == signers[0]:
            signature = entry.get("signature")
            encoded = signature.partition("=:")[2].rstrip(":") if isinstance(signature, str) else ""
            return signers[0], encoded.translate(_TO_BASE64URL).rstrip("=")
    raise AssertionError("a committer without a commitment")


_TO_BASE64URL = str.maketrans("+/", "-_")


def _plain(key: str, value: bytes | Tabm) -> object:
    if isinstance(value, dict):
        return {name: _plain(f"{key}/{name}", item) for name, item in value.items()}
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NotJson(f"the message's {key} is not UTF-8, and no JSON can hold it: send it as base64") from None


def header_case(key: str) -> str:
    """Return `key` as tags are spelled: each word between hyphens with a capital. IDs stay as they are."""
    return key if is_id_key(key) else "-".join([casing.title(word[:1]) + word[1:] for word in key.split("-")])


# What it answers


def results_of_text(text: bytes, process: str, image: str) -> Message:
    """Return the results that a program's answer, `{"ok": true, "response": ...}`, stands for (see `results_of`).

    Bytes that are not UTF-8, and halves of surrogate pairs, are replaced as a browser's decoder replaces them.
    """
    try:
        answer = _lowered(_parse(text), "the program's answer")
        response = answer.get("response")
        if not _truthy(answer.get("ok")):
            return _failed(PROGRAM, _reason(response or answer.get("error")))
        if response is None:
            raise _MalformedError("the program's answer has no response")
    except _MalformedError as why:
        return _failed(RESULT, str(why))
    return results_of(response, process, image)


def results_of(response: object, process: str, image: str) -> Message:
    """Return the results that `response`, parsed JSON, stands for, without `gas` and `print`.

    `{"type": "ok"}` and, where there is any, `output`, `data`, `outbox`, `spawns`, `assignments`, `patches`; or
    `{"type": "error", "error": sentence, "kind": "program" or "result"}`.
    """
    try:
        parts = _lowered(response, "the program's response")
        if _truthy(parts.get("error")):
            return _failed(PROGRAM, _reason(parts["error"]))
        origin = {"from-process": process, "from-image": image}
        output = parts.get("output")
        found: dict[str, object] = {
            "output": output,
            "data": _lowered(output, "Output").get("data") if isinstance(output, dict) else None,
            "outbox": _numbered([{**entry, **origin} for entry in _messages(parts, "messages")]),
            "spawns": _numbered([{**entry, **origin} for entry in _messages(parts, "spawns")]),
            "assignments": [_lowered(entry, "an assignment") for entry in _list(parts, "assignments")],
            "patches": _messages(parts, "patches"),
        }
        kept = {key: value for key, value in found.items() if value not in (None, "", [], {})}
        return normalise_message({"type": "ok", **kept})
    except _MalformedError as why:
        return _failed(RESULT, str(why))
    except Refused as why:
        return _failed(RESULT, f"the program's answer is not what a message can hold: {why.message}")


def _failed(kind: str, sentence: str) -> Message:
    return {"type": "error", "error": sentence, "kind": kind}


def _truthy(value: object) -> bool:
    """Whether `value` is true in JavaScript, the language of the AO network's compute units."""
    return isinstance(value, (list, dict)) or bool(value)


def _reason(value: object) -> str:
    """Return, as text, the reason that a program gives for its failure."""
    if isinstance(value, str) and value:
        return value
    if not value:
        return "the program says that it failed, and not why"
    try:
        return dumps(normalise_message({"error": value})["error"]).decode()
    except Refused:
        return "the program says that it failed, and gives a reason that no message can hold"


def _lowered(value: object, what: str) -> dict[str, object]:
    """Return a JSON object with its keys in normal form. Lua writes an empty object as an empty list."""
    if value == []:
        return {}
    if not isinstance(value, dict):
        raise _MalformedError(f"{what} must be an object, it is {_described(value)}")
    lowered = {normal_key(key): item for key, item in value.items()}
    if len(lowered) != len(value):
        raise _MalformedError(f"{what} has the same key twice once keys are lower case")
    return lowered


def _list(parts: Mapping[str, object], key: str) -> list[object]:
    value = parts.get(key)
    if value is None or value == {}:
        return []
    if not isinstance(value, list):
        raise _MalformedError(f"{key.title()} must be a list, it is {_described(value)}")
    if len(value) > MAX_MESSAGES:
        raise _MalformedError(f"{key.title()} may have {MAX_MESSAGES:,} entries, it has {len(value):,}")
    return value


def _messages(parts: Mapping[str, object], key: str) -> list[dict[str, object]]:
    return [_message(entry, f"entry {number} of {key.title()}") for number, entry in enumerate(_list(parts, key), 1)]


def _message(entry: object, what: str) -> dict[str, object]:
    """Return a message of an answer with its tags as keys. The last of equal tags counts; its own keys come first."""
    fields = {key: value for key, value in _lowered(entry, what).items() if value is not None}
    tags: dict[str, object] = {}
    for tag in _list(fields, "tags"):
        if not isinstance(tag, dict) or not isinstance(tag.get("name"), str) or not tag["name"]:
            raise _MalformedError(f"each tag of {what} must be an object with a name")
        if tag.get("value") is not None:
            tags[normal_key(tag["name"])] = tag["value"]
    fields.pop("tags", None)
    return {**tags, **fields}


def _numbered(messages: list[dict[str, object]]) -> dict[str, object]:
    return {str(number): message for number, message in enumerate(messages, 1)}


def _described(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds[type(value)]


# Reading JSON. The sentences about bad JSON are stored, so they must not depend on the version of the parser.


def _parse(text: bytes) -> object:
    if bounds.nests_deeper(text, MAX_DEPTH):
        raise _MalformedError(f"the program's answer nests deeper than {MAX_DEPTH} levels")
    if bounds.has_more_values(text, bounds.MESSAGE_VALUES):
        raise _MalformedError(f"the program's answer may hold {bounds.MESSAGE_VALUES:,} values, it holds more")
    try:
        parsed = _READER.decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        start = text[:40].decode("utf-8", "replace")
        raise _MalformedError(f"the program's answer is not JSON; it begins {start!r}") from None
    return _scrubbed(parsed) if _HALF_PAIR.search(text) else parsed


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _MalformedError(f"the program's answer has the number {text[:40]}..., beyond what a float can hold")
    return number


def _integer(text: str) -> int:
    _number(text)
    return int(text)


def _no_constant(name: str) -> float:
    raise _MalformedError(f"the program's answer has {name}, which is not JSON")


# Of a key that comes twice the last counts, as with JavaScript's JSON.parse.
_READER = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=_no_constant)

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


def _scrubbed(value: object) -> object:
    """Return `value` with every half of a surrogate pair replaced, since UTF-8 cannot hold one."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {cast(str, _scrubbed(key)): _scrubbed(item) for key, item in value.items()}
    return value
