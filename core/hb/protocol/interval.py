"""Intervals, as people and definitions write them: `10m` and `5-minutes`.

Invariants:
    Nothing here looks at a clock.

Source: `Cron-Interval` of AO's compute unit (`parseCrons`) and of HyperBEAM's `dev_cron` (`parse_time`).
"""

from __future__ import annotations

import re

from hb.errors import Refused

YEAR_MS = 31_557_600_000
"""A year of 365.25 days, as AO's compute unit takes it."""

MAX_MS = 10 * YEAR_MS

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": YEAR_MS}
"""The length of each unit in milliseconds, the shortest first."""

_NAMES = {
    "millisecond": "ms",
    "second": "s",
    "minute": "m",
    "hour": "h",
    "day": "d",
    "week": "w",
    "year": "y",
}
_FORM = r"\s*([0-9]{1,15})\s*-?\s*([A-Za-z]{1,12})\s*"
_BLOCKS = frozenset({"block", "blocks"})
_MONTHS = frozenset({"month", "months"})


def parse(text: str) -> int:
    """Return the milliseconds of an interval: a number and a unit, as `10m`, `5-minutes` or `1-hour`.

    Raises:
        Refused: it is none; or it is in blocks or months; or it is beyond what `check` allows.
    """
    found = re.fullmatch(_FORM, text, re.ASCII)
    unit = "" if found is None else found[2].lower()
    if unit in _BLOCKS:
        raise Refused(f"{text[:40]!r} counts blocks, and a home has none", hint="a block of Arweave takes about 2m")
    if unit in _MONTHS:
        raise Refused(f"{text[:40]!r} counts months, which differ in length", hint="give it in days, as 30d")
    short = _NAMES.get(unit.removesuffix("s") if len(unit) > 2 else unit, unit)
    if found is None or short not in UNITS_MS:
        raise Refused(
            f"an interval is a number and a unit, as 30s, 10m or 1-hour, got {text[:40]!r}",
            hint=f"the units are {', '.join(UNITS_MS)}",
        )
    return check(int(found[1]) * UNITS_MS[short])


def check(interval_ms: object) -> int:
    """Return an interval in milliseconds, if it is one.

    Raises:
        Refused: it is no integer, or not from 1 millisecond to 10 years.
    """
    if type(interval_ms) is not int:
        raise Refused(f"an interval is a whole number of milliseconds, got {_shown(interval_ms)}")
    if not 1 <= interval_ms <= MAX_MS:
        raise Refused(f"an interval is from 1 millisecond to 10 years, got {_shown(interval_ms)} milliseconds")
    return interval_ms


def written(interval_ms: int) -> str:
    """Return an interval in its longest unit that gives a whole number: 600000 is `10m`."""
    name, length_ms = next(
        (name, length_ms) for name, length_ms in reversed(UNITS_MS.items()) if interval_ms % length_ms == 0
    )
    return f"{interval_ms // length_ms}{name}"


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # an integer with more digits than the interpreter writes
        return "a number too long to be shown"
