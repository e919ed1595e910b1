;; A ledger: accounts are numbers, amounts are 64-bit. None of its state is public: balances lie in memory, how many
;; accounts there are and what was minted in all are globals that are not exported.
;;
;; Memory is a list of entries of 16 bytes: the account (i32, then 4 bytes unused), its balance (i64).
(module
  (memory 1)
  (global $accounts (mut i32) (i32.const 0))
  (global $supply (mut i64) (i64.const 0))

  ;; Creates `amount` in `account`, and gives its balance then. Traps if the amount is negative, or the supply beyond i64.
  (func (export "Mint") (param $account i32) (param $amount i64) (result i64)
    (local $entry i32)
    (call $refuse_negative (local.get $amount))
    (local.set $entry (call $entry_of (local.get $account)))
    (global.set $supply (i64.add (global.get $supply) (local.get $amount)))
    (call $refuse_negative (global.get $supply))
    (call $add (local.get $entry) (local.get $amount))
    (i64.load offset=8 (local.get $entry)))

  ;; Moves `amount`; gives 1, or 0 if there is not so much. Traps if the amount is negative.
  (func (export "Transfer") (param $from i32) (param $to i32) (param $amount i64) (result i32)
    (local $source i32)
    (call $refuse_negative (local.get $amount))
    (local.set $source (call $find (local.get $from)))
    (if (i32.eq (local.get $source) (call $end))
      (then (return (i32.const 0))))
    (if (i64.lt_s (i64.load offset=8 (local.get $source)) (local.get $amount))
      (then (return (i32.const 0))))
    (call $add (local.get $source) (i64.sub (i64.const 0) (local.get $amount)))
    (call $add (call $entry_of (local.get $to)) (local.get $amount))
    (i32.const 1))

  (func (export "Balance") (param $account i32) (result i64)
    (local $entry i32)
    (local.set $entry (call $find (local.get $account)))
    (if (i32.eq (local.get $entry) (call $end))
      (then (return (i64.const 0))))
    (i64.load offset=8 (local.get $entry)))

  (func (export "Supply") (result i64)
    (global.get $supply))

  (func $refuse_negative (param $amount i64)
    (if (i64.lt_s (local.get $amount) (i64.const 0))
      (then (unreachable))))

  (func $add (param $entry i32) (param $amount i64)
    (i64.store offset=8 (local.get $entry)
      (i64.add (i64.load offset=8 (local.get $entry)) (local.get $amount))))

  ;; The address after the last entry.
  (func $end (result i32)
    (i32.mul (global.get $accounts) (i32.const 16)))

  ;; The address of the account's entry, or $end.
  (func $find (param $account i32) (result i32)
    (local $entry i32)
    (block $found
      (loop $next
        (br_if $found (i32.eq (local.get $entry) (call $end)))
        (br_if $found (i32.eq (i32.load (local.get $entry)) (local.get $account)))
        (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
        (br $next)))
    (local.get $entry))

  ;; The address of the account's entry, which is added if there is none. Traps if memory cannot grow for it.
  (func $entry_of (param $account i32) (result i32)
    (local $entry i32)
    (local.set $entry (call $find (local.get $account)))
    (if (i32.ne (local.get $entry) (call $end))
      (then (return (local.get $entry))))
    (if (i32.eq (local.get $entry) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1))
          (then (unreachable)))))
    (i32.store (local.get $entry) (local.get $account))
    (global.set $accounts (i32.add (global.get $accounts) (i32.const 1)))
    (local.get $entry)))
