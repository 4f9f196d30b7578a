;;! what = "The guest gives room that ends behind its memory."
;;! template = "context"
;;! realloc = "(return (i32.const 16777215))"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
