"""What a host function sees of the program that calls it: its memory, and what its message lets it know.

A program gets nothing of this machine: the time, the randomness and the output here are its message's, and the same
wherever it runs. Every address and size is the program's, and checked.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from hb.wasm.instance import Instance

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


class Host:
    """The host of one instance.

    Set before a call: `now_ms`, the time in milliseconds since 1970; `seed`, what its random numbers come from;
    `output_bytes`, how much it may print. Read after it: `printed`, what it printed.
    """

    def __init__(self, instance: Instance, pointer_bytes: int) -> None:
        self._instance = ref(instance)
        self.pointer_bytes = pointer_bytes
        self.prepare(now_ms=0, seed=b"", output_bytes=0)

    def prepare(self, *, now_ms: int, seed: bytes, output_bytes: int) -> None:
        """Makes ready for one message: its time, its randomness, and nothing printed yet."""
        self.now_ms = now_ms
        self.output_bytes = output_bytes
        self.printed = bytearray()
        self._seed = seed
        self._random_blocks = 0

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`; both as the program gave them, a negative one being a large unsigned one.

        Raises:
            HostTrap: they are not all in its memory.
        """
        return ctypes.string_at(self._place(address, size), size)

    def write(self, address: int, content: bytes) -> None:
        """Puts `content` at `address`.

        Raises:
            HostTrap: it does not all fit in its memory.
        """
        ctypes.memmove(self._place(address, len(content)), content, len(content))

    def move(self, target: int, source: int, size: int) -> None:
        """Copies `size` bytes within the memory; the ranges may overlap.

        Raises:
            HostTrap: they are not all in its memory.
        """
        ctypes.memmove(self._place(target, size), self._place(source, size), size)

    def read_int(self, address: int, size: int, *, signed: bool = False) -> int:
        """The little-endian integer of `size` bytes at `address`."""
        return int.from_bytes(self.read(address, size), "little", signed=signed)

    def write_int(self, address: int, value: int, size: int) -> None:
        """Puts the low `size` bytes of `value` at `address`, little-endian."""
        self.write(address, (value % (1 << 8 * size)).to_bytes(size, "little"))

    def text(self, address: int, limit: int = MAX_TEXT_BYTES) -> bytes:
        """The bytes at `address` up to, but without, the first NUL.

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
        """The next `size` random bytes of this message: sha256 of the seed and a counter, block by block."""
        blocks = -(-size // 32)
        numbers = range(self._random_blocks, self._random_blocks + blocks)
        self._random_blocks += blocks
        return b"".join(sha256(self._seed + number.to_bytes(8, "big")).digest() for number in numbers)[:size]

    def print(self, content: bytes) -> None:
        """Adds to what the program printed.

        Raises:
            HostTrap: that is more than it may print.
        """
        self._reserve(len(content))
        self.printed += content

    def print_memory(self, address: int, size: int) -> None:
        """Adds `size` bytes of the memory to what the program printed.

        Raises:
            HostTrap: that is more than it may print, or not all in its memory.
        """
        self._reserve(size)
        self.printed += self.read(address, size)

    def spend(self, gas: int) -> None:
        """Takes from the gas of the running call, for work that the program has its host do.

        Raises:
            HostTrap: there is not so much.
        """
        if not self._program.spend(gas):
            raise HostTrap(OUT_OF_GAS)

    @property
    def gas_used(self) -> int:
        """The gas that the message has used so far."""
        return self._program.gas_used

    def call(self, function: str, *arguments: int | float) -> tuple[int | float, ...]:
        """Calls back into the program, on the gas of the running call; gives the results.

        Raises:
            HostTrap: the call failed, the program has no such function, or the host is in such a call already.
        """
        return self._program.call_back(function, arguments)

    def unsigned(self, value: int) -> int:
        """An address or a size, of which a program gives large ones as negative."""
        return value % (1 << 8 * self.pointer_bytes)

    def span(self, address: int, size: int) -> tuple[int, int]:
        """An address and a size as unsigned integers.

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
        """What the memory may grow to."""
        program = self._program
        declared = None if program.module.info.memory is None else program.module.info.memory.maximum
        most = program.limits.memory_pages if declared is None else min(declared, program.limits.memory_pages)
        return most * PAGE_BYTES

    def grow(self, pages: int) -> bool:
        """Grows the memory by so many pages of 64 KiB; False where it may not."""
        return self._program.grow(pages)

    @property
    def _program(self) -> Instance:
        program = self._instance()
        assert program is not None
        return program

    def _reserve(self, size: int) -> None:
        if len(self.printed) + size > self.output_bytes:
            raise HostTrap(Failure("output-limit", f"the program printed more than {self.output_bytes} bytes"))

    def _place(self, address: int, size: int) -> int:
        """Where `size` bytes at `address` lie in this machine's memory."""
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
