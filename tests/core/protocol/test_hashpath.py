"""Hashpaths: each step as a running HyperBEAM gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.errors import Refused
from hb.protocol import hashpath
from hb.protocol.commitment import Key, message_id, sign
from hb.protocol.message import dumps, loads_message
from protocol_vectors import message, value, vectors

if TYPE_CHECKING:
    from typing import Any

    from hb.protocol.message import Message

ID = "P8TM_nRYcOLA2Z9x8w_wZWyN7dQcwdfT03aw2-aF4vM"


@pytest.mark.parametrize("case", vectors("hashpaths")["chains"], ids=lambda case: str(case["name"]))
@pytest.mark.parametrize("form", ["value", "json"])
def test_each_chain_has_its_hashpaths(case: dict[str, Any], form: str) -> None:
    def read(tagged: dict[str, Any]) -> Message:
        return message(tagged) if form == "value" else loads_message(dumps(message(tagged)))

    base = read(case["base"])
    path = hashpath.base(base)
    assert path == case["base_hashpath"] == message_id(base, "every")
    for step in case["steps"]:
        path = hashpath.step(path, read(step["request"]), hashpath.algorithm(base))
        assert path == step["hashpath"]


@pytest.mark.parametrize("case", vectors("hashpaths")["binaries"], ids=lambda case: str(case["hashpath"]))
def test_a_binary_has_its_hashpath(case: dict[str, Any]) -> None:
    assert hashpath.base(value(case["bin"])) == case["hashpath"]  # type: ignore[arg-type]


@pytest.mark.parametrize("case", vectors("hashpaths")["algs"], ids=["ids", "carry"])
def test_each_algorithm_folds_as_it_should(case: dict[str, str]) -> None:
    last = case["b"] if len(case["b"]) == 43 else ids.decode(case["b"]).decode()
    before = f"{case['a']}/{last}"
    assert hashpath.step_id(before, "x", "sha-256-chain") == case["sha256_chain"] + "/x"
    assert hashpath.step_id(before, "x", "accumulate-256") == case["accumulate"] + "/x"


def test_a_request_that_is_a_path_stands_for_itself() -> None:
    for path in ("/Compute/now", ["Compute", "now"], ["/", "Compute"]):
        assert hashpath.part({"path": path}) == "Compute"  # type: ignore[dict-item]
    signed = sign({"path": "compute"}, Key(b"k" * 32))
    assert hashpath.part(signed) == message_id(signed, "every")
    assert hashpath.step(ID, {"path": "compute"}) == hashpath.step_id(ID, "compute") == f"{ID}/compute"


@pytest.mark.parametrize("path", ["", "/", [], [1]])
def test_a_path_without_a_segment_is_refused(path: Any) -> None:
    with pytest.raises(Refused, match="no segment"):
        hashpath.part({"path": path})


def test_an_unknown_algorithm_is_refused() -> None:
    assert hashpath.algorithm({"hashpath-alg": 5}) == ""
    with pytest.raises(Refused, match="algorithm 'md5' is unknown"):
        hashpath.step_id(ID, "x", "md5")


@pytest.mark.parametrize("path", ["short/x", f"{ID[:-1]}?/x", f"{ID}/{'?' * 43}"])
def test_what_is_no_hashpath_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="is not a hashpath"):
        hashpath.step_id(path, "x")


@pytest.mark.parametrize("start", [ID, f"{ID}/{ID}", f"{ID}/Increment"])
def test_a_trail_goes_where_single_steps_go(start: str) -> None:
    requests: list[Message] = [
        {"path": "compute", "n": 1},
        {"path": "Increment"},
        {"path": ID},
        *({"n": n} for n in range(4)),
    ]
    trail, expected = hashpath.Trail(start), start
    for request in requests:
        expected = hashpath.step(expected, request)
        assert trail.step(request) == trail.text == expected


def test_a_trail_from_what_is_no_hashpath_is_refused() -> None:
    with pytest.raises(Refused):
        hashpath.Trail("short/x").step({"n": 1})
