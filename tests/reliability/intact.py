"""Whether a home is whole, found out without `hb verify`: a second opinion, by other code.

It reads every record of the store, and tells what it finds in sentences. It looks at how records hang together; what
they say in themselves is for `hb verify`.
"""

from __future__ import annotations

import json
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from hb import ids
from hb.home import create, open_home
from hb.protocol.assignment import chain
from hb.protocol.commitment import message_id
from hb.protocol.message import loads
from hb.records import keys
from hb.records.packing import unpack
from hb.storage.store import Batch
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Records = dict[bytes, bytes]
DERIVED = (b"s/", b"v/", b"g/")
"""The kinds of records that computing makes."""


def records(home: Path) -> Records:
    """Every record of a home's store."""
    with open_home(home).storage.session() as store:
        return dict(store.scan(*keys.EVERYTHING))


def derived(stored: Records) -> Records:
    """Those that computing made."""
    return {key: value for key, value in stored.items() if key[:2] in DERIVED}


def scheduled(stored: Records) -> Records:
    """Those that computing begins with."""
    return {key: value for key, value in stored.items() if key[:2] not in DERIVED}


def uninterrupted(schedule: Records, directory: Path) -> Records:
    """What computing makes of a schedule that nobody disturbs, in a new home at `directory`, which is removed."""
    home = create(directory)
    try:
        with home.storage.session() as store:
            store.commit(Batch(puts=schedule))
        for process in heads(schedule):
            Node(home).compute(process)
        return derived(records(directory))
    finally:
        rmtree(directory)


def heads(stored: Records) -> dict[str, int]:
    """The newest slot of every process."""
    return {keys.text_of(key): json.loads(value)["slot"] for key, value in stored.items() if key.startswith(b"h/")}


def broken(stored: Records) -> Iterator[str]:
    """What is not as it must be in a store."""
    newest = heads(stored)
    processes = {keys.text_of(key) for key in stored if key.startswith(b"p/")}
    if stored.get(keys.FORMAT_KEY) != keys.FORMAT:
        yield "there is no format record"
    if processes != set(newest):
        yield f"definitions of {sorted(processes)}, schedules of {sorted(newest)}"
    for process in processes & set(newest):
        yield from _broken_schedule(stored, process, newest[process])
        yield from _broken_cache(stored, process, newest[process])
    for key, value in stored.items():
        if key.startswith(b"n/") and value.decode() not in processes:
            yield f"the name {keys.text_of(key)} stands for no process"
        if key.startswith(b"m/") and _assigned(stored, key, value) is None:
            yield f"the index has {key!r}, the schedule has not"


def _assigned(stored: Records, key: bytes, value: bytes) -> bytes | None:
    return stored.get(keys.assignment_key(keys.process_of(key), keys.decode_slot(value)))


def _slots(stored: Records, kind: bytes, process: str) -> list[int]:
    start = kind + process.encode() + b"/"
    return sorted(keys.slot_of(key) for key in stored if key.startswith(start))


def _broken_schedule(stored: Records, process: str, newest: int) -> Iterator[str]:
    found = _slots(stored, b"a/", process)
    if found != list(range(newest + 1)):
        yield f"{process}: the head says {newest}, the assignments are {len(found)}, up to {found[-1:]}"
        return
    image = _json(stored[keys.definition_key(process)])["image"]
    if keys.image_key(image) not in stored:
        yield f"{process}: its image is not there"
    link = b""
    for slot in found:
        assignment = unpack(_json(stored[keys.assignment_key(process, slot)]))
        name = message_id(assignment["body"])  # type: ignore[arg-type]
        link = chain(link, name)
        if (assignment["slot"], assignment["process"], assignment["hash-chain"]) != (slot, process, ids.encode(link)):
            yield f"{process}: slot {slot} does not follow from the one before"
        if stored.get(keys.message_slot_key(name, process)) != keys.encode_slot(slot):
            yield f"{process}: the message of slot {slot} is not in the index"


def _broken_cache(stored: Records, process: str, newest: int) -> Iterator[str]:
    found = _slots(stored, b"s/", process)
    if found != list(range(len(found))) or len(found) > newest + 1:
        yield f"{process}: records of {len(found)} slots up to {found[-1:]}, the head says {newest}"
        return
    previous = ""
    for slot in found:
        raw = stored[keys.slot_record_key(process, slot)]
        record = _json(raw)
        if (record["slot"], record["previous"]) != (slot, previous):
            yield f"{process}: the record of slot {slot} does not follow from the one before"
        image = stored.get(keys.memory_image_key(process, slot))
        if "image" in record and (image is None or ids.digest(image) != record["image"]):
            yield f"{process}: slot {slot} has not the memory image that it names"
        previous = ids.digest(raw)
    for slot in _slots(stored, b"v/", process):
        held = _json(stored[keys.memory_image_key(process, slot)])["held"]
        if slot >= len(found) or any(keys.page_key(digest) not in stored for digest in held.values()):
            yield f"{process}: the memory image of slot {slot} lacks its record, or pages"


def _json(raw: bytes) -> dict[str, Any]:
    value = loads(raw)
    assert isinstance(value, dict)
    return value
