;; One half of a pair that talks, in the AO ABI. `Start` sends a `Ping` to the process that the tag `Partner` names.
;; Each `Pong` from there is counted in the public key `count`, and leads to the next `Ping`, until three are sent.
;; The other half is pong.wat.
;;
;; A message is JSON as hb writes it: without spaces, `Id` first, then `Owner`, then `From`. Quotes in texts are escaped,
;; so the first `"From":"` is that key. The answers lie ready in memory; the partner's ID is copied into one of them.
(module
  (memory (export "memory") 1)
  (global $count (export "count") (mut i32) (i32.const 0))
  (global $left (mut i32) (i32.const 0))       ;; how many are yet to be sent
  (global $free (mut i32) (i32.const 1024))    ;; where the next text is put

  (data (i32.const 0) "\"From\":\"\00")
  (data (i32.const 16) "{\"name\":\"Partner\",\"value\":\"\00")
  (data (i32.const 64) "{\"name\":\"Action\",\"value\":\"Start\"}\00")
  (data (i32.const 112) "{\"name\":\"Action\",\"value\":\"Pong\"}\00")
  (data (i32.const 160) "{\"ok\":true,\"response\":{}}\00")
  (data (i32.const 192) "{\"ok\":false,\"response\":\"Start needs a tag Partner: the ID of a process\"}\00")
  ;; The ID of the partner goes between these two, at 366.
  (data (i32.const 320) "{\"ok\":true,\"response\":{\"Messages\":[{\"Target\":\"")
  (data (i32.const 409) "\",\"Tags\":[{\"name\":\"Action\",\"value\":\"Ping\"}]}]}}\00")

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
    (global.set $free (i32.const 1024))
    (if (call $after (local.get $message) (i32.const 64))
      (then (return (call $start (call $after (local.get $message) (i32.const 16))))))
    (if (i32.and
          (i32.ne (call $after (local.get $message) (i32.const 112)) (i32.const 0))
          (call $is_partner (call $after (local.get $message) (i32.const 0))))
      (then
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (return (call $ping))))
    (i32.const 160))

  ;; Begins with the partner whose ID is at `id`.
  (func $start (param $id i32) (result i32)
    (if (i32.eqz (call $is_id (local.get $id)))
      (then (return (i32.const 192))))
    (memory.copy (i32.const 366) (local.get $id) (i32.const 43))
    (global.set $left (i32.const 3))
    (call $ping))

  (func $ping (result i32)
    (if (i32.eqz (global.get $left))
      (then (return (i32.const 160))))
    (global.set $left (i32.sub (global.get $left) (i32.const 1)))
    (i32.const 320))

  ;; Whether the text at `at` is the partner's ID. A text that ends sooner differs from it where it ends.
  (func $is_partner (param $at i32) (result i32)
    (local $i i32)
    (loop $next
      (if (i32.ne
            (i32.load8_u (i32.add (local.get $at) (local.get $i)))
            (i32.load8_u offset=366 (local.get $i)))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 43))))
    (i32.const 1))

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
