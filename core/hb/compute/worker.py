"""The worker that keeps one process live: one instance serves slot after slot.

It turns assignments into slot records, undoes what a failed message did, and decides when a memory image is worth its
bytes.

Invariants:
    No store is read or written. What a worker needs is given, and what it makes is returned.
    What a record says never depends on how long its worker has lived.

Source: HyperBEAM's `dev_process_worker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.cancellation import NEVER
from hb.compute import transition
from hb.compute.computed import Computed, StoredImage
from hb.devices.device import Base, Live, Machine
from hb.errors import IntegrityError
from hb.protocol import hashpath as hashpaths
from hb.protocol import outcome
from hb.protocol.commitment import message_id
from hb.protocol.message import Message, dumps, normal_key
from hb.records.cache import PAGE_BYTES, Image, parse, parse_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.cancellation import Cancellation
    from hb.wasm.instance import Instance
    from hb.wasm.memory import Mirror
    from hb.wasm.module import Module

SMALL_PAGES = 16
"""Maximum pages of 64 KiB of a memory that is compared and imaged at every slot. DO NOT CHANGE: slot records tell."""

IMAGE_GAS = 600_000_000
"""A larger memory is imaged after this much gas since the last image: about 0.2 s of replay."""

LAST_IMAGE_GAS = 150_000_000
"""The last slot of a compute is imaged after this much gas since the last image: about 0.05 s of replay."""

IMAGE_SLOTS = 128
"""A larger memory is imaged after this many slots, whatever they used."""

_ZERO_PAGE = bytes(PAGE_BYTES)


def _no_module(image: str, cancellation: Cancellation) -> Module:
    raise AssertionError("a worker that rests runs nothing")


_NO_MACHINE = Machine(_no_module)


class Worker:
    """A live process at one of its slots, ready for the next assignment. One thread at a time may use it."""

    def __init__(
        self, process: str, base: Base, hashpath: str, previous: str, machine: Machine, image: Image | None = None
    ) -> None:
        """Make a worker of `base`, whose instance has exactly the state that it says.

        `previous` is the digest of the record of the base's slot. `image` is the stored image of that slot, if any.
        """
        from hb.wasm.engine import ENGINE
        from hb.wasm.memory import Mirror

        self.process = process
        self._trail = hashpaths.Trail(hashpath)
        self._engine = ENGINE
        self._base = base
        self._public = transition.public_state(base)
        self._machine = machine
        self._previous = previous
        # The mirror has memory and globals as they were at `_mirrored`. The assignments `_since` lead to the base.
        self._mirror: Mirror = Mirror(self._instance, None if image is None else image.held)
        self._mirrored = base
        self._since: list[Message] = []
        self._is_displaced = False
        self._gas_since = 0
        self._held = {} if image is None else dict(image.held)
        self._dirty = set(range(self._instance.memory_pages)) if image is None else set()
        self._imaged_slot = None if image is None else self.slot
        self._seen_bytes = 0

    @property
    def hashpath(self) -> str:
        """The hashpath of the slot that the process is at."""
        return self._trail.text

    @property
    def engine(self) -> str:
        """The name and major version of the engine that runs here."""
        return self._engine

    @property
    def slot(self) -> int:
        """The slot that the process is at."""
        slot: int = self._base["at-slot"]
        return slot

    @property
    def record_digest(self) -> str:
        """The digest of the record of that slot."""
        return self._previous

    @property
    def reserved_bytes(self) -> int:
        """The size of the program's memory, and of the copy of it."""
        return (self._instance.memory_pages + self._mirror.pages) * PAGE_BYTES

    def memory_bytes(self, *, look: bool = False) -> int:
        """Return what the program's memory takes of this machine's, and the copy of it.

        Of a large memory, only pages that were written to do. They are those of the last image, and
        those that were found by a `look`.
        """
        if self._is_small():
            return self.reserved_bytes
        written = self._mirror.written_bytes
        if look:
            self._seen_bytes = self._mirror.live_bytes()
        return written + max(written, self._seen_bytes)

    @property
    def base(self) -> Base:
        """The state at that slot, with its live instance. Whoever calls the instance makes the worker useless."""
        return self._base

    def run_on(self, machine: Machine) -> None:
        """Go on with `machine`, whose cancellation ends the calls from now on. Its modules must be the same.

        Raises:
            Interrupted: it was cancelled; the worker is of no further use.
        """
        self._machine = machine
        self._instance.cancellation = machine.cancellation
        if self._is_displaced:
            self._undo_to(self._base)
            self._is_displaced = False

    def rest(self) -> None:
        """Let go of the request that used this worker: its machine and its cancellation. `run_on` goes on."""
        self._machine = _NO_MACHINE
        self._instance.cancellation = NEVER

    def copy_state(self) -> None:
        """Copy the state, so that going back to it is quick after a message that was only tried."""
        if self._since:
            self._update_mirror()

    def try_next(self, assignment: Message) -> tuple[Message, Message]:
        """Return the results of `assignment` and the public keys after it, but do not take it.

        The worker stays at its slot. `run_on` puts the memory back: call it before anything else.

        Raises:
            Interrupted: it was cancelled; the worker is of no further use.
        """
        self._is_displaced = True
        after = transition.compute_slot(self._base, assignment, self._machine)
        return after["results"], transition.public_state(after)

    @property
    def _instance(self) -> Instance:
        instance: Instance = self._base["priv"].instance
        return instance

    def compute_next(self, assignment: Message) -> Computed:
        """Compute the next slot.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
            Interrupted: it was cancelled; the worker is of no further use.
        """
        self._check_next(assignment)
        return self.record_slot(assignment, changed=self._compute(assignment))

    def take_out_of_gas(self, assignment: Message, results: Message) -> Computed:
        """Take the next slot as its stored record has it: out of gas, with these `results`, and nothing changed.

        Another engine computed it. This one counts gas otherwise, and might come to another state.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
        """
        self._check_next(assignment)
        self._base = {**self._base, "at-slot": assignment["slot"], "results": results}
        return self.record_slot(assignment, changed=False)

    def follow(self, record: bytes) -> None:
        """Let the next record name `record` as the one before: what is stored of the slot that the process is at."""
        self._previous = ids.digest(record)

    def compute_spawn(self, assignment: Message) -> None:
        """Compute the message of slot 0 on a worker that is at slot 0 and has not taken it yet."""
        self._compute(assignment)

    def record_slot(self, assignment: Message, *, changed: bool) -> Computed:
        """Return what is to be stored of the slot that the process is at. Call it once for each slot."""
        slot = self.slot
        hashpath = self._trail.step(assignment)
        small = self._is_small()
        image = self.make_image() if small or self._image_is_due() else None
        fields: Message = {
            "assignment": message_id(assignment),
            "changed": changed,
            "engine": self._engine,
            "hashpath": hashpath,
            "previous": self._previous,
            "results": self._base["results"],
            "slot": slot,
            "state": self._public,
        }
        if image is not None and small:
            fields["image"] = ids.digest(image.record)
        record = dumps(fields)
        self._previous = ids.digest(record)
        return Computed(slot, record, image)

    def start_fork(
        self, process: str, definition: Message, assignment: Message, machine: Machine
    ) -> tuple[Worker, Computed]:
        """Return a worker at the first slot of a fork that goes on from here, and what is to be stored of that slot.

        `definition` is the fork's. `assignment` is that of the fork's first slot, whose message is the definition: the
        state stays as it is.

        Raises:
            IntegrityError: the fork's module cannot have this state, or the assignment is not the fork's next one.
            Refused: the definition cannot be run.
        """
        forked, pages = self.copy_to(process, definition, machine)
        return forked, forked.take_fork(assignment, pages)

    def take_fork(self, assignment: Message, pages: Mapping[str, bytes]) -> Computed:
        """Take the message that made this fork: the state stays, and is imaged. `pages` are in no image yet.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
        """
        self._check_next(assignment)
        self._base = {**self._base, "at-slot": assignment["slot"], "results": {}}
        self._imaged_slot = None
        computed = self.record_slot(assignment, changed=False)
        assert computed.image is not None
        return computed._replace(image=computed.image._replace(pages={**pages, **computed.image.pages}))

    def copy_to(self, process: str, definition: Message, machine: Machine) -> tuple[Worker, Mapping[str, bytes]]:
        """Return a worker of another process in the state of this one, and its pages that are in no image yet.

        Raises:
            IntegrityError: the other's module cannot have this state.
            Refused: the definition cannot be run.
        """
        stored = self.make_image()
        image = parse_image(stored.record, process, self.slot)
        base = transition.restore(definition, self.slot, self._public, {}, machine)
        instance: Instance = base["priv"].instance
        pages = {page: self._instance.page(page) for page in image.held}
        _load(instance, image, pages, process, self.slot)
        _check_public(instance, self._public, process, self.slot)
        return Worker(process, base, self.hashpath, self._previous, machine, image), stored.pages

    def make_image(self) -> StoredImage:
        """Return a memory image of the slot that the process is at."""
        if self._mirrored is not self._base:
            self._update_mirror()
        pages: dict[str, bytes] = {}
        for number in sorted(self._dirty):
            content = self._instance.page(number)
            if content == _ZERO_PAGE:
                self._held.pop(number, None)
            else:
                digest = self._held[number] = ids.digest(content)
                pages[digest] = content
        self._dirty.clear()
        self._gas_since = 0
        self._imaged_slot = self.slot
        image = Image(self._mirror.globals, self._mirror.pages, self._held)
        return StoredImage(self.slot, image.encode(), pages)

    def find_worthwhile_image(self) -> StoredImage | None:
        """Return a memory image of that slot, or None if computing on from the last image is quick."""
        return self.make_image() if self._gas_since >= LAST_IMAGE_GAS else None

    def _compute(self, assignment: Message) -> bool:
        """Take the message of `assignment`; return whether it changed anything."""
        after = transition.compute_slot(self._base, assignment, self._machine)
        results = after["results"]
        self._gas_since += results.get("gas", 0)
        if outcome.failed(results):
            self._undo_to(after)
            return False
        public_before, self._public = self._public, transition.public_state(after)
        self._base = after
        self._since.append(assignment)
        # A large memory is not compared, and counts as changed.
        return not self._is_small() or self._memory_changed() or not _same(public_before, self._public)

    def _check_next(self, assignment: Message) -> None:
        process, slot = self.process, self.slot + 1
        if assignment.get("process") != process or assignment.get("slot") != slot:
            got = (assignment.get("process"), assignment.get("slot"))
            raise IntegrityError(
                "the schedule's next assignment is another",
                process=process,
                slot=slot,
                expected=(process, slot),
                got=got,
            )

    def _is_small(self) -> bool:
        return self._instance.memory_pages <= SMALL_PAGES

    def _memory_changed(self) -> bool:
        """Return whether memory or globals differ from the mirror, and bring the mirror to the base."""
        mirror = self._mirror
        globals_before, pages_before = mirror.globals, mirror.pages
        pages_changed = self._update_mirror()
        return mirror.globals != globals_before or bool(pages_changed) or mirror.pages != pages_before

    def _update_mirror(self) -> list[int]:
        """Bring the mirror to the base; return the pages that differed."""
        changed = self._mirror.accept()
        self._dirty.update(changed)
        self._mirrored = self._base
        self._since = []
        return changed

    def _undo_to(self, base: Base) -> None:
        """Make `base` the state, with memory and globals of the last slot that did not fail.

        They come from the mirror, and from computing again what came since.
        """
        restored = {**self._mirrored, "priv": Live(self._mirror.restore())}
        for assignment in self._since:
            restored = transition.compute_slot(restored, assignment, self._machine)
        self._base = {**base, "priv": restored["priv"]}
        if self._since:
            self._update_mirror()
        else:
            self._mirrored = self._base  # the mirror is where the memory is now

    def _image_is_due(self) -> bool:
        imaged = self._imaged_slot
        return imaged is None or self._gas_since >= IMAGE_GAS or self.slot - imaged >= IMAGE_SLOTS


def begin(process: str, definition: Message, assignment: Message, machine: Machine) -> tuple[Worker, Computed]:
    """Return a worker at slot 0, made from the definition, and what is to be stored of slot 0.

    Raises:
        Refused: the definition cannot be run.
    """
    base = transition.initialise(definition, assignment, machine)
    worker = Worker(process, base, hashpaths.base(definition), "", machine)
    if transition.takes_spawn(definition):
        worker.compute_spawn(assignment)
    return worker, worker.record_slot(assignment, changed=True)


def resume(
    process: str, definition: Message, record: bytes, image: Image, pages: Mapping[int, bytes], machine: Machine
) -> Worker:
    """Return a worker at the slot of a record, made from the memory image of that slot.

    `record` is the stored record. `pages` has the contents of `image`, by page number.

    Raises:
        IntegrityError: it is not a slot record, or this module cannot have the state that it and the image say.
    """
    fields = parse(record, "slot record", process, None)
    slot, public, results = fields.get("slot"), fields.get("state"), fields.get("results")
    if not (isinstance(slot, int) and isinstance(public, dict) and isinstance(results, dict)):
        raise IntegrityError("the slot record lacks what a record has", process=process)
    base = transition.restore(definition, slot, public, results, machine)
    _load(base["priv"].instance, image, pages, process, slot)
    _check_public(base["priv"].instance, public, process, slot)
    return Worker(process, base, str(fields["hashpath"]), ids.digest(record), machine, image)


def _load(instance: Instance, image: Image, pages: Mapping[int, bytes], process: str, slot: int) -> None:
    try:
        instance.load(image.globals, image.pages, pages)
    except ValueError as error:
        raise IntegrityError(
            f"the memory image does not fit the module: {error}", process=process, slot=slot
        ) from error


def _check_public(instance: Instance, public: Message, process: str, slot: int) -> None:
    """Check that the public keys of a record are the globals of its memory image."""
    for name, value in instance.read_globals().items():
        key = normal_key(name)
        if not _same({key: value}, {key: public.get(key)}):
            raise IntegrityError(
                f"the slot record's {key} is not that of its memory image",
                process=process,
                slot=slot,
                expected=value,
                got=public.get(key),
            )


def _same(one: Message, other: Message) -> bool:
    """Return whether two states are the same bytes. A NaN is equal to itself here."""
    return one == other or dumps(one) == dumps(other)
