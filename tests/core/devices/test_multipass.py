"""`multipass@1.0`: as many passes as the definition says, and no more."""

from __future__ import annotations

import pytest

from hb.devices.device import Live, Machine
from hb.devices.multipass import DEVICE


def nothing(image: str, cancellation: object) -> object:
    raise AssertionError


@pytest.mark.parametrize(("passes", "taken"), [(None, 1), (1, 1), (2, 2), (5, 5)])
def test_the_stack_is_passed_over_as_often_as_the_definition_says(passes: int | None, taken: int) -> None:
    live = Live()
    base = {"process": {} if passes is None else {"passes": passes}, "priv": live}
    machine = Machine(nothing)  # type: ignore[arg-type]
    while True:
        live.again = False
        assert DEVICE.compute(base, {}, machine) is base
        if not live.again:
            break
        live.pass_number += 1
    assert live.pass_number == taken
