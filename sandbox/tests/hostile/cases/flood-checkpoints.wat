;;! what = "Checkpoints without end."
;;! template = "context"
;;! [expect]
;;! end = "limit"
;;! limit = "checkpoints"
;;! value = 1000
;;! [bounds]
;;! run_ms = 20000
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (call $save (i32.const 1024) (i32.const 1024) (i32.const 16)) (br $l))
  unreachable)
