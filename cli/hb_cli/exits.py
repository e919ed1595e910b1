"""Exit codes, and which failure has which.

Invariants:
    Only the errors are imported here.
    Nothing is printed here, and nothing ends the program.
"""

from __future__ import annotations

from hb import errors
from hb_cli import signals

DONE = 0
FAILED = 1
DIFFERS = 1  # what was compared differs, as `cmp` and `diff` say it
USAGE = 2
NO_HOME = 10
HOME_BUSY = 11
NOT_FOUND = 12
REFUSED = 13
DAMAGE = 14
PROGRAM_FAILED = 15
BUG = 70
INTERRUPTED = signals.INTERRUPTED
CLOSED_PIPE = 141
TERMINATED = signals.TERMINATED

# A kind is what a script reads in an error's JSON form. A class covers its children too: the first match counts.
_KINDS: tuple[tuple[type[BaseException], int, str], ...] = (
    (errors.NoHome, NO_HOME, "no-home"),
    (errors.HomeBusy, HOME_BUSY, "home-busy"),
    (errors.NotFound, NOT_FOUND, "not-found"),
    (errors.BadSignature, REFUSED, "bad-signature"),
    (errors.BeyondThisMachine, REFUSED, "beyond-this-machine"),
    (errors.Refused, REFUSED, "refused"),
    (errors.IntegrityError, DAMAGE, "damage"),
    (errors.HomeUnusable, FAILED, "home-unusable"),
    (errors.OutOfMemory, FAILED, "out-of-memory"),
    (errors.Conflict, FAILED, "conflict"),
    (errors.Unfinished, FAILED, "unfinished"),
    (errors.ProgramFailed, PROGRAM_FAILED, "program-failed"),
    (errors.Interrupted, INTERRUPTED, "interrupted"),
    (errors.HbError, FAILED, "failed"),
    (KeyboardInterrupt, INTERRUPTED, "interrupted"),
    (MemoryError, FAILED, "out-of-memory"),
)


def of(error: BaseException) -> tuple[int, str]:
    """Return the exit code of `error` and the name of its kind. An error that is not listed is a bug."""
    for kind, code, name in _KINDS:
        if isinstance(error, kind):
            return code, name
    return BUG, "bug"
