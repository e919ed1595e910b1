"""Homes as objects: what one does in a home.

It must never hold AO logic, nor read the user's environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hb import ids
from hb.environment import Environment, system_environment
from hb.errors import Refused
from hb.library.process import Process
from hb.protocol.commitment import Key

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from hb.node import Node
    from hb.protocol.definition import Limits
    from hb.protocol.message import Value


def wat(text: str) -> bytes:
    """The module that `text`, in the WebAssembly text format, is.

    >>> hb.wat("(module)").hex()
    '0061736d01000000'

    Raises:
        Refused: it is not well-formed; the sentence says where.
    """
    from hb.wasm import module

    return module.from_text(text)


class Clock:
    """The time in a frozen home: `now_ms`, in milliseconds since 1970."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def advance(self, milliseconds: int) -> None:
        """Lets so many milliseconds pass: what is sent from now on says so.

        Raises:
            Refused: time would run backwards.
        """
        if milliseconds < 0:
            raise Refused(f"time never runs backwards: 0 milliseconds or more, got {milliseconds}")
        self.now_ms += milliseconds


class Home:
    """A home, and the processes in it. `node` is the engine below, for what has no verb here."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def spawn(
        self,
        module: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        initial_state: Mapping[str, Value] | None = None,
        tags: Mapping[str, Value] | None = None,
        devices: Sequence[str] = (),
        gas_limit: int | None = None,
        memory_limit_pages: int | None = None,
        result_limit_bytes: int | None = None,
        anchor: str | None = None,
        signer: str | Key | None = None,
        timestamp_ms: int | None = None,
        block_height: int = 0,
    ) -> Process:
        """Makes a process of `module`: its bytes, a .wasm or .wat file, or the ID of an image that is stored.

        `name` is a name for it in this home, `initial_state` the public keys before the first message, `devices` what
        it is executed by (by default what the module asks for). Limits are the home's settings where none are given.
        With the same `anchor`, and all else the same, it is the same process, and not made twice.

        Raises:
            Refused: the module, or something else that was given, is not acceptable; nothing was made.
            NotFound: no image with that ID is stored, or the home has no such key.
        """
        environment = self.environment(timestamp_ms, block_height)
        scheduled = self.node.spawn(
            module if isinstance(module, str) and ids.is_id(module) else self.module(module),
            signer=self.signer(signer),
            environment=environment,
            devices=devices,
            initial_state=None if initial_state is None else dict(initial_state),
            tags=dict(tags or {}),
            limits=self._limits(gas_limit, memory_limit_pages, result_limit_bytes),
            anchor=anchor,
            name=name,
        )
        return Process(self, scheduled.process)

    def process(self, process: str) -> Process:
        """The process that `process` stands for: its ID, a name, or the first characters of its ID, 4 or more.

        Raises:
            NotFound: there is none.
            Refused: several IDs begin so.
        """
        return Process(self, self.node.resolve(process))

    def import_history(self, path: str | os.PathLike[str], *, name: str | None = None, replay: bool = True) -> Process:
        """Takes in the history in a file, all of it verified, and with `replay` run again, before anything is stored.

        Of a process that is here already, what is not here is added, if all that both have is equal.

        Raises:
            NotFound: there is no such file.
            Refused: it is no history, or that of a process that is another one here; nothing was stored.
            IntegrityError: something in it is not what it must be; nothing was stored.
        """
        from hb.files import transfer

        return Process(self, transfer.import_history(self.node.context, Path(path), name=name, replay=replay).process)

    def processes(self) -> list[Process]:
        """All processes, the one that was spawned first first."""
        return [Process(self, view.process) for view in self.node.processes()]

    def names(self) -> dict[str, Process]:
        """The names there are, and the process that each stands for."""
        return {name: Process(self, process) for name, process in self.node.names().items()}

    def new_key(self, name: str) -> str:
        """Makes a key to sign with, and gives its address.

        Raises:
            Refused: there is one of that name, or no key can have it.
        """
        return self.node.home.make_key(name).address

    def address(self, key: str | None = None) -> str:
        """The address of a key: what messages that it signed say they are from. By default the one that signs.

        Raises:
            NotFound: there is no such key.
        """
        return self.signer(key).address

    def signer(self, signer: str | Key | None = None) -> Key:
        """The key that `signer` stands for: itself, a name, or by default the one that the settings name.

        Raises:
            NotFound: there is no such key.
        """
        return signer if isinstance(signer, Key) else self.node.home.key(signer or self.node.config.sender_key)

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """The world as the next message sees it: this machine's clock and randomness, but for what is given."""
        return system_environment(timestamp_ms=timestamp_ms, block_height=block_height)

    def module(self, module: bytes | str | os.PathLike[str]) -> bytes:
        """The bytes of a module: what is given itself, or those of a .wasm or .wat file.

        Raises:
            Refused: the file cannot be read, or is no WebAssembly text.
        """
        if isinstance(module, bytes):
            return module
        path, limit = Path(module), self.node.config.module_limit_bytes
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

    def _limits(self, gas: int | None, memory_pages: int | None, result_bytes: int | None) -> Limits:
        given = {"gas": gas, "memory_pages": memory_pages, "result_bytes": result_bytes}
        return self.node.default_limits()._replace(**{name: n for name, n in given.items() if n is not None})


class FrozenHome(Home):
    """A home where time passes when its `clock` is advanced, and nothing is left to chance."""

    def __init__(self, node: Node, clock: Clock, seed: bytes) -> None:
        super().__init__(node)
        self.clock = clock
        self._random = _repeatable(seed)

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        """The world as the next message sees it: the clock's time, but for what is given, and no randomness."""
        return Environment(
            now_ms=lambda: self.clock.now_ms,
            random_bytes=self._random,
            timestamp_ms=timestamp_ms,
            block_height=block_height,
        )


def _repeatable(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random, the same for the same seed."""
    from hashlib import shake_256
    from itertools import count

    numbers = count()
    return lambda size: shake_256(b"hb frozen home\0" + seed + next(numbers).to_bytes(8, "big")).digest(size)
