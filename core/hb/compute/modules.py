"""The modules that this program has compiled, by image ID. Homes may share them."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hb.cancellation import Cancellation
    from hb.devices.device import Machine
    from hb.storage.store import OpenStore
    from hb.wasm.module import Module

MOST_KEPT = 32
"""Maximum number of compiled modules that one program keeps. The one that was used longest ago goes first."""

_LOOK_S = 0.05
"""How often a request that waits for another to compile looks whether it was cancelled, in seconds."""


class ModuleLimits(NamedTuple):
    """What this machine allows a module: its size, and the time and memory to compile it."""

    module_bytes: int
    compile_s: int
    compile_mb: int


class Compiled:
    """Compiled modules by image ID, at most `MOST_KEPT`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._modules: dict[str, Module] = {}
        self._loading: dict[str, Lock] = {}

    def find(self, image: str) -> Module | None:
        """Return the module, or None if it is not kept."""
        with self._lock:
            found = self._modules.pop(image, None)
            if found is not None:
                self._modules[image] = found  # the newest is last
            return found

    def keep(self, image: str, module: Module) -> None:
        """Keep a module, in the place of the one that was used longest ago if there are too many."""
        with self._lock:
            self._modules[image] = module
            if len(self._modules) > MOST_KEPT:
                del self._modules[next(iter(self._modules))]

    @contextmanager
    def loading(self, image: str, cancellation: Cancellation) -> Iterator[None]:
        """Be the only one to load a module for a `with` block. Look with `find` once it is one's turn.

        Raises:
            Interrupted: the caller was cancelled while another loaded it.
        """
        with self._lock:
            turn = self._loading.setdefault(image, Lock())
        while not turn.acquire(timeout=_LOOK_S):
            cancellation.check("waiting for a module that another request compiles")
        try:
            yield
        finally:
            with self._lock:
                self._loading.pop(image, None)
            turn.release()


class Modules:
    """The way to a module: from this program's memory, from the cache directory, or compiled from its image.

    `cache` is the directory that keeps compiled modules between programs, or None.
    """

    def __init__(self, cache: Path | None, compiled: Compiled | None = None) -> None:
        self._cache = cache
        self._compiled = Compiled() if compiled is None else compiled

    def machine(self, session: OpenStore, limits: ModuleLimits, given: Mapping[str, bytes] | None = None) -> Machine:
        """Return a machine that runs the modules in the store, and those in `given`, by image ID.

        Raises:
            Refused: a given module is larger than this machine allows.
        """
        from hb.devices.device import Machine
        from hb.schedule import intake

        added = given or {}
        for wasm in added.values():
            if len(wasm) > limits.module_bytes:
                raise intake.beyond(f"a module may have {limits.module_bytes} bytes, got {len(wasm)}", "module-limit")

        def load(image: str, cancellation: Cancellation) -> Module:
            found = self._compiled.find(image)
            if found is not None:
                return found
            with self._compiled.loading(image, cancellation):
                found = self._compiled.find(image)
                if found is None:
                    found = self._load(added.get(image), image, session, limits, cancellation)
                    self._compiled.keep(image, found)
                return found

        return Machine(load)

    def _load(
        self, wasm: bytes | None, image: str, session: OpenStore, limits: ModuleLimits, cancellation: Cancellation
    ) -> Module:
        from hb.records import images
        from hb.wasm import module

        if wasm is None:
            with session() as store:
                wasm = images.read(store, image, IntegrityError)
        return module.load(wasm, self._cache, module.CompileLimits(limits.compile_s, limits.compile_mb), cancellation)
