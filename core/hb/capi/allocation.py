"""The memory of programs, as the operating system gives it: reserved at once, made usable as a program grows.

The engine asks here for each memory and each growth that the program's own limit allows. What is refused here is
refused by this machine, so it is never an outcome: the store that asked fails as a whole.

Invariants:
    A growth beyond the program's own limit never comes here: the engine answers it, with -1.
    A failed growth changes nothing.
    New memory is zero, also where a memory was smaller, then larger, then smaller.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hb.capi import binding
from hb.errors import BeyondThisMachine, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import wasmtime

_NO_ACCESS, _READ_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
# Linux counts no page of a reservation until it is made usable; other systems do so by themselves.
_RESERVED = _PRIVATE | (0x4000 if sys.platform == "linux" else 0)
_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_mprotect = _libc.mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class LinearMemory:
    """One program's memory: `size` bytes at `address`, of `capacity` that it may grow to without moving."""

    def __init__(self, capacity: int, guard: int, account: Account) -> None:
        """Reserve addresses; nothing is usable yet.

        Raises:
            OutOfMemory: the system gives none.
        """
        self.size, self.capacity, self.account = 0, capacity, account
        self._guard = guard
        self.address = _reserve(capacity + guard)

    def resize(self, size: int) -> None:
        """Grow or shrink to `size` bytes. What is added is zero.

        Raises:
            OutOfMemory: the system gives no more.
            BeyondThisMachine: the setting of this machine allows no more.
        """
        self.account.check(size)
        if size > self.capacity:
            self._move(size)
        elif size > self.size:
            _make_usable(self.address + self.size, size - self.size)
        elif size < self.size:
            _give_back(self.address + size, self.size - size)
        self.size = size

    def close(self) -> None:
        """Give all of it back."""
        _munmap(self.address, self.capacity + self._guard)

    def _move(self, size: int) -> None:
        """Move to where there is room for `size` bytes, and for as many again."""
        capacity = 2 * size
        address = _reserve(capacity + self._guard)
        try:
            _make_usable(address, size)
        except OutOfMemory:
            _munmap(address, capacity + self._guard)
            raise
        ctypes.memmove(address, self.address, self.size)
        self.close()
        self.address, self.capacity = address, capacity


class Account:
    """What one instance may have of this machine's memory, and who hears when it asks for more.

    `most_bytes` is this machine's own bound, None for none. `refuse` gets the error that the compute must end in.
    """

    def __init__(self, most_bytes: int | None, refuse: Callable[[BaseException], None]) -> None:
        self._most_bytes = most_bytes
        self.refuse = refuse
        self.memory: LinearMemory | None = None

    def check(self, size: int) -> None:
        """Raise `BeyondThisMachine` if `size` bytes are more than this machine's own bound."""
        if self._most_bytes is not None and size > self._most_bytes:
            raise beyond(size, self._most_bytes)


def beyond(size: int, most_bytes: int) -> BeyondThisMachine:
    """Return the refusal of `size` bytes where this machine's own bound is `most_bytes`."""
    return BeyondThisMachine(
        f"the program needs {-(-size >> 20)} MiB of memory; this machine allows {most_bytes >> 20} MiB",
        hint="if you trust the program, raise program-memory under [host] in the home's config.toml",
    )


def out_of_memory(size: int) -> OutOfMemory:
    """Return the error for `size` bytes that the system does not give."""
    return OutOfMemory(
        f"this machine does not have enough memory for the program: the system refused {-(-size >> 20)} MiB more",
        hint="nothing was stored for this message; free some memory, or raise the limit of the system (ulimit -d, -v)",
    )


_making = threading.local()


@contextmanager
def charged_to(account: Account, store: wasmtime.Store) -> Iterator[None]:
    """Charge memories of `store` that are made on this thread, during the `with` block, to `account`."""
    # A store may go later than anything in this file when the program ends, and then calls these.
    vars(store)["memory_functions"] = (_GET, _GROW, _LEAVE)
    _making.account = account
    try:
        yield
    finally:
        del _making.account


_NOBODY = Account(None, lambda failure: None)

# By a number that is never used twice. The engine says when a memory goes.
_memories: dict[int, LinearMemory] = {}
_numbers = itertools.count(1)


def install(config: wasmtime.Config) -> None:
    """Have the engine that is made from this configuration take its memories from here."""
    binding.get().set_memory_creator(binding.address_of(config.ptr()), ctypes.addressof(_CREATOR))


def _new(_env: int, _type: int, minimum: int, maximum: int, reserved: int, guard: int, made: Any) -> int:
    """Called by the engine for a memory of `minimum` bytes; returns 0, or an error that the engine then owns."""
    account: Account = getattr(_making, "account", _NOBODY)
    try:
        memory = LinearMemory(max(reserved, minimum), guard, account)
        try:
            memory.resize(minimum)
        except BaseException:
            memory.close()
            raise
    except BaseException as failure:
        return _refuse(account, failure)
    number = next(_numbers)
    _memories[number] = account.memory = memory
    for place, value in enumerate((number, *map(binding.address_of, (_GET, _GROW, _LEAVE)))):
        made[place] = value
    return 0


def _get(number: int, size: Any, most: Any) -> int:
    """Called by the engine to learn where a memory is, its size, and the size up to which it will not move."""
    memory = _memories[number]
    size[0], most[0] = memory.size, memory.capacity
    return memory.address


def _grow(number: int, size: int) -> int:
    """Called by the engine for a larger size that the program may have; returns as `_new`."""
    memory = _memories[number]
    try:
        memory.resize(size)
    except BaseException as failure:
        return _refuse(memory.account, failure)
    return 0


def _refuse(account: Account, failure: BaseException) -> int:
    account.refuse(failure)
    return binding.get().new_error(b"no memory")


def _leave(number: int) -> None:
    """Called by the engine when a memory goes."""
    memory = _memories.pop(number)
    memory.account.memory = None
    memory.close()


def _reserve(size: int) -> int:
    address: int | None = _mmap(None, size, _NO_ACCESS, _RESERVED, -1, 0)
    if address is None or address == _FAILED:
        raise out_of_memory(size)
    return address


def _make_usable(address: int, size: int) -> None:
    if _mprotect(address, size, _READ_WRITE):
        raise out_of_memory(size)


def _give_back(address: int, size: int) -> None:
    """Replace pages by a reservation, so that they are zero when they are next made usable."""
    if _mmap(address, size, _NO_ACCESS, _RESERVED | _FIXED, -1, 0) == _FAILED:
        raise out_of_memory(size)


_ADDRESSES = ctypes.POINTER(ctypes.c_void_p)
_SIZES = ctypes.POINTER(ctypes.c_size_t)
_NEW = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 2, *[ctypes.c_size_t] * 4, _ADDRESSES)(_new)
_GET = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, _SIZES, _SIZES)(_get)
_GROW = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(_grow)
_LEAVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_leave)
# A structure of three: what it is called with, the function that makes a memory, and what is called at its own end.
_CREATOR = (ctypes.c_void_p * 3)(None, binding.address_of(_NEW), None)
