"""Assignments and the hash-chain."""

from __future__ import annotations

from hb import ids
from hb.protocol import assignment
from protocol_vectors import vectors


def test_the_hash_chain_is_that_of_the_vectors() -> None:
    chain = b""
    for expected in vectors("hash_chain")["assignments"]:
        chain = assignment.chain(chain, expected["message_id_all"])
        assert ids.encode(chain) == expected["hash_chain"]


def test_an_assignment_has_the_keys_of_an_ao_node() -> None:
    assert assignment.build(
        process="P" * 43,
        slot=3,
        chain=b"c" * 32,
        timestamp_ms=1_700_000_000_123,
        block_height=9,
        block_hash="B" * 43,
    ) == {
        "path": "compute",
        "data-protocol": "ao",
        "variant": "ao.N.1",
        "process": "P" * 43,
        "epoch": "0",
        "slot": 3,
        "block-height": 9,
        "block-hash": "B" * 43,
        "block-timestamp": 1_700_000_000,
        "timestamp": 1_700_000_000_123,
        "hash-chain": ids.encode(b"c" * 32),
    }
