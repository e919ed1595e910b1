"""Messages as values: what a message may hold, and its normal form.

A message is a map of keys to values: binary, integer, float, atom, list, or message. This module says which Python
values stand for these, and brings them into one normal form:

- keys are lower case (see `casing`), except keys of exactly 32, 42 or 43 bytes: they are IDs;
- private keys (they begin with `priv`) are gone;
- a binary is `str` if it is UTF-8, else `bytes`; the atoms `true`, `false`, `null` are True, False, None, any other
  is an `Atom`.

Invariants:
    Nothing here signs, hashes, or knows what a key means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hb.errors import Refused
from hb.protocol import casing
from hb.protocol.bounds import MAX_DEPTH, MAX_DIGITS

ID_KEY_BYTES = frozenset({32, 42, 43})
"""Keys of these lengths are IDs, and keep their capitals."""

PRIVATE_PREFIX = "priv"


@dataclass(frozen=True, slots=True)
class Atom:
    """An Erlang atom other than `true`, `false` and `null`, which are Python's own: at most 255 Latin-1 characters."""

    name: str


Value: TypeAlias = "str | bytes | int | float | bool | Atom | list[Value] | dict[str, Value] | None"
Message: TypeAlias = dict[str, Value]

_NATIVE_ATOMS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_PLAIN_INTEGERS = 1 << 64
_MOST_BITS = 108_853  # 10 ** MAX_DIGITS has this many


def is_id_key(key: str) -> bool:
    """Whether `key` is as long as an ID, in bytes of UTF-8. Source: HyperBEAM `hb.hrl`, `IS_ID`."""
    return (len(key) if key.isascii() else len(key.encode("utf-8", "surrogatepass"))) in ID_KEY_BYTES


def normal_key(key: str) -> str:
    """Return `key` as messages spell it: in lower case, unless it is as long as an ID.

    Source: HyperBEAM `hb_ao:normalize_key`.
    """
    return key if is_id_key(key) else casing.lower(key)


def normalise(value: object) -> Value:
    """Return the normal form of `value`, as new lists and maps.

    Raises:
        Refused: some part has a type that a message cannot hold, nests deeper than `MAX_DEPTH`, is text that UTF-8
            cannot hold, or an integer of more than `MAX_DIGITS` digits; or two keys of one map have the same normal
            form. The sentence names the path.
    """
    return _normal(value, ())


def normalise_message(value: object) -> Message:
    """Return the normal form of `value`, which must be a map.

    Raises:
        Refused: it is no map, or `normalise` refuses it.
    """
    if type(value) is not dict:
        raise Refused(f"a message is a map of keys to values, this is {described(value)}")
    return _normal_map(value, ())


def _normal(value: object, path: tuple[str, ...]) -> Value:
    if type(value) is str:
        return value if value.isascii() else _checked_text(value, path)
    if type(value) is dict:
        return _normal_map(value, path)
    if type(value) is int:
        return value if -_PLAIN_INTEGERS < value < _PLAIN_INTEGERS else _checked_integer(value, path)
    if type(value) is bool or type(value) is float or value is None:
        return value
    if type(value) is list:
        _check_depth(path)
        return [_normal(item, (*path, str(index))) for index, item in enumerate(value)]
    return _normal_rare(value, path)


def _normal_rare(value: object, path: tuple[str, ...]) -> Value:
    if type(value) is bytes:
        return _binary(value)
    if isinstance(value, Atom):
        return _normal_atom(value.name, path)
    raise Refused(f"{_at(path)} is {described(value)}, which no message can hold")


def _normal_map(value: dict[object, object], path: tuple[str, ...]) -> Message:
    if len(path) >= MAX_DEPTH:
        _check_depth(path)
    result: Message = {}
    dropped = 0
    for given, item in value.items():
        if type(given) is not str:
            raise Refused(f"a key of {_at(path)} is {described(given)}, but keys are text")
        key = given if given.islower() and given.isascii() else normal_key(given)
        if key.startswith(PRIVATE_PREFIX):
            dropped += 1
            continue
        if not key.isascii():
            _checked_text(key, path)
        # Short for what is commonest: most of the time would go into a call for each value.
        if (type(item) is str and item.isascii()) or (type(item) is int and 0 <= item < _PLAIN_INTEGERS):
            result[key] = item
        else:
            result[key] = _normal(item, (*path, key))
    if len(result) + dropped != len(value):
        raise Refused(f"{_at(path)} has the same key twice once keys are lower case")
    return result


def _checked_integer(value: int, path: tuple[str, ...]) -> int:
    bits = value.bit_length()
    if bits > _MOST_BITS or (bits == _MOST_BITS and abs(value) >= 10**MAX_DIGITS):
        raise Refused(f"{_at(path)} is an integer of more than {MAX_DIGITS:,} digits")
    return value


def _binary(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _checked_text(text: str, path: tuple[str, ...]) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused(f"{_at(path)} holds a lone surrogate, which is no text") from None
    return text


def _normal_atom(name: str, path: tuple[str, ...]) -> Value:
    if name in _NATIVE_ATOMS:
        return _NATIVE_ATOMS[name]
    if len(name) > 255 or any(character > "\xff" for character in name):
        raise Refused(f"{_at(path)} is an atom of more than 255 or of other than Latin-1 characters")
    return Atom(name)


def _check_depth(path: tuple[str, ...]) -> None:
    if len(path) >= MAX_DEPTH:
        raise Refused(f"{_at(path[:3])} nests deeper than {MAX_DEPTH} levels")


def _at(path: tuple[str, ...]) -> str:
    return "the value of " + "/".join(path)[:200] if path else "the message"


_KINDS = {bool: "a boolean", int: "an integer", float: "a float", str: "text", bytes: "a binary", list: "a list"}


def described(value: object) -> str:
    """Return what kind of value this is, as a sentence tells it: `an integer`, `a list`, ..."""
    return "null" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")
