"""Tell whether a piece of Lua is open: begun and not ended, so that more must follow.

This counts what opens and what closes. It is not a parser: the program refuses Lua that is wrong.

Invariants:
    Nothing runs here.

Source: Lua 5.3 manual, section 3.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""--\[(?P<comment>=*)\[ | --[^\n]* | \[(?P<text>=*)\[
      | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?
      | \w+ | \.{2,3} | [=~<>]=|// | \S""",
    re.VERBOSE | re.DOTALL,
)
_OPENS = frozenset({"function", "if", "repeat", "(", "[", "{"})
_CLOSES = frozenset({"end", "until", ")", "]", "}"})
_LOOPS = frozenset({"for", "while"})
_WANTS_MORE = frozenset({"=", ",", "..", "and", "or", "not", "+", "-", "*", "/", "//", "%", "^", "==", "~=", "<", ">"})


class Piece:
    """Lua that is read line by line. Lines end with LF."""

    def __init__(self) -> None:
        self._depth = 0
        self._loops = 0
        self._long: str | None = None
        self._last = ""

    @property
    def is_open(self) -> bool:
        """Whether a block, bracket, long text or expression is begun and not ended."""
        return self._depth > 0 or self._long is not None or self._last in _WANTS_MORE

    def add(self, lines: str) -> None:
        """Read more lines."""
        position = 0
        while position < len(lines):
            if self._long is not None:
                position = self._skip_long(lines, position, self._long)
                continue
            found = _TOKEN.search(lines, position)
            if found is None:
                return
            position = found.end()
            level = found["comment"] if found["text"] is None else found["text"]
            if level is not None:
                self._long = f"]{level}]"
            elif not found[0].startswith("--"):
                self._count(found[0])

    def _skip_long(self, lines: str, position: int, closer: str) -> int:
        end = lines.find(closer, position)
        if end < 0:
            return len(lines)
        self._long, self._last = None, closer
        return end + len(closer)

    def _count(self, token: str) -> None:
        # The `do` of a loop belongs to its `for` or `while`.
        if token in _OPENS or token in _LOOPS or (token == "do" and not self._loops):  # noqa: S105  no password
            self._depth += 1
        elif token in _CLOSES:
            self._depth -= 1
        if token in _LOOPS:
            self._loops += 1
        elif token == "do" and self._loops:  # noqa: S105
            self._loops -= 1
        self._last = token


def is_open(text: str) -> bool:
    """Whether `text` is open."""
    piece = Piece()
    piece.add(text)
    return piece.is_open
