"""Which process was meant by a name that no process has.

Invariants:
    Looked for only when a command has failed: nothing else pays for it.
    Whatever goes wrong here, the first error is the one that is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import HbError, NotFound
from hb_cli import context

if TYPE_CHECKING:
    import typer

_MOST = 3
_WAIT_S = 0.5
"""How long a home that others use is waited for, in seconds."""


def suggested(error: NotFound, ctx: typer.Context, words: list[str]) -> NotFound:
    """Return `error`; if one of `words` is no process here, with the nearest names in its hint."""
    names: list[str] = []
    try:
        session = context.session_of(ctx)
        session.lock_timeout_s = _WAIT_S if session.lock_timeout_s is None else min(session.lock_timeout_s, _WAIT_S)
        home = context.existing_home(session)
        for word in words:
            try:
                home.process(word)
            except NotFound:
                names = _near(word, list(home.names()))
                break
    except HbError:
        return error
    if not names:
        return error
    meant = f"did you mean {' or '.join(map(repr, names))}?"
    return type(error)(error.message, hint=f"{meant} {error.hint}" if error.hint else meant)


def _near(word: str, names: list[str]) -> list[str]:
    """Return the names that are most like `word`, the nearest first. Case does not count."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in sorted(names)}
    return [by_lower[near] for near in get_close_matches(word.lower(), by_lower, _MOST)]
