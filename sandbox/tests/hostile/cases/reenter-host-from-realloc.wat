;;! what = "While the host hands a text over and asks for room, the guest calls the host."
;;! template = "context"
;;! realloc = "(call_indirect (type $hook) (i32.const 0))"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func $hook (drop (call $now)))
(elem (i32.const 0) $hook)
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
