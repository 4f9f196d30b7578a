;;! what = "Handles that are opened and never dropped."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "limit"
;;! limit = "handles"
;;! value = 8192
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (drop (call $data)) (br $l))
  unreachable)
