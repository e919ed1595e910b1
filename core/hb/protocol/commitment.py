"""Commitments: who stands for a message, and what its ID is.

Signs messages with Ed25519 keys, verifies what any committer signed, and names messages by their commitments. It must
never decide whom to trust, and takes keys only from its caller.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from hb import ids
from hb.errors import Refused

if TYPE_CHECKING:
    from hb.protocol.message import Message

SEED_BYTES = 32


class Key:
    """An Ed25519 key pair, from its 32-byte seed (RFC 8032 calls it the private key).

    `public` may be given where it is known, so that an address can be told without loading libsodium; it is checked
    against the seed before anything is signed.
    """

    def __init__(self, seed: bytes, public: bytes | None = None) -> None:
        if len(seed) != SEED_BYTES:
            raise Refused(f"an Ed25519 seed has {SEED_BYTES} bytes, this one has {len(seed)}")
        self.seed = seed
        self._public = public

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._public if self._public is not None else self._pair[0]

    @cached_property
    def keyid(self) -> str:
        """The public key as commitments name it: base64url, 43 characters."""
        return ids.encode(self.public)

    @cached_property
    def address(self) -> str:
        """The ID of the public key."""
        return ids.digest(self.public)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`.

        Raises:
            Refused: the public key that was given is not the seed's.
        """
        from nacl.bindings import crypto_sign

        return crypto_sign(message, self._pair[1])[:64]

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        """The public key, and the seed and public key as libsodium wants them for signing."""
        from nacl.bindings import crypto_sign_seed_keypair

        public, secret = crypto_sign_seed_keypair(self.seed)
        # Signing with another public key than the seed's gives the seed away.
        if self._public is not None and self._public != public:
            raise Refused("this key's public part is not that of its seed")
        return public, secret

    def __repr__(self) -> str:
        return f"Key({self.address})"


def sign(message: Message, key: Key) -> Message:
    """`message` in normal form with `key`'s commitment added."""
    raise NotImplementedError


def verify(message: Message) -> list[str]:
    """The addresses of those whose commitments `message` bears, every one of them verified."""
    raise NotImplementedError


def message_id(message: Message, which: str = "all") -> str:
    """The ID of `message`: by its signed commitments (`all`), by every commitment (`every`), or by none (`none`)."""
    raise NotImplementedError


def committers(message: Message) -> list[str]:
    """The addresses that `message`'s commitments claim, sorted; nothing is verified."""
    raise NotImplementedError


def pack(message: Message) -> Message:
    """The stored form of `message`: without what `unpack` can restore."""
    raise NotImplementedError


def unpack(message: Message) -> Message:
    """The message that `pack` made `message` of."""
    raise NotImplementedError
