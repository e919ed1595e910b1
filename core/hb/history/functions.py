"""The functions that messages to a process can call, read from its module. Nothing is compiled.

Invariants:
    Only a program of exported functions has any. One of the AO ABI decides itself what it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import IntegrityError
from hb.protocol import definition as definitions
from hb.records import images, lineage, names

if TYPE_CHECKING:
    from hb.storage.store import OpenStore


def exported(session: OpenStore, process: str) -> dict[str, int] | None:
    """Return the functions that the module of a process exports, each with its number of parameters.

    Return None for a program of the AO ABI.

    Raises:
        NotFound, Refused: no process is called so, or several are.
        IntegrityError: what is stored of the process is damaged.
    """
    from hb.binary import info
    from hb.binary.parse import parse

    with session() as store:
        definition = lineage.get_definition(store, names.resolve(store, process))
        devices = definitions.execution_devices(definition)
        if "wasm64@1.0" not in devices or "json-iface@1.0" in devices:
            return None
        image = images.read(store, definitions.runs(definition), IntegrityError)
    found = info.describe(len(image), parse(image, code=False))
    return {name: len(type_.params) for name, type_ in found.functions.items()}
