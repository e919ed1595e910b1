"""Write results to stdout and messages for people to stderr.

Everything that hb prints passes here; Rich views get their console here. So nothing that a stranger wrote reaches a
terminal as a control sequence.

Invariants:
    No home is read here.
    Nothing here decides what a command prints.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import islice
from typing import TYPE_CHECKING, TextIO

from hb.errors import HbError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console, RenderableType

# Invisible characters that scripts and emoji need. All others are shown as escapes.
_HARMLESS = frozenset("\u200c\u200d")
# The escapes of JSON and TOML, so that such text keeps its meaning.
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# How a program may style its own text: colours, bold, faint, italic, underline. It may not move, erase or hide.
_COLOUR = r"(?:0?[0-4]?|2[2-4]|3[0-79]|9[0-7]|38;5;\d{1,3}|38;2;\d{1,3};\d{1,3};\d{1,3})"
# Texts and not compiled patterns: compiling takes a millisecond, and few commands need them.
_COLOURS = rf"(\x1b\[{_COLOUR}(?:;{_COLOUR})*m)"
_SETS_LOOK = r"\x1b\[[0-9;]*m"
# All that steers a terminal: CSI and OSC sequences, and short ones.
_STEERS = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
_BLOCK_LINES = 1000


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal."""
    return stream is not None and stream.isatty()


def has_colour(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether `stream` gets colour. NO_COLOR, FORCE_COLOR and isatty decide, in that order."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with every character that is not visible written as an escape, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _HARMLESS or character in keep else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if code < 0x10000:
        return f"\\u{code:04x}"
    # Two halves, as in JSON.
    return f"\\u{0xD800 + ((code - 0x10000) >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def write(data: bytes) -> None:
    """Write `data` to stdout as it is, and flush.

    Raises:
        BrokenPipeError: the reader is gone.
        HbError: stdout is closed or full.
    """
    stream = sys.stdout
    if stream is None:
        raise HbError("standard output is closed: there is nowhere to write the result")
    try:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _unwritable(error: OSError) -> HbError:
    abandon_stdout()
    return HbError(f"standard output cannot be written: {error.strerror}")


def line(text: str) -> None:
    """Write one line to stdout. On a terminal, control characters except LF and TAB are escaped."""
    if is_terminal(sys.stdout):
        text = printable(text, keep="\n\t")
    write(text.encode("utf-8", "backslashreplace") + b"\n")


def plain(text: str, *, keep: str = "") -> str:
    """Return `text` as `printable` does, without the sequences that only set colours."""
    return printable(re.sub(_SETS_LOOK, "", text), keep=keep)


def bare(text: str) -> str:
    """Return `text` without the sequences that steer a terminal. All else stays as it is."""
    return re.sub(_STEERS, "", text) if "\x1b" in text or "\x9b" in text else text


def coloured(text: str, *, keep: str = "") -> str:
    """Return `text` as `plain` does, but with its colours, which end where it ends."""
    pieces = re.split(_COLOURS, text)
    shown = "".join(piece if place % 2 else plain(piece, keep=keep) for place, piece in enumerate(pieces))
    return shown + "\x1b[0m" if len(pieces) > 1 else shown


def program_text(text: str, environ: Mapping[str, str]) -> None:
    """Write a program's text to stdout, as lines.

    On a terminal, of its control sequences only colours pass. A pipe gets none of them, except with FORCE_COLOR, which
    lets the text through as it is.
    """
    has_colours = has_colour(sys.stdout, environ)
    if is_terminal(sys.stdout):
        shown = coloured(text, keep="\n\t") if has_colours else plain(text, keep="\n\t")
    else:
        shown = text if has_colours else bare(text)
    write(shown.removesuffix("\n").encode("utf-8", "backslashreplace") + b"\n")


def json_line(value: object) -> None:
    """Write `value` (a message, or anything that one can hold) to stdout as canonical JSON on one line.

    On a terminal, control characters are written as JSON escapes. The value is the same.
    """
    from hb.protocol import message

    data = message.dumps(value)  # type: ignore[arg-type]
    if is_terminal(sys.stdout):
        data = printable(data.decode()).encode()
    write(data + b"\n")


def json_lines(values: Iterable[object]) -> None:
    """Write each of `values` as `json_line` does, many lines at a time. For values that need not be waited for."""
    from hb.protocol import message

    lines = (message.dumps(value).decode() for value in values)  # type: ignore[arg-type]
    written = map(printable, lines) if is_terminal(sys.stdout) else lines
    while block := list(islice(written, _BLOCK_LINES)):
        write("".join([f"{line}\n" for line in block]).encode())


def note(text: str) -> None:
    """Print `text` on stderr, as one line for a person. If stderr cannot be written, nothing happens."""
    say(printable(f"hb: {text}"))


def say(text: str) -> None:
    """Write `text` and a line end to stderr as it is."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


def console(stream: TextIO, environ: Mapping[str, str] | None = None) -> Console:
    """Return a Rich console on `stream` that takes text as it is: no markup, no emoji names, no highlighting."""
    from rich.console import Console

    environ = os.environ if environ is None else environ
    colour = has_colour(stream, environ)
    return Console(
        file=stream,
        color_system="auto" if colour else None,
        force_terminal=True if colour else None,
        no_color=not colour,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
    )


def screen_width() -> int:
    """Return the width of the terminal on stdout, in columns."""
    return console(sys.stdout).width


def show(view: RenderableType) -> None:
    """Print a Rich view on stdout, which is a terminal."""
    show_each([view])


def show_each(views: Iterable[RenderableType]) -> None:
    """Print Rich views on stdout, which is a terminal, one after the other as they come.

    Raises:
        HbError: the terminal is gone.
    """
    stream = sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    screen = console(stream)
    for view in views:
        try:
            screen.print(view)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from error
