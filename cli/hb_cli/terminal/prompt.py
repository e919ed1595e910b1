"""The prompt of `hb repl` on a terminal: a line editor for several lines, with a history.

Invariants:
    Only this module loads prompt_toolkit, which takes a fifth of a second.
    Nothing is sent here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from hb_cli.inputs import lua

if TYPE_CHECKING:
    from pathlib import Path

    from prompt_toolkit.key_binding import KeyPressEvent

_HISTORY_LIMIT_BYTES = 1024 * 1024
_INDENT = "  "


class Prompt:
    """Asks for one message after the other. Keeps what was typed in the file `typed`, which only its owner can read."""

    def __init__(self, typed: Path) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=_history(typed),
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=lambda width, line, is_wrapped: "· ".rjust(width),
        )

    def line(self, prompt: str) -> str:
        """Return what the user types at `prompt`: one line or several. The prompt may have colours.

        Raises:
            KeyboardInterrupt: the user pressed Ctrl-C to drop it.
            EOFError: the user pressed Ctrl-D at an empty prompt to end.
        """
        return self._session.prompt(ANSI(prompt))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def send_or_go_on(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        is_at_end = not buffer.document.text_after_cursor.strip()
        is_dismissed = not buffer.document.current_line.strip()
        if is_at_end and not is_dismissed and lua.is_open(buffer.text):
            buffer.insert_text("\n" + _indent(buffer.document.current_line))
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=has_focus(DEFAULT_BUFFER))
    def go_on(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _indent(line: str) -> str:
    """Return the spaces to begin the next line with: those of `line`, and two more if it opens something."""
    spaces = line[: len(line) - len(line.lstrip())]
    return spaces + (_INDENT if lua.is_open(line) else "")


def _history(typed: Path) -> History:
    """Return the history in a file that only its owner can read, or one in memory if there can be no such file."""
    try:
        descriptor = os.open(typed, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return InMemoryHistory()
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size > _HISTORY_LIMIT_BYTES:
            file.seek(size - _HISTORY_LIMIT_BYTES // 2)
            # An entry begins with an empty line and a comment.
            _, begin, rest = file.read().partition(b"\n# ")
            file.seek(0)
            file.truncate()
            file.write(begin + rest)
    return FileHistory(typed)
