"""Tell whether a module runs here, and as what: the answer that a spawn would give, without a spawn.

A module that a spawn would convert is converted first. What only shows when a module starts is not known here.

Invariants:
    Nothing of the module runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hb.devices.device import execution_for
from hb.errors import Refused

if TYPE_CHECKING:
    from hb.wasm.module import ModuleInfo


_UNCAUGHT = (
    "it catches C++ exceptions through JavaScript, and here a message that throws one fails "
    "(built with -fwasm-exceptions, it catches them itself)"
)


class Verdict(NamedTuple):
    """Whether a module runs here.

    `runs_as` is the device that answers its messages; `devices` are all devices that it runs beside, in order. A module
    that does not run has neither. It has a `refusal`, which is a sentence, and may have a `hint`. `converted_by` names
    the tool that the module must be converted with. `but` says what does not work in a module that runs.
    """

    runs_as: str | None
    devices: tuple[str, ...] = ()
    refusal: str | None = None
    hint: str | None = None
    converted_by: str | None = None
    but: str | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.runs_as is None:
            return f"does not run here: {self.refusal}"
        converted = f", converted by {self.converted_by}" if self.converted_by else ""
        return f"runs here, as {self.runs_as}{converted}" + (f"; but {self.but}" if self.but else "")


def examine(wasm: bytes, memory_pages: int) -> tuple[ModuleInfo | None, Verdict]:
    """Return what the module `wasm` declares, if it can be read, and the verdict of `judge`.

    Raises:
        Refused: it is not a module, or cannot be read.
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
    """Return the verdict on the module `wasm`, described by `info`, if a process may have `memory_pages` of memory."""
    from hb.devices.emscripten import catches_by_host
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
    runs_as = "json-iface@1.0" if "json-iface@1.0" in devices else devices[0]
    return Verdict(runs_as, tuple(devices), but=_UNCAUGHT if catches_by_host(info) else None)
