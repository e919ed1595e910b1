"""Long integers as decimal text. The interpreter limits their length, because it converts them in quadratic time.

This module is loaded only when such an integer comes.

Invariants:
    Nothing here rounds.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, localcontext

PLAIN_DIGITS = 640  # an interpreter cannot be told to convert fewer digits than this
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])


def read(text: str) -> int:
    """Return the integer of decimal `text`, converted half by half."""
    if len(text) <= PLAIN_DIGITS:
        return int(text)
    if text.startswith("-"):
        return -read(text[1:])
    low = len(text) // 2
    return read(text[:-low]) * int(10**low) + read(text[-low:])


def written(value: int) -> str:
    """Return the decimal text of `value`."""
    with localcontext(_EXACT):
        return str(_decimal(value))


def _decimal(value: int) -> Decimal:
    """Return `value`, converted half by half: Decimal multiplies long numbers quickly and converts them slowly."""
    low = value.bit_length() // 2
    if low <= PLAIN_DIGITS:
        return Decimal(value)
    return _decimal(value >> low) * Decimal(2) ** low + _decimal(value & ((1 << low) - 1))
