;;! what = "A memory of 4 GiB from the start."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "memory"
;;! value = 1073741824
(memory $big 65536)
(func (export "run") (result i32)
  (call $ok))
