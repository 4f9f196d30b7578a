;;! what = "The guest overflows its stack while the host is in the middle of a call."
;;! template = "context"
;;! realloc = "(call_indirect (type $hook) (i32.const 0))"
;;! [expect]
;;! end = "trap"
;;! kind = "stack-overflow"
(func $hook (call $hook) (call $hook))
(elem (i32.const 0) $hook)
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
