"""The JSON form of messages, in which they are shown, stored and hashed; and all of `values`, whose values these are.

The JSON form is what one expects (atoms `true`, `false`, `null` as themselves; integers exact at any size), and:

- `{"$bytes": "<unpadded base64url>"}` is a binary that is not UTF-8;
- `{"$float": "nan" | "infinity" | "-infinity"}` is a float that JSON has no number for;
- `{"$atom": "<name>"}` is any other atom;
- `{"$map": {...}}` is a map whose only key begins with `$`.

As written by `dumps` it is canonical: keys sorted by their UTF-8 bytes, no spaces, UTF-8.

Invariants:
    Nothing here signs, hashes, or knows what a key means.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

from hb import ids
from hb.errors import Refused
from hb.protocol import bounds
from hb.protocol.bounds import MAX_DEPTH
from hb.protocol.values import (
    PRIVATE_PREFIX,
    Atom,
    Message,
    Value,
    described,
    is_id_key,
    normal_key,
    normalise,
    normalise_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_DEPTH",
    "PRIVATE_PREFIX",
    "Atom",
    "Message",
    "Value",
    "dumps",
    "float_text",
    "from_plain",
    "int_text",
    "is_id_key",
    "loads",
    "loads_message",
    "loads_stored",
    "normal_key",
    "normalise",
    "normalise_message",
    "to_plain",
]

# An ANS-104 item begins with its type of signature, 16 bits, little-endian. No JSON begins so.
_ITEM_MARKS = frozenset(bytes((kind, 0)) for kind in range(1, 9))

_FLOAT_NAMES = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}

# Reading the JSON form


def loads(text: str | bytes, what: str = "a message") -> Value:
    """Return the value that `text`, in the JSON form, stands for, in normal form.

    `what` names the text in a sentence about its limits.

    Raises:
        Refused: `text` is not JSON, or not of the JSON form, or beyond the limits of `bounds`; or it holds what
            `normalise` refuses, a number that no float can hold, or a key twice.
    """
    if isinstance(text, bytes):
        is_plain, decoded = _checked(text, what)
    else:
        if not text.isascii():
            normalise(text)
        is_plain, decoded = _is_plain(text), text
        bounds.check(text, what, depth=MAX_DEPTH if is_plain else 2 * MAX_DEPTH)
    parsed = _parse(decoded, _READER if is_plain else _RAW_READER)
    return cast(Value, parsed) if is_plain else from_plain(parsed)


def loads_stored(raw: bytes) -> Value:
    """Return what `loads` returns for bytes that `dumps` wrote, in a third of the time.

    The keys are taken to be in normal form, each once, and the limits of `bounds` to have been checked when the bytes
    came in.

    Raises:
        Refused: as `loads`, except for a key that comes twice.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return loads(raw)
    if '"priv' in text or not _is_plain(text) or text.count("{") + text.count("[") > MAX_DEPTH:
        return loads(text)
    try:
        value, end = _scan_stored(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return loads(text)
    return cast(Value, value) if end == len(text) else loads(text)


def loads_message(text: str | bytes, what: str = "a message") -> Message:
    """Return what `loads` returns, which must be a map.

    Raises:
        Refused: as `loads`, or it is no map.
    """
    value = loads(text, what)
    if not isinstance(value, dict):
        raise Refused(f"a message is a JSON object, this is {described(value)}")
    return value


def _checked(raw: bytes, what: str) -> tuple[bool, str]:
    """Return whether `raw` is plain, and its text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _no_json(raw, f"byte {error.start} is not UTF-8") from None
    is_plain = _is_plain(text)
    bounds.check(raw, what, depth=MAX_DEPTH if is_plain else 2 * MAX_DEPTH)
    return is_plain, text


def _is_plain(text: str) -> bool:
    """Whether what the parser gives for `text` is in normal form except for its keys: it has no form and no escape."""
    # To find one character takes a twentieth of the time that two take.
    return not (("$" in text and '"$' in text) or ("\\" in text and "\\u" in text))


def _parse(text: str, reader: json.JSONDecoder) -> object:
    try:
        return reader.decode(text)
    except json.JSONDecodeError as error:
        place = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise _no_json(text[:4].encode("latin-1", "replace"), place) from None
    except RecursionError:
        raise Refused(f"not a message: it nests deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        # What is left to object to is an integer longer than the interpreter converts.
        if reader.parse_int is _long_int:
            raise
        return _parse(text, _reader(reader.object_pairs_hook, _long_int))


def _no_json(start: bytes, why: str) -> Refused:
    """Return the refusal of a text that begins with `start`."""
    if start[:2] in _ITEM_MARKS:
        return Refused(
            f"not JSON: it begins as an ANS-104 data item, with the signature type {start[0]}",
            hint="hb reads messages in their JSON form; `hb message show ID` prints one",
        )
    return Refused(f"not JSON: {why}")


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
        key = given if given.islower() and given.isascii() else normal_key(given)
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
    """Return the first key that comes again."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key[:80]
        seen.add(key)
    return ""


_READER = _reader(_normal_object)
_RAW_READER = _reader(_raw_object)
_scan_stored: Callable[[str, int], tuple[object, int]] = vars(_reader(None))["scan_once"]


def from_plain(plain: object) -> Value:
    """Return the value that parsed JSON or TOML stands for, with its `$` forms, in normal form.

    Raises:
        Refused: a form is unknown or malformed, or `normalise` refuses the value.
    """
    return normalise(_without_forms(plain, 0))


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
            raise Refused("$bytes must hold unpadded base64url") from None
    raise Refused(
        f"{form[:40]!r} is no form of the JSON form, or does not take such a value",
        hint='a map whose only key begins with "$" is written {"$map": {...}}',
    )


# Writing the JSON form


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)


def _make_encode() -> Callable[[object], str]:
    """Return `_ENCODER.encode`, with its C encoder made once if there is one."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    text_of = json.encoder.encode_basestring
    encode = make(None, _ENCODER.default, text_of, None, ":", ",", True, False, False)
    return lambda value: "".join(encode(value, 0))


_encoded = _make_encode()


def dumps(value: Value) -> bytes:
    """Return the canonical JSON form of `value`, which is in normal form: sorted keys, no spaces, UTF-8.

    Raises:
        Refused: `value` holds what `normalise` refuses.
    """
    try:
        text = _encoded(value)
        # A text or key that begins so may need a form, or be private: take the careful way.
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
    """Return `value` as the plain maps, lists, texts and numbers that its JSON form consists of.

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
    """Return the name of a float that is not finite: `nan`, `infinity` or `-infinity`."""
    return "nan" if math.isnan(value) else "infinity" if value > 0 else "-infinity"


def int_text(value: int) -> str:
    """Return the decimal text of `value`, of any length."""
    try:
        return str(value)
    except ValueError:  # longer than the interpreter converts: its time is quadratic
        from hb.protocol import integers

        return integers.written(value)


def _written(plain: object) -> str:
    """Return the canonical JSON of `plain`, which holds integers longer than the interpreter converts."""
    if isinstance(plain, dict):
        return "{" + ",".join(f"{_ENCODER.encode(key)}:{_written(plain[key])}" for key in sorted(plain)) + "}"
    if isinstance(plain, list):
        return "[" + ",".join(_written(item) for item in plain) + "]"
    if isinstance(plain, int) and not isinstance(plain, bool):
        return int_text(plain)
    return _ENCODER.encode(plain)
