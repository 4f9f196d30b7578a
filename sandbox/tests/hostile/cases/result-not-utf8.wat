;;! what = "Returns text that is no UTF-8."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (i32.store (i32.const 128) (i32.const 0xfffefdfc))
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.store (i32.const 4) (i32.const 128))
  (i32.store (i32.const 8) (i32.const 4))
  (i32.const 0))
