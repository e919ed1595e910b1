"""What a home takes in: who may say where a message comes from, and what is done while the store is held."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from hb.errors import Refused
from hb.history import calling
from hb.protocol.commitment import Key, sign
from hb.protocol.request import build_message
from hb.schedule import intake, sending
from hb.storage.directory import DirectoryStorage
from hb.storage.storage import FOREVER, Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.protocol.message import Value

ALICE, BOB, TRUSTED = Key(b"a" * 32), Key(b"b" * 32), Key(b"t" * 32)


def ask(shell: Any, process: str, key: Key, **tags: Value) -> Any:
    """What a process would answer to a message that is not sent."""
    message = build_message("Increment", tags={name.replace("_", "-"): value for name, value in tags.items()})
    return calling.call(
        shell.node.context, process, "now", message, environment=shell.environment, limit_bytes=10_000, signer=key
    )


def send(shell: Any, process: str, key: Key, **tags: Value) -> int:
    named = {name.replace("_", "-"): value for name, value in tags.items()}
    message = build_message("Increment", tags=named)
    (scheduled,) = shell.node.send(process, [message], signer=key, environment=shell.environment)
    slot: int = scheduled.slot
    return slot


@pytest.mark.parametrize("key", ["from_process", "pushed_for", "From_Process"])
def test_nobody_says_which_process_a_message_is_from_where_no_authority_is_named(shell: Any, key: str) -> None:
    process = shell.spawn("counter.wasm", authority=[])
    before = shell.records()
    for signer in (BOB, shell.key):
        with pytest.raises(
            Refused, match="message 1: a message with the key '(from-process|pushed-for)' must be"
        ) as no:
            send(shell, process, signer, **{key: ALICE.address})
        assert no.value.hint == "this process trusts nobody: it names no `authority`"
        with pytest.raises(Refused, match="must be signed by an authority of the process"):
            ask(shell, process, signer, **{key: ALICE.address})
    signed = sign({"target": process, "action": "Increment", "From-Process": ALICE.address}, BOB)
    with pytest.raises(Refused, match=f"got one signed by {BOB.address}"):
        shell.send_all(process, [build_message("Increment"), signed])
    assert shell.records() == before


@pytest.mark.parametrize("key", ["from_process", "pushed_for", "From_Process"])
def test_what_the_scheduler_says_is_from_a_process_is_a_delivery_and_none_is_taken_in(shell: Any, key: str) -> None:
    process = shell.spawn("counter.wasm")
    assert shell.node.definition(process)["authority"] == shell.key.address
    before = shell.records()
    said = {key: "P" * 43}
    with pytest.raises(
        Refused, match="message 1: a message with the key '(from-process|pushed-for)' that this home's own key"
    ) as no:
        send(shell, process, shell.key, **said)
    assert no.value.hint == "`hb push` delivers what a program sends"
    with pytest.raises(Refused, match="is a delivery, and only a push makes one"):
        ask(shell, process, shell.key, **said)
    message = {"target": process, "action": "Increment", key.replace("_", "-"): "P" * 43}
    for signed in (sign(message, shell.key), sign(sign(message, BOB), shell.key)):
        with pytest.raises(Refused, match="message 2: .* is a delivery, and only a push makes one"):
            shell.send_all(process, [build_message("Increment"), signed])
    with pytest.raises(Refused, match=f"must be signed by an authority .*, got one signed by {BOB.address}") as no:
        send(shell, process, BOB, **said)
    assert no.value.hint == f"the authorities are {shell.key.address}"
    assert shell.records() == before


def test_another_authority_beside_the_scheduler_may_say_it_and_the_scheduler_may_not(shell: Any) -> None:
    process = shell.spawn("counter.wasm", tags={"authority": f"{shell.key.address}, {TRUSTED.address}"})
    before = shell.records()
    with pytest.raises(Refused, match="is a delivery, and only a push makes one"):
        send(shell, process, shell.key, from_process="P" * 43)
    assert shell.records() == before
    assert send(shell, process, TRUSTED, from_process="P" * 43) == 1
    message = {"target": process, "action": "Increment", "from-process": "P" * 43}
    assert shell.send_all(process, [sign(sign(message, shell.key), TRUSTED)])[0].slot == 2


def test_the_scheduler_is_as_anybody_where_another_authority_is_named(shell: Any) -> None:
    process = shell.spawn("counter.wasm", tags={"authority": TRUSTED.address})
    before = shell.records()
    with pytest.raises(Refused, match=f"got one signed by {shell.key.address}") as no:
        send(shell, process, shell.key, from_process="P" * 43)
    assert no.value.hint == f"the authorities are {TRUSTED.address}"
    assert shell.records() == before


def test_a_message_that_says_no_origin_needs_no_authority(shell: Any) -> None:
    process = shell.spawn("counter.wasm")
    assert [send(shell, process, signer) for signer in (shell.key, BOB)] == [1, 2]


@pytest.mark.parametrize("authority", [TRUSTED.address, ["x" * 43, TRUSTED.address], f"{'x' * 43}, {TRUSTED.address}"])
def test_an_authority_of_the_process_may_say_it(shell: Any, authority: Value) -> None:
    process = shell.spawn("counter.wasm", tags={"authority": authority})
    assert send(shell, process, TRUSTED, from_process="P" * 43, pushed_for="M" * 43) == 1
    assert ask(shell, process, TRUSTED, from_process="P" * 43).results["type"] == "ok"
    together = sign(sign({"target": process, "action": "Increment", "from-process": "P" * 43}, BOB), TRUSTED)
    assert shell.send_all(process, [together])[0].slot == 2
    with pytest.raises(Refused, match="must be signed by an authority") as refused:
        send(shell, process, BOB, from_process="P" * 43)
    assert TRUSTED.address in str(refused.value.hint)
    assert send(shell, process, BOB, authority=BOB.address) == 3  # a message's own `authority` means nothing


@pytest.mark.parametrize("authority", [5, [5, None], {"a": TRUSTED.address}, True])
def test_an_authority_of_another_type_is_none(shell: Any, authority: Value) -> None:
    process = shell.spawn("counter.wasm", tags={"authority": authority})
    with pytest.raises(Refused, match="must be signed by an authority"):
        send(shell, process, TRUSTED, from_process="P" * 43)


@dataclass(frozen=True)
class WatchedStorage(DirectoryStorage):
    """A storage that adds to `held` when its store is opened, and takes away when it is closed."""

    held: list[None] = field(default_factory=list)

    @contextmanager
    def session(self, patience: Patience = FOREVER) -> Iterator[Any]:  # type: ignore[override]
        with super().session(patience) as store:
            self.held.append(None)
            yield store
            self.held.pop()


@pytest.mark.parametrize("bytes_", [10, intake.SHORT_BYTES])
def test_a_long_message_is_signed_and_verified_while_nobody_waits_for_the_store(
    shell: Any, monkeypatch: pytest.MonkeyPatch, bytes_: int
) -> None:
    process = shell.spawn("counter.wasm")
    home = shell.home
    storage = WatchedStorage(home.path, home.storage.check_format)
    context = shell.context(storage=storage)
    held: list[bool] = []

    def send(*messages: Any) -> None:
        sending.send(
            context.session,
            process,
            messages,
            signer=BOB,
            scheduler_key=context.scheduler_key(),
            environment=shell.environment,
            limits=sending.SendLimits(10, 10**6),
        )

    for name in ("sign_encoded", "verify"):
        real = getattr(intake, name)
        monkeypatch.setattr(intake, name, lambda *given, real=real: held.append(bool(storage.held)) or real(*given))
    message = build_message("Increment", data="x" * bytes_)
    signed = sign({**message, "target": process}, ALICE)
    for one in (message, signed):
        send(one)
    assert held == [bytes_ == 10] * 2
    send(message, message)
    assert held[2:] == [False] * 2


def test_a_message_has_a_limit_to_its_values(shell: Any) -> None:
    process = shell.spawn("counter.wasm")
    before = shell.records()
    for message in (build_message("Increment", [[]] * 500_000), build_message("Increment", [10**40_000])):
        with pytest.raises(Refused, match="may hold 500,000 values|is an integer of more than 32,768 digits"):
            shell.send_all(process, [message])
    assert shell.records() == before
