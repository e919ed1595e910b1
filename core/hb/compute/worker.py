"""The worker that keeps one process live: one instance serves slot after slot.

It turns assignments into slot records, puts memory and globals back after a message that failed, and says when a
memory image is worth its bytes. It must never read or write a store: what it needs is given, what it makes returned.

Source: HyperBEAM's `dev_process_worker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import outcome, transition
from hb.devices.device import Base, Live, Machine
from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.protocol import hashpath as hashpaths
from hb.protocol.commitment import message_id
from hb.protocol.message import Message, dumps, normal_key
from hb.records.cache import Image, parse, parse_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.wasm.instance import Instance
    from hb.wasm.memory import Mirror

SMALL_PAGES = 16
"""A memory of up to so many 64 KiB pages is compared and imaged at every slot. DO NOT CHANGE: slot records tell."""

IMAGE_GAS = 600_000_000
"""A larger memory is imaged when its messages used so much gas since the last image: some 0.2 s of replay."""

LAST_IMAGE_GAS = 150_000_000
"""The last slot of a compute gets one only if its messages used so much since the last image: some 0.05 s of replay."""

IMAGE_SLOTS = 128
"""A larger memory is imaged after so many slots at the latest."""

_ZERO_PAGE = bytes(65536)


class StoredImage(NamedTuple):
    """A memory image as it is stored: its record, and the contents, by digest, of the pages that are new in it."""

    slot: int
    record: bytes
    pages: Mapping[str, bytes]


class Computed(NamedTuple):
    """What computing one slot gives to be stored: its record, and a memory image where one is worth its bytes."""

    slot: int
    record: bytes
    image: StoredImage | None


class Worker:
    """A process at `slot`, live, and ready for the next assignment. Used from one thread at a time."""

    def __init__(
        self, process: str, base: Base, hashpath: str, previous: str, machine: Machine, image: Image | None = None
    ) -> None:
        """A worker whose instance is exactly what `base` says.

        `previous` is the digest of the record of the base's slot, and `image` the stored image of it, if it has one.
        """
        from hb.wasm.engine import ENGINE
        from hb.wasm.memory import Mirror

        self.process = process
        self._trail = hashpaths.Trail(hashpath)
        self._engine = ENGINE
        self._base = base
        self._machine = machine
        self._previous = previous
        self._result_bytes = definitions.limits(base["process"]).result_bytes
        # The mirror holds memory and globals at `_mirrored`; `_since` leads from there to the base.
        self._mirror: Mirror = Mirror(self._instance, None if image is None else image.held)
        self._mirrored = base
        self._since: list[Message] = []
        self._gas_since = 0
        self._held = {} if image is None else dict(image.held)
        self._dirty = set(range(self._instance.memory_pages)) if image is None else set()
        self._imaged_slot = None if image is None else self.slot

    @property
    def hashpath(self) -> str:
        """The hashpath of that slot."""
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
    def base(self) -> Base:
        """The state at that slot, with its live instance; where others call that, the worker is of no further use."""
        return self._base

    @property
    def _instance(self) -> Instance:
        instance: Instance = self._base["priv"].instance
        return instance

    def step(self, assignment: Message) -> Computed:
        """Computes the next slot.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
            Interrupted: the user wants to stop; the worker is of no further use.
        """
        self._check_next(assignment)
        return self.describe(assignment, changed=self._compute(assignment))

    def step_out_of_gas(self, assignment: Message, results: Message) -> Computed:
        """Take the next slot as its stored record has it: out of gas, with these `results`, and nothing changed.

        Another engine computed it. This one counts gas otherwise, and might come to another state.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
        """
        self._check_next(assignment)
        self._base = {**self._base, "at-slot": assignment["slot"], "results": results}
        return self.describe(assignment, changed=False)

    def follow(self, record: bytes) -> None:
        """Let the next record name `record` as the one before: what is stored of the slot that the process is at."""
        self._previous = ids.digest(record)

    def compute_spawn(self, assignment: Message) -> None:
        """Computes the message of slot 0, where the process is at that slot but has not yet taken it."""
        self._compute(assignment)

    def branch(
        self, process: str, definition: Message, assignment: Message, machine: Machine
    ) -> tuple[Worker, Computed]:
        """A worker at the first slot of a fork that leaves this process here, and what that gives to be stored.

        `definition` is the fork's, and `assignment` that of the slot, whose message it is.

        Raises:
            IntegrityError: its module cannot have this state, or the assignment is not the next one of the fork.
            Refused: its definition cannot be run.
        """
        forked, pages = self.fork(process, definition, machine)
        return forked, forked.enter(assignment, pages)

    def fork(self, process: str, definition: Message, machine: Machine) -> tuple[Worker, Mapping[str, bytes]]:
        """A worker of another process in the state that this one is in, and the pages of it that no image has yet.

        Raises:
            IntegrityError: its module cannot have this state.
            Refused: its definition cannot be run.
        """
        stored = self._make_image()
        image = parse_image(stored.record, process, self.slot)
        base = transition.restore(definition, self.slot, transition.public_state(self._base), {}, machine)
        instance: Instance = base["priv"].instance
        pages = {page: self._instance.page(page) for page in image.held}
        _load(instance, image, pages, process, self.slot)
        _check_public(instance, transition.public_state(self._base), process, self.slot)
        return Worker(process, base, self.hashpath, self._previous, machine, image), stored.pages

    def enter(self, assignment: Message, pages: Mapping[str, bytes]) -> Computed:
        """Takes the message that made this fork: the state stays as it is, and is imaged with `pages`, which are new.

        Raises:
            IntegrityError: the assignment is not the next one of this process.
        """
        self._check_next(assignment)
        self._base = {**self._base, "at-slot": assignment["slot"], "results": {}}
        self._imaged_slot = None
        computed = self.describe(assignment, changed=False)
        assert computed.image is not None
        return computed._replace(image=computed.image._replace(pages={**pages, **computed.image.pages}))

    def image(self) -> StoredImage | None:
        """A memory image of the slot that the process is at, or None where going back to an earlier one is quick."""
        return self._make_image() if self._gas_since >= LAST_IMAGE_GAS else None

    def image_now(self) -> StoredImage:
        """A memory image of the slot that the process is at, wherever an earlier one is."""
        return self._make_image()

    def _compute(self, assignment: Message) -> bool:
        """Takes the message of `assignment`; whether it changed anything."""
        before = self._base
        after = transition.compute_slot(before, assignment, self._machine)
        results = after["results"]
        self._gas_since += results.get("gas", 0)
        if outcome.failed(results):
            self._put_back(after)
            return False
        self._base = after
        self._since.append(assignment)
        return self._take_in(before)

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

    def _take_in(self, before: Base) -> bool:
        """Whether the slot changed anything; a large memory is not compared, and counts as changed."""
        if not self._is_small():
            return True
        mirror = self._mirror
        globals_before, pages_before = mirror.globals, mirror.pages
        pages_changed = self._mirror_here()
        return (
            mirror.globals != globals_before
            or bool(pages_changed)
            or mirror.pages != pages_before
            or not _same(transition.public_state(before), transition.public_state(self._base))
        )

    def _mirror_here(self) -> list[int]:
        """Brings the mirror to the base; returns the pages that differed."""
        changed = self._mirror.accept()
        self._dirty.update(changed)
        self._mirrored = self._base
        self._since = []
        return changed

    def _put_back(self, failed: Base) -> None:
        """Makes memory and globals those of the slot before `failed`: from the mirror, and by what came since."""
        base = {**self._mirrored, "priv": Live(self._mirror.restore())}
        for assignment in self._since:
            base = transition.compute_slot(base, assignment, self._machine)
        self._base = {**failed, "priv": base["priv"]}
        if self._since:
            self._mirror_here()
        else:
            # The mirror is where the memory is now: no need to look at all of it once more.
            self._mirrored = self._base

    def describe(self, assignment: Message, *, changed: bool) -> Computed:
        """What the slot that the process is at gives to be stored; to be asked for once a slot."""
        slot = self.slot
        hashpath = self._trail.step(assignment)
        small = self._is_small()
        image = self._make_image() if small or self._image_is_due() else None
        fields: Message = {
            "assignment": message_id(assignment),
            "changed": changed,
            "engine": self._engine,
            "hashpath": hashpath,
            "previous": self._previous,
            "results": self._base["results"],
            "slot": slot,
            "state": transition.public_state(self._base),
        }
        if image is not None and small:
            fields["image"] = ids.digest(image.record)
        record = dumps(fields)
        self._previous = ids.digest(record)
        return Computed(slot, record, image)

    def _image_is_due(self) -> bool:
        imaged = self._imaged_slot
        return imaged is None or self._gas_since >= IMAGE_GAS or self.slot - imaged >= IMAGE_SLOTS

    def _make_image(self) -> StoredImage:
        if self._mirrored is not self._base:
            self._mirror_here()
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


def begin(process: str, definition: Message, assignment: Message, machine: Machine) -> tuple[Worker, Computed]:
    """A worker at slot 0, made from the definition, and what slot 0 gives to be stored.

    Raises:
        Refused: the definition cannot be run.
    """
    base = transition.initialise(definition, assignment, machine)
    worker = Worker(process, base, hashpaths.base(definition), "", machine)
    if transition.takes_spawn(definition):
        worker.compute_spawn(assignment)
    return worker, worker.describe(assignment, changed=True)


def resume(
    process: str, definition: Message, record: bytes, image: Image, pages: Mapping[int, bytes], machine: Machine
) -> Worker:
    """A worker at the slot of a record, made from the memory image of that slot.

    `record` is the stored record, and `pages` are the contents of `image`.

    Raises:
        IntegrityError: the record is none, or it and the image are not what this module's state can be.
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
    """Makes sure that the public keys of a record are the globals of its memory image."""
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
    """Whether two states are the same bytes; a NaN is the same as itself here."""
    return one == other or dumps(one) == dumps(other)
