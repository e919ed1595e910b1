"""Messages as values: what a message may hold, its normal form, and its JSON form.

A message is a map of keys to values: binary, integer, float, atom, list, or message. This module says which
Python values stand for these, brings them into one normal form, and reads and writes the JSON form that is
shown, stored and hashed. It must never sign, hash, or know what any key means.

The normal form of a value:

- keys are lower case, except keys of exactly 32, 42 or 43 bytes: they are IDs;
- private keys (they begin with `priv`) are gone;
- a binary is `str` if it is UTF-8, else `bytes`; the atoms `true`, `false`, `null` are True, False, None, any other
  is an `Atom`.

The JSON form is what one expects (atoms `true`, `false`, `null` as themselves; integers exact at any size), and:

- `{"$bytes": "<unpadded base64url>"}` is a binary that is not UTF-8;
- `{"$float": "nan" | "infinity" | "-infinity"}` is a float that JSON has no number for;
- `{"$atom": "<name>"}` is any other atom;
- `{"$map": {...}}` is a map whose only key begins with `$`.

As written by `dumps` it is canonical: keys sorted by their UTF-8 bytes, no spaces, UTF-8.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from hb import ids
from hb.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 64
"""How deep maps and lists may nest, the outermost one counted."""

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
_FLOAT_NAMES = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}


# The normal form


def is_id_key(key: str) -> bool:
    """Whether `key` is as long as an ID, in bytes of UTF-8. Source: HyperBEAM `hb.hrl`, `IS_ID`."""
    return (len(key) if key.isascii() else len(key.encode("utf-8", "surrogatepass"))) in ID_KEY_BYTES


def normal_key(key: str) -> str:
    """`key` as messages spell it: lower case, unless it is as long as an ID.

    Source: HyperBEAM `hb_ao:normalize_key`.
    """
    return key if is_id_key(key) else key.lower()


def normalise(value: object) -> Value:
    """The normal form of `value`, as new lists and maps.

    Raises:
        Refused: some part is of no type that a message can hold, nests deeper than `MAX_DEPTH`, is text that
            UTF-8 cannot hold, or two keys of one map have the same normal form. The sentence names the path.
    """
    return _normal(value, ())


def normalise_message(value: object) -> Message:
    """The normal form of `value`, which must be a map.

    Raises:
        Refused: it is no map, or `normalise` refuses it.
    """
    if type(value) is not dict:
        raise Refused(f"a message is a map of keys to values, this is {_described(value)}")
    return _normal_map(value, ())


def _normal(value: object, path: tuple[str, ...]) -> Value:
    if type(value) is str:
        return value if value.isascii() else _checked_text(value, path)
    if type(value) is dict:
        return _normal_map(value, path)
    if type(value) is int or type(value) is bool or type(value) is float or value is None:
        return value
    if type(value) is list:
        _check_depth(path)
        return [_normal(item, (*path, str(index))) for index, item in enumerate(value)]
    if type(value) is bytes:
        return _binary(value)
    if isinstance(value, Atom):
        return _normal_atom(value.name, path)
    raise Refused(f"{_at(path)} is {_described(value)}, which no message can hold")


def _normal_map(value: dict[object, object], path: tuple[str, ...]) -> Message:
    if len(path) >= MAX_DEPTH:
        _check_depth(path)
    result: Message = {}
    dropped = 0
    for given, item in value.items():
        if type(given) is not str:
            raise Refused(f"a key of {_at(path)} is {_described(given)}, but keys are text")
        key = given if given.islower() else normal_key(given)
        if key.startswith(PRIVATE_PREFIX):
            dropped += 1
            continue
        if not key.isascii():
            _checked_text(key, path)
        # The two commonest kinds are dealt with here: a call for each value is most of what this would cost.
        if (type(item) is str and item.isascii()) or type(item) is int:
            result[key] = item
        else:
            result[key] = _normal(item, (*path, key))
    if len(result) + dropped != len(value):
        raise Refused(f"{_at(path)} has the same key twice once keys are lower case")
    return result


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


def _described(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


# Reading the JSON form


def loads(text: str | bytes) -> Value:
    """The value that `text`, in the JSON form, stands for, in normal form.

    Raises:
        Refused: `text` is not JSON, or not of the JSON form, or holds what `normalise` refuses, a number that no
            float can hold, or a key twice.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"not JSON: byte {error.start} is not UTF-8") from None
    elif not text.isascii():
        _checked_text(text, ())
    plain = _is_plain(text)
    parsed = _parse(text, _READER if plain else _RAW_READER)
    return cast(Value, parsed) if plain else from_plain(parsed)


def loads_stored(raw: bytes) -> Value:
    """`loads` of what `dumps` wrote, in a third of the time: keys are taken to be in normal form, each once.

    Raises:
        Refused: as `loads`, but for a key that comes twice.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return loads(raw)
    if '"priv' in text or not _is_plain(text):
        return loads(text)
    try:
        value, end = _scan_stored(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return loads(text)
    return cast(Value, value) if end == len(text) else loads(text)


def loads_message(text: str | bytes) -> Message:
    """`loads`, of a value that must be a map.

    Raises:
        Refused: as `loads`, or if it is no map.
    """
    value = loads(text)
    if not isinstance(value, dict):
        raise Refused(f"a message is a JSON object, this is {_described(value)}")
    return value


def _is_plain(text: str) -> bool:
    """Whether what the parser gives for `text` is in normal form but for its keys: no form and no escape is in it.

    Each level of nesting needs a bracket, so few brackets cannot nest deep.
    """
    # One character is found in a twentieth of the time that two take.
    if ("$" in text and '"$' in text) or ("\\" in text and "\\u" in text):
        return False
    return text.count("{") + text.count("[") <= MAX_DEPTH


def _parse(text: str, reader: json.JSONDecoder) -> object:
    try:
        return reader.decode(text)
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Refused(f"not a message: it nests deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        # The one thing left that the parser objects to: an integer longer than the interpreter's limit on text.
        if reader.parse_int is _long_int:
            raise
        return _parse(text, _reader(reader.object_pairs_hook, _long_int))


def _reader(pairs_hook: object, parse_int: object = None) -> json.JSONDecoder:
    hooks = {"object_pairs_hook": pairs_hook, "parse_int": parse_int}
    return json.JSONDecoder(parse_float=_float, parse_constant=_no_constant, **hooks)  # type: ignore[arg-type]


def _long_int(text: str) -> int:
    from hb.protocol import integers

    return integers.read(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Refused(f"the number {text[:40]} is beyond what a float can hold")
    return number


def _no_constant(name: str) -> float:
    raise Refused(f'{name} is not JSON: write {{"$float": "nan"}}, "infinity" or "-infinity"')


def _normal_object(pairs: list[tuple[str, Value]]) -> Message:
    result: Message = {}
    dropped = 0
    for given, value in pairs:
        key = given if given.islower() else normal_key(given)
        if key.startswith(PRIVATE_PREFIX):
            dropped += 1
            continue
        result[key] = value
    if len(result) + dropped != len(pairs):
        raise Refused(f"the key {_repeated([normal_key(key) for key, _ in pairs])!r} comes twice in one object")
    return result


def _raw_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Refused(f"the key {_repeated([key for key, _ in pairs])!r} comes twice in one object")
    return result


def _repeated(keys: list[str]) -> str:
    return next((key for index, key in enumerate(keys) if key in keys[:index]), "")[:80]


_READER = _reader(_normal_object)
_RAW_READER = _reader(_raw_object)
_scan_stored: Callable[[str, int], tuple[object, int]] = vars(_reader(None))["scan_once"]


def from_plain(plain: object) -> Value:
    """The value that parsed JSON or TOML stands for, the `$` forms understood, in normal form.

    Raises:
        Refused: a form is unknown or malformed, or `normalise` refuses the value.
    """
    return _normal(_without_forms(plain, 0), ())


def _without_forms(plain: object, depth: int) -> object:
    if depth > MAX_DEPTH * 2:
        raise Refused(f"not a message: it nests deeper than {MAX_DEPTH} levels")
    if isinstance(plain, list):
        return [_without_forms(item, depth + 1) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if len(plain) == 1:
        form, content = next(iter(plain.items()))
        if isinstance(form, str) and form.startswith("$"):
            return _formed(form, content, depth)
    return {key: _without_forms(item, depth + 1) for key, item in plain.items()}


def _formed(form: str, content: object, depth: int) -> object:
    if form == "$map" and isinstance(content, dict):
        return {key: _without_forms(item, depth + 1) for key, item in content.items()}
    if form == "$float" and isinstance(content, str) and content in _FLOAT_NAMES:
        return _FLOAT_NAMES[content]
    if form == "$atom" and isinstance(content, str):
        return Atom(content)
    if form == "$bytes" and isinstance(content, str):
        try:
            return ids.decode(content)
        except ValueError:
            raise Refused("$bytes holds something else than unpadded base64url") from None
    raise Refused(
        f"{form[:40]!r} is no form of the JSON form, or not with such a value",
        hint='a map whose only key begins with "$" is written {"$map": {...}}',
    )


# Writing the JSON form


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)


def _make_encode() -> Callable[[object], str]:
    """`_ENCODER.encode`, but that its C encoder is made once; itself where there is none."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    text_of = json.encoder.encode_basestring
    encode = make(None, _ENCODER.default, text_of, None, ":", ",", True, False, False)
    return lambda value: "".join(encode(value, 0))


_encoded = _make_encode()


def dumps(value: Value) -> bytes:
    """The canonical JSON form of `value`, which is in normal form: sorted keys, no spaces, UTF-8.

    Raises:
        Refused: `value` holds what `normalise` refuses.
    """
    try:
        text = _encoded(value)
        # A text or key that begins so may be one that has a form of its own, or is private: take the careful way.
        if not ("$" in text and '"$' in text) and '"priv' not in text:
            return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        pass  # a binary, an atom, a float or an integer that JSON has no plain form for
    plain = to_plain(value)
    try:
        return _ENCODER.encode(plain).encode("utf-8")
    except ValueError:
        return _written(plain).encode("utf-8")


def to_plain(value: Value) -> object:
    """`value` as the plain maps, lists, texts and numbers that its JSON form consists of.

    Raises:
        Refused: `value` holds what `normalise` refuses.
    """
    return _plain(normalise(value))


def _plain(value: Value) -> object:
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items()}
        return {"$map": plain} if len(plain) == 1 and next(iter(plain)).startswith("$") else plain
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": ids.encode(value)}
    if isinstance(value, Atom):
        return {"$atom": value.name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": float_text(value)}
    return value


def float_text(value: float) -> str:
    """The name of a float that is not finite: `nan`, `infinity` or `-infinity`."""
    return "nan" if math.isnan(value) else "infinity" if value > 0 else "-infinity"


def int_text(value: int) -> str:
    """The decimal text of `value`, however long."""
    try:
        return str(value)
    except ValueError:  # longer than the interpreter's limit, which guards against quadratic time
        from hb.protocol import integers

        return integers.written(value)


def _written(plain: object) -> str:
    """What the encoder would write, were it not for integers beyond the interpreter's limit."""
    if isinstance(plain, dict):
        return "{" + ",".join(f"{_ENCODER.encode(key)}:{_written(plain[key])}" for key in sorted(plain)) + "}"
    if isinstance(plain, list):
        return "[" + ",".join(_written(item) for item in plain) + "]"
    if isinstance(plain, int) and not isinstance(plain, bool):
        return int_text(plain)
    return _ENCODER.encode(plain)
