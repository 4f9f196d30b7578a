;;! what = "A trap in the guest while the host is in the middle of a call."
;;! template = "context"
;;! realloc = "unreachable"
;;! [expect]
;;! end = "trap"
;;! kind = "unreachable"
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
