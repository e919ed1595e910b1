;; Hostile: every function but `Increment` and `Read` traps, after it has changed all that a program has: a public global,
;; a hidden one, and memory.
(module
  (memory 1)
  (global $counter (export "counter") (mut i32) (i32.const 0))
  (global $hidden (mut i64) (i64.const 0))

  (func $count (export "Increment")
    (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
    (global.set $hidden (i64.add (global.get $hidden) (i64.const 1)))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))

  ;; The public global, the hidden one and what is in memory: always the same number, if nothing is lost.
  (func (export "Read") (result i32 i64 i32)
    (global.get $counter) (global.get $hidden) (i32.load (i32.const 0)))

  (func (export "Unreachable")
    (call $count)
    (unreachable))

  (func (export "DivideByZero") (result i32)
    (call $count)
    (i32.div_s (i32.const 1) (i32.const 0)))

  (func (export "OutOfBounds") (result i32)
    (call $count)
    (i32.load (i32.const 0x7fffffff)))

  ;; Nor is a failed message's larger memory kept.
  (func (export "GrowAndTrap")
    (call $count)
    (i32.store (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 7))
    (unreachable)))
