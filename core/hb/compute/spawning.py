"""Make a process: run its module once, then store its definition, image, name and first slot in one batch.

Invariants:
    Nothing is stored unless the module ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.protocol import definition as definitions
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.message import Message, dumps
from hb.records import images, keys, names
from hb.schedule import scheduler
from hb.storage.store import Batch, retrying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.protocol.definition import Limits
    from hb.schedule.scheduler import Scheduled
    from hb.storage.store import OpenStore, Store


class Wanted(NamedTuple):
    """What a new process is to be: what its definition says beside the image. A part that is None is left out.

    If `authority` is None, it is the scheduler; if it is empty, the definition has none. With `replace`, `name` moves
    here from the process that has it.
    """

    limits: Limits
    devices: Sequence[str] = ()
    initial_state: Message | None = None
    tags: Message | None = None
    anchor: str | None = None
    name: str | None = None
    authority: Sequence[str] | None = None
    replace: bool = False


def spawn(context: Context, image: bytes | str, wanted: Wanted, *, signer: Key, environment: Environment) -> Scheduled:
    """Make a process from an image: its bytes, or the ID of one that is stored.

    The definition is signed by `signer` and is the message in slot 0. A spawn that is repeated with the same anchor is
    the same process, and is not made twice. Its module runs once, at slot 0, before anything is stored.

    Raises:
        Refused: the module, the initial state, a device, a tag, a limit or the name is not acceptable.
        NotFound: no image with that ID is stored.
        Interrupted: the caller was cancelled; nothing was stored.
    """
    from hb.compute import transition
    from hb.devices.device import execution_for

    if isinstance(image, str):
        with context.session() as store:
            image = images.read(store, image)
    taken = images.take(image)
    machine = context.machine(taken.stored)
    module = context.run(lambda inner: machine.under(inner.cancellation).load_module(taken.runs))
    executed_by, passes = execution_for(wanted.devices, module.info)
    scheduler_key = context.scheduler_key()
    definition = sign(
        definitions.build(
            image=taken.image,
            scheduler=scheduler_key.address,
            devices=executed_by,
            passes=passes,
            converted=taken.converted,
            initial_state=wanted.initial_state,
            anchor=ids.encode(environment.random_bytes(16)) if wanted.anchor is None else wanted.anchor,
            tags=wanted.tags or {},
            limits=wanted.limits,
            authority=None if wanted.authority is None else list(wanted.authority),
        ),
        signer,
    )
    definitions.check(definition)
    opened, scheduled, assignment = scheduler.open_schedule(
        message_id(definition), definition, key=scheduler_key, environment=environment
    )
    context.run(lambda inner: transition.initialise(definition, assignment, machine.under(inner.cancellation)))
    made = keep(context.session, definition, opened, scheduled, taken.stored, wanted.name, replace=wanted.replace)
    context.storage.announce()
    return made


def keep(
    session: OpenStore,
    definition: Message,
    opened: Batch,
    scheduled: Scheduled,
    images: Mapping[str, bytes],
    name: str | None,
    *,
    replace: bool = False,
) -> Scheduled:
    """Store the process of `definition`, whose schedule `opened` opens, or return the one that is here already.

    With `replace`, `name` moves here from the process that has it.

    Raises:
        Refused: `name` cannot be a name; or another process has it, and `replace` is not set.
    """
    process = message_id(definition)
    opened.puts[keys.definition_key(process)] = dumps(definition)
    opened.puts.update({keys.image_key(image): wasm for image, wasm in images.items()})

    def store_process(store: Store) -> Scheduled:
        already = scheduler.find_scheduled(store, process, process)
        batch = Batch(sync=True) if already else Batch(puts={**opened.puts}, expects={**opened.expects}, sync=True)
        if name is not None:
            names.give(store, batch, name, process, replace=replace)
        if batch.puts:
            store.commit(batch)
        return already or scheduled

    return retrying(session, store_process)
