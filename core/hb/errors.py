"""The failures of hb, by kind.

A program's failure is none of these: it is an *outcome*, a value in its slot's results (`ProgramFailed` carries it to
a caller who asked for an answer alone). What is raised is a *refusal* (what came in is not acceptable; nothing was
changed), *damage* (stored bytes disagree with what they must be), or one of the few conditions around them. Anything
else that is raised is a bug.

This module imports nothing, and must never print, log or exit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class HbError(Exception):
    """A failure that has a sentence for its reader: what was expected, and what came.

    `message` is one line. `hint`, where there is one, says what to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(HbError):
    """What came in was not accepted: a module, a message, a file, a value beyond a limit. Nothing was changed."""


class BeyondThisMachine(Refused):
    """A program needs more than the settings of this machine allow. It is no outcome: elsewhere it may run."""


class BadSignature(Refused):
    """A commitment does not verify over the message that carries it."""


class NotFound(HbError):
    """No such process, slot, message, name or key."""


class NoHome(HbError):
    """There is no home where one was looked for."""


class HomeBusy(HbError):
    """Another program held the home for longer than the caller was willing to wait."""


class HomeUnusable(HbError):
    """The operating system would not let the home be read or written: no permission, disk full, I/O error."""


class OutOfMemory(HbError):
    """The operating system gave no memory where a program's limits allow it. It is no outcome; nothing was stored."""


class Conflict(HbError):
    """A batch found another value under a key than it stated; nothing of it was written."""


class Unfinished(HbError):
    """Work that is done in parts failed after some of them. `done` holds what the finished parts gave."""

    def __init__(self, message: str, *, done: Sequence[object], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.done = done


class Interrupted(HbError):
    """The caller asked to stop; the slot that was running is not computed, all before it are."""


class ProgramFailed(HbError):
    """A program's outcome is an error, where the caller asked for its answer and for nothing else.

    `results` are those of its slot.
    """

    def __init__(self, message: str, *, results: dict[str, object] | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.results = results or {}


class IntegrityError(HbError):
    """Damage: stored bytes are not what they must be.

    `process`, `slot`, `what`, `expected` and `got` say where and how, as far as they are known.
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
    """`value`, which may be anything that was stored, as a sentence tells of it."""
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
