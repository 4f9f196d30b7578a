;;! what = "Division that no integer holds: the smallest by minus one."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "arithmetic"
(func (export "run") (result i32)
  (i32.div_s (i32.const 0x80000000) (i32.const -1)) drop (call $ok))
