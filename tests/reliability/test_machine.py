"""A home against a plain Python model of it: any order of spawns, forks, messages, computes, looks back and restarts.

Hypothesis chooses what is done. The model knows what a counter and a ledger are, and nothing of how hb works. After each
step, whatever it was: slots have no gaps, and no record that was ever written has changed. HB_LONG=1 tries for
minutes instead of seconds, and other steps each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hb import home as homes
from hb import keyring
from hb.environment import Environment
from hb.errors import BadSignature, NotFound, Refused
from hb.history import fork as forks
from hb.protocol.commitment import Key, sign
from hb.protocol.request import addressed, build_message
from hb.records import keys
from hb.storage.store import Batch
from hb.wasm import module
from verbs import Node

LONG = bool(os.environ.get("HB_LONG"))
# Nothing here is about power loss: a disk in memory, where there is one, tries ten times as much.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SAMPLES = Path(__file__).parents[2] / "samples"
IMAGES = {kind: (SAMPLES / f"{kind}.wasm").read_bytes() for kind in ("counter", "ledger")}
ALICE, BOB = Key(b"a" * 32), Key(b"b" * 32)
MOST = 2**63 - 1
# What the short form finds is one run away from being made smaller by the long one.
PHASES = tuple(Phase) if LONG else (Phase.generate,)
RAN = {"examples": 0, "steps": 0, "slots": 0, "mended": 0, "forks": 0}


# -- the model: what a program is, in plain Python


class NotAnArgument(Exception):
    """A parameter that the function cannot be given."""


class Trap(Exception):
    """The function gives up; nothing of what it did stays."""


def integer(value: Any, bits: int) -> int:
    """`value` as a signed integer of so many bits, as whoever sends it may write it: signed, unsigned, or as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise NotAnArgument
    if not -(2 ** (bits - 1)) <= value < 2**bits:
        raise NotAnArgument
    return wrapped(int(value), bits)


def wrapped(value: int, bits: int) -> int:
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


@dataclass
class Counter:
    """What `counter.wat` says that it is."""

    value: int = 0
    functions: ClassVar = {"Increment": (), "Add": (32,), "ReadValue": ()}

    def public(self) -> dict[str, int]:
        return {"counter": self.value}

    def call(self, function: str, arguments: list[int]) -> list[int]:
        if function == "ReadValue":
            return [self.value]
        self.value = wrapped(self.value + (arguments or [1])[0], 32)
        return []

    def copy(self) -> Counter:
        return Counter(self.value)


@dataclass
class Ledger:
    """What `ledger.wat` says that it is."""

    balances: dict[int, int] = field(default_factory=dict)
    functions: ClassVar = {"Mint": (32, 64), "Transfer": (32, 32, 64), "Balance": (32,), "Supply": ()}

    def public(self) -> dict[str, int]:
        return {}

    def call(self, function: str, arguments: list[int]) -> list[int]:
        if function == "Supply":
            return [sum(self.balances.values())]
        if function == "Balance":
            return [self.balances.get(arguments[0], 0)]
        amount = arguments[-1]
        if amount < 0 or (function == "Mint" and sum(self.balances.values()) + amount > MOST):
            raise Trap
        if function == "Mint":
            self.balances[arguments[0]] = self.balances.get(arguments[0], 0) + amount
            return [self.balances[arguments[0]]]
        source, target, _ = arguments
        if source not in self.balances or self.balances[source] < amount:
            return [0]
        self.balances[source] -= amount
        self.balances[target] = self.balances.get(target, 0) + amount
        return [1]

    def copy(self) -> Ledger:
        return Ledger(dict(self.balances))


PROGRAMS = {"counter": Counter, "ledger": Ledger}


@dataclass
class Slot:
    """What a slot must be: its message's ID, what that asked for, its results without the gas, and the program after it."""

    message: str
    results: dict[str, Any]
    program: Any
    action: str | None = None

    @property
    def public(self) -> dict[str, int]:
        return self.program.public()


@dataclass
class Process:
    """What a process must be. `sent` are its messages: the fields that they are made of, and who signs.

    `computed` is the newest computed of its own slots, which begin with `first`; a fork has those before from `origin`.
    """

    pid: str
    kind: str
    spawned_by: dict[str, Any]
    program: Any
    slots: list[Slot]
    computed: int = -1
    origin: Process | None = None
    first: int = 0
    sent: list[tuple[dict[str, Any], Key, int]] = field(default_factory=list)

    def take(self, message: str, fields: dict[str, Any], signer: Key) -> int:
        """The slot that a new message gets; what it must give is worked out here."""
        results = self._run(fields.get("action"), fields["parameters"])
        self.slots.append(Slot(message, results, self.program, fields.get("action")))
        self.sent.append((fields, signer, len(self.slots) - 1))
        return len(self.slots) - 1

    def owner(self, slot: int) -> Process:
        """The process whose own this slot is."""
        return self if self.origin is None or slot >= self.first else self.origin.owner(slot)

    def reach(self, slot: int) -> None:
        """`slot` is computed, and so is all that it follows from."""
        if self.origin is not None and (slot < self.first or self.computed < self.first):
            self.origin.reach(min(slot, self.first - 1))
        if slot >= self.first:
            self.computed = max(self.computed, slot)

    def newest(self) -> int:
        """The newest computed slot, shared ones among them; -1 if there is none."""
        if self.origin is None or self.computed >= self.first:
            return self.computed
        return min(self.first - 1, self.origin.newest())

    def follows_from(self, process: Process, slot: int) -> bool:
        """Whether it is a fork that shares this slot of a process."""
        return self.origin is not None and (
            (self.origin is process and self.first > slot) or self.origin.follows_from(process, slot)
        )

    def _run(self, action: str | None, parameters: list[Any]) -> dict[str, Any]:
        if action is None:
            return {"type": "error", "kind": "no-function"}
        if action not in self.program.functions:
            return {"type": "error", "kind": "unknown-function"}
        widths = self.program.functions[action]
        after = self.program.copy()
        try:
            if len(parameters) != len(widths):
                raise NotAnArgument
            output = after.call(action, [integer(*pair) for pair in zip(parameters, widths, strict=True)])
        except NotAnArgument:
            return {"type": "error", "kind": "wrong-arguments"}
        except Trap:
            return {"type": "error", "kind": "trap"}
        self.program = after
        return {"type": "ok", "output": output}


# -- what is done


ACTIONS = st.sampled_from(
    ["Increment", "Increment", "Add", "Add", "ReadValue", "Mint", "Mint", "Mint", "Transfer", "Transfer", "Balance", "Supply"]
)  # fmt: skip
ODD = st.one_of(
    st.integers(-(2**65), 2**65), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=3),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, -(2**31) - 1, -(2**63) - 1, MOST]), st.none(),
)  # fmt: skip
AMOUNTS = st.one_of(st.integers(-5, 1000), st.sampled_from([-1, 0, 2**31 - 1, 2**32 - 1, MOST, 2**62]))
ACCOUNTS = st.integers(0, 4)
PLACES = st.integers(0, 2**16)
FITTING = {
    "Increment": st.just([]), "ReadValue": st.just([]), "Supply": st.just([]), "Add": st.tuples(AMOUNTS).map(list),
    "Balance": st.tuples(ACCOUNTS).map(list), "Mint": st.tuples(ACCOUNTS, AMOUNTS).map(list),
    "Transfer": st.tuples(ACCOUNTS, ACCOUNTS, AMOUNTS).map(list),
}  # fmt: skip


@st.composite
def requests(draw: Any, kind: str) -> dict[str, Any]:
    """The fields of a message: most often one that a program of this kind can answer."""
    action = draw(ACTIONS.filter(lambda name: name in PROGRAMS[kind].functions))
    oddity = draw(st.integers(0, 11))
    if oddity == 0:
        action = draw(st.sampled_from([None, "increment", "memory", "Nosuch", ""]))
    parameters = draw(FITTING.get(action, st.just([])) if oddity != 1 else st.lists(ODD, max_size=3))
    return {"action": action, "parameters": parameters, "data": draw(st.sampled_from([None, "", "x", b"\xff\n"]))}


class Home(RuleBasedStateMachine):
    """A home, and what it must be."""

    pattern: Path  # a home with nothing in it but compiled modules

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hb-machine-", dir=FAST))
        self.path = self.directory / "home"
        shutil.copytree(self.pattern, self.path)
        self.processes: list[Process] = []
        self.names: dict[str, str] = {}
        self.written: dict[bytes, bytes] = {}
        self.gone: set[bytes] = set()
        self.gas: dict[tuple[str, str], int] = {}
        ticks, numbers = count(1), count(1)
        self.environment = Environment(
            now_ms=lambda: 1_700_000_000_000 + next(ticks),
            random_bytes=lambda size: next(numbers).to_bytes(size, "big"),
        )
        self.anchors = count(1)
        self.restart()
        RAN["examples"] += 1

    def teardown(self) -> None:
        try:
            for process in self.processes:
                self.check_states(process, range(len(process.slots)))
            self.check_records()
            self.check_damage(replay=True)
            RAN["slots"] += sum(len(process.slots) for process in self.processes)
        finally:
            shutil.rmtree(self.directory)

    @rule()
    def restart(self) -> None:
        self.node = Node(homes.open_home(self.path))

    @initialize(start=st.integers(-5, 5), name=st.sampled_from(["one", None]))
    def begin(self, start: int, name: str | None) -> None:
        self.spawn("counter", start, name, ALICE)
        self.spawn("ledger", None, None, BOB)
        for process, action, parameters in zip(self.processes, ("Add", "Mint"), ([7], [1, 500]), strict=True):
            batch = [self.anchored({"action": action, "parameters": parameters}) for _ in range(3)]
            sent = self.node.send(
                process.pid, [self.built(one) for one in batch], signer=ALICE, environment=self.environment
            )
            assert [one.slot for one in sent] == [
                process.take(one.message, given, ALICE) for one, given in zip(sent, batch, strict=True)
            ]
        self.check_states(self.processes[0], [2])

    @rule(
        kind=st.sampled_from(["counter", "ledger"]),
        start=st.one_of(st.none(), st.integers(-(2**31), 2**32 - 1)),
        name=st.sampled_from([None, None, "one", "two", "three"]),
        signer=st.sampled_from([ALICE, BOB]),
    )
    @precondition(lambda self: len(self.processes) < 6)
    def spawn(self, kind: str, start: int | None, name: str | None, signer: Key) -> None:
        how: dict[str, Any] = {"image": IMAGES[kind], "anchor": str(next(self.anchors)), "signer": signer}
        if kind == "counter" and start is not None:
            how["initial_state"] = {"counter": start}
        if name in self.names:
            self.refused(lambda: self.node.spawn(**how, name=name, environment=self.environment), Refused, "taken")
            return
        spawned = self.node.spawn(**how, name=name, environment=self.environment)
        assert (spawned.slot, spawned.fresh, spawned.message) == (0, True, spawned.process)
        program = Counter(wrapped(start or 0, 32)) if kind == "counter" else Ledger()
        made = Process(spawned.process, kind, how, program, [Slot(spawned.process, {}, program)])
        assert made.pid not in {process.pid for process in self.processes}
        self.processes.append(made)
        if name is not None:
            self.names[name] = made.pid

    @rule(place=PLACES, name=st.sampled_from([None, "one", "two", "three"]), by_id=st.booleans())
    def spawn_again(self, place: int, name: str | None, by_id: bool) -> None:
        process = self.pick(place)
        if process.origin is not None:
            process = process.owner(0)
        how = dict(process.spawned_by)
        if by_id:
            how["image"] = self.node.definition(process.pid)["image"]
        if name is not None and self.names.get(name, process.pid) != process.pid:
            self.refused(lambda: self.node.spawn(**how, name=name, environment=self.environment), Refused, "taken")
            return
        again = self.node.spawn(**how, name=name, environment=self.environment)
        assert (again.process, again.slot, again.fresh) == (process.pid, 0, False)
        if name is not None:
            self.names[name] = process.pid

    @rule(place=PLACES, slot=PLACES, signer=st.sampled_from([ALICE, BOB]))
    @precondition(lambda self: len(self.processes) < 6)
    def fork(self, place: int, slot: int, signer: Key) -> None:
        process = self.pick(place)
        slot %= len(process.slots)
        how: dict[str, Any] = {"signer": signer, "environment": self.environment, "anchor": str(next(self.anchors))}
        made = forks.fork(self.node.context, process.pid, slot, **how)
        owner = process.owner(slot)
        owner.reach(slot)
        again = forks.fork(self.node.context, owner.pid, slot, **how)
        assert (made.slot, made.fresh, made.message) == (slot + 1, True, made.process)
        assert again == made._replace(fresh=False)
        program = owner.slots[slot].program
        slots = [*owner.slots[: slot + 1], Slot(made.process, {}, program)]
        self.processes.append(
            Process(made.process, owner.kind, {}, program, slots, computed=slot, origin=owner, first=slot + 1)
        )
        RAN["forks"] += 1

    @rule(state=st.sampled_from([{"counter": 2**32}, {"count": 1}, {"counter": "1"}, {"results": {}}]))
    def spawn_what_cannot_be(self, state: dict[str, Any]) -> None:
        self.refused(
            lambda: self.node.spawn(IMAGES["counter"], signer=ALICE, environment=self.environment, initial_state=state, name="bad"),
            Refused,
            "initial-state|global",
        )  # fmt: skip
        self.refused(lambda: self.node.spawn(b"\0asm", signer=ALICE, environment=self.environment), Refused, "wasm")

    @rule(data=st.data(), place=PLACES, signer=st.sampled_from([ALICE, BOB]), called=st.integers(0, 2))
    def send(self, data: st.DataObject, place: int, signer: Key, called: int) -> None:
        process = self.pick(place)
        fields = self.anchored(data.draw(requests(process.kind)))
        (sent,) = self.node.send(
            self.word_for(process, called), [self.built(fields)], signer=signer, environment=self.environment
        )
        assert sent.slot == process.take(sent.message, fields, signer)
        assert (sent.process, sent.fresh) == (process.pid, True)

    @rule(data=st.data(), place=PLACES, size=st.integers(0, 12), twice=st.booleans())
    def send_batch(self, data: st.DataObject, place: int, size: int, twice: bool) -> None:
        process = self.pick(place)
        batch = [self.anchored(data.draw(requests(process.kind))) for _ in range(size)]
        given = [self.built(fields) for fields in batch]
        sent = self.node.send(process.pid, given * (2 if twice else 1), signer=ALICE, environment=self.environment)
        for fields, one in zip(batch, sent, strict=False):
            assert one.slot == process.take(one.message, fields, ALICE)
            assert one.fresh
        assert [(one.slot, one.message, one.fresh) for one in sent[size:]] == [
            (one.slot, one.message, False) for one in sent[:size] if twice
        ]

    @rule(place=PLACES, which=PLACES)
    def retry(self, place: int, which: int) -> None:
        process = self.pick(place)
        if process.sent:
            fields, signer, slot = process.sent[which % len(process.sent)]
            (again,) = self.node.send(process.pid, [self.built(fields)], signer=signer, environment=self.environment)
            assert (again.slot, again.message, again.fresh) == (slot, process.slots[slot].message, False)

    @rule(data=st.data(), place=PLACES)
    def send_signed(self, data: st.DataObject, place: int) -> None:
        process = self.pick(place)
        fields = self.anchored(data.draw(requests(process.kind)))
        message = sign(addressed(self.built(fields), process.pid), BOB)
        (sent,) = self.node.send(process.pid, [message], signer=None, environment=self.environment)
        assert sent.slot == process.take(sent.message, fields, BOB)

    @rule(data=st.data(), place=PLACES, other=PLACES, where=st.integers(0, 3))
    def send_what_cannot_be(self, data: st.DataObject, place: int, other: int, where: int) -> None:
        """One message of a batch is not acceptable: none of it is scheduled."""
        process, another = self.pick(place), self.pick(other)
        good = self.built(self.anchored(data.draw(requests(process.kind))))
        signed = sign(addressed(good, process.pid), BOB)
        bad: list[tuple[Any, type[Exception], str]] = [
            ({**signed, "data": "altered"}, BadSignature, "message"),
            ({**signed, "extra": 1}, Refused, "message"),
            ({"commitments": {}, **addressed(good, process.pid)}, Refused, "nobody signed"),
        ]
        if another is not process:
            bad.append((sign(addressed(good, another.pid), BOB), Refused, "target"))
        message, error, says = data.draw(st.sampled_from(bad))
        batch = [self.built(self.anchored({"action": "Increment", "parameters": []})) for _ in range(3)]
        batch.insert(where, message)
        self.refused(
            lambda: self.node.send(process.pid, batch, signer=ALICE, environment=self.environment),
            error,
            f"message {where + 1}.*{says}",
        )
        self.refused(
            lambda: self.node.send(process.pid, [good], signer=None, environment=self.environment),
            Refused,
            "not signed",
        )

    @rule(place=PLACES, slot=PLACES, as_now=st.booleans())
    def compute(self, place: int, slot: int, as_now: bool) -> None:
        process = self.pick(place)
        slot %= len(process.slots)
        reference = f"now~{len(process.slots) - 1 - slot}" if as_now else slot
        assert self.node.compute(process.pid, reference) == slot
        process.reach(slot)

    @rule(place=PLACES, slot=PLACES)
    def look_back(self, place: int, slot: int) -> None:
        process = self.pick(place)
        self.check_states(process, [slot % len(process.slots)])

    @rule(place=PLACES, first=PLACES, last=PLACES)
    def history(self, place: int, first: int, last: int) -> None:
        process = self.pick(place)
        first %= len(process.slots)
        last = first + last % (len(process.slots) - first)
        views = list(self.node.history(process.pid, first, process.slots[last].message if last % 2 else last))
        assert [view.slot for view in views] == list(range(first, last + 1))
        for view in views:
            expected = process.slots[view.slot]
            assert (view.message, view.computed) == (expected.message, view.slot <= process.newest())
            if view.computed:
                self.check_results(process, view.slot, view.results, view.state)

    @rule(place=PLACES, beyond=st.integers(0, 3))
    def look_beyond(self, place: int, beyond: int) -> None:
        process = self.pick(place)
        for look in (self.node.compute, self.node.state, self.node.history):
            self.refused(lambda look=look: look(process.pid, len(process.slots) + beyond), NotFound, "not scheduled")
        self.refused(lambda: self.node.resolve("nosuch"), NotFound, "nosuch")

    @rule(place=PLACES, slot=PLACES)
    def forget(self, place: int, slot: int) -> None:
        """What was computed from a slot on is lost: it can be computed again, and comes out as it was."""
        process = self.pick(place)
        slot %= len(process.slots)
        process = process.owner(slot)
        losing = [process, *(fork for fork in self.processes if fork.follows_from(process, slot))]
        lost = {
            make(loser.pid, number)
            for loser in losing
            for number in range(slot if loser is process else loser.first, len(loser.slots))
            for make in (keys.slot_record_key, keys.memory_image_key)
        }
        with self.node.home.storage.session() as store:
            store.commit(Batch(deletes=lost))
        self.gone |= lost
        for loser in losing:
            loser.computed = min(loser.computed, (slot if loser is process else loser.first) - 1)

    @rule()
    def verify(self) -> None:
        before = self.records()
        self.check_damage(replay=False)
        assert self.records() == before

    @rule(place=PLACES, slot=PLACES, which=st.integers(0, 3), change=st.sampled_from([None, b"", b"{}", b"\xff\0"]))
    @precondition(lambda self: any(process.computed > process.first for process in self.processes))
    def mend(self, place: int, slot: int, which: int, change: bytes | None) -> None:
        """A record that follows from others is damaged: that is found, and mended to the same bytes."""
        computed = [process for process in self.processes if process.computed > process.first]
        process = computed[place % len(computed)]
        slot = process.first + slot % (process.computed - process.first)
        key = (
            keys.slot_record_key(process.pid, slot), keys.memory_image_key(process.pid, slot),
            keys.message_slot_key(process.slots[slot].message, process.pid), keys.head_key(process.pid),
        )[which]  # fmt: skip
        before = self.records()
        with self.node.home.storage.session() as store:
            store.commit(Batch(deletes={key}) if change is None else Batch(puts={key: change}))
        assert list(self.node.verify(process.pid))
        assert self.node.repair(process.pid)
        RAN["mended"] += 1
        assert self.records() == before

    # -- what always holds

    @invariant()
    def check_records(self) -> None:
        RAN["steps"] += 1
        stored = self.records()
        for key, raw in self.written.items():
            assert stored.get(key, raw if key in self.gone else None) == raw, key
        self.gone -= stored.keys()
        self.written.update({key: raw for key, raw in stored.items() if not key.startswith(b"h/")})
        for process in self.processes:
            assigned = [key for key in stored if key.startswith(b"a/" + process.pid.encode())]
            computed = [key for key in stored if key.startswith(b"s/" + process.pid.encode())]
            assert sorted(map(keys.slot_of, assigned)) == list(range(process.first, len(process.slots)))
            assert sorted(map(keys.slot_of, computed)) == list(range(process.first, process.computed + 1))
        assert len([key for key in stored if key.startswith(b"h/")]) == len(self.processes)

    @invariant()
    def check_names(self) -> None:
        assert self.node.names() == self.names
        listed = {view.process: (view.slots, sorted(view.names), view.computed) for view in self.node.processes()}
        assert listed == {
            process.pid: (
                len(process.slots),
                sorted(name for name, pid in self.names.items() if pid == process.pid),
                None if process.newest() < 0 else process.newest(),
            )
            for process in self.processes
        }

    def check_states(self, process: Process, slots: Any) -> None:
        for slot in slots:
            seen = self.node.state(process.pid, slot)
            process.reach(slot)
            public = {key: seen.state[key] for key in process.slots[slot].public}
            assert (seen.slot, seen.state["at-slot"]) == (slot, slot)
            self.check_results(process, slot, seen.state["results"], public)

    def check_results(self, process: Process, slot: int, results: Any, public: Any) -> None:
        expected = process.slots[slot]
        got = {key: results[key] for key in results if key in ("type", "kind", "output")}
        assert (got, public) == (expected.results, expected.public), slot
        assert expected.results.get("type") != "error" or results["error"]
        if results.get("type") == "ok" and process.kind == "counter":
            function = expected.action
            assert self.gas.setdefault((process.kind, function), results["gas"]) == results["gas"] > 0

    def check_damage(self, *, replay: bool) -> None:
        for process in self.processes:
            assert list(self.node.verify(process.pid, replay=replay)) == []
        assert list(self.node.verify_names()) == []

    # -- how it is done

    def pick(self, place: int) -> Process:
        return self.processes[place % len(self.processes)]

    def word_for(self, process: Process, called: int) -> str:
        named = [name for name, pid in self.names.items() if pid == process.pid]
        return (process.pid, process.pid[:16], (named or [process.pid])[0])[called]

    def anchored(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "anchor": str(next(self.anchors))}

    def built(self, fields: dict[str, Any]) -> Any:
        return build_message(**fields)

    def refused(self, what: Any, error: type[Exception], says: str) -> None:
        """`what` raises `error`, and leaves every record as it was."""
        before = self.records()
        with pytest.raises(error, match=says):
            what()
        assert self.records() == before

    def records(self) -> dict[bytes, bytes]:
        with self.node.home.storage.session() as store:
            return dict(store.scan(*keys.EVERYTHING))


@pytest.fixture
def pattern(tmp_path: Path) -> Path:
    home = homes.create(tmp_path / "pattern", seed=bytes(range(32)))
    for image in IMAGES.values():
        module.load(image, home.cache)
    assert keyring.names(home.keys) == ["default"]
    return home.path


def test_a_home_is_what_the_model_says_whatever_is_done_to_it(
    pattern: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Home.pattern = pattern
    run_state_machine_as_test(
        Home,
        settings=settings(
            max_examples=400 if LONG else 12,
            stateful_step_count=60 if LONG else 25,
            derandomize=not LONG,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )
    with capsys.disabled():
        print(
            f"\n{RAN['examples']} homes, {RAN['steps']} steps, {RAN['slots']} slots, {RAN['forks']} forks, {RAN['mended']} times mended: each as the model says"
        )
    assert RAN["examples"] >= (400 if LONG else 12)
    assert RAN["slots"] >= 8 * RAN["examples"]
