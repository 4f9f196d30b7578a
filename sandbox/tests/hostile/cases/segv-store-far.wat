;;! what = "A store behind the end of memory."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(func (export "run") (result i32)
  (i64.store offset=4294967288 (i32.const -8) (i64.const -1)) (call $ok))
