"""What one run of `hb` knows of its surroundings: global options, the environment variables, the home.

The only place of the program that reads environment variables and the working directory for the core. Must hold no
AO logic.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hb.errors import HbError, HomeUnusable, NoHome, NotFound
from hb_cli import output
from hb_cli.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import typer

    from hb.config import Config
    from hb.environment import Environment
    from hb.home import Home
    from hb.node import Node
    from hb.protocol.commitment import Key


class Session:
    """The global options of this run, as far as they are read; `lock_timeout_s` None means the home's own setting."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.json = False
        self.home: str | None = None
        self.lock_timeout_s: float | None = None
        self.signals = Signals()

    @property
    def for_person(self) -> bool:
        """Whether stdout gets a person's view rather than a script's."""
        return not self.json and output.is_terminal(sys.stdout)

    def note(self, text: str) -> None:
        """Says `text` on stderr, unless --json asked for a script's manners."""
        if not self.json:
            output.note(text)


def session_of(ctx: typer.Context) -> Session:
    """The session that `ctx` belongs to."""
    session: Session = ctx.find_root().obj
    return session


def home_path(session: Session) -> Path:
    """Where the home is, or would be made: --home, $HB_HOME, the nearest `.hb` above, the user's data directory."""
    from hb import home

    explicit = Path(session.home) if session.home else None
    try:
        here = working_directory()
    except HomeUnusable:
        # Nothing is above it.
        here = Path("/")
    found = home.find(here, explicit, session.environ.get("HB_HOME"))
    if found is not None:
        return found if found.is_absolute() else working_directory() / found
    import platformdirs

    return platformdirs.user_data_path("hb", appauthor=False)


def working_directory() -> Path:
    """Where the user is.

    Raises:
        HomeUnusable: it was removed meanwhile.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise HomeUnusable(
            f"cannot tell the working directory: {error.strerror}", hint="cd to one that is there"
        ) from error


def existing_home(session: Session) -> Home:
    """The home, which must be there.

    Raises:
        NoHome: there is none.
    """
    from hb import home

    return home.open_home(home_path(session))


def writable_home(session: Session) -> Home:
    """The home; made first where there is none, which stderr then says."""
    from hb import home

    path = home_path(session)
    try:
        return home.open_home(path)
    except NoHome:
        made = home.create(path)
        session.note(f"made a home at {path}")
        return made


def open_node(session: Session, home: Home | None = None, on_slot: Callable[[int, int], None] | None = None) -> Node:
    """The node of `home` (default: the one that is there). `on_slot` hears of each slot computed, and of the last."""
    from hb.node import Node

    home = existing_home(session) if home is None else home
    return Node(home, lock_timeout_s=session.lock_timeout_s, on_slot=on_slot)


def settings(home: Home) -> Config:
    """What the config.toml of `home` says."""
    from hb import config

    return config.load(home.config)


def likely_settings(session: Session) -> Config:
    """The settings of the home that is there, or those that a new one would have."""
    from hb.config import Config

    try:
        return settings(existing_home(session))
    except HbError:
        return Config()


def signer(home: Home, name: str | None) -> Key:
    """The key called `name`, to sign with; by default the one that the settings name as the sender.

    Raises:
        NotFound: the home has no such key.
    """
    from hb import keyring

    return keyring.load(home.keys, name or settings(home).sender_key)


def claimed_sender(home: Home) -> str | None:
    """The address of whoever sends by default, for a message that nobody signs; None where the home has no such key."""
    from hb import keyring

    try:
        return keyring.public(home.keys, settings(home).sender_key).address
    except NotFound:
        return None


def addresses(home: Home) -> dict[str, str]:
    """The names of the home's keys, by address."""
    from hb import keyring

    names: dict[str, str] = {}
    for name in keyring.names(home.keys):
        try:
            names[keyring.public(home.keys, name).address] = name
        except HbError:
            # A key file that cannot be read must not keep anybody from looking at a history.
            continue
    return names


def surroundings(timestamp_ms: int | None, block_height: int) -> Environment:
    """This machine's clock and randomness, but for what the user fixed."""
    from hb.environment import system_environment

    return system_environment(timestamp_ms=timestamp_ms, block_height=block_height)
