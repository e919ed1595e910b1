"""A module with legacy exceptions, for tests that convert it."""

from __future__ import annotations

# (func (export "f") (result i32) (try (result i32) (do (throw $tag)) (catch $tag (i32.const 42)))), in the
# encoding from before exnref. No current tool writes it.
LEGACY = bytes.fromhex(
    "0061736d01000000"
    "0108 02 6000017f 600000"  # two types: of the function, of the tag
    "0302 01 00"
    "0d03 01 0001"  # the tag
    "0705 01 0166 0000"
    "0a0d 01 0b 00 067f 0800 0700 412a 0b 0b".replace(" ", "")
)
