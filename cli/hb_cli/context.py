"""What one run of `hb` knows of its surroundings: global options, environment variables, the home.

Only this module reads environment variables and the working directory for the core.

Invariants:
    No AO logic.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hb
from hb.errors import HbError, HomeUnusable, NoHome
from hb_cli.signals import Signals
from hb_cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import typer


class Session:
    """The global options of this run, as far as they are parsed. `lock_timeout_s` None means the home's setting."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.json = False
        self.home: str | None = None
        self.lock_timeout_s: float | None = None
        self.signals = Signals()

    @property
    def for_person(self) -> bool:
        """Whether a person reads stdout, not a script."""
        return not self.json and output.is_terminal(sys.stdout)

    def note(self, text: str) -> None:
        """Print `text` on stderr, except with --json."""
        if not self.json:
            output.note(text)


def session_of(ctx: typer.Context) -> Session:
    """Return the session that `ctx` belongs to."""
    session: Session = ctx.find_root().obj
    return session


def home_path(session: Session) -> Path:
    """Return where the home is, or would be made.

    It is --home, else $HB_HOME, else the nearest `.hb` in the working directory or above, else the one among the user's
    data.
    """
    try:
        here = working_directory()
    except HomeUnusable:
        here = Path("/")  # nothing is above it
    found = hb.find(here, session.home or None, session.environ.get("HB_HOME"))
    return found if found.is_absolute() else working_directory() / found


def working_directory() -> Path:
    """Return the working directory.

    Raises:
        HomeUnusable: it was removed.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise HomeUnusable(
            f"cannot tell the working directory: {error.strerror}", hint="cd to one that is there"
        ) from error


def existing_home(
    session: Session, on_slot: Callable[[int, int], None] | None = None, *, keep_open: bool = False
) -> hb.Home:
    """Return the home, which must be there. `on_slot(slot, last)` is called after each slot that a verb deals with.

    With `keep_open`, for commands that live long, the store stays open as long as nobody else waits for it.

    Raises:
        NoHome: there is none.
    """
    home = hb.open(home_path(session), create=False, lock_timeout_s=session.lock_timeout_s, keep_open=keep_open)
    return home if on_slot is None else home.bound(on_slot=on_slot)


def writable_home(session: Session, on_slot: Callable[[int, int], None] | None = None) -> hb.Home:
    """Return the home. If there is none, make one and say so on stderr."""
    try:
        return existing_home(session, on_slot)
    except NoHome:
        path = home_path(session)
        hb.create(path)
        session.note(f"made a home at {path}")
        return existing_home(session, on_slot)


def likely_settings(session: Session) -> hb.Config:
    """Return the settings of the home, or of a new one if there is none."""
    try:
        return existing_home(session).settings
    except HbError:
        return hb.Config()


def addresses(home: hb.Home) -> dict[str, str]:
    """Return the names of the home's keys by address."""
    names: dict[str, str] = {}
    for name in home.key_names():
        try:
            names[home.public_key(name).address] = name
        except HbError:
            continue  # a key file that cannot be read must not keep anybody from looking at a history
    return names
