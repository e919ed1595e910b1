;; Hostile: `Loop` never returns. It counts first, so that one can see whether a failed message is undone.
(module
  (global $counter (export "counter") (mut i32) (i32.const 0))

  (func $count (export "Increment")
    (global.set $counter (i32.add (global.get $counter) (i32.const 1))))

  (func (export "Loop")
    (call $count)
    (loop $again
      (br $again))))
