"""Integers of any length, as decimal text: what the interpreter limits, and does in quadratic time.

Loaded when such an integer is met, and only then. It must never round.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, localcontext

PLAIN_DIGITS = 640  # the least that an interpreter may be told to limit the text of integers to
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])


def read(text: str) -> int:
    """The integer of decimal `text`, by halves."""
    if len(text) <= PLAIN_DIGITS:
        return int(text)
    if text.startswith("-"):
        return -read(text[1:])
    low = len(text) // 2
    return read(text[:-low]) * int(10**low) + read(text[-low:])


def written(value: int) -> str:
    """The decimal text of `value`."""
    with localcontext(_EXACT):
        return str(_decimal(value))


def _decimal(value: int) -> Decimal:
    """`value` by halves, since Decimal multiplies long numbers quickly, but converts them slowly."""
    low = value.bit_length() // 2
    if low <= PLAIN_DIGITS:
        return Decimal(value)
    return _decimal(value >> low) * Decimal(2) ** low + _decimal(value & ((1 << low) - 1))
