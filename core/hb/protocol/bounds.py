"""What JSON and TOML from outside may hold: how deep, how many values, how long a number.

Everything that comes from a file, a person, a program or the network is checked here before it is parsed. The scan
builds no values, takes linear time, and costs next to nothing for a short text: a text of up to `MAX_DIGITS` bytes
cannot hold too many values or digits, and few brackets cannot nest deep.

Invariants:
    Nothing here parses, or judges whether a text is JSON. The parser does that afterwards.
    The limits decide outcomes (a program's answer beyond them is a failure of the program), so they are constants.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate

from hb.errors import Refused

MAX_DEPTH = 64
"""Maximum depth of maps and lists, the outermost one counted."""

MESSAGE_VALUES = 500_000
"""Maximum number of values in a message, in a program's answer, and in public keys. Members of maps and lists count."""

MAX_VALUES = 4 * MESSAGE_VALUES
"""Maximum number of values in any one text. A slot record holds an answer, its data again, and public keys."""

MAX_DIGITS = 32_768
"""Maximum digits of one number. The time to convert a number grows faster than its length."""

MAX_KEY_PARTS = 2 * MAX_DEPTH
"""Maximum parts of one dotted TOML key. The time to parse a key grows with the square of their number."""

FREE_VALUES = 8_000_000
"""How many values a file of no size could hold. `Budget` adds to it."""

_SPACES = b" \t\r\n"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_DIGITS = b"0123456789"
# Patterns as texts: they are compiled when a long text comes. None of them ever goes back, so their time is linear.
_STRING = rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_TOML_TEXT = (
    r'(?s)"""(?:[^\\"]|\\.|"(?!""))*+(?:""")?'
    r"|'''(?:[^']|'(?!''))*+(?:''')?"
    r'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+"
)
_TOML_KEY = rf"(?<![A-Za-z0-9_.\- \t])[ \t]*+(?:[A-Za-z0-9_-]++[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS}}}"


def check(text: str | bytes, what: str = "a message", *, values: int = MAX_VALUES, depth: int = MAX_DEPTH) -> None:
    """Make sure that the JSON `text` stays within the limits; `what` names it in the sentence.

    Raises:
        Refused: it nests deeper than `depth`, or holds more than `values` values, or too long a number.
    """
    if len(text) <= MAX_DIGITS:
        if _nests(text, depth):
            _check_depth(_bare(_encoded(text)), what, depth)
        return
    raw = _encoded(text)
    opened = raw.count(b"[") + raw.count(b"{")
    is_deep = opened > depth
    if not (is_deep or _may_hold(raw, values, opened) or _has_long_number(raw)):
        return
    # Commas, brackets and digits within texts do not count.
    if has_more_values(raw, values):
        raise Refused(f"{what} may hold {values:,} values, got more")
    bare = _bare(raw)
    if is_deep:
        _check_depth(bare, what, depth)
    if _has_long_number(bare):
        raise Refused(f"a number in {what} may have {MAX_DIGITS:,} digits, got one with more")


def has_more_values(raw: bytes, most: int) -> bool:
    """Whether the JSON text `raw`, which need not be JSON, holds more than `most` values."""
    if not _may_hold(raw, most, raw.count(b"[") + raw.count(b"{")):
        return False
    # So many texts are more than `most` values, whether they are keys or not. Fewer can be cut out in little memory.
    return raw.count(b'"') - raw.count(b'\\"') > 4 * most or _count(_bare(raw)) > most


def nests_deeper(raw: bytes, depth: int) -> bool:
    """Whether the JSON text `raw`, which need not be JSON, opens more than `depth` brackets at a time."""
    return _nests(raw, depth) and _depth(_bare(raw)) > depth


class Budget:
    """The values that all records of one file may hold together: 8 million, and one for each byte of the file.

    So the time to read a file is bounded by its size. A slot of an honest history has fewer values than bytes: its
    signatures and IDs do not compress.
    """

    def __init__(self, file_bytes: int) -> None:
        self._most = self._left = FREE_VALUES + file_bytes

    def take(self, raw: bytes) -> None:
        """Check one record, and count its values.

        Raises:
            Refused: the file holds more values than it may, or `check` refuses the record.
        """
        check(raw, "a record", depth=2 * MAX_DEPTH)
        self._left -= _count(_bare(raw)) if len(raw) > MAX_DIGITS else _most_values(raw)
        if self._left < 0:
            raise Refused(f"a file of this size may hold {self._most:,} values, got more")


def check_toml(text: str, what: str) -> None:
    """Make sure that no key of the TOML `text` has more than `MAX_KEY_PARTS` parts.

    Raises:
        Refused: one has.
    """
    if re.search(_TOML_KEY, re.sub(_TOML_TEXT, "0", text)):
        raise Refused(f"a key in {what} may have {MAX_KEY_PARTS} parts between dots, got one with more")


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _nests(text: str | bytes, depth: int) -> bool:
    """Whether `text` has enough brackets to nest deeper than `depth`."""
    if isinstance(text, str):
        return text.count("[") + text.count("{") > depth
    return text.count(b"[") + text.count(b"{") > depth


def _may_hold(raw: bytes, most: int, opened: int) -> bool:
    # A value takes two bytes, with the comma or the bracket beside it.
    return len(raw) >= 2 * most and 1 + opened + raw.count(b",") > most


def _most_values(raw: bytes) -> int:
    """Return the number of values if no comma and no bracket stands in a text, and no map or list is empty."""
    return 1 + raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _bare(raw: bytes) -> bytes:
    """Return `raw` with `0` for each text in it, and without spaces."""
    return re.sub(_STRING, b"0", raw).translate(None, _SPACES)


def _count(bare: bytes) -> int:
    return _most_values(bare) - bare.count(b"[]") - bare.count(b"{}")


def _depth(bare: bytes) -> int:
    return max(accumulate(array("b", bare.translate(_STEPS, _NO_BRACKETS))), default=0)


def _check_depth(bare: bytes, what: str, depth: int) -> None:
    got = _depth(bare)
    if got > depth:
        raise Refused(f"{what} nests deeper than {MAX_DEPTH} levels, got {got}")


def _has_long_number(raw: bytes) -> bool:
    """Whether more than `MAX_DIGITS` digits stand side by side: they would cover a byte at a multiple of that."""
    for at in range(0, len(raw), MAX_DIGITS):
        if raw[at] in _DIGITS:
            before, after = raw[max(0, at - MAX_DIGITS) : at], raw[at : at + MAX_DIGITS + 1]
            if len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS)) > MAX_DIGITS:
                return True
    return False
