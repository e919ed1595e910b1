"""What a program did with a message, as an object.

Invariants:
    No AO logic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hb.errors import ProgramFailed
from hb.protocol import outcome

if TYPE_CHECKING:
    from hb.protocol.message import Value

_LONGEST_LINE = 1000


@dataclass(frozen=True)
class Result:
    """What a program did with one message; `raw` is what `hb result` shows, and `state` the public keys after it."""

    raw: dict[str, Any]
    state: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the program did not fail."""
        return not outcome.failed(self.raw)

    @property
    def error(self) -> str | None:
        """Why it failed; None if it did not."""
        return None if self.ok else _text(self.raw.get("error"))

    @property
    def kind(self) -> str | None:
        """In what way it failed, in a word: `trap`, `out-of-gas`, `wrong-arguments`, ...; None if it did not."""
        return None if self.ok else _text(self.raw.get("kind"))

    @property
    def output(self) -> Any:
        """What it gave back: of an exported function a list of numbers, of an AO program what that made of it."""
        return self.raw.get("output")

    @property
    def answer(self) -> Any:
        """The answer as a person reads it: `data`, else `output`, and of a map with one of these, that."""
        return outcome.answer(self.raw)

    @property
    def outbox(self) -> list[dict[str, Any]]:
        """The messages that it sends, in order."""
        return [entry for _, entry in outcome.parts(self.raw.get("outbox")) if isinstance(entry, dict)]

    @property
    def printed(self) -> str:
        """What it printed."""
        return _text(self.raw.get("print"))

    @property
    def gas(self) -> int:
        """What it cost, in the engine's units."""
        gas = self.raw.get("gas", 0)
        return gas if isinstance(gas, int) else 0

    @property
    def line(self) -> str:
        """Why it failed, on one line, without what a terminal obeys; empty if it did not."""
        return _one_line(self.error or "")

    def unwrap(self) -> Any:
        """Return the answer.

        >>> ledger.send("Transfer", 1, 2, 1000).result().unwrap()
        [0]

        Raises:
            ProgramFailed: the outcome is an error. The sentence says which; a note of it, what the program printed.
        """
        if self.ok:
            return self.answer
        error = ProgramFailed(f"the program failed ({self.kind}): {self.line}", results=self.raw)
        if printed := _one_line(self.printed[-_LONGEST_LINE:]):
            error.add_note(f"it printed: {printed}")
        raise error


@dataclass(frozen=True)
class Answer(Result):
    """What a program would do with a message that has no slot: asked of `process` at the state of `slot`.

    `message` is the ID of the message.
    """

    process: str
    slot: int
    message: str


def _one_line(text: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)[:_LONGEST_LINE]
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _text(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else "" if value is None else str(value)
