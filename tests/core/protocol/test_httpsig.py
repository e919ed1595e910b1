"""The signed form and the signature base: byte for byte what a running HyperBEAM gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hb.errors import Refused
from hb.protocol import httpsig, tabm
from protocol_vectors import binaries, message, value, vectors

if TYPE_CHECKING:
    from typing import Any

MAC_PARAMS = b';alg="hmac-sha256";keyid="ao"'


@pytest.mark.parametrize("case", vectors("message_ids")["cases"], ids=lambda case: str(case["name"]))
def test_each_vector_has_its_fields_and_its_signature_base(case: dict[str, Any]) -> None:
    fields = httpsig.encode(tabm.encode(message(case["input"])))
    assert fields == binaries(value(case["signed_fields"]))
    lines = httpsig.component_lines(fields)
    assert httpsig.signature_base(lines, sorted(lines), MAC_PARAMS) == binaries(value(case["signature_base"]))


def test_signed_components_are_sorted_before_the_at_sign_is_added() -> None:
    assert httpsig.signed_components({"path": b"p", "a": b"1", "method": b"m"}) == ["a", "@method", "@path"]


def test_a_value_is_trimmed_before_its_line_breaks_become_spaces() -> None:
    assert httpsig.component_lines({"k": b"  \n a\nb\n "}) == {"k": b'"k":   a b '}


def test_a_component_that_is_no_field_is_refused() -> None:
    with pytest.raises(Refused, match="no field"):
        httpsig.signature_base({"a": b'"a": 1'}, ["a", "b"], MAC_PARAMS)


def test_the_inline_key_may_be_no_text() -> None:
    assert set(httpsig.encode({"inline-body-key": {"a": b"b"}, "body": b"x"})) == {"content-digest", "content-type"}
    assert set(httpsig.encode({"inline-body-key": b"\xff", "data": b"x"})) == {"inline-body-key", "data"}


def test_ids_that_are_too_many_for_a_field_go_into_the_body() -> None:
    few = {chr(97 + number) * 43: b"v" for number in range(3)}
    many = {chr(97 + number) * 43: b"v" * 4000 for number in range(3)}
    assert set(httpsig.encode(few)) == {"ao-ids"}
    assert set(httpsig.encode(many)) == {"content-digest", "content-type"}


def test_a_component_is_named_as_an_ao_node_names_it() -> None:
    assert httpsig.component_list(['a"b', "@path", "\xe9"]) == b'("a\\"b" "@path" "\xe3\xa9")'


def test_messages_that_hold_nothing_have_no_body() -> None:
    assert httpsig.encode(tabm.encode({"a": {"content-digest": "x"}, "k": "v"})) == {"k": b"v"}
