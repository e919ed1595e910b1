"""The signed form of a message: HTTP fields, and the signature base over them.

A TABM becomes fields, a nested one goes into a multipart body, and the body into a digest; what is signed, and what
an unsigned ID is the MAC of, is the signature base over these fields. This module must never hold a key.

Source: RFC 9421 (signature base), RFC 7578 (multipart), RFC 9530 (content-digest) as HyperBEAM's `httpsig@1.0` has
them (`dev_codec_httpsig`, `dev_codec_httpsig_conv`).
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from hb import ids
from hb.errors import Refused
from hb.protocol.message import is_id_key
from hb.protocol.tabm import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hb.protocol.tabm import Tabm

Fields: TypeAlias = dict[str, bytes]

MAX_FIELD_BYTES = 4096
"""A binary longer than this goes into the body."""

DERIVED = frozenset(
    ("method", "target-uri", "authority", "scheme", "request-target", "path", "query", "query-param", "status")
)
"""Names that carry an `@` in a list of components, though not on their own line."""

NOT_FIELDS = frozenset(("commitments", "signature", "signature-input", "body-keys"))
"""Keys at the top of a message that are no part of its signed form."""

IDS_KEY = "ao-ids"
"""The field that holds what keys that are IDs have for values."""

_CRLF = b"\r\n"


def encode(tabm: Tabm) -> Fields:
    """The fields of a message, by name: its signed form, the body replaced by its digest."""
    inline = _inline_key(tabm)
    fields: Fields = {}
    body: Tabm = {}
    id_fields: Fields = {}
    if inline == "data" and "inline-body-key" not in tabm:
        fields["inline-body-key"] = b"data"
    for name, value in tabm.items():
        if name in NOT_FIELDS:
            continue
        if isinstance(value, dict):
            body[name] = value
        elif is_id_key(name):
            id_fields[name] = value
        elif len(value) > MAX_FIELD_BYTES or name in (inline, "body"):
            body[name] = value
        else:
            fields[name] = value
    if id_fields:
        # IDs keep their capitals, which the name of a field cannot; so they are the keys of one field's dictionary.
        listed = b", ".join([name.encode() + b"=" + quoted(id_fields[name]) for name in sorted(id_fields)])
        if len(listed) <= MAX_FIELD_BYTES:
            fields[IDS_KEY] = listed
        else:
            body[IDS_KEY] = listed
    if body:
        _add_body(fields, body, inline)
    return fields


def _inline_key(tabm: Tabm) -> str | None:
    """The key whose value is the body itself, where that is a binary."""
    if "inline-body-key" in tabm:
        named = tabm["inline-body-key"]
        return named.decode("utf-8", "surrogateescape") if isinstance(named, bytes) else None
    return "data" if "data" in tabm and "body" not in tabm else "body"


# The body


def _add_body(fields: Fields, body: Tabm, inline: str | None) -> None:
    """Add to `fields` the digest of what goes into the body, and its content type if it has several parts."""
    parts: dict[str, bytes | Fields] = {}
    _flatten(body, "", parts)
    if not parts:
        return
    only = parts.get(inline) if inline is not None and len(parts) == 1 else None
    if isinstance(only, bytes):
        content = only
    else:
        encoded = [_part(path, parts[path], inline) for path in sorted(parts)]
        boundary = ids.digest(_CRLF.join(encoded)).encode()
        content = b"".join([b"--%b\r\n%b\r\n" % (boundary, part) for part in encoded]) + b"--%b--" % boundary
        fields["content-type"] = b'multipart/form-data; boundary="%b"' % boundary
    fields["content-digest"] = b"sha-256=:%b:" % b64encode(sha256(content).digest())


def _flatten(tabm: Tabm, parent: str, parts: dict[str, bytes | Fields]) -> None:
    """Add to `parts` each message nested in `tabm`, and each binary that is too long for a field, by its path."""
    own: Fields = {}
    for name, value in tabm.items():
        path = f"{parent}/{name}" if parent else name
        if isinstance(value, dict):
            _flatten(value, path, parts)
        elif len(value) > MAX_FIELD_BYTES:
            parts[path] = value
        else:
            own[name] = value
    if own and parent:
        parts[parent] = own
    else:
        parts.update(own)


def _part(path: str, content: bytes | Fields, inline: str | None) -> bytes:
    """One part of a multipart body: its fields, and after an empty line its own body, if it has one."""
    if isinstance(content, bytes):
        return b"content-disposition: %b\r\n\r\n%b" % (_disposition(path, inline), content)
    body = content.get("body")
    if body is not None and len(content) == 1:
        # Named as a message, this part would read as the binary that its body is.
        return b"content-disposition: %b\r\n\r\n%b" % (_disposition(f"{path}/body", None), body)
    headers = {**content, "content-disposition": _disposition(path, inline)}
    headers.pop("body", None)
    head = _CRLF.join([_header_start(name) + headers[name] for name in sorted(headers)])
    return head if body is None else head + _CRLF + _CRLF + body


@lru_cache(maxsize=1024)
def _header_start(name: str) -> bytes:
    return name.encode() + b": "


def _disposition(path: str, inline: str | None) -> bytes:
    return b"inline" if path == inline else b'form-data;name="%b"' % path.encode()


# The signature base


def signed_components(fields: Fields) -> list[str]:
    """The components of a signature over all of `fields`: sorted before the `@` is added."""
    return [f"@{name}" if name in DERIVED else name for name in sorted(fields)]


def mac_components(fields: Fields) -> list[str]:
    """The components of the MAC over all of `fields`: sorted after the `@` is added."""
    return sorted([f"@{name}" if name in DERIVED else name for name in fields])


def component_list(components: Sequence[str]) -> bytes:
    """The structured-field list that names `components`."""
    return _component_list(tuple(components))


def component_lines(fields: Fields) -> dict[str, bytes]:
    """The line of a signature base that each of `fields` has, by its component."""
    return {
        f"@{name}" if name in DERIVED else name: _line_start(name) + value.strip(b" ").replace(b"\n", b" ")
        for name, value in fields.items()
    }


def signature_base(lines: dict[str, bytes], components: Sequence[str], params: bytes) -> bytes:
    """The signature base over `components`, of whose `lines` there may be more; `params` is `;name=value...`.

    Raises:
        Refused: a component has no line: it is no field of the message.
    Source: RFC 9421 section 2.5, with HyperBEAM's spelling of derived components.
    """
    try:
        chosen = [lines[component] for component in components]
    except KeyError as missing:
        raise Refused(f"{str(missing)[:80]} is no field of the message") from None
    return b"\n".join(chosen) + b'\n"@signature-params": ' + component_list(components) + params


@lru_cache(maxsize=64)
def _component_list(components: tuple[str, ...]) -> bytes:
    return b"(" + b" ".join([_component_name(component) for component in components]) + b")"


@lru_cache(maxsize=1024)
def _line_start(name: str) -> bytes:
    return quoted(name.encode()) + b": "


@lru_cache(maxsize=1024)
def _component_name(component: str) -> bytes:
    raw = component.encode()
    if not component.isascii():
        # HyperBEAM's `lower_bin` takes the bytes of a name for Latin-1 characters; IDs must agree with it.
        raw = raw.decode("latin-1").lower().encode("latin-1")
    return quoted(raw)
