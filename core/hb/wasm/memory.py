"""A copy of an instance's memory and globals, taken at one moment, to compare with and to go back to.

Responsible for finding the pages that a call changed without hashing anything, and for undoing a call that failed.
It must never be compared with an instance of another module.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from hb.wasm.engine import PAGE_BYTES

if TYPE_CHECKING:
    from hb.wasm.instance import Instance

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.restype = ctypes.c_int
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_ZERO_PAGE = ctypes.create_string_buffer(PAGE_BYTES)
_ZERO_ADDRESS = ctypes.addressof(_ZERO_PAGE)


class Mirror:
    """What `instance` was when the mirror was made or last accepted it; `pages` is the size its memory had."""

    def __init__(self, instance: Instance) -> None:
        """Takes the copy: all of the memory, so about 0.2 ms a MiB."""
        self.instance = instance
        self.pages = 0
        self._copy = ctypes.create_string_buffer(0)
        self._globals: list[list[Any]] = []
        self._resize(instance.memory_pages)
        ctypes.memmove(self._copy, instance.memory_address, self.pages * PAGE_BYTES)
        self._globals = instance.raw_globals()

    def changed(self) -> list[int]:
        """The indexes of the pages that differ now, in order; of pages that were added, those that are not zero."""
        pages = self.instance.memory_pages
        return self._differing(self.instance.memory_address if pages else 0, pages)

    def _differing(self, live: int, pages: int) -> list[int]:
        copy = ctypes.addressof(self._copy)
        both = min(pages, self.pages)
        differ = [i for i in range(both) if _memcmp(live + i * PAGE_BYTES, copy + i * PAGE_BYTES, PAGE_BYTES)]
        differ += [i for i in range(both, pages) if _memcmp(live + i * PAGE_BYTES, _ZERO_ADDRESS, PAGE_BYTES)]
        return differ

    def globals_changed(self) -> bool:
        """Whether any mutable global differs now, to the bit."""
        return self.instance.raw_globals() != self._globals

    def is_same(self) -> bool:
        """Whether nothing differs: no global, no page, not the memory's size."""
        return self.instance.memory_pages == self.pages and not self.globals_changed() and not self.changed()

    def accept(self) -> list[int]:
        """Makes the mirror equal to the instance as it is now; gives the pages that `changed` would have."""
        pages = self.instance.memory_pages
        live = self.instance.memory_address if pages else 0
        changed = self._differing(live, pages)
        if pages != self.pages:
            self._resize(pages)
        copy = ctypes.addressof(self._copy)
        for index in changed:
            ctypes.memmove(copy + index * PAGE_BYTES, live + index * PAGE_BYTES, PAGE_BYTES)
        self._globals = self.instance.raw_globals()
        return changed

    def restore(self) -> Instance:
        """The instance as it was: the same one if its memory has not grown since, else a fresh one with that state."""
        if self.instance.memory_pages == self.pages:
            live, copy = self.instance.memory_address, ctypes.addressof(self._copy)
            for index in self.changed():
                ctypes.memmove(live + index * PAGE_BYTES, copy + index * PAGE_BYTES, PAGE_BYTES)
            self.instance.write_raw_globals(self._globals)
            return self.instance
        fresh = self.instance.fresh()
        contents = {index: self._page(index) for index in range(self.pages) if not self._is_zero(index)}
        fresh.load(self._globals, self.pages, contents)
        self.instance = fresh
        return fresh

    def _resize(self, pages: int) -> None:
        """A larger copy: what was there stays, what is added is zero, as the memory's own growth is."""
        larger = ctypes.create_string_buffer(pages * PAGE_BYTES)
        ctypes.memmove(larger, self._copy, min(pages, self.pages) * PAGE_BYTES)
        self._copy, self.pages = larger, pages

    def _page(self, index: int) -> bytes:
        return ctypes.string_at(ctypes.addressof(self._copy) + index * PAGE_BYTES, PAGE_BYTES)

    def _is_zero(self, index: int) -> bool:
        return not _memcmp(ctypes.addressof(self._copy) + index * PAGE_BYTES, _ZERO_ADDRESS, PAGE_BYTES)
