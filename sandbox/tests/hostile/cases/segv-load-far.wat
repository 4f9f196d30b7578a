;;! what = "A load from behind the whole address space: index and offset both at their largest."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(func (export "run") (result i32)
  (drop (i64.load offset=4294967295 (i32.const -1))) (call $ok))
