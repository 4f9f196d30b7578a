;;! what = "A bulk copy across the end of memory."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(func (export "run") (result i32)
  (memory.copy (i32.const 0) (i32.const 65535) (i32.const -1)) (call $ok))
