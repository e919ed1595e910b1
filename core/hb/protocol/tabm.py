"""The TABM form of a message: every value is a binary or a nested TABM, and the types are noted beside them.

There is no way back: `hb` keeps messages in their JSON form, and needs this form to sign and to name them.

Invariants:
    Nothing here looks at what a key means, except for the few keys that belong to this form.

Source: HyperBEAM `dev_codec_structured` (`structured@1.0`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias, cast

from hb.errors import Refused
from hb.protocol.message import PRIVATE_PREFIX, Atom, Message, Value, float_text, int_text

Tabm: TypeAlias = "dict[str, bytes | Tabm]"

TYPES_KEY = "ao-types"

DROPPED_KEYS = frozenset({"unsigned_id", "content-digest"})
"""Keys that are made again from the rest of a message, and so are no part of it."""

MAX_TEXT_LIST_DEPTH = 8
"""Maximum depth of a list within a list of plain values: each level of quoting doubles the length."""

_EMPTY_TYPES: dict[type, str] = {
    str: "empty-binary",
    bytes: "empty-binary",
    list: "empty-list",
    dict: "empty-message",
}

_UNESCAPED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_/?&+")


def encode(message: Message) -> Tabm:
    """Return the TABM of `message`, which is in normal form.

    Raises:
        Refused: a list of plain values holds a map, or nests too deep.
    """
    tabm: Tabm = {}
    types: list[str] = []
    for key in sorted(message):
        if key in DROPPED_KEYS or key.startswith(PRIVATE_PREFIX):
            continue
        value = message[key]
        if type(value) is str and value:
            tabm[key] = value.encode()
        elif type(value) is dict and value:
            tabm[key] = encode(value)
        elif type(value) is bytes and value:
            tabm[key] = value
        else:
            name, encoded = _typed(value)
            types.append(f'{_escaped(key)}="{name}"')
            if encoded:
                tabm[key] = encoded
    if types:
        tabm[TYPES_KEY] = ", ".join(types).encode()
    return tabm


def _typed(value: Value) -> tuple[str, bytes | Tabm]:
    """Return the type and the encoding of a value that is neither a binary nor a message; empty bytes for no value."""
    kind = type(value)
    if not value and kind in _EMPTY_TYPES:
        return _EMPTY_TYPES[kind], b""
    if kind is int:
        return "integer", int_text(cast(int, value)).encode()
    if isinstance(value, float):
        return "float", _float(value)
    if isinstance(value, list):
        if isinstance(value[0], (dict, list)):
            return "list", encode({str(position): item for position, item in enumerate(value, 1)})
        return "list", _text_list(value, 1)
    return "atom", _atom(cast("Atom | bool | None", value))


def _float(value: float) -> bytes:
    # Twenty digits after the point are more than two different floats can share. Erlang has finite floats only, so
    # the names of the others are this project's own.
    return (f"{value:.20e}" if math.isfinite(value) else float_text(value)).encode()


def _atom(value: Atom | bool | None) -> bytes:
    if isinstance(value, Atom):
        return quoted(value.name.encode("latin-1"))
    return b'"null"' if value is None else b'"true"' if value else b'"false"'


def _text_list(values: list[Value], depth: int) -> bytes:
    if depth > MAX_TEXT_LIST_DEPTH:
        raise Refused(f"a list nests deeper than {MAX_TEXT_LIST_DEPTH} levels within a list of plain values")
    return b", ".join([quoted(_item(value, depth)) for value in values])


def _item(value: Value, depth: int) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        raise Refused("a list whose first value is plain cannot hold a map: no AO node can encode it")
    if isinstance(value, list):
        return b"(ao-type-list) " + _text_list(value, depth + 1)
    name, encoded = _typed(value)
    return b"(ao-type-%b) %b" % (name.encode(), cast(bytes, encoded))


def quoted(raw: bytes) -> bytes:
    """Return `raw` as a structured-field string. Source: RFC 8941 section 3.3.3, except that any byte may occur."""
    if b"\\" in raw or b'"' in raw:
        raw = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % raw


@lru_cache(maxsize=1024)
def _escaped(key: str) -> str:
    """Return `key` with all but `a-z 0-9 . - _ / ? & +` percent-encoded. Source: HyperBEAM `hb_escape:encode`."""
    if _UNESCAPED.issuperset(key):
        return key
    return "".join(
        character if character in _UNESCAPED else "".join(f"%{byte:02x}" for byte in character.encode())
        for character in key
    )
