"""What words on a command line mean: PROCESS, parameters, tags, JSON, files.

Turns text into values of the protocol and refuses what it cannot read. Must never write, and never open a home.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

import hb
from hb.errors import Refused

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

# No argument of a program can hold a NUL, so that it marks what only looks like an option.
_MARK = "\0"
_NOT_AN_OPTION = re.compile(r"-(?:\d[\d.eE+-]*|[A-Za-z0-9_-]{42})\Z")
_FILE_WORDS = ("FILE", "MODULE", "DIR")
_SUFFIXES = (".history", ".witness")
MODULE_LIMIT_BYTES = 256 * 1024 * 1024
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


class Command(TyperCommand):
    """A command to which `-5` and an ID that begins with `-` are arguments, not options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click's, but negative numbers and IDs are taken as they are."""
        rest = super().parse_args(ctx, self._mark(args))
        ctx.params = {name: _unmarked(value) for name, value in ctx.params.items()}
        for param in self.params:
            # A file's name may be any bytes; all else is text that goes into messages and keys.
            if not any(word in (param.metavar or "") for word in _FILE_WORDS):
                _check_text(ctx.params.get(param.name), param.metavar or "an argument")
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As Typer's, but without its braces around what is required."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def _mark(self, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        takes_value = {
            name for param in self.params if not getattr(param, "is_flag", True) for name in getattr(param, "opts", ())
        }
        marked = list(args)
        for index in range(end):
            if _NOT_AN_OPTION.match(args[index]) and (index == 0 or args[index - 1] not in takes_value):
                marked[index] = _MARK + args[index]
        return marked


def _check_text(value: object, what: str) -> None:
    for word in value if isinstance(value, list | tuple) else [value]:
        if isinstance(word, str):
            encoded(word, what)


def misuse(message: str) -> Exception:
    """The exception to raise for a command line that makes no sense: exit code 2."""
    import typer

    error: Exception = typer.BadParameter.__mro__[1](message)
    return error


def _unmarked(value: object) -> object:
    if isinstance(value, str):
        return value.removeprefix(_MARK)
    if isinstance(value, list | tuple):
        return type(value)(_unmarked(element) for element in value)
    return value


def parameter(text: str) -> Value:
    """A PARAMETER: a JSON number or a JSON string is what it says, everything else is text."""
    from hb.protocol import message

    if re.fullmatch(_NUMBER, text):
        return message.loads(text)
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return message.loads(text)
        except Refused:
            return text
    return text


def tags(words: list[str]) -> Message:
    """The tags that `K=V` words give; values are text.

    Raises:
        Refused: a word without `=`, without a key, or with a key given before.
    """
    from hb.protocol import casing

    given: Message = {}
    for word in words:
        key, separator, value = word.partition("=")
        key = casing.lower(key.strip())
        if not separator or not key:
            raise Refused(f"a tag is KEY=VALUE, got {word!r}")
        if key in given:
            raise Refused(f"tag {key!r} is given twice")
        given[key] = value
    return given


def address_prefix(word: str) -> str:
    """`word` as an address, or as the beginning of one.

    Raises:
        Refused: no address begins so.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{4,43}", word):
        raise Refused(f"a sender is a key of this home, an address, or its first 4 characters or more, got {word!r}")
    return word


def text_or_file(word: str, *, limit_bytes: int, what: str) -> bytes:
    """The bytes that `word` gives: TEXT itself, `@FILE` for a file's content, `-` for standard input."""
    if word == "-":
        return read(word, limit_bytes=limit_bytes, what=what)
    if word.startswith("@"):
        return read(word[1:], limit_bytes=limit_bytes, what=what)
    return encoded(word, what)


def encoded(word: str, what: str) -> bytes:
    """`word` as UTF-8.

    Raises:
        Refused: `word` came in as bytes that are not UTF-8.
    """
    try:
        return word.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{what} is not UTF-8 text: {word!r}") from error


def binary(data: bytes) -> str | bytes:
    """`data` as a value: text where it is UTF-8, else the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def read(name: str, *, limit_bytes: int, what: str) -> bytes:
    """The content of the file `name`, or of standard input for `-`, of at most `limit_bytes`.

    Raises:
        Refused: it cannot be read, or is larger. `what` names it in the sentence.
    """
    try:
        if name == "-":
            content = sys.stdin.buffer.read(limit_bytes + 1) if sys.stdin is not None else b""
        else:
            with Path(name).open("rb") as file:
                content = file.read(limit_bytes + 1)
    except OSError as error:
        raise Refused(f"cannot read {what} {name!r}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"cannot read {what} {name!r}: {error}") from error
    if len(content) > limit_bytes:
        raise Refused(
            f"{what} {name!r} is larger than the limit of {limit_bytes:,} bytes",
            hint="limits of this machine are set under [host] in the home's config.toml",
        )
    return content


def read_module(name: str, *, limit_bytes: int) -> bytes:
    """The wasm module in the file `name` (`-`: standard input); a `.wat` file is compiled on the spot.

    Raises:
        Refused: it cannot be read, or is no WebAssembly text.
    """
    content = read(name, limit_bytes=limit_bytes, what="the module")
    if not name.endswith(".wat"):
        return content
    return hb.wat(text(content, f"the module {name!r}"))


def text(data: bytes, what: str) -> str:
    """`data` as text.

    Raises:
        Refused: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{what} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from error


def json_message(data: bytes, what: str) -> Message:
    """The message that the JSON text `data` gives.

    Raises:
        Refused: not JSON, or not an object. `what` names it in the sentence.
    """
    from hb.protocol import message

    try:
        return message.loads_message(data)
    except Refused as error:
        raise Refused(f"{what}: {error.message}", hint=error.hint) from error


def is_file(argument: str) -> bool:
    """Whether an argument that can be a process or a file of hb means a file.

    It does if it has a slash, or ends as such files do, or is the path of one.
    """
    return "/" in argument or argument.endswith(_SUFFIXES) or hb.is_history_file(argument)
