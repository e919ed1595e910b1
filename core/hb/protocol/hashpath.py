"""Hashpaths: the links from each computation to the next.

A hashpath is `BASE`, then `BASE/PART`, then `HASH/PART`, where HASH is the hash of the hashpath before. So it commits
to everything that was applied, in order.

Invariants:
    Nothing here runs anything, or knows what a request does.

Source: HyperBEAM `hb_path`, `hb_crypto`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import Refused
from hb.protocol.commitment import message_id

if TYPE_CHECKING:
    from hb.protocol.message import Message

SHA_256_CHAIN = "sha-256-chain"
ACCUMULATE_256 = "accumulate-256"

_NO_CONTENT = frozenset({"path", "hashpath"})  # keys that say how to apply a request, not what it is


def base(value: Message | str | bytes) -> str:
    """Return the first hashpath of a message or a binary: its `every` ID, or the ID of its bytes."""
    if isinstance(value, dict):
        return message_id(value, "every")
    return ids.digest(value.encode() if isinstance(value, str) else value)


def algorithm(message: Message) -> str:
    """Return the algorithm that `message`, as a base, selects for the hashpaths after it."""
    selected = message.get("hashpath-alg", SHA_256_CHAIN)
    return selected if isinstance(selected, str) else ""


def step(hashpath: str, request: Message, alg: str = SHA_256_CHAIN) -> str:
    """Return the hashpath after `request` was applied to a base with `hashpath`.

    Raises:
        Refused: the request's path has no segment, `hashpath` is malformed, or `alg` is unknown.
    """
    return step_id(hashpath, part(request), alg)


def part(request: Message) -> str:
    """Return what stands for `request` in a hashpath: the first segment of a path alone, else its `every` ID.

    Raises:
        Refused: the path has no segment.
    """
    path = request.get("path")
    if path is None or not request.keys() <= _NO_CONTENT:
        return message_id(request, "every")
    texts = path if isinstance(path, list) else [path]
    for text in texts:
        if isinstance(text, str):
            for segment in text.split("/"):
                if segment:
                    return segment
    raise Refused(f"the path {str(path)[:80]!r} has no segment")


def step_id(hashpath: str, request_part: str, alg: str = SHA_256_CHAIN) -> str:
    """Return the hashpath after the request with this `part` was applied to a base with `hashpath`.

    Raises:
        Refused: `hashpath` is malformed, or `alg` is unknown.
    """
    if alg not in (SHA_256_CHAIN, ACCUMULATE_256):
        raise Refused(f"the hashpath algorithm {alg[:40]!r} is unknown", hint=f"{SHA_256_CHAIN} or {ACCUMULATE_256}")
    first, slash, last = hashpath.partition("/")
    if not slash:
        return f"{hashpath}/{request_part}"
    try:
        folded = _folded(ids.decode(first), ids.decode(last) if len(last) == ids.ID_CHARACTERS else last.encode(), alg)
    except ValueError:
        raise Refused(f"{hashpath[:100]!r} is not a hashpath") from None
    return f"{ids.encode(folded)}/{request_part}"


class Trail:
    """A hashpath that grows request by request, by `sha-256-chain`. It is `step`, but keeps the last bytes decoded.

    `text` is the current hashpath.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._bytes: bytes | None = None

    def step(self, request: Message) -> str:
        """Apply `request`, and return the new hashpath.

        Raises:
            Refused: as the function `step`.
        """
        last = part(request)
        if self._bytes is None or len(last) != ids.ID_CHARACTERS:
            self.text = step_id(self.text, last)
            first, slash, last = self.text.partition("/")
            is_known = slash and len(first) == len(last) == ids.ID_CHARACTERS
            self._bytes = ids.decode(first) + ids.decode(last) if is_known else None
        else:
            folded = sha256(self._bytes).digest()
            self.text = f"{ids.encode(folded)}/{last}"
            self._bytes = folded + ids.decode(last)
        return self.text


def _folded(first: bytes, last: bytes, alg: str) -> bytes:
    if len(first) != ids.ID_BYTES:
        raise ValueError("the first half of a hashpath has 32 bytes")
    digest = sha256(first + last).digest()
    if alg == SHA_256_CHAIN:
        return digest
    total = int.from_bytes(first, "big") + int.from_bytes(digest, "big")
    return (total % (1 << 256)).to_bytes(ids.ID_BYTES, "big")
