"""A copy of an instance's memory and globals, taken at one moment, to compare with and to go back to.

It finds the pages that a call changed without hashing anything, and undoes a call that failed.

Invariants:
    Undoing a call does not instantiate the module again: that is work which no gas pays for.
    A mirror is never compared with an instance of another module.
"""

from __future__ import annotations

import ctypes
from mmap import mmap
from typing import TYPE_CHECKING, Any

from hb.capi.allocation import out_of_memory
from hb.wasm.engine import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hb.wasm.instance import Instance

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.restype = ctypes.c_int
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_ZERO_PAGE = ctypes.create_string_buffer(PAGE_BYTES)
_ZERO_ADDRESS = ctypes.addressof(_ZERO_PAGE)


class Mirror:
    """What `instance` was when the mirror was made or last accepted it.

    `pages` is the size that its memory had, `globals` what its `raw_globals` returned.
    """

    def __init__(self, instance: Instance, nonzero: Iterable[int] | None = None) -> None:
        """Take the copy. Only pages that are not zero take room; if `nonzero` names them, no other page is looked at.

        Raises:
            OutOfMemory: the system gives no memory for it.
        """
        self.instance = instance
        self.pages = 0
        self._written: set[int] = set()
        self._copy, self._address = _zeros(0)
        self.globals: list[list[Any]] = []
        self._resize(instance.memory_pages)
        live = instance.memory_address if self.pages else 0
        self._take(live, range(self.pages) if nonzero is None else nonzero)
        self.globals = instance.raw_globals()

    @property
    def written_bytes(self) -> int:
        """What the copy takes of this machine's memory. Pages that were never written to take none."""
        return len(self._written) * PAGE_BYTES

    def live_bytes(self) -> int:
        """Return the size of those pages of the instance's memory that are not zero. It looks at all of them."""
        pages = self.instance.memory_pages
        start = self.instance.memory_address if pages else 0
        return PAGE_BYTES * sum(_is_not_zero(start + index * PAGE_BYTES) for index in range(pages))

    def changed(self) -> list[int]:
        """Return the indexes of the pages that differ now, in order. Added pages differ if they are not zero."""
        pages = self.instance.memory_pages
        return self._differing(self.instance.memory_address if pages else 0, pages)

    def _differing(self, live: int, pages: int) -> list[int]:
        if not pages:
            return []
        copy = self._address
        both = min(pages, self.pages)
        differ = [i for i in range(both) if _memcmp(live + i * PAGE_BYTES, copy + i * PAGE_BYTES, PAGE_BYTES)]
        differ += [i for i in range(both, pages) if _is_not_zero(live + i * PAGE_BYTES)]
        return differ

    def globals_changed(self) -> bool:
        """Return whether any mutable global differs now, to the bit."""
        return self.instance.raw_globals() != self.globals

    def is_same(self) -> bool:
        """Return whether nothing differs: no global, no page, not the memory's size."""
        return self.instance.memory_pages == self.pages and not self.globals_changed() and not self.changed()

    def page(self, index: int) -> bytes:
        """Return a copy of one page as it was, 65536 bytes: zeros if the memory had no such page."""
        if index >= self.pages:
            return bytes(PAGE_BYTES)
        return ctypes.string_at(self._address + index * PAGE_BYTES, PAGE_BYTES)

    def accept(self) -> list[int]:
        """Make the mirror equal to the instance as it is now; return the pages that `changed` would have."""
        pages = self.instance.memory_pages
        live = self.instance.memory_address if pages else 0
        changed = self._differing(live, pages)
        if pages != self.pages:
            self._resize(pages)
        for index in changed:
            ctypes.memmove(self._address + index * PAGE_BYTES, live + index * PAGE_BYTES, PAGE_BYTES)
        self._written.update(changed)
        self.globals = self.instance.raw_globals()
        return changed

    def restore(self) -> Instance:
        """Return the instance as it was: the same one, or a fresh one with that state if the engine wants one."""
        if self.instance.memory_pages == self.pages or self.instance.shrink(self.pages):
            live = self.instance.memory_address
            for index in self.changed():
                ctypes.memmove(live + index * PAGE_BYTES, self._address + index * PAGE_BYTES, PAGE_BYTES)
            self.instance.write_raw_globals(self.globals)
            return self.instance
        fresh = self.instance.fresh()
        nonzero = [index for index in range(self.pages) if _is_not_zero(self._address + index * PAGE_BYTES)]
        contents = {i: ctypes.string_at(self._address + i * PAGE_BYTES, PAGE_BYTES) for i in nonzero}
        fresh.load(self.globals, self.pages, contents)
        self.instance = fresh
        return fresh

    def _resize(self, pages: int) -> None:
        """Take another size: what was there stays, what is added is zero, as when the memory itself grows."""
        old, old_address, old_pages = self._copy, self._address, self.pages
        self._copy, self._address = _zeros(pages * PAGE_BYTES)
        self.pages = pages
        self._written.clear()
        self._take(old_address, range(min(pages, old_pages)))
        del old

    def _take(self, source: int, indexes: Iterable[int]) -> None:
        """Copy those of the pages at `source` that are not zero into a copy that is zero."""
        for index in indexes:
            offset = index * PAGE_BYTES
            if _is_not_zero(source + offset):
                ctypes.memmove(self._address + offset, source + offset, PAGE_BYTES)
                self._written.add(index)


def _is_not_zero(address: int) -> bool:
    return bool(_memcmp(address, _ZERO_ADDRESS, PAGE_BYTES))


def _zeros(size: int) -> tuple[ctypes.c_char, int]:
    """Return memory of `size` zeros, and its address. The system gives it page by page as it is written to.

    Raises:
        OutOfMemory: it gives none.
    """
    try:
        first = ctypes.c_char.from_buffer(mmap(-1, max(size, 1)))
    except OSError as error:
        raise out_of_memory(size) from error
    return first, ctypes.addressof(first)
