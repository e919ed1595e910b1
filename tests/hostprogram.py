"""Programs that call the host functions of a device, for tests of these functions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hb.protocol.definition import Limits
from hb.wasm.instance import Instance
from hb.wasm.module import from_text, inspect, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hb.devices.device import Device
    from hb.devices.imports import Provided
    from hb.wasm.traps import Outcome

NOW_MS = 1_700_000_000_123
SEED = b"a seed"


class Program:
    """A program that exports a function for each host function of a device. It passes its arguments on to it."""

    def __init__(self, device: Device, functions: Mapping[tuple[str, str], Provided], pointer: str) -> None:
        self.pointer = pointer
        self.pointer_bytes = 8 if pointer == "i64" else 4
        wasm = from_text(program_text(functions, pointer))
        self.imports = device.imports(inspect(wasm))
        limits = Limits(gas=10_000_000, memory_pages=40, result_bytes=1000)
        self.instance = Instance(load(wasm), limits, self.imports)
        self.host = self.instance.host
        self.host.prepare(now_ms=NOW_MS, seed=SEED, output_bytes=1000)

    def run(self, function: str, *arguments: float) -> Outcome:
        return self.instance.call(function, arguments)

    def value(self, function: str, *arguments: float) -> Any:
        """Make a call that must succeed. Return its result, or None if it has none."""
        outcome = self.run(function, *arguments)
        assert outcome.failure is None, outcome.failure
        return outcome.values[0] if outcome.values else None

    def put(self, address: int, content: bytes) -> int:
        self.host.write(address, content)
        return address

    def vectors(self, address: int, *vectors: tuple[int, int]) -> int:
        """Write (address, size) pairs as the program's C library would; return `address`."""
        layout = "<QQ" if self.pointer_bytes == 8 else "<II"
        return self.put(address, b"".join(struct.pack(layout, *vector) for vector in vectors))

    def size_at(self, address: int) -> int:
        return self.host.read_int(address, self.pointer_bytes)


def wasm_types(signature: str, pointer: str) -> tuple[list[str], list[str]]:
    names = {"i": "i32", "j": "i64", "f": "f64", "p": pointer}
    params, result = signature.split(":")
    return [names[letter] for letter in params], [names[letter] for letter in result]


def program_text(functions: Mapping[tuple[str, str], Provided], pointer: str) -> str:
    imports, exports = [], []
    for place, ((module, name), provided) in enumerate(functions.items()):
        params, results = wasm_types(provided.signature, pointer)
        type_ = f"(param {' '.join(params)}) (result {' '.join(results)})"
        imports.append(f'(import "{module}" "{name}" (func $f{place} {type_}))')
        arguments = " ".join(f"(local.get {index})" for index in range(len(params)))
        exports.append(f'(func (export "{name}") {type_} (call $f{place} {arguments}))')
    index = "i64" if pointer == "i64" else ""
    return f'(module {" ".join(imports)} (memory (export "memory") {index} 2 30) {" ".join(exports)})'
