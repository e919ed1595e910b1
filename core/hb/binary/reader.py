"""Read numbers, names and value types from the bytes of a wasm module.

Every byte is hostile. Each read is bounded, and each count is limited before it is believed.

Source: WebAssembly core specification 3.0, section 5.2 (values).
"""

from __future__ import annotations

from hb.errors import Refused

# These limits are ours, not the format's. They are far above what programs have.
MAX_ITEMS = 100_000
MAX_PARAMETERS = 1000
MAX_NAME_BYTES = 100_000

VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
    0x69: "exnref",
}


class Reader:
    """Reads the bytes of `wasm` from `position` on, and never past `end`."""

    def __init__(self, wasm: bytes, position: int, end: int) -> None:
        self.wasm = wasm
        self.position = position
        self.end = end

    def malformed(self, what: str) -> Refused:
        return Refused(f"not a usable wasm module: {what} (at byte {self.position})")

    def read(self, count: int) -> bytes:
        """Read `count` bytes."""
        if count > self.end - self.position:
            raise self.malformed(f"cut off: {count} bytes wanted, {self.end - self.position} left")
        start = self.position
        self.position += count
        return self.wasm[start : self.position]

    def byte(self) -> int:
        position = self.position
        if position >= self.end:
            raise self.malformed("cut off")
        self.position = position + 1
        return self.wasm[position]

    def unsigned(self, bits: int = 32) -> int:
        """Read an unsigned LEB128 integer of at most `bits` bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise self.malformed(f"an integer is longer than {bits} bits")
        if value >> bits:
            raise self.malformed(f"an integer is longer than {bits} bits")
        return value

    def count(self, what: str, limit: int = MAX_ITEMS) -> int:
        """Read a count of items. It is at most `limit`, and at most the number of bytes left."""
        count = self.unsigned()
        if count > limit:
            raise self.malformed(f"{count} {what}, at most {limit} are allowed")
        if count > self.end - self.position:
            raise self.malformed(f"{count} {what} do not fit into the {self.end - self.position} bytes that are left")
        return count

    def name(self) -> str:
        raw = self.read(self.count("bytes of a name", MAX_NAME_BYTES))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.malformed("a name is not UTF-8") from error

    def value_type(self) -> str:
        code = self.byte()
        known = VALUE_TYPES.get(code)
        if known is not None:
            return known
        self.position -= 1
        raise self.malformed(f"0x{code:02x} is not a value type that hb runs")
