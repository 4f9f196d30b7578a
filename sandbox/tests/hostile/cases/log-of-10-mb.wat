;;! what = "A log line and a progress note of 10 MB: both are cut."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32)
  (call $log (i32.const 1) (i32.const 4096) (i32.const 10000000))
  (call $progress (i32.const 1) (i32.const 4096) (i32.const 10000000))
  (call $ok))
