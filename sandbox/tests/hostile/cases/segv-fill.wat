;;! what = "A bulk fill of 4 GiB."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(func (export "run") (result i32)
  (memory.fill (i32.const 1) (i32.const 1) (i32.const -1)) (call $ok))
