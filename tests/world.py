"""A home that several requests and threads use through one context, for tests of the pool of workers."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hb.compute import driver, spawning
from hb.compute.context import Context, Tools
from hb.compute.modules import Modules
from hb.compute.pool import Pool
from hb.config import Config
from hb.environment import Environment
from hb.memory_home import MemoryHome
from hb.protocol.definition import Limits
from hb.protocol.message import loads
from hb.protocol.request import build_message
from hb.records import cache
from hb.schedule import sending
from hb.storage.store import Batch
from hb.wasm.module import from_text

if TYPE_CHECKING:
    from pathlib import Path

    from hb.compute.worker import Worker
    from hb.home import Home
    from hb.protocol.message import Message

PAGE = 65536
LARGE = 40
"""A size of memory, in pages, that is too large for an image at every slot."""


def program(pages: int) -> bytes:
    """Return a module that counts, and that fails, grows its memory, fills it, or never ends if it is asked to."""
    return from_text(f"""(module
      (memory (export "memory") {pages})
      (global (export "count") (mut i32) (i32.const 0))
      (func (export "Count") (global.set 0 (i32.add (global.get 0) (i32.const 1)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))))
      (func (export "Stored") (result i32) (i32.load (i32.const 8)))
      (func (export "Fail") (i32.store (i32.const 8) (i32.const 99)) (global.set 0 (i32.const 99)) unreachable)
      (func (export "Grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "Fill") (memory.fill (i32.const 64) (i32.const 7) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 64))))
      (func (export "Spin") (param i32) (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))))
      (func (export "Forever") (loop (br 0))))""")


class World:
    """A home, one context on it for all requests, and the actions of tests."""

    def __init__(self, limit_bytes: int = 1 << 30, home: Home | None = None, cache: Path | None = None) -> None:
        """Make a home in memory, or use `home`. `cache` is the directory of compiled modules."""
        numbers = count(1)
        self.environment = Environment(
            now_ms=lambda: 1_700_000_000_000, random_bytes=lambda size: next(numbers).to_bytes(size, "big")
        )
        self.home = home or MemoryHome(b"pool")
        self.context = Context(
            self.home.storage, self.home, Config(), Tools(lambda: Modules(cache), lambda: Pool(limit_bytes))
        )
        self.pool = self.context.pool
        self.key = self.home.key("default")

    def other(self) -> Context:
        """Return the context of another program."""
        return self.context.replace(tools=self.context.tools.with_pool(Pool(1 << 30)), lineages={})

    def spawn(self, pages: int = 1, gas: int = 10**12) -> str:
        """Make a process of `program`. Each `gas` makes another process."""
        return self.spawn_image(program(pages), Limits(gas=gas, memory_pages=1000, result_bytes=1000))

    def spawn_image(self, wasm: bytes, limits: Limits) -> str:
        wanted = spawning.Wanted(limits)
        return spawning.spawn(self.context, wasm, wanted, signer=self.key, environment=self.environment).process

    def send(self, process: str, *actions: str | tuple[str, int]) -> int:
        messages = [build_message(a) if isinstance(a, str) else build_message(a[0], [a[1]]) for a in actions]
        return self.send_all(process, messages)

    def send_all(self, process: str, messages: list[Message]) -> int:
        """Return the slot of the last one."""
        sent = sending.send(
            self.context.session,
            process,
            messages,
            signer=self.key,
            scheduler_key=self.key,
            environment=self.environment,
            limits=sending.SendLimits(10_000, 100_000),
        )
        self.context.storage.announce()
        return sent[-1].slot

    def compute(self, process: str, slot: int, context: Context | None = None) -> None:
        (context or self.context).run(lambda inner: driver.compute(inner, process, slot))

    def call(self, process: str, *actions: str | tuple[str, int]) -> dict:
        slot = self.send(process, *actions)
        self.compute(process, slot)
        return self.record(process, slot)["results"]

    def record(self, process: str, slot: int) -> dict:
        with self.context.session() as store:
            return loads(cache.read_bytes(store, process, slot))

    def kept(self, process: str) -> Worker | None:
        """Return the worker that the pool keeps."""
        with self.pool.room(process, 0):
            live = self.pool.take(process)
            if live is not None:
                self.pool.keep(live)
        return live

    def change(self, **batch: object) -> None:
        with self.context.session() as store:
            store.commit(Batch(**batch))

    def records(self) -> dict[bytes, bytes]:
        with self.context.session() as store:
            return dict(store.scan(b"", b"\xff"))
