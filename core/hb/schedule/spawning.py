"""A new process put into the store: its definition, its images, its name and its first slot, in one batch.

It must never run a module, nor decide what a definition says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.protocol.commitment import message_id
from hb.protocol.message import Message, dumps
from hb.records import keys, names
from hb.schedule import scheduler
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.schedule.scheduler import Scheduled
    from hb.verify.evidence import OpenStore


def store(
    open_store: OpenStore,
    definition: Message,
    opened: Batch,
    scheduled: Scheduled,
    images: Mapping[str, bytes],
    name: str | None,
) -> Scheduled:
    """Stores the process of `definition`, whose schedule `opened` opens, or gives the one that is here already.

    Raises:
        Refused: `name` cannot be a name, or is another process's.
    """
    process = message_id(definition)
    opened.puts[keys.definition_key(process)] = dumps(definition)
    opened.puts.update({keys.image_key(image): wasm for image, wasm in images.items()})
    with open_store() as here:
        already = scheduler.find_scheduled(here, process, process)
        batch = opened if already is None else Batch(sync=True)
        if name is not None:
            names.give(here, batch, name, process)
        if batch.puts:
            here.commit(batch)
    return already or scheduled
