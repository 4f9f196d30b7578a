;;! what = "Returns text that lies outside of memory."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.store (i32.const 4) (i32.const -16))
  (i32.store (i32.const 8) (i32.const 64))
  (i32.const 0))
