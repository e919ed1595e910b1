"""Whether a module runs here, and as what: the answer that a spawn would give, without one.

It looks and never runs anything of the module, so that what only shows when it starts is not known here. What a spawn
would have converted is converted, as the spawn would, and is what is looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hb.devices.device import execution_for
from hb.errors import Refused

if TYPE_CHECKING:
    from hb.wasm.module import ModuleInfo


class Verdict(NamedTuple):
    """Whether a module runs here.

    `runs_as` is the device that answers its messages, `devices` all those that it runs beside, in order; a module that
    does not run has none of them, but a `refusal`, a sentence, and perhaps a `hint` what to do about it.
    `converted_by` names the tool that it takes to run it.
    """

    runs_as: str | None
    devices: tuple[str, ...] = ()
    refusal: str | None = None
    hint: str | None = None
    converted_by: str | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.runs_as is None:
            return f"does not run here: {self.refusal}"
        return f"runs here, as {self.runs_as}" + (f", converted by {self.converted_by}" if self.converted_by else "")


def examine(wasm: bytes, memory_pages: int) -> tuple[ModuleInfo | None, Verdict]:
    """What is in the module `wasm`, as far as that can be read, and the verdict on it, as `judge` gives it.

    Raises:
        Refused: it is no module that can be read.
    """
    from hb.binary import convert
    from hb.binary.opcodes import LegacyExceptions
    from hb.wasm import module

    try:
        info = module.inspect(wasm)
    except LegacyExceptions:
        try:
            converted, tool = convert.translate(wasm)
        except Refused as refusal:
            return None, Verdict(None, refusal=refusal.message, hint=refusal.hint)
        info = module.inspect(converted)
        found = judge(converted, info, memory_pages)._replace(converted_by=tool)
        return replace(info, bytes=len(wasm)), found
    return info, judge(wasm, info, memory_pages)


def judge(wasm: bytes, info: ModuleInfo, memory_pages: int) -> Verdict:
    """The verdict on the module `wasm`, which `info` describes, where a process may have `memory_pages` of memory."""
    from hb.devices.wasm64 import imports_of
    from hb.wasm.instance import check_size
    from hb.wasm.module import validate

    devices, _ = execution_for([], info)
    try:
        imports_of(info, devices)
        check_size(info, memory_pages)
        validate(wasm)
    except Refused as refusal:
        return Verdict(None, refusal=refusal.message, hint=refusal.hint)
    return Verdict("json-iface@1.0" if "json-iface@1.0" in devices else devices[0], tuple(devices))
