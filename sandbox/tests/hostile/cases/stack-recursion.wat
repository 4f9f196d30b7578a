;;! what = "A recursion without end."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "stack-overflow"
(func $deep (call $deep) (call $deep))
(func (export "run") (result i32)
  (call $deep) (call $ok))
