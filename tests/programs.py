"""Programs, as WebAssembly text, that several test files use."""

from __future__ import annotations

# A process whose functions fail, print strangers' text, and do what the counter does.
PLAYGROUND = """
(module
  (global $n (export "n") (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "Set") (param i32) (global.set $n (local.get 0)))
  (func (export "Get") (result i32) (global.get $n))
  (func (export "Pair") (param i64 f64) (result f64 i64) (local.get 1) (local.get 0))
  (func (export "Trap") unreachable)
  (func (export "Loop") (loop $again (br $again))))
"""


# Its memory is too large for an image at every slot, so continuing it computes some slots again.
LARGE = """
(module
  (memory 20)
  (global $calls (mut i32) (i32.const 0))
  (func (export "Write") (param $at i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (local.get $at) (global.get $calls))
    (global.get $calls))
  (func (export "Spoil") (param $at i32)
    (i32.store (local.get $at) (i32.const -1))
    (unreachable)))
"""

# A program of the AO ABI: it answers by the first character of a message's data, or with "?".
SPEECH = {
    "1": '{"ok":true,"response":{"Output":{"data":"2"},"Messages":[],"Spawns":[],"Assignments":[]}}',
    "n": '{"ok":true,"response":{"Output":{"data":"0"}}}',  # the digit counts up from message to message
    "e": '{"ok":true,"response":{"Error":"boom\\nstack traceback"}}',
    "p": '{"ok":true,"response":{"Output":{"data":"done"}}}',  # prints "hello" too
    "l": '{"ok":true,"response":{"Output":{"data":"one\\ntwo"}}}',
    "z": '{"ok":true,"response":{"Output":{"data":""}}}',
    "c": '{"ok":true,"response":{"Output":{"data":"\\u001b[32mgreen\\u001b[0m\\u001b[2J\\u001b]0;x\\u0007"}}}',
    "q": '{"ok":true,"response":{"Output":{"data":{"output":"deep"},"prompt":"speaker@2> "}}}',
    "j": '{"ok":true,"response":{"Output":{"data":{"b":1}}}}',
    "w": "",  # never answers
    "m": '{"ok":true,"response":{"Output":{"data":"sent"},"Messages":[{"Target":"bob","Data":"hi","Anchor":"1",'
    '"Tags":[{"name":"Action","value":"Greet"},{"name":"Mood","value":"good"}]},{"Target":"eve","Data":"","Anchor":"2",'
    '"Tags":[]}],"Spawns":[{"Data":"","Anchor":"3","Tags":[]}],"Assignments":[]}}',
    "?": '{"ok":true,"response":{"Output":{"data":"?"}}}',
}


def _speaker() -> str:
    """Return the text of the program that answers as `SPEECH` says."""
    offset, data, cases = 1024, [], []
    for word, answer in SPEECH.items():
        text = answer.encode() + b"\0"
        data.append(f'(data (i32.const {offset}) "{"".join(f"{chr(92)}{byte:02x}" for byte in text)}")')
        do = ""
        if word == "n":
            digit = offset + answer.index('"0"') + 1
            do = f"(i32.store8 (i32.const {digit}) (i32.add (i32.const 1) (i32.load8_u (i32.const {digit}))))"
        elif word == "p":
            do = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
        elif word == "w":
            do = "(loop $on (br $on))"
        condition = f"(i32.eq (local.get $word) (i32.const {ord(word)}))"
        cases.append(f"(if {condition} (then {do} (return (i32.const {offset}))))")
        offset += len(text)
    return f"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 65536))
  (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 16) "hello\\n")
  (data (i32.const 32) "\\22Data\\22")
  {" ".join(data)}
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "handle") (param $at i32) (param i32) (result i32) (local $word i32)
    (global.set $next (i32.const 65536))
    (loop $look
      (if (i32.or
            (i32.ne (i32.load (local.get $at)) (i32.load (i32.const 32)))
            (i32.ne (i32.load16_u offset=4 (local.get $at)) (i32.load16_u offset=4 (i32.const 32))))
        (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $look))))
    (local.set $at (i32.add (local.get $at) (i32.const 6)))
    (loop $quote
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $quote (i32.ne (i32.load8_u (local.get $at)) (i32.const 34))))
    (local.set $word (i32.load8_u offset=1 (local.get $at)))
    {" ".join(cases)}
    (i32.const {offset - len(SPEECH["?"].encode()) - 1})))
"""


SPEAKER = _speaker()
"""A program of the AO ABI that answers as `SPEECH` says."""
