;;! what = "A handle is dropped twice."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (local $h i32) (local.set $h (call $data)) (call $drop-input (local.get $h)) (call $drop-input (local.get $h)) (call $ok))
