;;! what = "An input is read after its handle was dropped."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (local $h i32) (local.set $h (call $data)) (call $drop-input (local.get $h)) (drop (call $size (local.get $h))) (call $ok))
