"""Whether a module runs here, and as what: the answer that a spawn would give, without one.

It looks and never runs anything of the module, so that what only shows when it starts is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hb.devices.device import execution_for
from hb.errors import Refused

if TYPE_CHECKING:
    from hb.wasm.module import ModuleInfo


class Verdict(NamedTuple):
    """Whether a module runs here.

    `runs_as` is the device that answers its messages, `devices` all those that it runs beside, in order; a module that
    does not run has none of them, but a `refusal`, a sentence, and perhaps a `hint` what to do about it.
    """

    runs_as: str | None
    devices: tuple[str, ...] = ()
    refusal: str | None = None
    hint: str | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return f"does not run here: {self.refusal}" if self.runs_as is None else f"runs here, as {self.runs_as}"


def judge(wasm: bytes, info: ModuleInfo, memory_pages: int) -> Verdict:
    """The verdict on the module `wasm`, which `info` describes, where a process may have `memory_pages` of memory."""
    from hb.devices.wasm64 import imports_of
    from hb.wasm.instance import check_size
    from hb.wasm.module import validate

    devices, _ = execution_for([], info.abi)
    try:
        imports_of(info, devices)
        check_size(info, memory_pages)
        validate(wasm)
    except Refused as refusal:
        return Verdict(None, refusal=refusal.message, hint=refusal.hint)
    return Verdict("json-iface@1.0" if "json-iface@1.0" in devices else devices[0], tuple(devices))
