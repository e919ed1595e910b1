"""Exit codes, and which failure has which.

Imports nothing but the errors; must never print and never exit.
"""

from __future__ import annotations

from hb import errors

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
INTERRUPTED = 130
CLOSED_PIPE = 141

# Kinds are what a script reads in an error's JSON form. A class stands for its children too: the first match is taken.
_KINDS: tuple[tuple[type[BaseException], int, str], ...] = (
    (errors.NoHome, NO_HOME, "no-home"),
    (errors.HomeBusy, HOME_BUSY, "home-busy"),
    (errors.NotFound, NOT_FOUND, "not-found"),
    (errors.BadSignature, REFUSED, "bad-signature"),
    (errors.Refused, REFUSED, "refused"),
    (errors.IntegrityError, DAMAGE, "damage"),
    (errors.HomeUnusable, FAILED, "home-unusable"),
    (errors.Conflict, FAILED, "conflict"),
    (errors.ProgramFailed, PROGRAM_FAILED, "program-failed"),
    (errors.Interrupted, INTERRUPTED, "interrupted"),
    (errors.HbError, FAILED, "failed"),
    (KeyboardInterrupt, INTERRUPTED, "interrupted"),
    (MemoryError, FAILED, "out-of-memory"),
)


def of(error: BaseException) -> tuple[int, str]:
    """The exit code of `error` and the name of its kind; what is not listed is a bug."""
    for kind, code, name in _KINDS:
        if isinstance(error, kind):
            return code, name
    return BUG, "bug"
