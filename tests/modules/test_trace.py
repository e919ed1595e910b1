"""`hb trace` on a real aos: what its C functions are called, and that watching it changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.history.trace import trace
from hb.protocol.definition import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from modules.conftest import Shell

AOS = "aos2_0_6.wasm"


def test_an_aos_slot_from_the_inside(make_shell: Callable[..., Shell], fetch) -> None:
    shell = make_shell(AOS)
    process = shell.spawn((fetch("modules") / AOS).read_bytes(), limits=Limits(1_000_000_000, 16_384, 1 << 20))
    assert shell.eval(process, "x = 1 print('seen') return x") is not None
    assert shell.call(process, "Eval", "while true do x = x + 1 end")["kind"] == "out-of-gas"
    with shell.home.storage.session() as store:
        before = dict(store.scan(b"", b"\xff"))
    spawned, evaluated, endless = (trace(shell.node.context, process, slot) for slot in range(3))
    with shell.home.storage.session() as store:
        assert dict(store.scan(b"", b"\xff")) == before
    assert [found.differences for found in (spawned, evaluated, endless)] == [[], [], []]

    handle = next(call for call in evaluated.calls if call.function == "handle")
    assert [call.function for call in evaluated.calls] == ["malloc", "malloc", "handle", "free", "free"]
    assert sum(call.gas for call in evaluated.calls) == evaluated.results["gas"]
    assert "seen" in (handle.answer or "")
    assert "x = 1 print" in handle.texts[0]
    assert handle.host_counts.total() >= len(handle.host_calls) > 0
    assert 1 < len(evaluated.pages) < evaluated.pages_after

    (*_, failed) = endless.calls
    names = [frame.function for frame in failed.backtrace]
    assert {"luaV_execute", "luaD_call", "lua_pcallk"} <= set(names)
    assert None not in names
    assert endless.undone
