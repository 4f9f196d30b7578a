;;! what = "Two outputs of one name."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32)
  (drop (call $out)) (call $create (i32.const 72) (i32.const 3) (i32.const 16)) (call $must-fail (i32.const 16)) (call $ok))
