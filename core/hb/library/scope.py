"""What a home and its processes share: the context of their verbs, keys to sign with, and the world they run in.

Invariants:
    No AO logic.
    The user's environment is not read here.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from hb import ids
from hb.errors import NotFound, Refused

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from hb.cancellation import Cancellation
    from hb.compute.context import Context
    from hb.compute.modules import Compiled, Modules
    from hb.compute.pool import Pool
    from hb.config import Config
    from hb.environment import Environment
    from hb.keyring import PublicKey
    from hb.library.place import Place
    from hb.protocol.commitment import Key
    from hb.push.trap import TrapDelivery, Verdict

Self = TypeVar("Self", bound="Scope")


def wat(text: str) -> bytes:
    """Compile WebAssembly text to a module.

    >>> hb.wat("(module)").hex()
    '0061736d01000000'

    Raises:
        Refused: the text is not well-formed; the sentence says where.
    """
    from hb.wasm import module

    return module.from_text(text)


class Scope:
    """A place, and how its verbs run: how long they wait, who hears of their progress, who may cancel them."""

    push_patience_s: float | None = 2.0
    """For how long the deliveries of a push wait for one process that is slow to compute; None for as long as it takes.
    """

    def __init__(self, place: Place, *, lock_timeout_s: float | None = None, compiled: Compiled | None = None) -> None:
        self.place = place
        self._lock_timeout_s = lock_timeout_s
        self._compiled = compiled
        self._making = Lock()
        self._context: Context | None = None
        self.push_trap: Callable[[TrapDelivery], Verdict] | None = None

    @property
    def context(self) -> Context:
        """What verbs need of the world. It is internal to hb, and may change in any release.

        All threads share one: its pool bounds the memory of all workers.

        Raises:
            Refused, HomeUnusable: the settings cannot be read.
        """
        with self._making:
            if self._context is None:
                self._context = self._make_context()
            return self._context

    def _make_context(self) -> Context:
        from hb.compute.context import Context, Tools

        settings = self.place.settings()

        def make_modules() -> Modules:
            from hb.compute.modules import Modules

            return Modules(self.place.cache, self._compiled)

        def make_pool() -> Pool:
            from hb.compute.pool import Pool

            return Pool(settings.pool_limit_mb << 20)

        return Context(
            self.place.storage,
            self.place,
            settings,
            Tools(make_modules, make_pool),
            timeout_s=settings.lock_timeout_s if self._lock_timeout_s is None else self._lock_timeout_s,
            lease_timeout_s=self._lock_timeout_s,
        )

    def bound(
        self: Self,
        *,
        cancellation: Cancellation | None = None,
        on_slot: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Return the same home or process with verbs that `cancellation` stops, and that call `on_slot(slot, last)`.

        `on_slot` is called after each slot that a verb deals with; `last` is the slot where it ends.

        >>> cancellation = hb.Cancellation()
        >>> cancellation.cancel()
        >>> try:
        ...     home.bound(cancellation=cancellation).process("ledger").call("Supply")
        ... except hb.Interrupted:
        ...     print("stopped")
        stopped
        """
        bound = copy(self)
        given: dict[str, object] = {}
        if cancellation is not None:
            given["cancellation"] = cancellation
        if on_slot is not None:
            given["on_slot"] = on_slot
        vars(bound).update(_making=Lock(), _context=self.context.replace(**given))
        return bound

    @property
    def settings(self) -> Config:
        """What the home's config.toml says.

        Raises:
            Refused, HomeUnusable: it cannot be read.
        """
        return self.context.settings

    def signer(self, signer: str | Key | None = None) -> Key:
        """Return the key that `signer` stands for: itself, a name, or by default the one that the settings name.

        A text that ends in .json or contains a slash is the path of a file that holds a key, such as an Arweave wallet.

        Raises:
            NotFound: there is no such key.
            Refused: its file cannot be used.
        """
        from hb import keyring
        from hb.protocol.commitment import Key

        if isinstance(signer, Key):
            return signer
        if signer and keyring.is_file(signer):
            return keyring.load_file(Path(signer))
        return self.place.key(signer or self.settings.sender_key)

    def address(self, key: str | None = None) -> str:
        """Return the address of a key: what messages that it signed say they are from. By default the one that signs.

        Raises:
            NotFound: there is no such key.
        """
        return self.signer(key).address

    def public_key(self, name: str | None = None) -> PublicKey:
        """Return what may be shown of a key, by default of the one that signs: its name, public bytes and address.

        Raises:
            NotFound, Refused, HomeUnusable: there is no such key, or its file cannot be used.
        """
        from hb import keyring

        name = self.settings.sender_key if name is None else name
        directory = self._key_directory()
        if directory is None:
            return keyring.PublicKey(name, self.place.key(name).public)
        return keyring.public(directory, name)

    def import_key(self, name: str, key: bytes | str | os.PathLike[str]) -> str:
        """Take in a key, a JSON Web Key or the path of one: what `secret_key` returns, or an Arweave wallet.

        Return its address. The file stays as it is.

        Raises:
            Refused: there is a key with that name, no key can have it, or what was given is not a key that can sign.
        """
        from hb import keyring

        directory = self._key_directory()
        if directory is None:
            raise Refused("a home in memory takes in no keys", hint="name the file of a key as the signer")
        return keyring.bring(directory, name, key if isinstance(key, bytes) else Path(key)).address

    def claimed_sender(self) -> str | None:
        """Return the address that an unsigned message claims to be from; None if the home does not have that key."""
        try:
            return self.public_key().address
        except NotFound:
            return None

    def key_names(self) -> list[str]:
        """Return the names of the home's keys, sorted. A home in memory lists none: it has every key.

        Raises:
            HomeUnusable: the operating system does not let them be listed.
        """
        from hb import keyring

        directory = self._key_directory()
        return [] if directory is None else keyring.names(directory)

    def _key_directory(self) -> Path | None:
        return self._place_path("keys")

    def _place_path(self, name: str) -> Path | None:
        found = getattr(self.place, name, None)
        return found if isinstance(found, Path) else None

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """Return the world as the next message sees it: this machine's clock and randomness, except for what is
        given."""
        from hb.environment import system_environment

        return system_environment(timestamp_ms=timestamp_ms, block_height=block_height)

    def image(self, module: bytes | str | os.PathLike[str]) -> bytes | str:
        """Return the ID that a text is, or that the settings name so under `[modules]`; else the bytes of a module.

        Raises:
            Refused: as `module`.
        """
        if isinstance(module, str):
            named = self.settings.modules.get(module, module)
            if ids.is_id(named) and not (named != module and Path(module).exists()):
                return named
        return self.module(module)

    def module(self, module: bytes | str | os.PathLike[str]) -> bytes:
        """Return the bytes of a module: those given, or those of a .wasm or .wat file.

        Raises:
            Refused: the file cannot be read, or is not WebAssembly text.
        """
        if isinstance(module, bytes):
            return module
        path, limit = Path(module), self.settings.module_limit_bytes
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise Refused(f"cannot read the module {str(path)!r}: {error.strerror}") from error
        if path.suffix != ".wat" or len(content) > limit:
            return content
        try:
            return wat(content.decode())
        except UnicodeDecodeError as error:
            raise Refused(f"the module {str(path)!r} is not UTF-8 text") from error
