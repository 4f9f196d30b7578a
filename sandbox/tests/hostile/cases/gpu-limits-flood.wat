;;! what = "Asking for limits and features without end."
;;! template = "kernel"
;;! gpu = true
;;! [limits]
;;! fuel = 50000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 50000000
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32)
  (loop $l (call $limits (i32.const 64)) (call $must-work) (call $features (i32.const 64)) (call $must-work) (br $l)) unreachable)
