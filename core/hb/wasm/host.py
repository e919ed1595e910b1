"""What a host function sees of the program that calls it: its memory, and what its message lets it know.

Invariants:
    A program gets nothing of this machine. The time and the randomness are its message's, the same wherever it runs.
    Every address and size comes from the program, and is checked.
    No host function calls the program: frames of Python would take from its stack, more or less of it by version.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from weakref import ref

MAX_TEXT_BYTES = 1 << 20
PAGE_BYTES = 65536


@dataclass(frozen=True)
class Failure:
    """How a call failed: `message` is a sentence, `kind` a word that scripts can read.

    Kinds are `trap`, `out-of-gas`, `stack-overflow`, `unsupported-type`, and those that host functions have.
    """

    kind: str
    message: str


OUT_OF_GAS = Failure("out-of-gas", "the program used up its gas")


class HostTrap(Exception):
    """Raised by a host function to end the call as a failure of the program."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Program(Protocol):
    """What the host needs of the program: an `Instance` of `hb.wasm.instance` is one."""

    @property
    def memory_pages(self) -> int:
        """The size of the memory now."""

    @property
    def most_memory_pages(self) -> int:
        """The size that the memory may grow to."""

    @property
    def memory_address(self) -> int:
        """Where the memory lies."""

    @property
    def gas_used(self) -> int:
        """The gas that the message has used so far."""

    def spend(self, gas: int) -> bool:
        """Take from the gas of the call that runs; return False if there is less."""

    def grow(self, pages: int) -> bool:
        """Grow the memory; return False if it may not."""


class Host:
    """The host of one instance.

    Read after a call: `printed`, what the program printed.
    """

    def __init__(self, program: Program, pointer_bytes: int) -> None:
        self._find_program = ref(program)
        self.pointer_bytes = pointer_bytes
        self.prepare(now_ms=0, seed=b"", output_bytes=0)

    def prepare(self, *, now_ms: int, seed: bytes, output_bytes: int) -> None:
        """Make ready for one message, with nothing printed yet.

        `now_ms` is the message's time, in milliseconds since 1970. Its random numbers come from `seed`. It may print
        `output_bytes` bytes.
        """
        self.now_ms = now_ms
        self.output_bytes = output_bytes
        self.printed = bytearray()
        self._seed = seed
        self._random_blocks = 0

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`, both as the program gave them: a negative one is a large unsigned one.

        Raises:
            HostTrap: they are not all in its memory.
        """
        return ctypes.string_at(self._place(address, size), size)

    def write(self, address: int, content: bytes) -> None:
        """Put `content` at `address`.

        Raises:
            HostTrap: it does not all fit in its memory.
        """
        ctypes.memmove(self._place(address, len(content)), content, len(content))

    def move(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes within the memory; the ranges may overlap.

        Raises:
            HostTrap: they are not all in its memory.
        """
        ctypes.memmove(self._place(target, size), self._place(source, size), size)

    def read_int(self, address: int, size: int, *, signed: bool = False) -> int:
        """Return the little-endian integer of `size` bytes at `address`."""
        return int.from_bytes(self.read(address, size), "little", signed=signed)

    def write_int(self, address: int, value: int, size: int) -> None:
        """Put the low `size` bytes of `value` at `address`, little-endian."""
        self.write(address, (value % (1 << 8 * size)).to_bytes(size, "little"))

    def text(self, address: int, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Return the bytes at `address` up to the first NUL, without it.

        Raises:
            HostTrap: there is none in its memory, or none within `limit` bytes.
        """
        room = self.memory_bytes - self.unsigned(address)
        found = self._find_nul(address, min(room, limit + 1)) if room > 0 else -1
        if found >= 0:
            return self.read(address, found)
        if room > limit:
            raise HostTrap(Failure("trap", f"the program gave its host a text of more than {limit} bytes"))
        raise _out_of_bounds()

    def random(self, size: int) -> bytes:
        """Return the next `size` random bytes of this message: sha256 of the seed and a counter, block by block."""
        blocks = -(-size // 32)
        numbers = range(self._random_blocks, self._random_blocks + blocks)
        self._random_blocks += blocks
        return b"".join(sha256(self._seed + number.to_bytes(8, "big")).digest() for number in numbers)[:size]

    def print(self, content: bytes) -> None:
        """Add to what the program printed.

        Raises:
            HostTrap: that is more than it may print.
        """
        self._reserve(len(content))
        self.printed += content

    def print_memory(self, address: int, size: int) -> None:
        """Add `size` bytes of the memory to what the program printed.

        Raises:
            HostTrap: that is more than it may print, or not all in its memory.
        """
        self._reserve(size)
        self.printed += self.read(address, size)

    def spend(self, gas: int) -> None:
        """Take from the gas of the running call, for work that the program has its host do.

        Raises:
            HostTrap: there is less.
        """
        if not self._program.spend(gas):
            raise HostTrap(OUT_OF_GAS)

    @property
    def gas_used(self) -> int:
        """The gas that the message has used so far."""
        return self._program.gas_used

    def unsigned(self, value: int) -> int:
        """Return an address or a size as unsigned: a program gives large ones as negative."""
        return value % (1 << 8 * self.pointer_bytes)

    def span(self, address: int, size: int) -> tuple[int, int]:
        """Return an address and a size as unsigned integers.

        Raises:
            HostTrap: the bytes are not all in its memory.
        """
        start, length = self.unsigned(address), self.unsigned(size)
        self._place(start, length)
        return start, length

    @property
    def memory_bytes(self) -> int:
        """The size of the memory now."""
        return self._program.memory_pages * PAGE_BYTES

    @property
    def limit_bytes(self) -> int:
        """The size that the memory may grow to."""
        return self._program.most_memory_pages * PAGE_BYTES

    def grow(self, pages: int) -> bool:
        """Grow the memory by `pages` of 64 KiB; return False if it may not."""
        return self._program.grow(pages)

    @property
    def _program(self) -> Program:
        program = self._find_program()
        assert program is not None
        return program

    def _reserve(self, size: int) -> None:
        if len(self.printed) + size > self.output_bytes:
            raise HostTrap(Failure("output-limit", f"the program printed more than {self.output_bytes} bytes"))

    def _place(self, address: int, size: int) -> int:
        """Return where `size` bytes at `address` lie in this machine's memory."""
        start, program = self.unsigned(address), self._program
        if size < 0 or start + size > program.memory_pages * PAGE_BYTES:
            raise _out_of_bounds()
        return program.memory_address + start

    def _find_nul(self, address: int, size: int) -> int:
        step = 4096
        for offset in range(0, size, step):
            found = self.read(address + offset, min(step, size - offset)).find(0)
            if found >= 0:
                return offset + found
        return -1


def _out_of_bounds() -> HostTrap:
    return HostTrap(Failure("trap", "the program gave its host an address outside its memory"))
