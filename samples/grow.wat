;; Hostile: `Grow` takes memory until it is given no more, writes to each page, and gives the number of pages it then has.
(module
  (memory 1)

  (func (export "Grow") (result i32)
    (local $page i32)
    (loop $more
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.ne (local.get $page) (i32.const -1))
        (then
          (i32.store (i32.mul (local.get $page) (i32.const 65536)) (local.get $page))
          (br $more))))
    (memory.size))

  (func (export "Size") (result i32)
    (memory.size)))
