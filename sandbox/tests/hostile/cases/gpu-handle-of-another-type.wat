;;! what = "A kernel is given where a buffer belongs."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (drop (call $size (call $kernel))) (i32.const 0))
