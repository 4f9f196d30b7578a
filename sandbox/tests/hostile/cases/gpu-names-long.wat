;;! what = "An entry point with a name of 8 MB, looked for without end: each byte is paid for."
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
  (loop $l
    (call $new-kernel (i32.const 57344) (i32.const 114) (i32.const 8388608) (i32.const 8000000) (i32.const 0) (i32.const 0) (i32.const 64))
    (call $must-fail) (br $l))
  unreachable)
