;;! what = "A path of half a megabyte, looked for without end: each byte is paid for."
;;! template = "wasi"
;;! [limits]
;;! fuel = 50000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 50000000
(func (export "run") (result i32) (local $h i32)
  (local.set $h (call $root))
  (loop $l
    (call $open (local.get $h) (i32.const 0) (i32.const 131072) (i32.const 500000) (i32.const 0) (i32.const 0) (i32.const 16)) (call $must-fail)
    (br $l))
  unreachable)
