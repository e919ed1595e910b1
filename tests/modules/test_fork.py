"""aos forked: what it knows goes along, and both go their own ways; and run against itself, it differs in nothing."""

from __future__ import annotations

from hb import keyring
from hb.history import fork as forks
from hb.history.rerun import rerun
from hb.records import keys

AOS = "aos2_0_6.wasm"


def test_an_aos_process_is_forked_and_both_go_on(make_shell, fetch) -> None:
    shell = make_shell(AOS)
    wasm = (fetch("modules") / AOS).read_bytes()
    process = shell.spawn(wasm)
    for line in ("x = 1", "x = x + 1", "x = x + 1; return x"):
        shell.eval(process, line)
    owner = keyring.load(shell.home.keys, "default")
    how = {"signer": owner, "environment": shell.environment, "anchor": "f"}
    plain = forks.fork(shell.node.context, process, 2, **how).process
    # The same code by another ID: a custom section more.
    section = b"\x00\x05\x04more"
    other = forks.fork(shell.node.context, process, 2, module=wasm + section, **how).process
    with shell.home.storage.session() as store:
        before = dict(store.scan(*keys.EVERYTHING))
    assert shell.eval(plain, "x = x * 100; return x") == "200"
    assert shell.eval(other, "x = x * 10; return x") == "20"
    assert shell.eval(process, "return x") == "3"
    with shell.home.storage.session() as store:
        after = dict(store.scan(*keys.EVERYTHING))
    assert {key: after[key] for key in before if not key.startswith(b"h/")} == {
        key: raw for key, raw in before.items() if not key.startswith(b"h/")
    }
    for forked in (plain, other):
        assert list(shell.node.verify(forked, replay=True)) == []
    found = rerun(shell.node.context, other, wasm + section, on_change=lambda change: None)
    assert (found.changes, found.last) == (0, 4)
    assert found.gas_before == found.gas_after > 0
