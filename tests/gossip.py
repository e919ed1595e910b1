"""A module of the AO ABI whose processes gossip, as WebAssembly text, for tests of pushes.

A message with data `=PID PID ...` says who the peers of a process are (IDs without anything between them). A message
with a number from 1 to 9 as its data is passed on to all peers, with a number less by one. `count`, a public key, counts
the numbers that came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import hb
from aowat import literal

if TYPE_CHECKING:
    from hb import Home, Process

_START = b'{"ok":true,"response":{"Messages":['
_BEFORE = b'{"Target":"'
_BETWEEN = b'","Tags":[{"name":"Action","value":"Gossip"}],"Data":"'
_AFTER = b'"}'
_END = b"]}}\0"
_DATA = b'"Data":"'

_TEXTS = {16: _START, 100: _BEFORE, 200: _BETWEEN, 300: _AFTER, 400: _END, 500: _DATA}


def _copy(at: int) -> str:
    size = len(_TEXTS[at])
    return f"(memory.copy (global.get $end) (i32.const {at}) (i32.const {size})) (call $on (i32.const {size}))"


WAT = f"""(module
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 70000))
  (global $end (mut i32) (i32.const 0))
  (global $peers (mut i32) (i32.const 0))
  (global $count (export "count") (mut i32) (i32.const 0))
  {" ".join(f"(data (i32.const {at}) {literal(text)})" for at, text in _TEXTS.items())}
  (func (export "malloc") (param $size i32) (result i32)
    global.get $heap
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func $on (param $size i32) (global.set $end (i32.add (global.get $end) (local.get $size))))
  (func $is_data (param $at i32) (result i32) (local $i i32)
    (loop $next
      (if (i32.eq (local.get $i) (i32.const {len(_DATA)})) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.load8_u offset=500 (local.get $i)))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    (unreachable))
  (func $hear (param $data i32) (local $from i32)
    (global.set $peers (i32.const 0))
    (local.set $from (local.get $data))
    (block $done (loop $next
      (br_if $done (i32.eq (i32.load8_u (local.get $from)) (i32.const 34)))
      (memory.copy
        (i32.add (i32.const 1000) (i32.mul (global.get $peers) (i32.const 43))) (local.get $from) (i32.const 43))
      (global.set $peers (i32.add (global.get $peers) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 43)))
      (br $next))))
  (func $tell (param $left i32) (local $i i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (global.get $peers)))
      (if (local.get $i) (then (i32.store8 (global.get $end) (i32.const 44)) (call $on (i32.const 1))))
      {_copy(100)}
      (memory.copy
        (global.get $end) (i32.add (i32.const 1000) (i32.mul (local.get $i) (i32.const 43))) (i32.const 43))
      (call $on (i32.const 43))
      {_copy(200)}
      (i32.store8 (global.get $end) (local.get $left)) (call $on (i32.const 1))
      {_copy(300)}
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))))
  (func (export "handle") (param $message i32) (param $environment i32) (result i32) (local $first i32)
    (global.set $heap (i32.const 70000))
    (global.set $end (i32.const 10000))
    {_copy(16)}
    (block $found (loop $next
      (br_if $found (call $is_data (local.get $message)))
      (local.set $message (i32.add (local.get $message) (i32.const 1)))
      (br $next)))
    (local.set $message (i32.add (local.get $message) (i32.const {len(_DATA)})))
    (local.set $first (i32.load8_u (local.get $message)))
    (if (i32.eq (local.get $first) (i32.const 61))
      (then (call $hear (i32.add (local.get $message) (i32.const 1)))))
    (if (i32.and (i32.ge_u (local.get $first) (i32.const 48)) (i32.le_u (local.get $first) (i32.const 57))) (then
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (i32.gt_u (local.get $first) (i32.const 48))
        (then (call $tell (i32.sub (local.get $first) (i32.const 1)))))))
    {_copy(400)}
    (i32.const 10000)))"""


def spawn_all(home: Home, count: int, peers: int = 3) -> list[Process]:
    """Return new processes. The peers of each are the `peers` after it, round and round."""
    module = hb.wat(WAT)
    found = [
        home.spawn(module, name=f"g{number}", anchor=f"gossip-{number}", timestamp_ms=1) for number in range(count)
    ]
    for number, process in enumerate(found):
        ids = "".join(found[(number + step * step) % count].id for step in range(1, peers + 1))
        process.send("Peers", data=f"={ids}", anchor=f"peers-{number}", timestamp_ms=1)
    return found
