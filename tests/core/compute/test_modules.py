"""Modules that requests share: each is loaded once, however many ask for it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from hb.cancellation import NEVER, Cancellation
from hb.compute.modules import MOST_KEPT, Compiled, ModuleLimits, Modules
from hb.errors import Interrupted
from hb.wasm import module

IMAGE = "i" * 43
LIMITS = ModuleLimits(1000, 60, 2048)


def unused_session():
    raise AssertionError("the module is given")


def test_threads_that_ask_for_a_module_at_once_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load, together = module.load, Barrier(4)

    def counted(*arguments):
        loads.append(arguments[0])
        return load(*arguments)

    monkeypatch.setattr(module, "load", counted)
    machine = Modules(None).machine(unused_session, LIMITS, {IMAGE: module.from_text("(module)")})

    def ask():
        together.wait()
        return machine.load_module(IMAGE)

    with ThreadPoolExecutor(4) as threads:
        found = [each.result() for each in [threads.submit(ask) for _ in range(4)]]
    assert len(loads) == 1
    assert all(each is found[0] for each in found)


def test_who_waits_for_a_module_can_be_cancelled() -> None:
    compiled, cancellation = Compiled(), Cancellation()

    def wait() -> None:
        with compiled.loading(IMAGE, cancellation):
            raise AssertionError("another loads it")

    with ThreadPoolExecutor(1) as threads, compiled.loading(IMAGE, NEVER):
        waiting = threads.submit(wait)
        cancellation.cancel()
        with pytest.raises(Interrupted, match="waiting for a module"):
            waiting.result()
    # Once it is loaded, or could not be, it is somebody's turn again.
    with compiled.loading(IMAGE, NEVER):
        pass


def test_the_module_that_was_used_longest_ago_goes_first() -> None:
    compiled, made = Compiled(), module.load(module.from_text("(module)"))
    for number in range(MOST_KEPT):
        compiled.keep(str(number), made)
    assert compiled.find("0") is made
    compiled.keep("more", made)
    assert compiled.find("1") is None
    assert compiled.find("0") is made
