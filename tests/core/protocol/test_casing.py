"""The pinned case table, against what Erlang gives for every code point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.devices.ao_json import header_case
from hb.errors import Refused
from hb.protocol import casing
from hb.protocol.message import dumps, loads, loads_message, normal_key, normalise_message
from hb.wasm import module
from protocol_vectors import vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CASES = vectors("casing")
SURROGATES = range(0xD800, 0xE000)


@pytest.mark.parametrize(("change", "rows"), [(casing.lower, "lower"), (casing.title, "title")])
def test_every_code_point_changes_as_erlang_changes_it(change: Callable[[str], str], rows: str) -> None:
    expected = {row[0]: "".join(map(chr, row[1:])) for row in CASES[rows]}
    for code in range(0x110000):
        if code not in SURROGATES:
            assert change(chr(code)) == expected.get(code, chr(code)), hex(code)


@pytest.mark.parametrize("case", CASES["keys"], ids=lambda case: ascii(case["key"]))
def test_a_key_is_spelled_as_erlang_spells_it(case: dict[str, Any]) -> None:
    assert normal_key(case["key"]) == case["lower"]
    message = normalise_message({case["key"]: 1})
    assert message == {case["lower"]: 1}
    assert loads(dumps(message)) == message
    assert loads_message(f'{{"{case["key"]}":1}}') == message


def test_a_tag_has_a_capital_by_the_same_table() -> None:
    assert header_case("from-ǆ") == "From-ǅ"
    assert header_case("ßa-\ua7db") == "Ssa-\ua7db"  # Unicode 16 has a capital for the last; the table does not


def test_keys_that_differ_in_case_alone_are_one_key() -> None:
    with pytest.raises(Refused, match="same key twice"):
        normalise_message({"aΣ": 1, "aσ": 2})
    assert normalise_message({"aσ": 1, "aς": 2}) == {"aσ": 1, "aς": 2}


def test_a_module_cannot_export_two_globals_that_are_one_key() -> None:
    names = ["a\u03a3", "a\u03c3"]
    info = module.load(module.from_text(f"(module {''.join(f_global(name) for name in names)})")).info
    with pytest.raises(Refused, match="which are the same key of a state"):
        module.check(info, ())


def f_global(name: str) -> str:
    return f'(global (export "{name}") (mut i32) (i32.const 0))'
