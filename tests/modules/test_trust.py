"""Whom real modules trust: what a home delivers, and nobody who only says that a message comes from a process.

The owner of all processes here is the home's own key, unless a test says otherwise. That key signs deliveries, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import hb
from systems import AOS, WITH_LUA, System, assigning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb import Process


@pytest.fixture
def make_system(tmp_path: Path, fetch: Callable[[str], Path]) -> Callable[..., System]:
    """Makes a system that has the compiled forms of the modules named."""
    return lambda *names: System(fetch("modules"), tmp_path / "compiled", *names)


@pytest.fixture
def system(make_system: Callable[..., System]) -> System:
    return make_system(AOS)


def owned_by_nobody_else(process: Process) -> bool:
    """Return whether nobody but its owner has run code in a process of Lua."""
    return bool(process.eval("return tostring(Stolen)") == "nil")


@pytest.mark.parametrize("module", [*WITH_LUA, "process.wasm"])
def test_nobody_can_send_a_message_that_says_it_comes_from_a_process(
    make_system: Callable[..., System], module: str
) -> None:
    system = make_system(module)
    victim = system.spawn("victim", module)
    for key in ("from-process", "From-Process", "pushed-for"):
        for origin in (system.home.address(), victim.id, "", [victim.id]):
            for signer in ("mallory", None):  # without a name, the home's own key signs
                with pytest.raises(hb.Refused, match=f"the key '{key.lower()}'"):
                    victim.send("Eval", data="Stolen = 1", tags={key: origin}, signer=signer)
    assert victim.slots == 1


@pytest.mark.parametrize("module", WITH_LUA)
def test_no_tag_makes_a_stranger_the_owner(make_system: Callable[..., System], module: str) -> None:
    system = make_system(module)
    victim, owner = system.spawn("victim", module), system.home.address()
    for key in ("from", "owner", "From", "from_process", "from--process", " from-process", "from-image", "reply-to"):
        result = victim.send("Eval", data="Stolen = 1", tags={key: owner}, signer="mallory").result()
        assert "New Message From" in str(result.answer), key
    assert owned_by_nobody_else(victim)


@pytest.mark.parametrize("module", WITH_LUA)
def test_another_process_is_trusted_to_speak_and_is_not_the_owner(
    make_system: Callable[..., System], module: str
) -> None:
    """The home's key signs what it delivers, and here is the key of the owner, too: `From` must decide."""
    system = make_system(module)
    victim, stranger = system.spawn("victim", module), system.spawn("stranger", module)
    victim.eval("""
        Handlers.add("seen", Handlers.utils.hasMatchingTag("Action", "Seen"), function(m)
          Saw = tostring(ao.isTrusted(m)) .. " " .. m.From .. " " .. m.Owner
        end)
    """)
    claims = f'From = "{system.home.address()}", Owner = "x", ["From-Process"] = "{victim.id}", ["Pushed-For"] = "x"'
    for action in ("Seen", "Eval"):
        code = f'ao.send({{Target = "{victim.id}", Action = "{action}", Data = "Stolen = 1", {claims}}})'
        assert len(stranger.send("Eval", data=code, push=True).tree) == 2
    assert victim.eval("return Saw") == f"true {stranger.id} {system.home.address()}"
    assert owned_by_nobody_else(victim)


@pytest.mark.parametrize("module", WITH_LUA)
def test_a_process_that_trusts_nobody_gets_nothing_from_processes(
    make_system: Callable[..., System], module: str
) -> None:
    """The older modules trust everybody where they know no authority. So nothing may reach them."""
    system = make_system(module)
    alone = system.spawn("alone", module, authority=[])
    other = system.spawn("other", module)
    sent = other.send("Eval", data=f'ao.send({{Target = "{alone.id}", Action = "Hello"}})', push=True)
    assert [(node.reason, node.process) for node in sent.tree[1:]] == [("untrusted", alone.id)]
    with pytest.raises(hb.Refused, match="must be signed by an authority"):
        alone.send("Eval", data="Stolen = 1", tags={"from-process": other.id}, signer="mallory")
    assert owned_by_nobody_else(alone)


def test_an_authority_of_another_key_may_say_whom_a_message_is_from(system: System) -> None:
    home = system.home
    process = system.spawn("process", AOS, authority=[home.address("courier")])
    process.eval('Handlers.add("seen", "Seen", function(m) Saw = m.From .. tostring(ao.isTrusted(m)) end)')
    process.send("Seen", tags={"from-process": "x" * 43}, signer="courier")
    assert process.eval("return Saw") == "x" * 43 + "true"
    for signer in ("mallory", None):
        with pytest.raises(hb.Refused, match="must be signed by an authority"):
            process.send("Seen", tags={"from-process": "x" * 43}, signer=signer)


@pytest.mark.parametrize(("module", "runs"), [(AOS, False), ("aos.wasm", False), ("sqlite.wasm", True)])
def test_an_owners_message_assigned_elsewhere_runs_only_where_the_module_knows_no_assignments(
    make_system: Callable[..., System], module: str, runs: bool
) -> None:
    """Any process may assign any message. It is the module that looks at the target: sqlite.wasm is too old to do so."""
    system = make_system(module)
    victim, other = system.spawn("victim", module), system.spawn("other", module)
    stranger = system.spawn("stranger", module, signer="mallory")
    meant_for_other = other.send("Eval", data="Stolen = 1")
    sent = stranger.send("Eval", data=assigning(meant_for_other.message, victim), signer="mallory", push=True)
    assert sent.tree[1].place == "assignments/1"
    assert owned_by_nobody_else(victim) != runs


def test_a_definition_assigned_elsewhere_never_runs_as_the_owner(system: System) -> None:
    victim = system.aos("victim")
    other = system.spawn("other", AOS, tags={"action": "Eval", "data": "Stolen = 1"})
    stranger = system.spawn("stranger", AOS, signer="mallory")
    stranger.send("Eval", data=assigning(other.id, victim), signer="mallory", push=True)
    assert owned_by_nobody_else(victim)
