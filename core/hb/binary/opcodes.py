"""Find the instructions of a function body that matter here: those whose effect no memory image can hold.

This file knows where each instruction ends. Bytes that cannot be an instruction are refused with their offset.

Invariants:
    No step goes past the end of the body.
    Nothing is validated: the engine does that.

Source: WebAssembly core specification 3.0, section 5.4 (binary format of instructions).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hb.errors import Refused

if TYPE_CHECKING:
    from collections import Counter

# The encodings of an instruction's immediates, as patterns. A LEB128 of n bits has at most ceil(n / 7) bytes.
_LEB32 = rb"[\x80-\xff]{0,4}+[\x00-\x7f]"
_LEB64 = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
# Alignment; bit 6 of it says that the index of a memory follows. Then the offset, of 64 bits in a 64-bit memory.
_MEMORY = (
    rb"(?:(?:[\x00-\x3f]|[\x80-\xbf][\x80-\xff]{0,3}+[\x00-\x7f])"
    rb"|(?:[\x40-\x7f]|[\xc0-\xff][\x80-\xff]{0,3}+[\x00-\x7f])" + _LEB32 + rb")" + _LEB64
)
_REFERENCE = rb"[\x63\x64]" + _LEB64
_BLOCK = rb"(?:" + _REFERENCE + rb"|" + _LEB32 + rb")"

_NONE = rb""
# (first opcode, last opcode, the pattern of its immediates)
_PLAIN: tuple[tuple[int, int, bytes], ...] = (
    (0x00, 0x01, _NONE),  # unreachable, nop
    (0x02, 0x04, _BLOCK),  # block, loop, if
    (0x05, 0x05, _NONE),  # else
    (0x08, 0x08, _LEB32),  # throw
    (0x0A, 0x0B, _NONE),  # throw_ref, end
    (0x0C, 0x0D, _LEB32),  # br, br_if
    (0x0F, 0x0F, _NONE),  # return
    (0x10, 0x10, _LEB32),  # call
    (0x11, 0x11, _LEB32 + _LEB32),  # call_indirect
    (0x12, 0x12, _LEB32),  # return_call
    (0x13, 0x13, _LEB32 + _LEB32),  # return_call_indirect
    (0x14, 0x15, _LEB32),  # call_ref, return_call_ref
    (0x1A, 0x1B, _NONE),  # drop, select
    (0x20, 0x25, _LEB32),  # local.*, global.*, table.get
    (0x28, 0x3E, _MEMORY),  # loads and stores
    (0x3F, 0x40, _LEB32),  # memory.size, memory.grow
    (0x41, 0x41, _LEB32),  # i32.const
    (0x42, 0x42, _LEB64),  # i64.const
    (0x43, 0x43, rb".{4}"),  # f32.const
    (0x44, 0x44, rb".{8}"),  # f64.const
    (0x45, 0xC4, _NONE),  # comparisons, arithmetic, conversions
    (0xD0, 0xD0, _LEB64),  # ref.null
    (0xD1, 0xD1, _NONE),  # ref.is_null
    (0xD2, 0xD2, _LEB32),  # ref.func
    (0xD3, 0xD4, _NONE),  # ref.eq, ref.as_non_null
    (0xD5, 0xD6, _LEB32),  # br_on_null, br_on_non_null
)
# After the byte 0xFC: bulk memory and tables; saturating truncations.
_BULK: dict[int, tuple[str, bytes]] = {
    **dict.fromkeys(range(8), ("trunc_sat", _NONE)),
    8: ("memory.init", _LEB32 + _LEB32),
    9: ("data.drop", _LEB32),
    10: ("memory.copy", _LEB32 + _LEB32),
    11: ("memory.fill", _LEB32),
    12: ("table.init", _LEB32 + _LEB32),
    13: ("elem.drop", _LEB32),
    14: ("table.copy", _LEB32 + _LEB32),
    15: ("table.grow", _LEB32),
    16: ("table.size", _LEB32),
    17: ("table.fill", _LEB32),
}
# After the byte 0xFD: vectors. What is not listed, up to the last, has no immediates.
_VECTOR_LAST = 0x113
_VECTOR: tuple[tuple[int, int, bytes], ...] = (
    (0, 11, _MEMORY),  # v128.load*, v128.store
    (12, 13, rb".{16}"),  # v128.const, i8x16.shuffle
    (14, 20, _NONE),
    (21, 34, rb"."),  # *.extract_lane, *.replace_lane
    (35, 83, _NONE),
    (84, 91, _MEMORY + rb"."),  # v128.load*_lane, v128.store*_lane
    (92, 93, _MEMORY),  # v128.load*_zero
    (94, 127, _NONE),
)

_LEGACY_EXCEPTIONS = {0x06: "try", 0x07: "catch", 0x09: "rethrow", 0x18: "delegate", 0x19: "catch_all"}
_TABLE_SET = 0x26

CATCH = "catch clause"
"""What `walk` counts the catch clauses of `try_table`s under."""

RECORDED = frozenset(
    {"table.set", "memory.init", "data.drop", "elem.drop"}
    | {name for name, _ in _BULK.values() if name.startswith("table.")}
)


class LegacyExceptions(Refused):
    """The module uses the exception instructions that came before `exnref`. It can be converted."""


def _any_byte(codes: list[int]) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % code for code in codes) + b"]"


def _grouped(rows: tuple[tuple[int, int, bytes], ...]) -> bytes:
    """Return a pattern with one alternative for all opcodes that have the same immediates."""
    codes: dict[bytes, list[int]] = {}
    for first, last, immediates in rows:
        codes.setdefault(immediates, []).extend(range(first, last + 1))
    return b"|".join(_any_byte(group) + immediates for immediates, group in codes.items())


def _run_pattern() -> bytes:
    bulk = tuple((code, code, immediates) for code, (name, immediates) in _BULK.items() if name not in RECORDED)
    one = (
        _grouped(_PLAIN)
        + rb"|\xfc(?:"
        + _grouped(bulk)
        + rb")|\xfd(?:"
        + _grouped(_VECTOR)
        + rb"|[\x80-\xff][\x01\x02])"
    )
    # Possessive, so that a run of any length takes no memory and is never tried in two ways.
    return rb"(?:" + one + rb")*+"


# A run of instructions that do not matter here. `_step` reads the instruction after a run: a recorded one, one of
# variable length, an unusual encoding, or bytes that are not an instruction.
_RUN = re.compile(_run_pattern(), re.DOTALL)
# What a constant expression may hold before its `end`: constants, global.get, ref.null, ref.func, v128.const, and the
# integer additions, subtractions and multiplications.
_CONSTANT = re.compile(
    rb"[\x41\x23\xd2]" + _LEB32 + rb"|[\x42\xd0]" + _LEB64 + rb"|\x43.{4}|\x44.{8}|\xfd\x0c.{16}|[\x6a-\x6c\x7c-\x7e]",
    re.DOTALL,
)
_LEB32_PATTERN = re.compile(_LEB32)
_BLOCK_PATTERN = re.compile(_BLOCK)
_VALUE_TYPE = re.compile(rb"(?:" + _REFERENCE + rb"|[\x40-\x7f])")
_IMMEDIATES = {
    immediates: re.compile(immediates, re.DOTALL)
    for immediates in {i for _, _, i in _VECTOR} | {i for _, i in _BULK.values()} | {_LEB32}
}


def walk(wasm: bytes, start: int, end: int, found: Counter[str]) -> None:
    """Count in `found` the instructions between `start` and `end` that are in `RECORDED`, by name, and `CATCH`es.

    Raises:
        Refused: the bytes there are not instructions, or are ones that hb does not run.
    """
    match = _RUN.match
    position = start
    while position < end:
        run = match(wasm, position, end)
        assert run is not None  # it matches nothing, at the least
        position = run.end()
        if position < end:
            position = _step(wasm, position, end, found)


def constant_end(wasm: bytes, start: int, end: int) -> int:
    """Return the offset after the `end` of the constant expression that begins at `start`.

    Raises:
        Refused: it does not end before `end`, or holds what a constant expression may not.
    """
    position = start
    while position < end:
        if wasm[position] == 0x0B:
            return position + 1
        instruction = _CONSTANT.match(wasm, position, end)
        if instruction is None:
            raise _malformed(f"0x{wasm[position]:02x} is not an instruction of a constant expression", position)
        position = instruction.end()
    raise _malformed("a constant expression does not end", end)


def _step(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    """Read the instruction at `position`; return the offset after it."""
    code = wasm[position]
    step = _STEPS.get(code)
    if step is not None:
        return step(wasm, position, end, found)
    if code in _LEGACY_EXCEPTIONS:
        raise LegacyExceptions(
            f"the module uses `{_LEGACY_EXCEPTIONS[code]}` (at byte {position}), a legacy exception instruction "
            "that the engine does not run",
            hint="convert it with binaryen: wasm-opt -all --disable-compact-imports --translate-to-exnref",
        )
    if code == 0xFE:
        raise Refused(f"the module uses atomic instructions (at byte {position}); hb runs programs on one thread")
    if code == 0xFB:
        raise Refused(f"the module uses garbage-collected objects (at byte {position}), which cannot be saved")
    raise _malformed(f"0x{code:02x} is not an instruction, or is cut off", position)


def _table_set(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    found["table.set"] += 1
    return _leb32(wasm, position + 1, end)[1]


def _bulk(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    code, after = _leb32(wasm, position + 1, end)
    if code not in _BULK:
        raise _malformed(f"0xfc {code} is not an instruction that hb runs", position)
    name, immediates = _BULK[code]
    if name in RECORDED:
        found[name] += 1
    return _skip(wasm, immediates, after, end)


def _vector(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    code, after = _leb32(wasm, position + 1, end)
    if code > _VECTOR_LAST:
        raise _malformed(f"0xfd {code} is not an instruction", position)
    immediates = next((i for first, last, i in _VECTOR if first <= code <= last), _NONE)
    return _skip(wasm, immediates, after, end)


def _branch_table(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    count, after = _leb32(wasm, position + 1, end)
    _check_count(count, after, end)
    labels = wasm[after : after + count + 1]
    if len(labels) == count + 1 and after + count + 1 <= end and max(labels) < 0x80:
        return after + count + 1  # one byte each, as they nearly always are
    for _ in range(count + 1):
        after = _skip(wasm, _LEB32, after, end)
    return after


def _typed_select(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    count, after = _leb32(wasm, position + 1, end)
    _check_count(count, after, end)
    for _ in range(count):
        after = _matched(_VALUE_TYPE, wasm, after, end)
    return after


def _try_table(wasm: bytes, position: int, end: int, found: Counter[str]) -> int:
    count, after = _leb32(wasm, _matched(_BLOCK_PATTERN, wasm, position + 1, end), end)
    _check_count(count, after, end)
    found[CATCH] += count
    for _ in range(count):
        kind, after = _leb32(wasm, after, end)
        for _ in range(2 if kind in {0, 1} else 1):  # catch and catch_ref name a tag before the label
            after = _skip(wasm, _LEB32, after, end)
    return after


_STEPS = {
    0x0E: _branch_table,
    0x1C: _typed_select,
    0x1F: _try_table,
    _TABLE_SET: _table_set,
    0xFC: _bulk,
    0xFD: _vector,
}


def _leb32(wasm: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the unsigned LEB128 integer of up to five bytes at `position`, and the offset after it."""
    after = _matched(_LEB32_PATTERN, wasm, position, end)
    value = 0
    for index in range(position, after):
        value |= (wasm[index] & 0x7F) << (7 * (index - position))
    return value, after


def _skip(wasm: bytes, immediates: bytes, position: int, end: int) -> int:
    return _matched(_IMMEDIATES[immediates], wasm, position, end)


def _matched(pattern: re.Pattern[bytes], wasm: bytes, position: int, end: int) -> int:
    match = pattern.match(wasm, position, end)
    if match is None:
        raise _malformed("an instruction is cut off or malformed", position)
    return match.end()


def _check_count(count: int, position: int, end: int) -> None:
    if count > end - position:
        raise _malformed(
            f"{count} items do not fit into the {end - position} bytes that are left of the function", position
        )


def _malformed(what: str, position: int) -> Refused:
    return Refused(f"not a usable wasm module: {what} (at byte {position})")
