"""Images: the modules that processes run. The ID of an image is that of the message whose body it is.

Invariants:
    No image is compiled or run here.
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
    """Return the ID of an image."""
    return message_id({"body": image})


def read(store: Store, image: str, gone: type[HbError] = NotFound) -> bytes:
    """Return the bytes of the stored image with the ID `image`. `gone` is the error to raise if there is none.

    Raises:
        NotFound, or `gone`: none is stored.
        IntegrityError: the stored bytes have another ID.
    """
    wasm = store.get(keys.image_key(image))
    if wasm is None:
        raise gone(f"no image {image} is stored here")
    if (got := image_id(wasm)) != image:
        raise IntegrityError("an image is not what its ID is of", expected=image, got=got)
    return wasm


class Taken(NamedTuple):
    """An image from outside. `image` is its ID, `converted` what runs in its place if the engine cannot run it as it
    is, and `stored` the bytes of both, by ID.
    """

    image: str
    converted: Converted | None
    stored: dict[str, bytes]

    @property
    def runs(self) -> str:
        """The ID of the image that runs."""
        return self.converted.image if self.converted else self.image


def take(wasm: bytes) -> Taken:
    """Return the image `wasm`, converted if the engine cannot run it as it is.

    Raises:
        Refused: it must be converted, and no tool for that is installed.
    """
    from hb.binary import convert

    image = image_id(wasm)
    if not convert.needs_translation(wasm):
        return Taken(image, None, {image: wasm})
    translated, tool = convert.translate(wasm)
    name = image_id(translated)
    return Taken(image, Converted(name, tool), {image: wasm, name: translated})
