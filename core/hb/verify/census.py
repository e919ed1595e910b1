"""What processes and names there are in a store, damaged or not.

It only reads. What a process is made of is for `verify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb import ids
from hb.errors import IntegrityError, Refused
from hb.records import keys, names
from hb.verify.evidence import NAME, STORE, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import OpenStore, Store


def check_names(open_store: OpenStore) -> Iterator[Finding]:
    """Names that stand for no process."""
    try:
        with open_store() as store:
            found = [(key, raw, _is_process(store, raw)) for key, raw in store.scan(*keys.names())]
    except IntegrityError as error:
        yield Finding(None, None, STORE, "a store that can be read", error.message)
        return
    for key, raw, is_process in found:
        name, process = name_of(key), text_of(raw)
        if not is_process:
            yield Finding(None, None, f"{NAME} {name!r}", "the ID of a process that is here", process[:80])
        try:
            names.check(name)
        except Refused as error:
            yield Finding(None, None, f"{NAME} {name!r}", "what can be a name", error.message)


def processes(store: Store) -> list[str]:
    """The IDs of all processes of which there is a definition, a head or a schedule."""
    found = {text_of(key[2:]) for span in (keys.definitions(), keys.heads()) for key, _ in store.scan(*span)}
    after = None
    while (first := next(store.scan(*keys.schedules(after)), None)) is not None:
        after = first[0][2:].split(b"/")[0]
        found.add(text_of(after))
    return sorted(found)


def name_of(key: bytes) -> str:
    """The name at the end of its key, whatever the bytes are."""
    return text_of(key[2:])


def text_of(raw: bytes) -> str:
    """Stored bytes that should be text, as text, whatever they are."""
    return raw.decode("utf-8", "backslashreplace")


def is_name_sound(store: Store, key: bytes, raw: bytes) -> bool:
    """Return whether the name under `key` can be a name, and stands for a process that is here."""
    try:
        names.check(name_of(key))
    except Refused:
        return False
    return _is_process(store, raw)


def _is_process(store: Store, raw: bytes) -> bool:
    name = raw.decode("ascii", "replace")
    return ids.is_id(name) and store.get(keys.head_key(name)) is not None
