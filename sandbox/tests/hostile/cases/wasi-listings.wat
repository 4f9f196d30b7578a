;;! what = "The list of a folder of a thousand inputs, asked for a thousand times: it is held once."
;;! template = "wasi"
;;! many_inputs = 1000
;;! [limits]
;;! memory_bytes = 2097152
;;! [expect]
;;! end = "ok"
;;! [bounds]
;;! run_ms = 20000
;;! peak_mib = 120
(func (export "run") (result i32) (local $h i32) (local $i i32)
  (call $open (call $root) (i32.const 0) (i32.const 112) (i32.const 11) (i32.const 0) (i32.const 0) (i32.const 16))
  (call $must-work) (local.set $h (i32.load (i32.const 20)))
  (loop $l (call $rd (local.get $h) (i32.const 16)) (call $must-work)
    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 7000))))
  (call $ok))
(data (i32.const 112) "inputs/many")
