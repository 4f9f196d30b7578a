;;! what = "A trap on purpose, deep in the stack."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "unreachable"
(func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))) (else unreachable)))
(func (export "run") (result i32)
  (call $f (i32.const 5000)) (call $ok))
