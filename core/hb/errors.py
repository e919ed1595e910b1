"""The failures of hb, by kind.

A program's failure is none of these. It is an *outcome*: a value in its slot's results. `ProgramFailed` carries it to
a caller who asked only for the answer. What is raised is one of these:

- a *refusal*: the input is not acceptable, and nothing was changed;
- *damage*: stored bytes are not what they must be;
- one of a few conditions, such as a busy home.

Anything else that is raised is a bug.

Invariants:
    This module imports nothing, and never prints, logs or exits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class HbError(Exception):
    """A failure with a sentence for its reader: what happened, what was expected, what was found.

    `message` is one line. `hint`, if there is one, says what to do.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(HbError):
    """The input was not accepted: a module, a message, a file, a value beyond a limit. Nothing was changed.

    `place` is the number of the message that was refused, from 1, if messages were given in a list; `reason` is the
    sentence without it.
    """

    def __init__(self, message: str, *, hint: str | None = None, place: int | None = None) -> None:
        super().__init__(message if place is None else f"message {place}: {message}", hint=hint)
        self.reason = message
        self.place = place


class BeyondThisMachine(Refused):
    """A program needs more than the settings of this machine allow. It is no outcome: elsewhere it may run."""


class BadSignature(Refused):
    """A commitment does not verify over its message."""


class NotFound(HbError):
    """No such process, slot, message, name or key."""


class NoHome(HbError):
    """There is no home at the place where one was expected."""


class HomeBusy(HbError):
    """Another program held the home for longer than the caller would wait."""


class HomeUnusable(HbError):
    """The operating system would not let the home be read or written: no permission, disk full, I/O error."""


class OutOfMemory(HbError):
    """The operating system gave no memory where a program's limits allow it. It is no outcome; nothing was stored."""


class Conflict(HbError):
    """A batch found another value under a key than it expected. Nothing of it was written."""


class Unfinished(HbError):
    """Work that is done in parts failed after some of them. `done` holds what the finished parts gave."""

    def __init__(self, message: str, *, done: Sequence[Any] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.done = done


class Interrupted(HbError):
    """The caller asked to stop. The slot that was running is not computed; all before it are."""


class ProgramFailed(HbError):
    """A program's outcome is an error, and the caller asked only for its answer.

    `results` are the results of its slot.
    """

    def __init__(self, message: str, *, results: dict[str, object] | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.results = results or {}


class IntegrityError(HbError):
    """Damage: stored bytes are not what they must be.

    `what`, `process`, `slot`, `expected` and `got` say what is damaged, where and how, as far as that is known.
    """

    def __init__(
        self,
        what: str,
        *,
        process: str | None = None,
        slot: int | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.process = process
        self.slot = slot
        self.expected = expected
        self.got = got
        super().__init__(_damage_sentence(self), hint=hint)


def as_text(value: object) -> str:
    """Return `value`, which may be anything that was stored, as a sentence shows it."""
    try:
        return str(value)
    except ValueError:  # an integer with more digits than the interpreter writes
        return "a number too long to be shown"


def _damage_sentence(damage: IntegrityError) -> str:
    parts = [damage.what]
    if damage.process is not None:
        parts.append(f"process {damage.process}")
    if damage.slot is not None:
        parts.append(f"slot {damage.slot}")
    if damage.expected is not None or damage.got is not None:
        parts.append(f"expected {as_text(damage.expected)}, got {as_text(damage.got)}")
    return ": ".join(parts[:1]) + "".join(f", {part}" for part in parts[1:])
