"""Numbers with their words: `1 slot`, `1,200 slots`.

Invariants:
    Rich is not loaded.
"""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with the word for what it counts; `many` is the plural if that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
