;;! what = "Returns text at the end of the address space that is as long as it."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.store (i32.const 4) (i32.const -1))
  (i32.store (i32.const 8) (i32.const -1))
  (i32.const 0))
