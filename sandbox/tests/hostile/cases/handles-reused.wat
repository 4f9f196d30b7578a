;;! what = "A hundred thousand handles, each dropped: none is left over."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "ok"
;;! [bounds]
;;! run_ms = 20000
(func (export "run") (result i32)
  (local $i i32)
  (loop $l (call $drop-input (call $data)) (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))
  (call $ok))
