"""What the protocol's tests share: HyperBEAM's vectors, Hypothesis strategies, and keys and messages to sign."""

from __future__ import annotations

import json
from base64 import b64decode
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st

from hb.protocol import assignment
from hb.protocol.commitment import Key
from hb.protocol.message import Atom, Message, Value, normalise_message

VECTORS = Path(__file__).parent / "vectors"


@cache
def vectors(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.json").read_text())  # type: ignore[no-any-return]


def value(tagged: dict[str, Any]) -> Value:
    """Return the value that a vector file writes as `{"bin": ...}`, `{"int": ...}` and so on."""
    ((tag, content),) = tagged.items()
    if tag == "map":
        return {key.removeprefix("atom:"): value(item) for key, item in content.items()}
    if tag == "list":
        return [value(item) for item in content]
    plain = {"bin": str, "b64": b64decode, "int": int, "float": float, "atom": Atom}
    return plain[tag](content)  # type: ignore[no-any-return, operator]


def message(tagged: dict[str, Any]) -> Message:
    return normalise_message(value(tagged))


def binaries(item: Value) -> Any:
    """Return a TABM or fields in a vector's form: text becomes bytes."""
    if isinstance(item, dict):
        return {key: binaries(inner) for key, inner in item.items()}
    return item.encode() if isinstance(item, str) else item


def same(left: Value, right: Value) -> bool:
    """Return whether two values have equal types and contents: 1 is neither 1.0 nor true, and NaN equals NaN."""
    return _shape(left) == _shape(right)


def _shape(item: Value) -> object:
    if isinstance(item, dict):
        return {key: _shape(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [_shape(inner) for inner in item]
    return (type(item).__name__, repr(item) if isinstance(item, float) else item)


KEYS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.sampled_from(["a", "A", "body", "data", "path", "method", "ao-types", "$bytes", "$map", "$x", "a/b", "x: y"]),
    st.text("abcdefABCDEF0123456789_-", min_size=43, max_size=43),
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**300), max_value=10**300),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.binary(max_size=20),
    st.text('abc \r\n"\\:/,=$', max_size=8),
    st.sampled_from([Atom("ok"), Atom("true"), Atom("\xe9t\xe9")]),
)


def values() -> st.SearchStrategy[Value]:
    return st.recursive(SCALARS, _containers, max_leaves=12)


def _containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.one_of(st.lists(inner, max_size=4), _maps(inner))  # type: ignore[arg-type]


def _maps(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[dict[str, Value]]:
    return st.dictionaries(KEYS, inner, max_size=5).map(_without_twins)


def _without_twins(given: dict[str, Value]) -> dict[str, Value]:
    """Return `given` without private keys, and with one key of those that are equal in lower case."""
    kept: dict[str, Value] = {}
    seen: set[str] = set()
    for key, item in given.items():
        if key.lower() not in seen and not key.lower().startswith("priv"):
            seen.add(key.lower())
            kept[key] = item
    return kept


def messages() -> st.SearchStrategy[Message]:
    return _maps(values())


PLAIN_KEYS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=10).filter(
    lambda key: (
        key not in {"commitments", "signature", "signature-input", "content-digest", "content-type", "body-keys"}
        and key not in {"ao-types", "ao-ids", "inline-body-key", "content-disposition"}
        and not key.startswith("priv")
    )
)

_PLAIN_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2000, codec="utf-8"), max_size=20)


def signable_messages() -> st.SearchStrategy[Message]:
    """Return a strategy for messages that a signature can cover completely."""
    scalars = st.one_of(_PLAIN_TEXT, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
    nested = st.dictionaries(PLAIN_KEYS, scalars, max_size=3)
    fields = st.dictionaries(PLAIN_KEYS, st.one_of(scalars, st.lists(scalars, max_size=3), nested), max_size=6)
    data = st.one_of(st.just({}), st.fixed_dictionaries({"data": st.text(st.characters(codec="utf-8"))}))
    return st.tuples(fields, data).map(lambda parts: normalise_message({**parts[0], **parts[1]}))


def shuffled(item: Value, order: Any) -> Value:
    """Return `item` with the keys of every map shuffled by the random generator `order`."""
    if isinstance(item, dict):
        keys = list(item)
        order.shuffle(keys)
        return {key: shuffled(item[key], order) for key in keys}
    return [shuffled(inner, order) for inner in item] if isinstance(item, list) else item


# Signed messages

ALICE = Key(bytes(range(32)))
BOB = Key(b"b" * 32)
CAROL = Key(b"c" * 32)

MESSAGE: Message = {"action": "Increment", "data": "a\r\nb", "parameters": [1, 2.5, "x"], "path": "p", "n": {"k": 1}}


def assigned(body: Message) -> Message:
    built = assignment.build(
        process="p" * 43, slot=1, chain=b"c" * 32, timestamp_ms=1, block_height=0, block_hash="A" * 43
    )
    return {**built, "body": body}


def entries(signed: Message) -> dict[str, dict[str, Value]]:
    """Return a copy of a message's commitments, by ID."""
    return deepcopy(cast("dict[str, dict[str, Value]]", signed["commitments"]))


def mac_id(signed: Message) -> str:
    (found,) = [name for name, entry in entries(signed).items() if entry["alg"] == "hmac-sha256"]
    return found


def signature_id(signed: Message) -> str:
    (found,) = [name for name, entry in entries(signed).items() if entry["alg"] != "hmac-sha256"]
    return found
