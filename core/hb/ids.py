"""IDs: 32 bytes, written as 43 characters of unpadded base64url.

Imports only `errors`; holds nothing but text, bytes and hashes.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256

ID_BYTES = 32
ID_CHARACTERS = 43

_ID = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def encode(raw: bytes) -> str:
    """Unpadded base64url of `raw`."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes that unpadded base64url `text` stands for.

    Raises:
        ValueError: `text` is not what `encode` writes (padding, other characters, stray bits).
    """
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (Base64Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64url: {text[:60]!r}") from error
    if encode(raw) != text:
        raise ValueError(f"not canonical base64url: {text[:60]!r}")
    return raw


def digest(raw: bytes) -> str:
    """The ID of `raw`: base64url(sha256(raw)), 43 characters."""
    return encode(sha256(raw).digest())


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an ID: 43 base64url characters."""
    return _ID.match(text) is not None
