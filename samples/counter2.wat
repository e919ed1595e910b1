;; The counter with `Increment` counting by two: other code for the same state, to go on from a counter's slot with.
(module
  (global $counter (export "counter") (mut i32) (i32.const 0))

  (func (export "Increment")
    (global.set $counter (i32.add (global.get $counter) (i32.const 2))))

  (func (export "Add") (param $amount i32)
    (global.set $counter (i32.add (global.get $counter) (local.get $amount))))

  (func (export "ReadValue") (result i32)
    (global.get $counter)))
