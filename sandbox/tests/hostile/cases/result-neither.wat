;;! what = "Returns a result that is neither ok nor an error."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (i32.store8 (i32.const 0) (i32.const 7))
  (i32.const 0))
