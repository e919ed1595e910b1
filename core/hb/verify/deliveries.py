"""Prove delivered messages: each is what the results ask for that it says it comes from.

Checked are the messages, and the definitions of spawned processes, that lie in a schedule and say that they were
delivered. Whether everything that results ask for was delivered is checked in `verify/tracks.py`.

Invariants:
    A check only reads, and never stops at the first finding.
    Signatures are checked with the schedule. Here it only matters who made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.compute import comparison
from hb.errors import HomeUnusable, IntegrityError, NotFound, Refused
from hb.protocol import definition as definitions
from hb.protocol import delivery
from hb.protocol.commitment import committers, without_commitments
from hb.protocol.message import dumps, loads_stored, normalise_message
from hb.records import images, keys, lineage
from hb.records.packing import unpack
from hb.schedule.intake import ORIGIN_KEYS
from hb.verify.evidence import WINDOW_BYTES, WINDOW_SLOTS, Finding, Kind, Unreadable, get
from hb.verify.senders import Flawed, Senders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hb.protocol.delivery import Asked, Place
    from hb.protocol.message import Message, Value
    from hb.records.lineage import Segment
    from hb.storage.store import OpenStore, Store
    from hb.verify.senders import Wanting

MARKS = tuple(b'"%s":' % key.encode() for key in ORIGIN_KEYS)
"""Every stored message that says where it comes from contains one of these. One without them need not be parsed."""

KNOWN_SENDERS = 100_000
"""Maximum senders of which the newest place is remembered, to find messages that lie twice in a schedule; and maximum
places that come later than newer ones."""

_PATHS = {
    delivery.MESSAGE: "outbox",
    delivery.SPAWN: "spawns",
    delivery.SPAWNED: "spawned",
    delivery.ASSIGNMENT: "assignments",
}

Devices = tuple[list[str], "Value | None"]
"""The devices that a module runs as, and how often a message passes through them."""


class Received(NamedTuple):
    """A message that lies in `slot` of `process`, and where it says that it was delivered from."""

    process: str
    slot: int
    body: Message
    place: Place
    is_definition: bool = False


def path_of(wanted: Asked) -> str:
    """Return where the results ask for a delivery, as a path below them: `outbox/1`."""
    return f"{_PATHS[wanted.kind]}/{wanted.place}"


def place_text(place: Place) -> str:
    """Return a place in the results of a slot in words."""
    return f"{_PATHS[place.kind]}/{place.place} of slot {place.slot} of {place.process}"


def check(
    open_store: OpenStore, at: Segment, *, damaged: Collection[int | None] = (), sound: int | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with the messages that were delivered to the slots of a segment.

    A message is compared with the results that it comes from if they are here, or if their proof is. Slots in `damaged`
    have another finding, and are left out. Results of the process itself are believed before the slot `sound`; None
    means all of them.

    Raises:
        IntegrityError, HomeUnusable: the store cannot be opened.
    """
    try:
        with open_store() as store:
            definition = lineage.get_definition(store, at.process)
    except (IntegrityError, NotFound):
        return  # the definition has its own finding
    checker = _Checker(open_store, at, definition, sound)
    for part in _parts(open_store, at):
        received = [(slot, body) for slot, raw in part if slot not in damaged and (body := body_in(raw)) is not None]
        checker.expect([body for _, body in received])
        for slot, body in received:
            yield from checker.message(slot, body)
    yield from checker.repeats()


def marked(open_store: OpenStore, at: Segment) -> Iterator[tuple[int, bytes]]:
    """Yield the slots of a segment, and their stored assignments, whose messages may say that they were delivered."""
    for part in _parts(open_store, at):
        yield from part


def _parts(open_store: OpenStore, at: Segment) -> Iterator[list[tuple[int, bytes]]]:
    slot, last = at.first, at.last
    while slot <= last:
        with open_store() as store:
            found, slot = _marked(store, at.process, slot, last)
        yield found


def _marked(store: Store, process: str, first: int, last: int) -> tuple[list[tuple[int, bytes]], int]:
    """Return the next marked slots, and the slot after those that were looked at; one after `last` at the end."""
    found: list[tuple[int, bytes]] = []
    slot, length = first - 1, 0
    try:
        for count, (key, raw) in enumerate(store.scan(*keys.assignments(process, first, last)), 1):
            slot, length = keys.slot_of(key), length + len(raw)
            if any(mark in raw for mark in MARKS):
                found.append((slot, raw))
            if count == 5 * WINDOW_SLOTS or length >= WINDOW_BYTES:
                return found, slot + 1
    except (IntegrityError, HomeUnusable):
        # A scan ends where the damage begins. Single reads find what lies behind it.
        slots = range(slot + 1, min(last, slot + WINDOW_SLOTS) + 1)
        stored = {slot: get(store, keys.assignment_key(process, slot)) for slot in slots}
        is_end = not any(isinstance(raw, bytes) for raw in stored.values())
        for at, single in stored.items():
            if not isinstance(single, Unreadable) and single is not None and any(mark in single for mark in MARKS):
                found.append((at, single))
        return found, last + 1 if is_end else slots.stop
    return found, last + 1


def body_in(raw: bytes) -> Message | None:
    """Return the message in a stored assignment, or None if it has none: then it has another finding."""
    try:
        assignment = loads_stored(raw)
        body = unpack(assignment).get("body") if isinstance(assignment, dict) else None
    except Refused:
        return None
    return body if isinstance(body, dict) else None


class _Checker:
    """The check of one segment, as it goes on."""

    def __init__(self, open_store: OpenStore, at: Segment, definition: Message, sound: int | None) -> None:
        self._open_store, self._at, self._definition, self._sound = open_store, at, definition, sound
        self._senders = Senders(open_store)
        self._devices: dict[str, Devices | None] = {}
        self._newest: dict[str, tuple[int, bool, int]] = {}
        self._doubted: set[Place] = set()

    def expect(self, bodies: list[Message]) -> None:
        """Hear which messages are next, so that what their senders asked for is read together."""
        self._senders.expect([place for body in bodies if (place := delivery.origin(body)) is not None])

    def message(self, slot: int, body: Message) -> Iterator[Finding]:
        """Yield what is wrong with the message in a slot."""
        is_definition = slot == self._at.first
        if not is_definition:
            yield from untrusted(self._at.process, slot, body, self._definition)
        place = delivery.origin(body)
        if place is None:
            return
        received = Received(self._at.process, slot, body, place, is_definition)
        if body.get("target") == self._at.process:
            self._remember(place)
        yield from self._compare(received)

    def _compare(self, received: Received) -> Iterator[Finding]:
        process, slot, place = received.process, received.slot, received.place
        if place.process == process and place.slot >= slot:
            wanted = "one that an earlier slot asks for"
            yield Finding(process, slot, Kind.DELIVERY, None, wanted, f"one that names {place_text(place)}")
            return
        if place.process == process and self._sound is not None and place.slot >= self._sound:
            return
        found = self._senders.find(place)
        if isinstance(found, Flawed):
            yield from proof_findings(process, slot, found)
        elif found is not None:
            yield from unlike(received, found, self._devices_of)
            if place.kind == delivery.SPAWNED:
                yield from self._child(received)

    def _child(self, received: Received) -> Iterator[Finding]:
        """Compare the process that a message says was spawned, if it is here, with what it says of itself."""
        child, place = received.body.get("process"), received.place
        if not isinstance(child, str):
            return
        with self._open_store() as store:
            try:
                definition = lineage.get_definition(store, child)
            except (IntegrityError, NotFound):
                return
        if delivery.origin(definition) != place._replace(kind=delivery.SPAWN):
            wanted = f"the process that was spawned for {place_text(place._replace(kind=delivery.SPAWN))}"
            yield Finding(received.process, received.slot, Kind.DELIVERY, "process", wanted, child)

    def _devices_of(self, image: str) -> Devices | None:
        if image not in self._devices:
            try:
                with self._open_store() as store:
                    wasm = images.read(store, image, IntegrityError)
            except (IntegrityError, HomeUnusable):
                return None
            self._devices[image] = devices_of(wasm)
        return self._devices[image]

    def _remember(self, place: Place) -> None:
        """Remember the newest place of each sender. A place that is not newer may have come before."""
        at = place.slot, place.kind != delivery.MESSAGE, place.place
        newest = self._newest.get(place.process)
        if newest is not None and at <= newest:
            if len(self._doubted) < KNOWN_SENDERS:
                self._doubted.add(place)
        elif newest is not None or len(self._newest) < KNOWN_SENDERS:
            self._newest[place.process] = at

    def repeats(self) -> Iterator[Finding]:
        """Yield a finding for each message that comes from a place that another message before it comes from."""
        if not self._doubted:
            return
        first: dict[Place, int] = {}
        for slot, raw in marked(self._open_store, self._at):
            body = body_in(raw)
            place = None if body is None else delivery.origin(body)
            if body is None or place is None or place not in self._doubted or body.get("target") != self._at.process:
                continue
            if place in first:
                got = f"another in slot {first[place]}"
                yield Finding(
                    self._at.process, slot, Kind.DELIVERY, None, f"the only message from {place_text(place)}", got
                )
            first.setdefault(place, slot)


def proof_findings(process: str, slot: int, flawed: Flawed) -> list[Finding]:
    """Return what is wrong with a proof as findings about the message in `slot` of `process`."""
    return [Finding(process, slot, Kind.PROOF, each.what, each.expected, each.got) for each in flawed.findings]


def untrusted(process: str, slot: int, body: Message, definition: Message) -> Iterator[Finding]:
    """Yield a finding if a message says where it comes from, and nobody signed it whom the process trusts."""
    if body.keys().isdisjoint(ORIGIN_KEYS):
        return
    authorities, signers = definitions.authorities(definition), committers(body)
    if authorities.isdisjoint(signers):
        trusted = ", ".join(sorted(authorities))[:300]
        wanted = f"an authority of the process: {trusted}" if trusted else "none, for the process has no authority"
        yield Finding(process, slot, Kind.DELIVERY, "signer", wanted, ", ".join(signers)[:300] or "nobody")


def unlike(received: Received, wanting: Wanting, find_devices: Callable[[str], Devices | None]) -> Iterator[Finding]:
    """Yield how a message differs from what the results ask for that it says it comes from.

    `find_devices` returns the devices that the image with an ID runs as, or None if that is not known.
    """
    process, slot, body, place, is_definition = received
    kind = delivery.SPAWN if place.kind in (delivery.SPAWN, delivery.SPAWNED) else place.kind
    wanted = wanting.asked.get((kind, place.place)) if is_definition == (place.kind == delivery.SPAWN) else None
    if wanted is None:
        what = "a spawned process" if is_definition else "a message"
        expected = f"{what} that the results ask for at {place_text(place)}"
        yield Finding(process, slot, Kind.DELIVERY, None, expected, "one that they do not ask for")
        return
    try:
        expected_body = normalise_message(_derived(received, wanting, wanted, find_devices))
    except Refused as error:
        said = f"what the results ask for at {place_text(place)}, which no message can be ({error.message})"
        yield Finding(process, slot, Kind.DELIVERY, None, said[:300], "a message")
        return
    got = without_commitments(body)
    for key in sorted(expected_body.keys() | got.keys()):
        if not _is_same(expected_body.get(key), got.get(key)):
            shown = [comparison.shown(each.get(key)) for each in (expected_body, got)]
            yield Finding(process, slot, Kind.DELIVERY, key, *shown)
    if is_definition and wanting.definition["scheduler"] not in committers(body):
        signers = ", ".join(committers(body))[:300]
        yield Finding(process, slot, Kind.DELIVERY, "signer", str(wanting.definition["scheduler"]), signers)


def _derived(
    received: Received, wanting: Wanting, wanted: Asked, find_devices: Callable[[str], Devices | None]
) -> Message:
    """Return the message, or the definition, that is sent for what the results ask for."""
    source, slot = wanting.source, received.place.slot
    said = received.body.get(delivery.ROOT_KEY)
    # If nothing here says what the message of that slot is part of, what the delivered message says is believed.
    root = wanting.root or (said if isinstance(said, str) and ids.is_id(said) else "the ID of a message")
    if received.place.kind == delivery.MESSAGE:
        return delivery.message(source, slot, wanted, root)
    if received.place.kind == delivery.SPAWNED:
        child = received.body.get("process")
        is_process = isinstance(child, str) and ids.is_id(child)
        return delivery.spawned_message(source, slot, wanted, root, str(child) if is_process else "the new process")
    body = received.body
    # An image that the program names by a name may be any: names are a home's.
    image = wanted.target if ids.is_id(wanted.target) else str(body.get("image"))
    return delivery.child(
        source,
        slot,
        wanted,
        root,
        wanting.definition,
        image,
        lambda: find_devices(image) or (definitions.execution_devices(body), body.get("passes")),
    )


def devices_of(wasm: bytes) -> Devices | None:
    """Return the devices that a module runs as unless its process says otherwise; None if it cannot be read."""
    from hb.binary import info
    from hb.binary.parse import parse
    from hb.devices.device import execution_for

    try:
        return execution_for([], info.describe(len(wasm), parse(wasm, code=False)))
    except Refused:
        return None


def _is_same(expected: Value | None, got: Value | None) -> bool:
    """Return whether two values are one in canonical JSON: 1, 1.0 and true are three."""
    if expected is None or got is None:
        return expected is got
    return dumps({"": expected}) == dumps({"": got})
