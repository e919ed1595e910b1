"""The verbs of a home's front door, with the signer and the environment as arguments, for tests of the rooms behind it.

node = Node(home)                    # home: hb.home.Home or hb.memory_home.MemoryHome
node.spawn(image, signer=key, environment=environment, anchor="a")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hb.library.home import Home as FrontDoor
from hb.schedule import sending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hb.compute.context import Context
    from hb.compute.modules import Compiled
    from hb.environment import Environment
    from hb.history.views import ProcessView, SlotView, StateView
    from hb.library.place import Place
    from hb.protocol.commitment import Key
    from hb.protocol.definition import Limits
    from hb.protocol.message import Message
    from hb.schedule.scheduler import Scheduled
    from hb.verify.evidence import Finding


class _Placed(FrontDoor):
    """A front door that uses a given environment."""

    world: Environment

    def environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        return self.world


class Node:
    """A home's verbs. Each is one call of the front door."""

    def __init__(
        self,
        home: Place,
        *,
        lock_timeout_s: float | None = None,
        on_slot: Callable[[int, int], None] | None = None,
        modules: Compiled | None = None,
    ) -> None:
        self.home = home
        self.front = _Placed(home, lock_timeout_s=lock_timeout_s, compiled=modules)
        if on_slot is not None:
            self.front = self.front.bound(on_slot=on_slot)

    @property
    def context(self) -> Context:
        return self.front.context

    @property
    def config(self):
        return self.front.settings

    def default_limits(self) -> Limits:
        return self.front._limits(None, None, None)

    def spawn(
        self, image: bytes | str, *, signer: Key, environment: Environment, limits: Limits | None = None, **options: Any
    ) -> Scheduled:
        if limits is not None:
            options |= {
                "gas_limit": limits.gas,
                "memory_limit_pages": limits.memory_pages,
                "result_limit_bytes": limits.result_bytes,
            }
        self.front.world = environment
        made = self.front.spawn(image, signer=signer, **options).made
        assert made is not None
        return made

    def send(
        self, process: str, messages: Sequence[Message], *, signer: Key | None, environment: Environment
    ) -> list[Scheduled]:
        self.front.world = environment
        context, settings = self.context, self.config
        return sending.send(
            context.session,
            process,
            messages,
            signer=signer,
            scheduler_key=context.scheduler_key(),
            environment=environment,
            limits=sending.SendLimits(settings.batch_limit_messages, settings.message_limit_bytes),
        )

    def compute(self, process: str, slot: str | int = "now") -> int:
        return self.front.process(process, look_up=False).compute(slot)

    def follow(self, process: str, on_slot: Callable[[SlotView], None]) -> None:
        self.front.process(process).follow(on_slot)

    def state(self, process: str, slot: str | int = "now") -> StateView:
        return self.front.process(process, look_up=False).state_view(slot)

    def history(self, process: str, first: str | int = 0, last: str | int = "now") -> Iterator[SlotView]:
        return self.front.process(process, look_up=False).history(first, last)

    def processes(self) -> list[ProcessView]:
        return self.front.process_views()

    def process(self, process: str) -> ProcessView:
        return self.front.process(process, look_up=False).view()

    def definition(self, process: str) -> Message:
        return self.front.process(process, look_up=False).definition

    def resolve(self, process: str) -> str:
        return self.front.process(process).id

    def names(self) -> dict[str, str]:
        return {name: process.id for name, process in self.front.names().items()}

    def stored_message(self, name: str) -> Message:
        return self.front.message(name)

    def verify(
        self,
        process: str,
        *,
        replay: bool = False,
        shared: bool = True,
        on_slot: Callable[[int, int], None] | None = None,
    ) -> Iterator[Finding]:
        front = self.front if on_slot is None else self.front.bound(on_slot=on_slot)
        return front.process(process, look_up=False).find_damage(replay=replay, shared=shared)

    def verify_names(self) -> Iterator[Finding]:
        return self.front.verify_names()

    def process_ids(self) -> list[str]:
        return self.front.process_ids()

    def repair(self, process: str, *, replay: bool = False) -> list[str]:
        return self.front.process(process, look_up=False).repair(replay=replay)

    def repair_leftovers(self) -> list[str]:
        return self.front.repair_leftovers()
