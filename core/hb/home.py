"""A home: the directory that holds everything hb keeps.

    .gitignore    keeps all of it out of a Git repository, the keys above all
    config.toml   settings, for a person to edit
    keys/         signing keys, readable by their owner only
    store/        the store
    cache/        compiled modules; may be deleted at any time
    lock          the lock that a program holds while it uses the store
    lock.queue    the lock that the next one in the queue holds
    typed         what was typed at `hb repl`; may be deleted at any time
    set-aside/    what a crash left of a store file; may be deleted

Invariants:
    No home is made in passing.
    The user's environment is not read: what is needed is handed in.
    No record is looked into beyond the format's version.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hb import atomic
from hb.errors import HomeUnusable, IntegrityError, NoHome, Refused
from hb.records import formats, keys
from hb.storage import lock
from hb.storage.directory import DirectoryStorage
from hb.storage.store import Batch

if TYPE_CHECKING:
    from hb.config import Config
    from hb.protocol.commitment import Key
    from hb.storage.store import Store

HOME_NAME = ".hb"
DEFAULT_KEY = "default"


@dataclass(frozen=True, repr=False)
class Home:
    """Where the parts of the home at `path` are, and the way into its store.

    With `keep_open`, the store stays open between sessions as long as nobody else waits: for programs that live long.
    """

    path: Path
    keep_open: bool = field(default=False, kw_only=True, compare=False)

    @property
    def config(self) -> Path:
        """The file of settings."""
        return self.path / "config.toml"

    @property
    def keys(self) -> Path:
        """The directory of signing keys."""
        return self.path / "keys"

    @property
    def cache(self) -> Path:
        """The directory of compiled modules."""
        return self.path / "cache"

    @property
    def typed(self) -> Path:
        """The file of what was typed at a prompt; there once something was."""
        return self.path / "typed"

    @cached_property
    def storage(self) -> DirectoryStorage:
        """The way into its store."""

        def check(store: Store) -> None:
            formats.ensure(store, f"the home {self.path}")

        if not self.keep_open:
            return DirectoryStorage(self.path, check)
        from hb.storage.keeping import KeptStorage

        return KeptStorage(self.path, check)

    def close(self) -> None:
        """Close the store if it is kept open. The next session opens it again."""
        self.storage.close()

    def settings(self) -> Config:
        """Return what its config.toml says.

        Raises:
            Refused: a setting is wrong, or the file is not TOML.
            HomeUnusable: the operating system does not let it be read.
        """
        from hb import config

        return config.load(self.config)

    def key(self, name: str) -> Key:
        """Return its key of that name, ready to sign.

        Raises:
            NotFound, Refused, HomeUnusable: as `keyring.load`.
        """
        from hb import keyring

        return keyring.load(self.keys, name)

    def make_key(self, name: str) -> Key:
        """Make a key of that name.

        Raises:
            Refused, HomeUnusable: as `keyring.create`.
        """
        from hb import keyring

        return keyring.create(self.keys, name)


def find(
    start: Path, explicit: Path | None = None, env_home: str | None = None, user_data: Path | None = None
) -> Path | None:
    """Return where the home to use is, whether or not it is there yet.

    It is `explicit`, else `env_home` (the value of $HB_HOME; empty counts as unset), else the nearest directory `.hb`
    in `start` or above it, else `user_data`. Without `user_data`, it can be None: so a caller finds out whether it
    has to look up the user's data directory.
    """
    if explicit is not None:
        return explicit
    if env_home:
        return Path(env_home)
    for directory in (start, *start.parents):
        if (directory / HOME_NAME).is_dir():
            return directory / HOME_NAME
    return user_data


def open_home(path: Path, *, keep_open: bool = False) -> Home:
    """Return the home at `path`, after a look at its parts. The store is opened by a session of its storage.

    Raises:
        NoHome: there is none.
        IntegrityError: a part without which it cannot be read is gone.
        Refused: a part is not what it must be (a link to somewhere else, a file for a directory).
        HomeUnusable: the operating system does not let it be looked at.
    """
    home = Home(path, keep_open=keep_open)
    if not stat.S_ISDIR(_mode(path, follow=True)):
        raise NoHome(f"no home at {path}", hint="make one: hb init")
    store_mode = _mode(home.storage.store)
    if not store_mode:
        if not _mode(home.config) and not _mode(home.keys):
            raise NoHome(f"{path} is a directory, but not a home", hint="make one: hb init")
        raise IntegrityError(f"the home {path} has lost its store", hint="put it back from a copy of the home")
    for part, is_right, wanted in (
        (home.storage.store, stat.S_ISDIR, "a directory"),
        (home.keys, stat.S_ISDIR, "a directory"),
        (home.cache, stat.S_ISDIR, "a directory"),
        (home.config, stat.S_ISREG, "a plain file"),
        (home.storage.lock, stat.S_ISREG, "a plain file"),
    ):
        mode = _mode(part)
        if mode and not is_right(mode):
            raise Refused(f"{part} must be {wanted}, in the home itself")
    if not _mode(home.storage.store / "CURRENT"):
        raise IntegrityError(
            f"the store {home.storage.store} has lost its CURRENT file",
            hint="put it back from a copy of the home; nothing was changed",
        )
    return home


def create(path: Path, *, seed: bytes | None = None) -> Home:
    """Make a home at `path`, with a key `default`, or open the one that is there.

    It is made beside its place and then moved there, so there is never half a home. If several programs make it at
    once, one wins, and all get that one. `seed` is the seed of the key, 32 bytes; None draws it from the system.

    Raises:
        Refused: there is something else at `path`.
        IntegrityError: there is a damaged home at `path`.
        HomeUnusable: the operating system does not let it be made.
    """
    # A link to another disk is fine for a home as a whole; the new home replaces what the link leads to.
    path = Path(os.path.realpath(path))
    try:
        if (existing := _find_home(path)) is not None:
            return existing
        path.parent.mkdir(parents=True, exist_ok=True)
        return _make(path, seed)
    except OSError as error:
        raise HomeUnusable(f"cannot make a home at {path}: {error.strerror}") from error


def _find_home(path: Path) -> Home | None:
    """Return the home at `path`, or None if there is nothing, or an empty directory that a home can replace."""
    try:
        return open_home(path)
    except NoHome as error:
        mode = _mode(path)
        if mode and not (stat.S_ISDIR(mode) and not any(path.iterdir())):
            raise Refused(f"{path} is in use for something else", hint="name an empty or a new directory") from error
        return None


def _make(path: Path, seed: bytes | None) -> Home:
    from shutil import rmtree
    from tempfile import mkdtemp

    # mkdtemp makes it for its owner only.
    fresh = Home(Path(mkdtemp(prefix=f"{path.name}-", suffix=".new", dir=path.parent)))
    try:
        _fill(fresh, seed)
        fresh.path.rename(path)
    except OSError:
        # Somebody else was faster: theirs is the home.
        existing = _find_home(path)
        if existing is None:
            raise
        return existing
    else:
        atomic.sync_directory(path.parent)
        return Home(path)
    finally:
        rmtree(fresh.path, ignore_errors=True)


def _fill(home: Home, seed: bytes | None) -> None:
    from hb import config, keyring
    from hb.storage.leveldb import open_store

    for directory in (home.keys, home.storage.store, home.cache):
        directory.mkdir(mode=0o700)
    for file, content in (
        (home.path / ".gitignore", b"*\n"),
        (home.config, config.template()),
        (home.storage.lock, b""),
        (lock.queue_of(home.storage.lock), b""),
    ):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    keyring.create(home.keys, DEFAULT_KEY, seed=seed)
    with open_store(home.storage.store, create=True) as store:
        store.commit(Batch(puts={keys.FORMAT_KEY: keys.FORMAT}, sync=True))
    for directory in (home.storage.store, home.keys, home.path):
        atomic.sync_directory(directory)


def _mode(path: Path, *, follow: bool = False) -> int:
    """Return what kind of thing is at `path`, as st_mode, or 0 if nothing is."""
    try:
        return (os.stat if follow else os.lstat)(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise HomeUnusable(f"cannot look at {path}: {error.strerror}") from error
