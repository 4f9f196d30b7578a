;;! what = "Checkpoints of the largest size, one after the other: few enough, and too many bytes."
;;! template = "context"
;;! [limits]
;;! checkpoint_total_bytes = 134217728
;;! [expect]
;;! end = "limit"
;;! limit = "checkpoint-total"
;;! value = 134217728
(func (export "run") (result i32)
  (loop $l (call $save (i32.const 0) (i32.const 8388608) (i32.const 16)) (br $l))
  unreachable)
