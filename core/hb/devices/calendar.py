"""C's calendar in UTC and the C locale: broken-down time, its seconds, and `strftime`.

Invariants:
    The time, zone and locale of this machine are never read: results are the same on every machine.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECONDS = 8_640_000_000_000
"""The greatest distance from 1970, in seconds: 100 million days. Source: ECMAScript's Date."""

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAY_S = 86400
_ERA_DAYS = 146097  # 400 years


class Moment(NamedTuple):
    """C's `struct tm`. Months, weekdays and days of the year count from 0, and years from 1900.

    `offset` is in seconds east of UTC.
    """

    second: int
    minute: int
    hour: int
    day: int
    month: int
    year: int
    weekday: int
    yearday: int
    is_dst: int = 0
    offset: int = 0
    zone: str = ""

    @property
    def full_year(self) -> int:
        """The year, from year 0."""
        return self.year + 1900


def moment_at(seconds: int) -> Moment | None:
    """Return the moment `seconds` after 1970; None if it is out of range."""
    if abs(seconds) > MAX_SECONDS:
        return None
    days, rest = divmod(seconds, _DAY_S)
    year, month, day = _date_of(days)
    yearday = days - _days_before(year, 0)
    return Moment(
        rest % 60, rest // 60 % 60, rest // 3600, day, month, year - 1900, (days + 4) % 7, yearday, 0, 0, "UTC"
    )


def seconds_of(moment: Moment) -> int | None:
    """Return the seconds after 1970 of a moment, whose parts may be out of their ranges; None if it is out of range."""
    years, month = divmod(moment.month, 12)
    days = _days_before(moment.full_year + years, month) + moment.day - 1
    seconds = days * _DAY_S + moment.hour * 3600 + moment.minute * 60 + moment.second
    return None if abs(seconds) > MAX_SECONDS else seconds


def moment_from(content: bytes, long_bytes: int) -> tuple[Moment, int]:
    """Return the moment in a `struct tm` with a `long` of `long_bytes`, without its zone, and the zone's address."""
    numbers = struct.unpack_from("<9i", content)
    offset, zone = struct.unpack_from("<qQ" if long_bytes == 8 else "<iI", content, 40 if long_bytes == 8 else 36)
    return Moment._make((*numbers, offset, "")), zone


def moment_bytes(long_bytes: int) -> int:
    """Return the size of a `struct tm` with a `long` of `long_bytes`."""
    return 56 if long_bytes == 8 else 44


def format_time(pattern: bytes, moment: Moment) -> bytes:
    """Do C's `strftime`. An unknown conversion is left as it is. The name for a number out of range is `?`.

    Source: ISO C, in the C locale; `%s` and `%P` as musl has them.
    """
    return _CONVERSION.sub(lambda found: _convert(found, moment), pattern)


_CONVERSION = re.compile(rb"%[EO]?([a-zA-Z%])")


def _convert(found: re.Match[bytes], moment: Moment) -> bytes:
    letter = found[1].decode()
    if letter in _COMPOSED:
        return format_time(_COMPOSED[letter], moment)
    convert = _CONVERSIONS.get(letter)
    return found[0] if convert is None else convert(moment).encode()


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "?"


def _week(moment: Moment, first_weekday: int) -> int:
    """Return the week of the year, if weeks begin on `first_weekday`. Days before the first week are in week 0."""
    return (moment.yearday + 7 - (moment.weekday - first_weekday) % 7) // 7


def _iso_week(moment: Moment) -> tuple[int, int]:
    """Return the year and the week of ISO 8601: week 1 has the year's first Thursday."""
    year = moment.full_year
    thursday = moment.yearday - (moment.weekday + 6) % 7 + 3
    if thursday < 0:
        year -= 1
        thursday += _year_days(year)
    elif thursday >= _year_days(year):
        thursday -= _year_days(year)
        year += 1
    return year, thursday // 7 + 1


def _offset(moment: Moment) -> str:
    hours, minutes = divmod(abs(moment.offset) // 60, 60)
    return f"{'-' if moment.offset < 0 else '+'}{hours:02}{minutes:02}"


def _year_days(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365


def _days_before(year: int, month: int) -> int:
    """Return the days from 1970 to the first day of a month, in the Gregorian calendar. Months count from 0."""
    # In years that begin in March, the leap day is last.
    years, months = (year, month - 2) if month >= 2 else (year - 1, month + 10)
    return years * 365 + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 - 719468


def _date_of(days: int) -> tuple[int, int, int]:
    """Return the year, the month from 0, and the day of the month of the date `days` after 1970."""
    era, day = divmod(days + 719468, _ERA_DAYS)
    years = (day - day // 1460 + day // 36524 - day // (_ERA_DAYS - 1)) // 365
    day -= years * 365 + years // 4 - years // 100
    months = (5 * day + 2) // 153
    day -= (153 * months + 2) // 5
    year = era * 400 + years
    return (year, months + 2, day + 1) if months < 10 else (year + 1, months - 10, day + 1)


_COMPOSED = {
    "c": b"%a %b %d %H:%M:%S %Y",  # emscripten's; ISO C has %e
    "D": b"%m/%d/%y",
    "F": b"%Y-%m-%d",
    "h": b"%b",
    "r": b"%I:%M:%S %p",
    "R": b"%H:%M",
    "T": b"%H:%M:%S",
    "x": b"%m/%d/%y",
    "X": b"%H:%M:%S",
}
_CONVERSIONS: dict[str, Callable[[Moment], str]] = {
    "a": lambda moment: _name(_WEEKDAYS, moment.weekday)[:3],
    "A": lambda moment: _name(_WEEKDAYS, moment.weekday),
    "b": lambda moment: _name(_MONTHS, moment.month)[:3],
    "B": lambda moment: _name(_MONTHS, moment.month),
    "C": lambda moment: f"{moment.full_year // 100:02}",
    "d": lambda moment: f"{moment.day:02}",
    "e": lambda moment: f"{moment.day:2}",
    "g": lambda moment: f"{_iso_week(moment)[0] % 100:02}",
    "G": lambda moment: f"{_iso_week(moment)[0]}",
    "H": lambda moment: f"{moment.hour:02}",
    "I": lambda moment: f"{(moment.hour + 11) % 12 + 1:02}",
    "j": lambda moment: f"{moment.yearday + 1:03}",
    "m": lambda moment: f"{moment.month + 1:02}",
    "M": lambda moment: f"{moment.minute:02}",
    "n": lambda moment: "\n",
    "p": lambda moment: "AM" if 0 <= moment.hour < 12 else "PM",
    "P": lambda moment: "am" if 0 <= moment.hour < 12 else "pm",
    "s": lambda moment: str(-1 if (seconds := seconds_of(moment)) is None else seconds),
    "S": lambda moment: f"{moment.second:02}",
    "t": lambda moment: "\t",
    "u": lambda moment: f"{moment.weekday or 7}",
    "U": lambda moment: f"{_week(moment, 0):02}",
    "V": lambda moment: f"{_iso_week(moment)[1]:02}",
    "w": lambda moment: f"{moment.weekday}",
    "W": lambda moment: f"{_week(moment, 1):02}",
    "y": lambda moment: f"{moment.full_year % 100:02}",
    "Y": lambda moment: f"{moment.full_year}",
    "z": _offset,
    "Z": lambda moment: moment.zone,
    "%": lambda moment: "%",
}
