;;! what = "Reads at every wrong offset and of every wrong length, up to the largest numbers."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32)
  (local $h i32) (local.set $h (call $data))
  (call $read (local.get $h) (i64.const -1) (i32.const 0) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const -1) (i32.const 1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const -1) (i32.const -1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 101) (i32.const 0) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 101) (i32.const 1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 4294967296) (i32.const 4) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 4611686018427387904) (i32.const 8388608) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 9223372036854775807) (i32.const -1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const -9223372036854775808) (i32.const 1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 0) (i32.const 8388609) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 0) (i32.const -1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const 100) (i32.const -1) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $read (local.get $h) (i64.const -100) (i32.const 200) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $ok))
