"""Small modules of the AO ABI, as WebAssembly text, for tests of good and bad answers.

The module of `ao_module` answers correctly until a message contains a `!`. Its public global `count` counts its
messages, before anything else happens. If a failed message leaves anything behind, `count` shows it.
"""

from __future__ import annotations

FINE = b'{"ok":true,"response":{"Output":{"data":"fine"}}}'
BAD_ANSWER_AT = 1024  # the address of `bad_answer`
HEAP_AT = 60_000
MANY_BYTES = 4000  # more than any message has, unless a test makes it so long


def literal(content: bytes) -> str:
    """Return a WAT string literal of `content` and a NUL."""
    return '"' + "".join(f"\\{byte:02x}" for byte in (*content, 0)) + '"'


def ao_module(
    *,
    bad_answer: bytes | None = None,
    bad: str | None = None,
    malloc: str = "",
    free: str | None = None,
    answer: bytes = FINE,
    imports: str = "",
    bits: int = 32,
) -> str:
    """Return the text of a module.

    It gives `answer` to a message without a `!`. To a message with one it gives `bad_answer`, or runs the instructions
    `bad`, where `$message` is the address of the message. `malloc` has instructions that run first in `malloc`, where
    `$size` is its argument. `free` has the instructions of `free`; with None, the module exports no `free`.
    """
    p = f"i{bits}"
    answer_bad = f"({p}.const {BAD_ANSWER_AT}) return"
    memory = f"{'i64 ' if bits == 64 else ''}4"
    frees = "" if free is None else f'(func (export "free") (param $at {p}) {free})'
    return f"""(module {imports}
      (memory (export "memory") {memory})
      (global $heap (mut {p}) ({p}.const {HEAP_AT}))
      (global $count (export "count") (mut i32) (i32.const 0))
      (global $was_bad (mut i32) (i32.const 0))
      (data ({p}.const 16) {literal(answer)})
      (data ({p}.const {BAD_ANSWER_AT}) {literal(bad_answer or b"")})
      (func (export "malloc") (param $size {p}) (result {p}) {malloc}
        global.get $heap
        (global.set $heap ({p}.add (global.get $heap) (local.get $size))))
      {frees}
      (func $is_bad (param $at {p}) (result i32) (local $byte i32)
        (loop $next
          (local.set $byte (i32.load8_u (local.get $at)))
          (if (i32.eqz (local.get $byte)) (then (i32.const 0) return))
          (if (i32.eq (local.get $byte) (i32.const 33)) (then (i32.const 1) return))
          (local.set $at ({p}.add (local.get $at) ({p}.const 1)))
          br $next)
        unreachable)
      (func (export "handle") (param $message {p}) (param $environment {p}) (result {p})
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.set $heap ({p}.const {HEAP_AT}))
        (global.set $was_bad (call $is_bad (local.get $message)))
        (if (global.get $was_bad) (then {answer_bad if bad is None else bad}))
        ({p}.const 16)))"""


def echo_module(*, environment: bool = False, bits: int = 32) -> str:
    """Return the text of a module that answers with its message, or with its environment, as `Output`."""
    p = f"i{bits}"
    before, after = b'{"ok":true,"response":{"Output":', b"}}"
    memory = f"{'i64 ' if bits == 64 else ''}4"
    return f"""(module
      (memory (export "memory") {memory})
      (global $heap (mut {p}) ({p}.const 100000))
      (data ({p}.const 16) {literal(before)})
      (data ({p}.const 128) {literal(after)})
      (func (export "malloc") (param $size {p}) (result {p})
        global.get $heap
        (global.set $heap ({p}.add (global.get $heap) (local.get $size))))
      (func (export "handle") (param $message {p}) (param $environment {p}) (result {p}) (local $end {p})
        (memory.copy ({p}.const 1024) ({p}.const 16) ({p}.const {len(before)}))
        (local.set $end ({p}.const {1024 + len(before)}))
        (global.set $heap ({p}.const 100000))
        {"(local.set $message (local.get $environment))" if environment else ""}
        (loop $next
          (i32.store8 (local.get $end) (i32.load8_u (local.get $message)))
          (if (i32.load8_u (local.get $message)) (then
            (local.set $end ({p}.add (local.get $end) ({p}.const 1)))
            (local.set $message ({p}.add (local.get $message) ({p}.const 1)))
            br $next)))
        (memory.copy (local.get $end) ({p}.const 128) ({p}.const {len(after) + 1}))
        ({p}.const 1024)))"""
