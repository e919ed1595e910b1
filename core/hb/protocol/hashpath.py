"""Hashpaths: the links from each computation to the next.

A hashpath is `BASE`, then `BASE/PART`, then `HASH/PART` where HASH folds the one before: so it commits to all that
was ever applied, in order. It must never run anything, nor say what a request does.

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
    """The hashpath that a message or a binary starts with: its `every` ID, or the ID of its bytes."""
    if isinstance(value, dict):
        return message_id(value, "every")
    return ids.digest(value.encode() if isinstance(value, str) else value)


def algorithm(message: Message) -> str:
    """The algorithm that `message`, as a base, selects for the hashpaths that follow from it."""
    selected = message.get("hashpath-alg", SHA_256_CHAIN)
    return selected if isinstance(selected, str) else ""


def step(hashpath: str, request: Message, alg: str = SHA_256_CHAIN) -> str:
    """The hashpath after `request` was applied to what has `hashpath`.

    Raises:
        Refused: the request's path has no segment, `hashpath` is none, or `alg` is unknown.
    """
    return step_id(hashpath, part(request), alg)


def part(request: Message) -> str:
    """What stands for `request` in a hashpath: its path's first segment if it is a path alone, else its `every` ID.

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
    """The hashpath after the request that `request_part` stands for was applied to what has `hashpath`.

    Raises:
        Refused: `hashpath` is none, or `alg` is unknown.
    """
    if alg not in (SHA_256_CHAIN, ACCUMULATE_256):
        raise Refused(f"the hashpath algorithm {alg[:40]!r} is unknown", hint=f"{SHA_256_CHAIN} or {ACCUMULATE_256}")
    first, slash, last = hashpath.partition("/")
    if not slash:
        return f"{hashpath}/{request_part}"
    try:
        folded = _folded(ids.decode(first), ids.decode(last) if len(last) == ids.ID_CHARACTERS else last.encode(), alg)
    except ValueError:
        raise Refused(f"{hashpath[:100]!r} is no hashpath") from None
    return f"{ids.encode(folded)}/{request_part}"


class Trail:
    """A hashpath that goes on from request to request by `sha-256-chain`: `step`, with the bytes of the last one kept.

    `text` is the hashpath as it is now.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._bytes: bytes | None = None

    def step(self, request: Message) -> str:
        """The hashpath after `request` was applied, which is then the one as it is now.

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
