"""Images: the modules that processes run, by the ID of the message whose body they are.

It must never compile or run one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HbError, IntegrityError, NotFound
from hb.protocol.commitment import message_id
from hb.protocol.definition import Converted
from hb.records import keys

if TYPE_CHECKING:
    from hb.storage.store import Store


def image_id(image: bytes) -> str:
    """The ID of an image."""
    return message_id({"body": image})


def read(store: Store, image: str, gone: type[HbError] = NotFound) -> bytes:
    """The bytes of the stored image with the ID `image`.

    Raises:
        NotFound, or `gone`: none is stored.
        IntegrityError: what is stored is not what its ID is of.
    """
    wasm = store.get(keys.image_key(image))
    if wasm is None:
        raise gone(f"no image {image} is stored here")
    if (got := image_id(wasm)) != image:
        raise IntegrityError("an image is not what its ID is of", expected=image, got=got)
    return wasm


class Taken(NamedTuple):
    """An image that somebody gave: its ID, what runs in its place if it had to be converted, and the bytes of both."""

    image: str
    converted: Converted | None
    stored: dict[str, bytes]

    @property
    def runs(self) -> str:
        """The ID of what runs."""
        return self.converted.image if self.converted else self.image


def take(wasm: bytes) -> Taken:
    """The image `wasm`, converted if the engine does not run it as it is.

    Raises:
        Refused: it has to be converted, and there is nothing that does.
    """
    from hb.binary import convert

    image = image_id(wasm)
    if not convert.needs_translation(wasm):
        return Taken(image, None, {image: wasm})
    translated, tool = convert.translate(wasm)
    name = image_id(translated)
    return Taken(image, Converted(name, tool), {image: wasm, name: translated})
