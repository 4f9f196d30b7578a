;;! what = "The guest gives room at the end of the address space."
;;! template = "context"
;;! realloc = "(return (i32.const -1))"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
