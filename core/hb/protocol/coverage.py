"""What a signature covers: refuses a message if another message could have the same signature.

The signed form loses information. It trims the spaces around a field, reads a line break as a space, reads a nested
value with a line break as several fields, and makes some keys again from the rest. If that matters in a message, the
message could be altered and its signature would still verify. Such a message is neither signed nor accepted as signed.

A nested message with commitments of its own is not looked into: it is verified together with the outer one.

Invariants:
    Nothing here judges what a message means, or knows a signing key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import Refused
from hb.protocol.httpsig import IDS_KEY, MAX_FIELD_BYTES, NOT_FIELDS
from hb.protocol.message import is_id_key
from hb.protocol.tabm import DROPPED_KEYS, TYPES_KEY

if TYPE_CHECKING:
    from hb.protocol.httpsig import Fields
    from hb.protocol.message import Message, Value
    from hb.protocol.tabm import Tabm

COMMITMENTS_KEY = "commitments"

UNCOVERED_KEYS = frozenset({*NOT_FIELDS, *DROPPED_KEYS, TYPES_KEY, IDS_KEY})
"""Keys that a signed message cannot have: the signed form leaves them out, or makes them from the rest."""

_UNCOVERED_NESTED_KEYS = frozenset({*DROPPED_KEYS, TYPES_KEY, "content-disposition"})

_NO_NAMES = frozenset({"", "@"})  # no name of a field begins so
_TYPE_MARKS: frozenset[str | bytes] = frozenset({"(ao-type-", b"(ao-type-"})


def check(message: Message, tabm: Tabm, fields: Fields) -> None:
    """Make sure that no other message has the signed form `fields` of `message`, whose TABM is `tabm`.

    `message` is in normal form and without its commitments.

    Raises:
        Refused: another may have it. The sentence names the key and the reason.
    """
    for key, value in message.items():
        if key in UNCOVERED_KEYS or key[:1] in _NO_NAMES:
            raise Refused(f"a signed message cannot have the key {key!r}: its signature does not cover it")
        if isinstance(value, (dict, list)):
            _check_value(value, key)
    for name, raw in fields.items():
        if b"\n" in raw or raw != raw.strip(b" "):
            raise Refused(
                f"the value of {name} has a line break, or a space at an end, which a signature does not cover",
                hint="put such text into `data`",
            )
        if not name.isascii() or "\n" in name:
            raise Refused(f"a signed message cannot have the key {name!r}: a signature cannot name it")
    _check_content_type(tabm, fields)
    for key in sorted(tabm.keys() - fields.keys()):
        _check_part(key, tabm[key], key)


def _check_content_type(tabm: Tabm, fields: Fields) -> None:
    given = tabm.get("content-type")
    if given is not None and (fields.get("content-type") != given or given.startswith(b"multipart/")):
        raise Refused("a signed message cannot have a content-type of its own when its body has parts")
    if tabm.get("inline-body-key") == b"data" and "data" in tabm and "body" not in tabm:
        raise Refused("a signature does not cover `inline-body-key: data`; leave it out, for it changes nothing")


def _check_value(value: Value, path: str) -> None:
    """Refuse a nested value if its TABM is also that of another value."""
    if isinstance(value, list):
        for item in value:
            _check_value(item, path)
            if isinstance(item, (str, bytes)) and item[:9] in _TYPE_MARKS:
                raise Refused(f"{path} holds the text {item[:40]!r}, which reads as another type when signed")
    elif isinstance(value, dict) and COMMITMENTS_KEY not in value:
        for key, item in value.items():
            if key in _UNCOVERED_NESTED_KEYS:
                raise Refused(f"a signed message cannot have the key {key!r} in {path}: a signature does not cover it")
            _check_value(item, f"{path}/{key}")


def _check_part(key: str, content: bytes | Tabm, path: str) -> None:
    """Refuse names and values that would be read as something else in the body."""
    if is_id_key(key) and not isinstance(content, dict):
        if "=" in key:
            raise Refused(f"a signed message cannot have the key {key!r}: it reads as another when signed")
        return
    if "/" in key or "\r" in key or "\n" in key:
        raise Refused(f"a signed message cannot have {path!r} in its body: it reads as another path")
    if not isinstance(content, dict) or COMMITMENTS_KEY in content:
        return
    for name, value in content.items():
        if isinstance(value, dict) or len(value) > MAX_FIELD_BYTES:
            _check_part(name, value, f"{path}/{name}")
        elif (b"\r\n" in value and name != "body") or ": " in name or "\r" in name or "\n" in name:
            raise Refused(
                f"{path}/{name} has a line break, which a signature does not cover within a nested message",
                hint="put such text into the message's `body`",
            )
