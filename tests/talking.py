"""A small system of processes that talk, in a frozen home, to be altered record by record; for tests of proofs.

`one` sends to `two`, to itself, to a process that is not here, and to whoever sent the message; it has a process
spawned; `two` has a message of its own given to `one`. All of it is pushed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import hb
from aowat import says, talker_module
from hb.protocol import delivery
from hb.protocol.commitment import encoded, message_id, sign, without_commitments
from hb.protocol.message import dumps, loads_message
from hb.records import keys, schedules
from hb.records.packing import pack
from hb.schedule import scheduler
from hb.schedule.intake import Prepared
from hb.storage.store import Batch

if TYPE_CHECKING:
    from hb.library.home import FrozenHome
    from hb.protocol.commitment import Key
    from hb.protocol.message import Message
    from hb.verify.evidence import Finding

NOBODY = "N" * 43
TALKER = hb.wat(talker_module())


class System:
    """A home with processes that talk. `same()` is the same system again, untouched by what is done to this one."""

    def __init__(self, home: FrozenHome | None = None) -> None:
        self.home = hb.frozen() if home is None else home

    @property
    def one(self) -> str:
        return self.home.process("one").id

    @property
    def two(self) -> str:
        return self.home.process("two").id

    @property
    def child(self) -> str:
        """The process that was spawned for `one`."""
        [child] = {process.id for process in self.home.processes()} - {self.one, self.two}
        return child

    def talk(self) -> System:
        home = self.home
        trusted = [home.signer(name).address for name in ("default", "other")]
        one, two = (home.spawn(TALKER, name=name, anchor=name, authority=trusted) for name in ("one", "two"))
        messages = [two.id, NOBODY, home.address(), one.id]
        said = says(*({"Target": target, "Action": f"A{place}"} for place, target in enumerate(messages, 1)))
        one.send("Begin", data=said, anchor="begin", push=True)
        one.send("Spawn", data=spawning(one.definition["image"]), anchor="spawn", push=True)
        note = two.send("Note", anchor="note")
        two.send("Assign", data=assigning(note.message, one.id), anchor="assign", push=True)
        one.send("Again", data=says(*[{"Target": two.id, "Action": f"B{n}"} for n in range(3)]), anchor="b", push=True)
        return self

    def same(self) -> System:
        again = System()
        again.commit(puts=self.records())
        return again

    # -- records

    def records(self) -> dict[bytes, bytes]:
        with self.home.context.session() as store:
            return dict(store.scan(*keys.EVERYTHING))

    def commit(self, *, puts: dict[bytes, bytes] | None = None, deletes: set[bytes] | None = None) -> None:
        with self.home.context.session() as store:
            store.commit(Batch(puts=puts or {}, deletes=deletes or set()))

    def put(self, key: bytes, value: bytes) -> None:
        self.commit(puts={key: value})

    def delete(self, *gone: bytes) -> None:
        self.commit(deletes=set(gone))

    def change(self, key: bytes, **fields: object) -> None:
        """Alters a record that is JSON, and leaves it canonical."""
        self.put(key, dumps({**loads_message(self.records()[key]), **fields}))  # type: ignore[dict-item]

    # -- messages

    def message(self, process: str, slot: int) -> Message:
        """The message in a slot, without its signatures."""
        with self.home.context.session() as store:
            return without_commitments(schedules.get_assignment(store, process, slot).body)

    def slot_from(self, process: str, place: delivery.Place) -> int:
        """The slot of the message that was delivered from a place."""
        [found] = [
            slot
            for slot in range(self.home.process(process).slots)
            if delivery.origin(self.message(process, slot)) == place
        ]
        return found

    def forge(self, process: str, message: Message, signer: str | Key = "default") -> int:
        """Schedules a message that no push made, as whoever has the home's key can; returns its slot."""
        context = self.home.context
        signed = sign(message, self.home.signer(signer))
        prepared = Prepared(encoded(signed), dumps(pack(signed)), is_new=False)
        with context.session() as store:
            [scheduled] = scheduler.schedule(
                store, process, [prepared], key=context.scheduler_key(), environment=self.home.environment()
            )
        return scheduled.slot

    def cut(self, process: str) -> None:
        """Takes the newest slot of a process away, with all that is stored of it: as if it had never been."""
        raw = self.records()
        newest = self.home.process(process).slots - 1
        with self.home.context.session() as store:
            head = scheduler.head_after(schedules.get_assignment(store, process, newest - 1))
        gone = {
            layout(process, newest) for layout in (keys.assignment_key, keys.slot_record_key, keys.memory_image_key)
        }
        gone |= {
            key
            for key in raw
            if key[:2] == b"m/" and key.endswith(process.encode()) and raw[key] == keys.encode_slot(newest)
        }
        self.commit(puts={keys.head_key(process): head.encode()}, deletes=gone & raw.keys())

    def reassign(self, process: str, body: Message) -> None:
        """Puts another message into the newest slot of a process, signed anew: only results can tell."""
        newest = self.home.process(process).slots - 1
        self.cut(process)
        assert self.forge(process, body) == newest

    def forge_process(self, definition: Message, signer: str = "default") -> str:
        """Makes a process with any definition, as whoever has the home's key can; returns its ID."""
        context = self.home.context
        signed = sign(definition, self.home.signer(signer))
        process = message_id(signed)
        opened, _, _ = scheduler.open_schedule(
            process, signed, key=context.scheduler_key(), environment=self.home.environment()
        )
        self.commit(puts={**opened.puts, keys.definition_key(process): dumps(signed)})
        return process

    # -- what is found

    def found(self, *, replay: bool = False) -> list[Finding]:
        return list(self.home.verify(replay=replay))

    def repair(self) -> list[str]:
        done = [line for process in self.home.processes() for line in process.repair()]
        return done + self.home.repair_leftovers()


def altered(message: Message, **fields: Any) -> Message:
    """A message without signatures, with other fields; None takes a field away."""
    changed = {**without_commitments(message), **{key.replace("_", "-"): value for key, value in fields.items()}}
    return {key: value for key, value in changed.items() if value is not None}


def spawning(image: object) -> str:
    """Data that has a talker ask for a process."""
    tags = [{"name": "Module", "value": image}, {"name": "Reference", "value": "7"}]
    return json.dumps({"Spawns": [{"Tags": tags, "Data": "x"}]}).replace('"', "'")


def assigning(message: str, *processes: str) -> str:
    """Data that has a talker ask that a message gets a slot at processes."""
    return json.dumps({"Assignments": [{"Processes": list(processes), "Message": message}]}).replace('"', "'")
