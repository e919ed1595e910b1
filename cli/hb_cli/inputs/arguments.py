"""What words on a command line mean: parameters, tags, JSON, files.

This turns text into values of the protocol, and refuses what it cannot read.

Invariants:
    Nothing is written here, and no home is opened.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

import hb
from hb.errors import NotFound, Refused

if TYPE_CHECKING:
    from hb.protocol.message import Message, Value

# Marks what only looks like an option. No argument of a program can contain a NUL.
_MARK = "\0"
_NOT_AN_OPTION = re.compile(r"-(?:\d[\d.eE+-]*|[A-Za-z0-9_-]{42})\Z")
_FILE_WORDS = ("FILE", "MODULE", "DIR")
_SUFFIXES = (".history", ".witness")
MODULE_LIMIT_BYTES = 256 * 1024 * 1024
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


class Command(TyperCommand):
    """A command that takes `-5`, and IDs that begin with `-`, as arguments and not as options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Do what Typer does, except that negative numbers and IDs are arguments."""
        rest = super().parse_args(ctx, self._mark(args))
        ctx.params = {name: _unmarked(value) for name, value in ctx.params.items()}
        for param in self.params:
            # A file's name may be any bytes. Everything else is text that goes into messages and keys.
            if not any(word in (param.metavar or "") for word in _FILE_WORDS):
                _check_text(ctx.params.get(param.name), param.metavar or "an argument")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. If a process is not there, the error names those whose names are nearest.

        Raises:
            HbError: the command failed.
        """
        try:
            return super().invoke(ctx)
        except NotFound as error:
            from hb_cli import nearest

            raise nearest.suggested(error, ctx, self._processes(ctx)) from error

    def _processes(self, ctx: Any) -> list[str]:
        """Return the words that stand for processes."""
        given = [ctx.params.get(param.name) for param in self.params if (param.metavar or "").startswith("PROCESS")]
        return [word for words in given for word in ([words] if isinstance(words, str) else words or ())]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what Typer does, without its braces around what is required."""
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
    """Return the exception to raise for a command line that makes no sense: exit code 2."""
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
    """Return the value of a PARAMETER: a JSON number or string is read as JSON, anything else is text."""
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
    """Return the tags that `K=V` words give. Their values are text.

    Raises:
        Refused: a word has no `=` or no key, or a key is given twice.
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
    """Return `word` if it is an address, or the first 4 or more characters of one.

    Raises:
        Refused: it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{4,43}", word):
        raise Refused(f"a sender is a key of this home, an address, or its first 4 characters or more, got {word!r}")
    return word


def text_or_file(word: str, *, limit_bytes: int, what: str) -> bytes:
    """Return the bytes that `word` stands for: TEXT is itself, `@FILE` is the file's content, `-` is standard input."""
    if word == "-":
        return read(word, limit_bytes=limit_bytes, what=what)
    if word.startswith("@"):
        return read(word[1:], limit_bytes=limit_bytes, what=what)
    return encoded(word, what)


def encoded(word: str, what: str) -> bytes:
    """Return `word` as UTF-8.

    Raises:
        Refused: the bytes on the command line are not UTF-8.
    """
    try:
        return word.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{what} is not UTF-8 text: {word!r}") from error


def binary(data: bytes) -> str | bytes:
    """Return `data` as a value: text if it is UTF-8, else the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def read(name: str, *, limit_bytes: int, what: str) -> bytes:
    """Return the content of the file `name`, or of standard input if that is `-`. `what` names it in errors.

    Raises:
        Refused: it cannot be read, or is larger than `limit_bytes`.
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
    """Return the wasm module in the file `name`, or in standard input if that is `-`. A `.wat` file is compiled.

    Raises:
        Refused: it cannot be read, or is not WebAssembly text.
    """
    refuse_lua(name)
    content = read(name, limit_bytes=limit_bytes, what="the module")
    if not name.endswith(".wat"):
        return content
    return hb.wat(text(content, f"the module {name!r}"))


def refuse_lua(name: str) -> None:
    """Refuse a file of Lua where a module is wanted.

    Raises:
        Refused: `name` is that of a Lua file; the hint says how Lua gets into a process.
    """
    if name.lower().endswith(".lua"):
        raise Refused(
            f"{name!r} is Lua, which is code for an aos process and no module",
            hint=f"spawn an aos module (`hb spawn aos.wasm --name NAME`), then `hb eval NAME @{name}`",
        )


def text(data: bytes, what: str) -> str:
    """Return `data` as text. `what` names it in errors.

    Raises:
        Refused: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{what} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from error


def json_message(data: bytes, what: str) -> Message:
    """Return the message in the JSON text `data`. `what` names it in errors.

    Raises:
        Refused: it is not JSON, or not an object.
    """
    from hb.protocol import message

    try:
        return message.loads_message(data)
    except Refused as error:
        raise Refused(f"{what}: {error.message}", hint=error.hint) from error


def is_file(argument: str) -> bool:
    """Whether an argument that can be a process or a file is a file.

    It is if it has a slash, or ends in .history or .witness, or if a history or a witness has that path.
    """
    return "/" in argument or argument.endswith(_SUFFIXES) or hb.is_history_file(argument)
