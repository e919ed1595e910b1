;; The other half of the pair that talks, in the AO ABI: it answers each `Ping` with a `Pong` to the sender, whom the
;; message names as `From`. All other messages do nothing. It has no state. ping.wat says how a message is read.
(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))    ;; where the next text is put

  (data (i32.const 0) "\"From\":\"\00")
  (data (i32.const 16) "{\"name\":\"Action\",\"value\":\"Ping\"}\00")
  (data (i32.const 64) "{\"ok\":true,\"response\":{}}\00")
  ;; The ID of the sender goes between these two, at 142.
  (data (i32.const 96) "{\"ok\":true,\"response\":{\"Messages\":[{\"Target\":\"")
  (data (i32.const 185) "\",\"Tags\":[{\"name\":\"Action\",\"value\":\"Pong\"}]}]}}\00")

  ;; Room for a text; 0 where there is none. What `handle` was given is not needed after it.
  (func (export "malloc") (param $size i32) (result i32)
    (local $text i32) (local $end i64)
    (local.set $text (global.get $free))
    (local.set $end (i64.add (i64.extend_i32_u (local.get $text)) (i64.extend_i32_u (local.get $size))))
    (block $fits
      (loop $grow
        (br_if $fits (i64.le_u (local.get $end) (i64.mul (i64.extend_i32_u (memory.size)) (i64.const 65536))))
        (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (return (i32.const 0)))
    (global.set $free (i32.wrap_i64 (local.get $end)))
    (local.get $text))

  (func (export "handle") (param $message i32) (param $environment i32) (result i32)
    (local $from i32)
    (global.set $free (i32.const 1024))
    (local.set $from (call $after (local.get $message) (i32.const 0)))
    (if (i32.eqz (i32.and
          (i32.ne (call $after (local.get $message) (i32.const 16)) (i32.const 0))
          (call $is_id (local.get $from))))
      (then (return (i32.const 64))))
    (memory.copy (i32.const 142) (local.get $from) (i32.const 43))
    (i32.const 96))

  ;; Whether 43 letters, digits, `-` or `_`, and then a quote, are at `at`. Reads up to the first byte that is none.
  (func $is_id (param $at i32) (result i32)
    (local $end i32) (local $byte i32)
    (if (i32.eqz (local.get $at))
      (then (return (i32.const 0))))
    (local.set $end (i32.add (local.get $at) (i32.const 43)))
    (loop $next
      (local.set $byte (i32.load8_u (local.get $at)))
      (if (i32.eq (local.get $at) (local.get $end))
        (then (return (i32.eq (local.get $byte) (i32.const 34)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.or
        (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10))
        (i32.or
          (i32.lt_u (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 97)) (i32.const 26))
          (i32.or (i32.eq (local.get $byte) (i32.const 45)) (i32.eq (local.get $byte) (i32.const 95)))))))
    (i32.const 0))

  ;; The address after the first bytes of `text` that are those of `wanted`, or 0. Both end with a NUL.
  (func $after (param $text i32) (param $wanted i32) (result i32)
    (local $i i32) (local $byte i32)
    (loop $next
      (local.set $byte (i32.load8_u (i32.add (local.get $wanted) (local.get $i))))
      (if (i32.eqz (local.get $byte))
        (then (return (i32.add (local.get $text) (local.get $i)))))
      (if (i32.eq (local.get $byte) (i32.load8_u (i32.add (local.get $text) (local.get $i))))
        (then
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      (local.set $i (i32.const 0))
      (local.set $text (i32.add (local.get $text) (i32.const 1)))
      (br_if $next (i32.load8_u (i32.sub (local.get $text) (i32.const 1)))))
    (i32.const 0)))
