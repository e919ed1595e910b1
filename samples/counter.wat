;; The shared counter: its whole state is one exported global, the public key `counter`.
(module
  (global $counter (export "counter") (mut i32) (i32.const 0))

  (func (export "Increment")
    (global.set $counter (i32.add (global.get $counter) (i32.const 1))))

  (func (export "Add") (param $amount i32)
    (global.set $counter (i32.add (global.get $counter) (local.get $amount))))

  (func (export "ReadValue") (result i32)
    (global.get $counter)))
