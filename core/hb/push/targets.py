"""The processes that deliveries go to: whether they are here, who schedules them, and whom they trust.

Invariants:
    Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.records import deliveries, keys, lineage

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.records.deliveries import Held
    from hb.storage.store import Store


SHOWN = 100
"""Maximum characters of what a program names that are kept and shown."""


class Target(NamedTuple):
    """A process that can be delivered to: its definition, and the key of this home that it trusts."""

    definition: Message
    key: Key


class Targets:
    """The targets of one push. Definitions never change, so each is read once.

    `scheduler_key` is this home's. `find_key` returns the key of this home that has one of some addresses, or None.
    """

    def __init__(self, scheduler_key: Key, find_key: Callable[[set[str]], Key | None]) -> None:
        self._scheduler = scheduler_key
        self._find_key = find_key
        self._definitions: dict[str, Message] = {}
        self._keys: dict[str, Key | None] = {}
        self.damaged: dict[str, IntegrityError] = {}
        """The targets that are damaged, and what is wrong with them."""

    def definition(self, store: Store, process: str) -> Message:
        """Return the definition of a process that is here.

        Raises:
            NotFound, IntegrityError: as `lineage.get_definition`.
        """
        found = self._definitions.get(process)
        if found is None:
            found = self._definitions[process] = lineage.get_definition(store, process)
        return found

    def find(self, store: Store, process: str, depth: int) -> Target | Held:
        """Return the process as a target, or why nothing can be delivered to it."""
        if not ids.is_id(process):
            says = f"{process[:SHOWN]!r} is no process ID" if process else "it names no process that it is for"
            return deliveries.Held(deliveries.REFUSED, says, process[:SHOWN], depth)
        if process not in self._definitions and not _is_here(store, process):
            return deliveries.Held(deliveries.MISSING, f"no process {process!r} here", process, depth)
        try:
            definition = self.definition(store, process)
        except IntegrityError as error:
            self.damaged[process] = error
        if process in self.damaged:
            return deliveries.Held(deliveries.DAMAGED, self.damaged[process].message, process, depth)
        scheduler = str(definition["scheduler"])
        if scheduler != self._scheduler.address:
            says = f"process {process} is scheduled by {scheduler}, not by this home"
            return deliveries.Held(deliveries.ELSEWHERE, says, process, depth)
        if process not in self._keys:
            self._keys[process] = self._key_for(definitions.authorities(definition))
        key = self._keys[process]
        if key is None:
            says = f"process {process} names no key of this home as an authority"
            return deliveries.Held(deliveries.UNTRUSTED, says, process, depth)
        return Target(definition, key)

    def leave_out(self, process: str, error: IntegrityError) -> None:
        """Deliver nothing more to a process, whose schedule is damaged."""
        self.damaged[process] = error

    def _key_for(self, authorities: set[str]) -> Key | None:
        return self._scheduler if self._scheduler.address in authorities else self._find_key(authorities)


def _is_here(store: Store, process: str) -> bool:
    return store.get(keys.definition_key(process)) is not None
