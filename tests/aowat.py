"""Small modules of the AO ABI, as WebAssembly text, for tests of good and bad answers.

The module of `ao_module` answers correctly until a message contains a `!`. Its public global `count` counts its
messages, before anything else happens. If a failed message leaves anything behind, `count` shows it.
"""

from __future__ import annotations

import json

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


_DATA, _FROM = b'"Data":"', b'"From":"'
_BEFORE, _FINE = b'{"ok":true,"response":', b'{"Output":{"data":"fine"}}'
_BACK = b'{"Messages":[{"Target":"'
_AND_ON = b'","Anchor":"0","Tags":[{"name":"Action","value":"Back"}],"Data":"@"}]}'
_TEXTS = {16: _BEFORE, 64: _FINE, 128: _BACK, 192: _AND_ON, 320: _DATA, 352: _FROM, 384: b"}"}
# What stands for a quotation mark in data, by how deep the data lies in other data.
_QUOTES = "'`^"


def _put(at: int) -> str:
    """Return the instructions that put one of the texts at the end of the answer."""
    size = len(_TEXTS[at])
    return f"(memory.copy (global.get $end) (i32.const {at}) (i32.const {size})) (call $on (i32.const {size}))"


def talker_module() -> str:
    """Return the text of a module whose messages say what it answers.

    It answers a message whose data begins with `{` with that data as its response, in which `'` stands for `"`, a
    backquote for `'`, and `^` for a backquote: so data may hold the data of messages that are sent on. `says` writes it.
    It answers a message with the data `@` by a message to its sender, with the data `@`: two that do so never end. It
    answers any other message with the output `fine`.
    """
    replaced = " ".join(
        f"(if (i32.eq (local.get $byte) (i32.const {ord(quote)})) (then (local.set $byte (i32.const {ord(stands_for)}))) (else"
        for quote, stands_for in zip(_QUOTES, '"' + _QUOTES, strict=False)
    )
    return f"""(module
      (memory (export "memory") 16)
      (global $heap (mut i32) (i32.const 500000))
      (global $end (mut i32) (i32.const 0))
      {" ".join(f"(data (i32.const {at}) {literal(text)})" for at, text in _TEXTS.items())}
      (func (export "malloc") (param $size i32) (result i32)
        global.get $heap
        (global.set $heap (i32.add (global.get $heap) (local.get $size))))
      (func $on (param $size i32) (global.set $end (i32.add (global.get $end) (local.get $size))))
      (func $after (param $at i32) (param $text i32) (result i32)
        (loop $next
          (if (i64.ne (i64.load (local.get $at)) (i64.load (local.get $text))) (then
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next))))
        (i32.add (local.get $at) (i32.const 8)))
      (func $put_data (param $at i32) (local $byte i32)
        (loop $next
          (local.set $byte (i32.load8_u (local.get $at)))
          (if (i32.eq (local.get $byte) (i32.const 34)) (then (return)))
          {replaced} {"))" * len(_QUOTES)}
          (i32.store8 (global.get $end) (local.get $byte))
          (call $on (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))
      (func (export "handle") (param $message i32) (param $environment i32) (result i32) (local $data i32) (local $first i32)
        (global.set $heap (i32.const 500000))
        (global.set $end (i32.const 1024))
        {_put(16)}
        (local.set $data (call $after (local.get $message) (i32.const 320)))
        (local.set $first (i32.load8_u (local.get $data)))
        (if (i32.eq (local.get $first) (i32.const 123)) (then (call $put_data (local.get $data))) (else
        (if (i32.eq (local.get $first) (i32.const 64)) (then
          {_put(128)}
          (memory.copy
            (global.get $end) (call $after (local.get $message) (i32.const 352)) (i32.const 43))
          (call $on (i32.const 43))
          {_put(192)}) (else {_put(64)}))))
        {_put(384)}
        (i32.store8 (global.get $end) (i32.const 0))
        (i32.const 1024)))"""


def says(*messages: dict[str, object], **response: object) -> str:
    """Return the data that has a process of `talker_module` answer with `response`, in which it sends `messages`.

    A message has a `Target`, and may have an `Action` and `Data`, which may be what this returns.
    """
    response["Messages"] = [
        {
            "Target": message["Target"],
            "Anchor": "0",
            "Tags": [{"name": "Action", "value": message.get("Action", "Say")}],
            "Data": message.get("Data", ""),
        }
        for message in messages
    ]
    text = json.dumps(response)
    for quote, stands_for in zip(_QUOTES[:0:-1], _QUOTES[-2::-1], strict=True):
        text = text.replace(stands_for, quote)
    return text.replace('"', "'")
