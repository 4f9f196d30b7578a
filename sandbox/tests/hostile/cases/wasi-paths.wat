;;! what = "Paths that leave the root, are absolute, are too long, or lead behind a file."
;;! template = "wasi"
;;! inputs = { data = 1 }
;;! [expect]
;;! end = "ok"
(data (i32.const 256) "../etc/passwd/etc/passwdinputs/../../etcinputs/data/xoutputs/a/boutputs/")
(func $try (param $at i32) (param $len i32) (param $flags i32)
  (call $open (call $root) (i32.const 1) (local.get $at) (local.get $len) (local.get $flags) (i32.const 2) (i32.const 16)) (call $must-fail))
(func (export "run") (result i32)
  (call $try (i32.const 256) (i32.const 13) (i32.const 0))
  (call $try (i32.const 269) (i32.const 11) (i32.const 0))
  (call $try (i32.const 280) (i32.const 16) (i32.const 1))
  (call $try (i32.const 296) (i32.const 13) (i32.const 1))
  (call $try (i32.const 309) (i32.const 11) (i32.const 1))
  (call $try (i32.const 320) (i32.const 8) (i32.const 1))
  (call $try (i32.const 131072) (i32.const 500000) (i32.const 1))
  (call $ok))
