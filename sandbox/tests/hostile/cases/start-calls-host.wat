;;! what = "A start function that calls the host before `run` does."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func $start (call $log (i32.const 1) (i32.const 64) (i32.const 4)) (drop (call $now)))
(start $start)
(func (export "run") (result i32)
  (call $ok))
