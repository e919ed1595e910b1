"""Assignments: what gives a message its slot, and the hash-chain that links them.

Builds what a scheduler signs. It must never choose a slot, tell the time or hold a key: these are the scheduler's.

Source: HyperBEAM `dev_scheduler_server`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hb import ids

if TYPE_CHECKING:
    from hb.protocol.message import Message


def chain(previous: bytes, message_id: str) -> bytes:
    """The 32 bytes of the hash-chain once the message with the `all` ID `message_id` has the next slot.

    `previous` is the chain's 32 bytes before that; empty before slot 0.
    """
    return sha256(previous + message_id.encode()).digest()


def build(
    *,
    process: str,
    slot: int,
    chain: bytes,
    timestamp_ms: int,
    block_height: int,
    block_hash: str,
) -> Message:
    """The assignment of a message to `slot` of `process`, yet to be signed by the scheduler around the message.

    `process` is a PID; `chain` the hash-chain's 32 bytes with the message in it; `block_hash` 43 characters. There
    are no blocks here, so the block's time is the assignment's own, in seconds as blocks have it.
    """
    return {
        "path": "compute",
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "process": process,
        "epoch": "0",
        "slot": slot,
        "block-height": block_height,
        "block-hash": block_hash,
        "block-timestamp": timestamp_ms // 1000,
        "timestamp": timestamp_ms,
        "hash-chain": ids.encode(chain),
    }
