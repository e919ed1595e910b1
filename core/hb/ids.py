"""IDs: 32 bytes, written as 43 characters of unpadded base64url.

Invariants:
    This module imports nothing of hb, and knows nothing but text, bytes and hashes.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import sha256

ID_BYTES = 32
ID_CHARACTERS = 43

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
ID = re.compile(r"[A-Za-z0-9_-]{43}\Z")
LAST_OF_DIGEST = frozenset("AEIMQUYcgkosw048")  # the last character has four bits


def encode(raw: bytes) -> str:
    """Return the unpadded base64url of `raw`."""
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes that unpadded base64url `text` stands for.

    Raises:
        ValueError: `text` is not what `encode` writes (padding, other characters, stray bits).
    """
    try:
        raw = a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except (Base64Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64url: {text[:60]!r}") from error
    if encode(raw) != text:
        raise ValueError(f"not canonical base64url: {text[:60]!r}")
    return raw


def digest(raw: bytes) -> str:
    """Return the ID of `raw`: base64url(sha256(raw)), 43 characters."""
    return encode(sha256(raw).digest())


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an ID: 43 base64url characters."""
    return ID.match(text) is not None


def is_digest(text: str) -> bool:
    """Whether `text` is what `encode` writes for 32 bytes, so that `decode` takes it."""
    return ID.match(text) is not None and text[-1] in LAST_OF_DIGEST
