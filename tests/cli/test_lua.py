"""Whether a piece of Lua is open."""

from __future__ import annotations

import pytest

from hb_cli.inputs.lua import Piece, is_open

COMPLETE = [
    "",
    "return 1",
    "x = 1",
    "function f() return 1 end",
    "local f = function(a) return a end",
    "if x then y() elseif z then w() else v() end",
    "for i = 1, 3 do print(i) end",
    "while x do if y then break end end",
    "repeat x = x - 1 until x == 0",
    "do local x = 1 end",
    "t = {1, 2, {3}}",
    "return 'if function ('",
    'return "it\'s (" -- function (',
    r'return "\"("',
    "--[[ function ( ]] return 1",
    "return [[ ( function ]]",
    "return [==[ ]] ]=] ]==]",
    "t[f(1)] = {}",
    "goto done; ::done::",
    "x = a // b",
    "return end end",  # wrong, and for the program to refuse
    "if x then f(function() for _, v in pairs(t) do g(v) end end) end",
    "s = 'not ended",
    "x = nil -- and",
    "endless, functions, dot = 1, 2, 3",
    "return t.end_of",
]
OPEN = [
    "function f()",
    "if x then",
    "if x",
    "for i = 1, 3 do",
    "for i = 1, 3",
    "while x do if y then break end",
    "repeat x = x - 1",
    "t = {1,",
    "f(",
    "x =",
    "x = a and",
    "return a ..",
    "x = a +",
    "return [[ text",
    "return [==[ ]]",
    "--[[ a comment",
    "do do end",
    "f(function()",
]


@pytest.mark.parametrize("text", COMPLETE)
def test_complete(text: str) -> None:
    assert not is_open(text)


@pytest.mark.parametrize("text", OPEN)
def test_open(text: str) -> None:
    assert is_open(text)


@pytest.mark.parametrize("text", COMPLETE + OPEN)
def test_line_by_line_it_comes_to_the_same(text: str) -> None:
    spread = text.replace(" ", "\n")
    if "'" not in spread and '"' not in spread and "--" not in spread:
        piece = Piece()
        for line in spread.splitlines(keepends=True):
            piece.add(line)
        assert piece.is_open == is_open(text)


def test_a_long_text_is_read_once() -> None:
    piece = Piece()
    for _ in range(20_000):
        piece.add("f(function() -- [[ and so on\n")
    assert piece.is_open
