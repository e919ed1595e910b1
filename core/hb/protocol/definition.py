"""Process definitions: the message that spawns a process, and what it says.

Builds and reads definitions, and refuses those that cannot be run. It must never look at an image, a key or a store:
whether the image exists and suits its devices is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits that can decide an outcome; they are part of the definition.

    `gas`: units of fuel one message may use; `memory_pages`: pages of 64 KiB; `result_bytes`: bytes of the results'
    canonical JSON.
    """

    gas: int
    memory_pages: int
    result_bytes: int
