"""What a schedule takes from the world: the time, randomness, and the block that an assignment names.

It comes in as one value, so that everything below depends only on its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.protocol.assignment import NO_BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable


class Environment(NamedTuple):
    """The world as a schedule sees it.

    `now_ms()` returns milliseconds since 1970. `random_bytes(n)` returns n bytes that it never returned before: an
    anchor made of them is taken as new. `timestamp_ms`, if it is set, is the time of assignments in place of the clock.
    """

    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    timestamp_ms: int | None = None
    block_height: int = 0
    block_hash: str = NO_BLOCK


def system_environment(*, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
    """Return the environment of this machine: its clock and its random source."""
    from os import urandom
    from time import time_ns

    return Environment(
        now_ms=lambda: time_ns() // 1_000_000,
        random_bytes=urandom,
        timestamp_ms=timestamp_ms,
        block_height=block_height,
    )
