"""The signed form of a message: HTTP fields, and the signature base over them.

A TABM becomes fields, a nested TABM becomes a part of a multipart body, and the body becomes a digest. A signature
and the MAC of an unsigned ID are over the signature base of these fields.

Invariants:
    Nothing here holds a key.

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
"""Maximum bytes of a field. A longer binary goes into the body."""

DERIVED = frozenset(
    ("method", "target-uri", "authority", "scheme", "request-target", "path", "query", "query-param", "status")
)
"""Names that have an `@` in a list of components, but not on their own line."""

NOT_FIELDS = frozenset(("commitments", "signature", "signature-input", "body-keys"))
"""Top-level keys of a message that are no part of its signed form."""

IDS_KEY = "ao-ids"
"""The field that holds the keys that are IDs, with their values."""

_CRLF = b"\r\n"
_KEPT_COMPONENTS = 100  # a longer list is not kept for the next message


def encode(tabm: Tabm) -> Fields:
    """Return the fields of a message by name: its signed form, with the body replaced by its digest."""
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
        # IDs keep their capitals, and names of fields cannot. So the IDs are keys in the dictionary of one field.
        listed = b", ".join([name.encode() + b"=" + quoted(id_fields[name]) for name in sorted(id_fields)])
        if len(listed) <= MAX_FIELD_BYTES:
            fields[IDS_KEY] = listed
        else:
            body[IDS_KEY] = listed
    if body:
        _add_body(fields, body, inline)
    return fields


def _inline_key(tabm: Tabm) -> str | None:
    """Return the key whose value is the body itself, if that is a binary."""
    if "inline-body-key" in tabm:
        named = tabm["inline-body-key"]
        return named.decode("utf-8", "surrogateescape") if isinstance(named, bytes) else None
    return "data" if "data" in tabm and "body" not in tabm else "body"


# The body


def _add_body(fields: Fields, body: Tabm, inline: str | None) -> None:
    """Add to `fields` the digest of the body, and its content type if it has several parts."""
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
    """Add to `parts`, by path, each message nested in `tabm` and each binary too long for a field."""
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
    """Return one part of a multipart body: its fields, then an empty line and its own body if it has one."""
    if isinstance(content, bytes):
        return b"content-disposition: %b\r\n\r\n%b" % (_disposition(path, inline), content)
    body = content.get("body")
    if body is not None and len(content) == 1:
        # Under the name of the message, this part would be read as the binary in its body.
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
    """Return the components of a signature over all of `fields`, sorted before the `@` is added."""
    return [f"@{name}" if name in DERIVED else name for name in sorted(fields)]


def component_list(components: Sequence[str]) -> bytes:
    """Return the structured-field list that names `components`."""
    return (_component_list if len(components) <= _KEPT_COMPONENTS else _component_list.__wrapped__)(tuple(components))


def component_lines(fields: Fields) -> dict[str, bytes]:
    """Return the line of each of `fields` in a signature base, by component."""
    return {
        f"@{name}" if name in DERIVED else name: _line_start(name) + value.strip(b" ").replace(b"\n", b" ")
        for name, value in fields.items()
    }


def signature_base(lines: dict[str, bytes], components: Sequence[str], params: bytes) -> bytes:
    """Return the signature base over `components`; `lines` may have more. `params` is `;name=value...`.

    Raises:
        Refused: a component has no line because the message has no such field.
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
        # HyperBEAM's `lower_bin` reads the bytes of a name as Latin-1 characters; IDs must agree with it.
        raw = raw.decode("latin-1").lower().encode("latin-1")
    return quoted(raw)
